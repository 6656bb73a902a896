// A whiteboard: what is drawn here goes to the instance that the worker has for this page, and what it says is shown.

import { showConnection } from "../demo/connection.js";
import { showFact, showSocket, tell } from "../demo/facts.js";
import { LiveSocket } from "../demo/live_socket.js";
import { letRestart } from "../demo/restart.js";
import { Canvas } from "./canvas.js";
import { Outbox } from "./outbox.js";
import { Pen } from "./pen.js";

const SECOND = 1000;
const SLOW = 1000;
const ASK_MILLISECONDS = 300;
const ASK_SECONDS = 30;

const byId = (id) => document.getElementById(id);
const { wide, high, pointsMost } = Object.fromEntries(
  Object.entries(byId("board").dataset).map(([name, value]) => [name, Number(value)]));
const canvas = new Canvas({
  kept: byId("kept"), live: byId("live"), pointers: byId("pointers"), quiet: byId("quiet"), wide, high,
});
const players = new Map(); // the others, by their ids
let me = null; // the instance, as it said last
let pen = null; // what is in hand: colour and width
let key = null; // of the stroke that is being drawn
let worker = null; // who answered last on this socket
let openedAt = null;
let losses = 0;

const outbox = new Outbox({ send: (message) => socket.send(message), onLost: sendAgain });

