// The list of messages: in the order of their ids, each once, those still under way at the end.
// Everything people wrote goes in as textContent, so markup stays text.

import { coloured, face, make } from "../demo/people.js";
import { isMine } from "./identity.js";

const clock = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit" });
const calendar = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const TOGETHER = 5 * 60 * 1000;

export class MessageLog {
  constructor({ scroller, list, quiet, newer }) {
    Object.assign(this, { scroller, list, quiet, newer });
    this.items = new Map();
    this.lastId = 0;
    newer.addEventListener("click", () => this.toEnd("smooth"));
    // The keyboard of a phone takes room away; what was at the end stays at the end.
    this.followed = true;
    scroller.addEventListener("scroll", () => {
      this.followed = this.atEnd;
      if (this.followed) newer.hidden = true;
    });
    new ResizeObserver(() => { if (this.followed) this.toEnd(); }).observe(scroller);
  }

  get atEnd() {
    return this.scroller.scrollHeight - this.scroller.scrollTop - this.scroller.clientHeight < 40;
  }

  toEnd(behavior = "instant") {
    this.scroller.scrollTo({ top: this.scroller.scrollHeight, behavior });
  }

  // Messages without an id are ones this page has just sent; they are replaced when they come back with one.
  add(messages, { fresh }) {
    const follow = this.atEnd || messages.some((message) => !message.id);
    let news = false;
    for (const message of messages) {
      const known = this.items.get(message.key);
      if (known?.id) continue;
      news ||= !known;
      known?.element.remove();
      this.place(message, fresh && !known);
      this.lastId = Math.max(this.lastId, message.id ?? 0);
    }
    this.arrange();
    this.quiet.hidden = this.items.size > 0;
    if (follow) this.toEnd();
    else if (news) this.newer.hidden = false;
  }

  drop(key) {
    this.items.get(key)?.element.remove();
    this.items.delete(key);
    this.arrange();
  }

  place(message, fresh) {
    const item = { ...message, id: message.id ?? 0, sent: new Date(message.sent), element: render(message, fresh) };
    this.items.set(message.key, item);
    const rank = item.id || Infinity;
    let before = this.list.lastElementChild;
    while (before && (before.className === "day" || this.rankOf(before) > rank)) before = before.previousElementSibling;
    if (before) before.after(item.element);
    else this.list.prepend(item.element);
  }

  rankOf(element) {
    return this.items.get(element.dataset.key)?.id || Infinity;
  }

  // Days get a heading, and one person's messages stand together under one name.
  arrange() {
    this.list.querySelectorAll(".day").forEach((heading) => heading.remove());
    let previous = null;
    for (const element of [...this.list.children]) {
      const item = this.items.get(element.dataset.key);
      const newDay = previous?.sent.toDateString() !== item.sent.toDateString();
      if (newDay) element.before(dayHeading(item.sent));
      const together = !newDay && previous.name === item.name && isMine(previous.key) === isMine(item.key)
        && item.sent - previous.sent < TOGETHER;
      element.classList.toggle("first", !together);
      previous = item;
    }
  }
}

function render(message, fresh) {
  const row = make("li", "message");
  row.dataset.key = message.key;
  row.classList.toggle("mine", isMine(message.key));
  row.classList.toggle("waiting", !message.id);
  row.classList.toggle("fresh", fresh);

  const byline = make("p", "byline");
  const time = make("time", "", clock.format(new Date(message.sent)));
  time.dateTime = message.sent;
  byline.append(coloured(make("b", "", message.name), message.name), time);
  row.append(face(message.name), byline, make("p", "text", message.text));
  if (!message.id) row.append(make("p", "state", "Waiting to be delivered"));
  return row;
}

function dayHeading(date) {
  const today = new Date().toDateString() === date.toDateString();
  return make("li", "day", today ? "Today" : calendar.format(date));
}
