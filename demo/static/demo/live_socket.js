// A WebSocket that comes back by itself.

const FIRST_DELAY = 500;
const LONGEST_DELAY = 15000;

export class LiveSocket {
  // address: a function that gives the URL, asked anew for every attempt.
  // onState: called with "connecting", "open" or "waiting"; the latter with the milliseconds until the next attempt.
  constructor({ address, onMessage, onState }) {
    this.address = address;
    this.onMessage = onMessage;
    this.onState = onState;
    this.failures = 0;
    this.timer = null;
    // Coming back to the page or to the network is a good moment to try.
    addEventListener("online", () => this.hurry());
    document.addEventListener("visibilitychange", () => document.hidden || this.hurry());
    this.connect();
  }

  get isOpen() {
    return this.socket.readyState === WebSocket.OPEN;
  }

  send(content) {
    this.socket.send(JSON.stringify(content));
  }

  connect() {
    this.timer = null;
    this.onState("connecting");
    this.socket = new WebSocket(this.address());
    this.socket.addEventListener("open", () => {
      this.failures = 0;
      this.onState("open");
    });
    this.socket.addEventListener("message", (event) => this.onMessage(JSON.parse(event.data)));
    this.socket.addEventListener("close", (event) => this.wait(event));
  }

  wait({ code, reason }) {
    // A server that is being replaced says in how many milliseconds to come, a moment of its own for each page.
    const hint = code === 1012 && /\breconnect=(\d{1,5})\b/.exec(reason);
    // Else somewhere between a half and the whole of the delay: when a server restarts, its pages do not all come at once.
    const delay = hint ? Number(hint[1])
      : Math.min(LONGEST_DELAY, FIRST_DELAY * 2 ** this.failures) * (0.5 + Math.random() / 2);
    this.failures += 1;
    this.timer = setTimeout(() => this.connect(), delay);
    this.onState("waiting", delay);
  }

  hurry() {
    if (this.timer === null) return;
    clearTimeout(this.timer);
    this.connect();
  }
}