const socket = new LiveSocket({
  address() {
    const url = new URL(location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    url.search = url.hash = "";
    return url;
  },
  onMessage(message) {
    // After a deploy a page may be older than the code that talks to it.
    hear[message.type]?.(message);
  },
  onState(state, delay) {
    showConnection(state, delay);
    if (state === "open") openedAt = performance.now();
    else if (state === "waiting" && openedAt !== null) lose();
    show();
  },
});

// What the instance says.
const hear = {
  board(board) {
    canvas.replace(board);
  },
  change(change) {
    if (!canvas.change(change)) outbox.add({ type: "board" });
  },
  self(news) {
    if (me?.player !== news.player) start(news);
    me = news;
    showSelf();
  },
  done({ n, worker: from }) {
    const waited = outbox.done(n);
    if (worker !== null && from !== worker) {
      happened(`Process ${from} took over; an event waited ${seconds(waited)}. The WebSocket stayed open.`);
    }
    worker = from;
    showFact("event-fact", "good", `process ${from}, ${seconds(waited)}`);
  },
  refused({ reason }) {
    byId("refused").textContent = reason;
    byId("refused").hidden = false;
  },
  player({ player, name, color }) {
    players.set(player, { id: player, name, color });
    showHere();
  },
  drew({ player, stroke }) {
    canvas.drawTheirs(player, stroke);
    if (players.has(player)) canvas.point(players.get(player), stroke.points.slice(-2));
  },
  pointed({ player, at }) {
    if (players.has(player)) canvas.point(players.get(player), at);
  },
  left({ player }) {
    players.delete(player);
    canvas.forget(player);
    showHere();
  },
};

// The first words of a new instance. It has the name and the pen of before, if there was one.
function start(news) {
  outbox.restart();
  if (me) {
    happened("The WebSocket is open again, with a new instance.");
    outbox.add({ type: "name", name: me.name });
    outbox.add({ type: "pen", ...pen });
    sendAgain();
  } else takePen({ color: news.color, width: news.width });
  outbox.add({ type: "ask" });
}

function lose() {
  openedAt = null;
  losses += 1;
  worker = null;
  outbox.close();
  players.forEach((player) => canvas.forget(player.id));
  players.clear();
  happened("The server closed the WebSocket; the page opens another.");
  showHere();
}

// Strokes of which parts may be lost go as a whole. The server knows each by its key.
function sendAgain() {
  for (const [key, stroke] of canvas.mine) {
    stroke.incomplete = true;
    if (stroke.ended) sendWhole(key, stroke);
  }
}

function sendWhole(key, { color, width, points }) {
  outbox.drop(key);
  outbox.add({ type: "stroke", key, color, width, points });
}

new Pen(byId("board"), {
  wide,
  high,
  onDraw(points) {
    byId("refused").hidden = true;
    while (points.length) {
      key ??= newKey();
      const room = 2 * pointsMost - (canvas.mine.get(key)?.points.length ?? 0);
      const part = points.slice(0, room);
      canvas.draw(key, pen, part);
      outbox.add({ type: "draw", key, points: [...part] });
      // A line that is too long for one stroke goes on with another, from where it is.
      points = points.length < room ? [] : [...part.slice(-2), ...points.slice(room)];
      if (points.length) endStroke();
    }
  },
  onLift() {
    if (key !== null) endStroke();
  },
  onHover(point) {
    if (players.size) outbox.add({ type: "point", points: point });
  },
  onAim(point) {
    canvas.point({ id: "me", name: "Your pen", color: pen.color }, point);
  },
});

function endStroke() {
  const stroke = canvas.mine.get(key);
  stroke.ended = true;
  if (stroke.incomplete) sendWhole(key, stroke);
  else outbox.add({ type: "end", key });
  key = null;
}

function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

// The tools

function takePen(chosen) {
  pen = chosen;
  byId("tools").dataset.color = pen.color;
  for (const [name, value] of Object.entries(pen)) document.querySelector(`[name=${name}][value="${value}"]`).checked = true;
}

byId("pens").addEventListener("change", () => {
  const chosen = new FormData(byId("pens"));
  takePen({ color: chosen.get("color"), width: Number(chosen.get("width")) });
  outbox.add({ type: "pen", ...pen });
});

byId("pens").addEventListener("submit", (event) => event.preventDefault());

for (const type of ["undo", "redo"]) byId(type).addEventListener("click", () => outbox.add({ type }));

byId("clear").addEventListener("click", () => byId("clearing").showModal());

byId("clearing").addEventListener("close", () => {
  if (byId("clearing").returnValue === "yes") outbox.add({ type: "clear" });
  byId("clearing").returnValue = "";
});

byId("name").addEventListener("change", () => {
  if (byId("name").value.trim()) outbox.add({ type: "name", name: byId("name").value });
  else if (me) byId("name").value = me.name;
});

byId("name").addEventListener("keydown", (event) => {
  if (event.key === "Enter") byId("name").blur();
});

document.addEventListener("keydown", (event) => {
  if (!(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "z" || event.target === byId("name")) return;
  event.preventDefault();
  outbox.add({ type: event.shiftKey ? "redo" : "undo" });
});

// With the mouse in the middle of a line, a key is needed.
byId("board").addEventListener("keydown", (event) => {
  const button = byId("connection-card").querySelector("button");
  if (button && event.key.toLowerCase() === "r" && !event.repeat && !event.ctrlKey && !event.metaKey) button.click();
});

// The facts

setInterval(show, SECOND / 2);

function show() {
  showSocket("socket-fact", openedAt, losses);
  if (openedAt === null) showFact("event-fact", "wait", "none can be sent just now");
  else if (outbox.delay > SLOW) showFact("event-fact", "wait", `waits for a worker, ${seconds(outbox.delay)}`);
}

function showSelf() {
  for (const name of ["drawn", "undoable", "redoable"]) byId(`self-${name}`).textContent = me[name];
  byId("self-pen").textContent = `${me.color}, ${me.width}`;
  byId("self-pen").dataset.color = me.color;
  byId("moves-fact").textContent = me.moves === 0 ? "not yet" : me.moves === 1 ? "once" : `${me.moves} times`;
  byId("undo").disabled = !me.undoable;
  byId("redo").disabled = !me.redoable;
  if (document.activeElement !== byId("name")) byId("name").value = me.name;
}

function showHere() {
  const names = [...players.values()].map(({ name }) => name);
  byId("here").textContent = names.length ? `With ${list.format(names)}` : "Only you are here";
}

const list = new Intl.ListFormat("en-GB");

function happened(text) {
  tell(byId("events"), text);
}

function seconds(milliseconds) {
  return milliseconds < SECOND ? `${Math.max(1, Math.round(milliseconds))} ms` : `${(milliseconds / SECOND).toFixed(1)} s`;
}

// Whoever restarts the worker draws nothing at that moment: the page asks until another answers.
letRestart(byId("connection-card"), (text) => {
  happened(text);
  const [before, until] = [worker, performance.now() + ASK_SECONDS * SECOND];
  const timer = setInterval(() => {
    if (worker !== before || performance.now() > until) clearInterval(timer);
    else if (outbox.delay === 0) outbox.add({ type: "ask" });
  }, ASK_MILLISECONDS);
});
