// The panel of the processes: a socket that asks each second, the buttons, and what happened.

import { showFact, showSocket, tell } from "../demo/facts.js";
import { LiveSocket } from "../demo/live_socket.js";
import { letRestart } from "../demo/restart.js";

const SECOND = 1000;
const SLOW = 1500;
const byId = (id) => document.getElementById(id);

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
      happened(`Process ${from} is the worker now${late}. The WebSocket stayed open.`);
    }
    for (const question of askedAt.keys()) if (question <= answer) askedAt.delete(question);
    worker = from;
    show();
  },
  onState(state) {
    if (state === "open") {
      if (losses) happened("The WebSocket is open again.");
      openedAt = performance.now();
      worker = null;
      ask();
    } else if (openedAt !== null && state === "waiting") {
      openedAt = null;
      losses += 1;
      askedAt.clear();
      happened("The server closed the WebSocket; the page opens another.");
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
  showSocket("socket-fact", openedAt, losses);
  const oldest = Math.min(...askedAt.values());
  if (openedAt === null) showFact("worker-fact", "wait", "cannot be asked just now");
  else if (performance.now() - oldest > SLOW) {
    showFact("worker-fact", "wait", askedAt.size > 1 ? `none answers; ${askedAt.size} messages wait` : "does not answer yet");
  } else if (worker !== null) showFact("worker-fact", "good", `process ${worker} answers`);
}

function happened(text) {
  tell(byId("events"), text);
}

letRestart(byId("processes"), happened);
