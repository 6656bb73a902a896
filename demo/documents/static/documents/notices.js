// Short notices of what others do: on the page, and as the system's notifications while the page is in the background.

import { face, make } from "../demo/people.js";

const SHOWN_MILLISECONDS = 7000;
const AT_ONCE = 3;

export class Notices {
  constructor(list, me) {
    Object.assign(this, { list, me });
    this.titleOf = () => null;
  }

  // What the server tells about somebody's action.
  hear({ who, id, did, title, before }) {
    if (id === this.me.id) return;
    this.show({ who, text: before ? `renamed “${before}” to` : did, title });
  }

  // document: id of one whose title the page may know.
  show({ who, text, title, document: pk }) {
    const what = title ?? (pk && this.titleOf(pk)) ?? (pk ? "a document" : null);
    const row = make("li", "notice");
    const words = make("p", "");
    words.append(make("b", "", who), ` ${text}`, ...(what ? [" ", make("i", "", what)] : []));
    row.append(face(who), words);
    this.list.append(row);
    while (this.list.children.length > AT_ONCE) this.list.firstElementChild.remove();
    setTimeout(() => row.remove(), SHOWN_MILLISECONDS);
    if (document.hidden && globalThis.Notification?.permission === "granted") {
      new Notification(words.textContent, { tag: `millrace-${who}` });
    }
  }

  // Shows a button that asks for the permission, where there is something to ask.
  offer(button) {
    const asks = () => globalThis.isSecureContext && globalThis.Notification?.permission === "default";
    button.hidden = !asks();
    button.addEventListener("click", async () => {
      await Notification.requestPermission();
      button.hidden = !asks();
    });
  }
}
