// What waits to be sent. Only a few messages are under way at a time: while no worker answers, or an answer takes long,
// points collect here and go together, so that nobody is flooded with them afterwards.

const UNDER_WAY = 4;

export class Outbox {
  // send: what takes a message. onLost: called when an answer shows that one before it will have none.
  constructor({ send, onLost }) {
    this.send = send;
    this.onLost = onLost;
    this.number = 0;
    this.open = false;
    this.waiting = []; // messages not sent yet, and since when
    this.sent = new Map(); // number → since when its message waits for the answer
  }

  // The milliseconds that the oldest message without an answer has waited.
  get delay() {
    const [oldest] = this.sent.values();
    return oldest === undefined ? 0 : performance.now() - oldest;
  }

  add(message) {
    const last = this.waiting.at(-1)?.message;
    if (last?.type === "draw" && message.type === "draw" && last.key === message.key) last.points.push(...message.points);
    else if (last?.type === "point" && message.type === "point") last.points = message.points;
    else this.waiting.push({ message, since: performance.now() });
    this.pump();
  }

  // Takes back what waits of a stroke.
  drop(key) {
    this.waiting = this.waiting.filter(({ message }) => message.key !== key);
  }

  // An answer came; the result is how long its message has waited.
  done(number) {
    const waited = performance.now() - (this.sent.get(number) ?? performance.now());
    let lost = 0;
    // Answers come in order: one that is passed over does not come any more.
    for (const earlier of this.sent.keys()) {
      if (earlier > number) break;
      if (earlier < number) lost += 1;
      this.sent.delete(earlier);
    }
    if (lost) this.onLost();
    this.pump();
    return waited;
  }

  // A new socket knows of nothing that was sent or waits.
  restart() {
    this.open = true;
    this.sent.clear();
    this.waiting = [];
  }

  close() {
    this.open = false;
    this.sent.clear();
  }

  pump() {
    while (this.open && this.waiting.length && this.sent.size < UNDER_WAY) {
      const { message, since } = this.waiting.shift();
      this.number += 1;
      this.sent.set(this.number, since);
      this.send({ ...message, n: this.number });
    }
  }
}
