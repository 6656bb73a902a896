// The panel of the processes: a socket that asks each second, the buttons, and what happened.

import { LiveSocket } from "../demo/live_socket.js";

const SECOND = 1000;
const SLOW = 1500;
const EVENTS = 4;
const byId = (id) => document.getElementById(id);
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });

const askedAt = new Map(); // question without an answer → when
let asked = 0; // the last question
let worker = null; // who answered on this socket
let openedAt = null;
let losses = 0;

const socket = new LiveSocket({
  address() {
    const url = new URL(byId("processes").dataset.socket, location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    return url;
  },
  onMessage({ answer, worker: from }) {
    if (answer === undefined) return;
    if (worker !== null && from !== worker) {
      const waited = ((performance.now() - askedAt.get(answer)) / SECOND).toFixed(1);
      const late = askedAt.size > 1 ? `; ${askedAt.size} messages had waited, up to ${waited} s` : "";
      tell(`Process ${from} is the worker now${late}. The WebSocket stayed open.`);
    }
    for (const question of askedAt.keys()) if (question <= answer) askedAt.delete(question);
    worker = from;
    show();
  },
  onState(state) {
    if (state === "open") {
      if (losses) tell("The WebSocket is open again.");
      openedAt = performance.now();
      worker = null;
      ask();
    } else if (openedAt !== null && state === "waiting") {
      openedAt = null;
      losses += 1;
      askedAt.clear();
      tell("The server closed the WebSocket; the page opens another.");
    }
    show();
  },
});

setInterval(() => {
  if (socket.isOpen) ask();
  show();
}, SECOND);

function ask() {
  asked += 1;
  askedAt.set(asked, performance.now());
  socket.send({ question: asked });
}

function show() {
  if (openedAt === null) fact("socket-fact", "wait", losses ? "lost, opening another" : "opening");
  else fact("socket-fact", "good", `open for ${span(performance.now() - openedAt)}, ${lost()}`);
  const oldest = Math.min(...askedAt.values());
  if (openedAt === null) fact("worker-fact", "wait", "cannot be asked just now");
  else if (performance.now() - oldest > SLOW) {
    fact("worker-fact", "wait", askedAt.size > 1 ? `none answers; ${askedAt.size} messages wait` : "does not answer yet");
  } else if (worker !== null) fact("worker-fact", "good", `process ${worker} answers`);
}

function fact(id, state, text) {
  byId(id).dataset.state = state;
  byId(id).textContent = text;
}

function lost() {
  return losses === 0 ? "never lost" : losses === 1 ? "lost once" : `lost ${losses} times`;
}

function span(milliseconds) {
  const seconds = Math.round(milliseconds / SECOND);
  return seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

function tell(text) {
  const line = document.createElement("li");
  const time = document.createElement("time");
  time.textContent = clock.format(new Date());
  line.append(time, text);
  byId("events").append(line);
  while (byId("events").children.length > EVENTS) byId("events").firstElementChild.remove();
}

byId("processes").addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = event.submitter;
  button.disabled = true;
  tell(`Restarting ${button.dataset.name} …`);
  try {
    const response = await fetch(event.target.action, { method: "POST", body: new FormData(event.target), redirect: "manual" });
    if (response.status >= 400) tell(response.status === 503 ? await response.text() : `Refused: ${response.status}.`);
  } catch {
    // The web server that is restarted may go before it has answered.
  }
  button.disabled = false;
});
