// A chat room: keeps the socket, what is yet unsent, and who this is.

import { showConnection } from "../demo/connection.js";
import { LiveSocket } from "../demo/live_socket.js";
import { MessageLog } from "./log.js";
import { keepKey, keptName, keepName } from "./identity.js";

const byId = (id) => document.getElementById(id);
const composer = byId("composer");
const nameField = byId("name");
const textField = byId("text");
const refused = byId("refused");

const log = new MessageLog({ scroller: byId("log"), list: byId("messages"), quiet: byId("quiet"), newer: byId("newer") });
log.add(JSON.parse(byId("history").textContent), { fresh: false });

nameField.value = keptName();

// What has not come back from the server yet, by its key. It is sent again after a reconnection: the server
// keeps each key once, so nothing is lost and nothing is said twice.
const unconfirmed = new Map();

const socket = new LiveSocket({
  address() {
    const url = new URL(location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    url.hash = "";
    url.search = new URLSearchParams({ name: nameField.value, after: log.lastId });
    return url;
  },
  onMessage({ messages, here, refused: reason, key }) {
    if (messages) {
      messages.forEach((message) => unconfirmed.delete(message.key));
      log.add(messages, { fresh: true });
    }
    if (here !== undefined) showHere(here);
    if (reason) {
      unconfirmed.delete(key);
      log.drop(key);
      refused.textContent = reason;
      refused.hidden = false;
    }
  },
  onState: showState,
});

function showState(state, delay) {
  showConnection(state, delay);
  if (state === "open") unconfirmed.forEach((said) => socket.send(said));
  else byId("here").hidden = true;
}

function showHere(count) {
  byId("here").textContent = count === 1 ? "Only you are here" : `${count} are here`;
  byId("here").hidden = count < 1;
}

composer.addEventListener("submit", (event) => {
  event.preventDefault();
  const text = textField.value.trim();
  if (!text) return;
  const said = { text, name: nameField.value, key: newKey() };
  keepKey(said.key);
  unconfirmed.set(said.key, said);
  log.add([{ ...said, sent: new Date().toISOString() }], { fresh: true });
  if (socket.isOpen) socket.send(said);
  textField.value = "";
  textField.focus();
  refused.hidden = true;
});

textField.addEventListener("keydown", (event) => {
  // Enter sends, Shift and Enter breaks the line; an input method's Enter only ends its word.
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    composer.requestSubmit();
  }
});

nameField.addEventListener("change", () => {
  nameField.value = keepName(nameField.value);
  if (socket.isOpen) socket.send({ name: nameField.value });
});

nameField.addEventListener("keydown", (event) => {
  if (event.key === "Enter") {
    event.preventDefault();
    textField.focus();
  }
});

function newKey() {
  // crypto.randomUUID needs https, and this page is also opened as http://192.168.…
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
