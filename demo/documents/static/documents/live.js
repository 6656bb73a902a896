// What the list and a document's page have in common: the socket with its streams, who is here, and notices.

import { showConnection } from "../demo/connection.js";
import { Notices } from "./notices.js";
import { Presence } from "./presence.js";

const BEAT_MILLISECONDS = 25_000;
// By this the server knows a window again that comes back on another socket.
const WINDOW = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

export const byId = (id) => document.getElementById(id);
export const me = JSON.parse(byId("me").textContent);

// editing: a function that says whether this page is editing. onPeople: called with everybody when that changes.
// onOpen, onClose: the connection comes and goes.
export function goLive({ editing, onPeople, onOpen, onClose }) {
  const bridge = new channels.WebSocketBridge({ minReconnectionDelay: 500 });
  const notices = new Notices(byId("notices"), me);
  const presence = new Presence({ onPeople, onArrival: (text) => notices.show(text), me });
  let leaving = false;
  const sayWhere = () => {
    if (bridge.socket.readyState === WebSocket.OPEN) bridge.stream("presence").send({ window: WINDOW, editing: editing() });
  };

  bridge.demultiplex("presence", (message) => presence.hear(message));
  bridge.demultiplex("notices", (notice) => notices.hear(notice));
  bridge.listen();
  bridge.connect(document.querySelector("[data-socket]").dataset.socket);
  showConnection("connecting");
  bridge.socket.addEventListener("open", () => {
    showConnection("open");
    sayWhere();
    onOpen();
  });
  bridge.socket.addEventListener("close", () => {
    showConnection("waiting", 2000);
    presence.forget();
    onClose();
    if (!leaving) askToSignIn();
  });
  // Who signs out here has the socket closed too, and is already on the way.
  byId("sign-out")?.addEventListener("submit", () => { leaving = true; });
  setInterval(sayWhere, BEAT_MILLISECONDS);
  document.addEventListener("visibilitychange", () => document.hidden || sayWhere());
  return { bridge, notices, sayWhere };
}

// A socket is refused without a reason that a page could see. If this page would lead to the sign-in, go there.
async function askToSignIn() {
  try {
    const response = await fetch(location.href, { method: "HEAD", redirect: "manual" });
    if (response.type === "opaqueredirect") location.reload();
  } catch {
    // The server is away; the bridge tries again.
  }
}
