// The list of documents: whatever anybody does to it appears at once.

import { coloured, face, make } from "../demo/people.js";
import { byId, goLive, me } from "./live.js";

const PEN = '<svg viewBox="0 0 24 24" width="18" height="18" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true"><path d="M4 20h4L19 9l-4-4L4 16zM13.5 6.5l4 4"/></svg>';
const BIN = '<svg viewBox="0 0 24 24" width="18" height="18" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true"><path d="M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13"/></svg>';
const passed = new Intl.RelativeTimeFormat("en", { numeric: "auto" });

const documents = new Map(); // id → what the binding says
const rows = new Map(); // id → its element
let people = [];

const { bridge, notices } = goLive({
  editing: () => false,
  onPeople: (everybody) => { people = everybody; showPeople(); showReaders(); },
  onOpen: () => { byId("refused").hidden = true; },
  onClose: () => {},
});
const stream = bridge.stream("documents");
notices.titleOf = (pk) => documents.get(pk)?.title;
notices.offer(byId("ask"));

bridge.demultiplex("documents", (message) => {
  if (message.action === "refused") return refuse(message.reason);
  if (message.action === "list") {
    documents.clear();
    message.documents.forEach(({ pk, data }) => documents.set(pk, data));
  } else if (message.action === "delete") {
    documents.delete(message.pk);
  } else {
    documents.set(message.pk, message.data);
  }
  showDocuments(message.action === "create" ? message.pk : null);
});

byId("new").addEventListener("submit", (event) => {
  event.preventDefault();
  if (send({ action: "create", data: { title: byId("title").value } })) byId("title").value = "";
});

function send(action) {
  byId("refused").hidden = true;
  try {
    stream.send(action);
    return true;
  } catch {
    refuse("There is no connection just now. Try again in a moment.");
    return false;
  }
}

function refuse(reason) {
  byId("refused").textContent = reason;
  byId("refused").hidden = false;
}

function showDocuments(fresh) {
  for (const [pk, row] of rows) {
    if (!documents.has(pk)) {
      row.remove();
      rows.delete(pk);
    }
  }
  const order = [...documents].sort(([, one], [, other]) => one.title.localeCompare(other.title));
  for (const [pk, data] of order) {
    if (!rows.has(pk)) rows.set(pk, makeRow(pk, fresh === pk));
    const row = rows.get(pk);
    row.querySelector(".title").textContent = data.title;
    row.querySelector(".when").textContent = `${data.changed_by_name || "somebody"}, ${ago(data.changed)}`;
    byId("documents").append(row);
  }
  byId("quiet").hidden = documents.size > 0;
  showPeople();
  showReaders();
}

function makeRow(pk, fresh) {
  const row = make("li", fresh ? "document fresh" : "document");
  const link = make("a", "");
  link.href = `${pk}/`;
  link.append(make("span", "title"), make("span", "when"));
  row.append(link, make("ul", "readers"), tool("Rename", PEN, () => rename(pk)), tool("Delete", BIN, () => remove(pk)));
  return row;
}

function tool(name, icon, act) {
  const button = make("button", "tool");
  button.type = "button";
  button.title = name;
  button.innerHTML = icon;
  button.append(make("span", "unseen", name));
  button.addEventListener("click", act);
  return button;
}

function rename(pk) {
  const field = byId("rename-to");
  field.value = documents.get(pk)?.title ?? "";
  ask(byId("rename"), () => send({ action: "update", pk, data: { title: field.value } }));
  field.select();
}

function remove(pk) {
  byId("delete-title").textContent = documents.get(pk)?.title ?? "";
  ask(byId("delete"), () => send({ action: "delete", pk }));
}

function ask(dialog, act) {
  dialog.returnValue = "";
  dialog.showModal();
  dialog.onclose = () => dialog.returnValue === "yes" && act();
}

function showPeople() {
  byId("people").replaceChildren(...people.map((person) => {
    const row = make("li", "person");
    const words = make("p", "");
    words.append(make("b", "", person.id === me.id ? `${person.name} (you)` : person.name), make("span", "", whereIs(person)));
    row.append(face(person.name), words);
    return row;
  }));
}

function whereIs(person) {
  const titles = (pks) => Object.keys(pks).map((pk) => documents.get(Number(pk))?.title).filter(Boolean).join(", ");
  const places = [["edits", titles(person.edits)], ["reads", titles(person.reads)]].filter(([, what]) => what);
  return places.map((place) => place.join(" ")).join(", ") || "looks at the list";
}

// Beside each document the faces of those who have it open; who edits it has a pen.
function showReaders() {
  for (const [pk, row] of rows) {
    const there = people.filter((person) => person.edits[pk] || person.reads[pk]);
    row.querySelector(".readers").replaceChildren(...there.map((person) => {
      const reader = coloured(make("li", person.edits[pk] ? "reader editor" : "reader"), person.name);
      reader.title = `${person.name} ${person.edits[pk] ? "is editing" : "is reading"}`;
      reader.append(face(person.name), make("span", person.edits[pk] ? "doing" : "unseen", reader.title));
      return reader;
    }));
  }
}

function ago(moment) {
  const seconds = (Date.now() - new Date(moment)) / 1000;
  if (seconds < 45) return "just now";
  if (seconds < 2700) return passed.format(-Math.round(seconds / 60), "minute");
  if (seconds < 72000) return passed.format(-Math.round(seconds / 3600), "hour");
  return passed.format(-Math.round(seconds / 86400), "day");
}

setInterval(() => showDocuments(null), 30_000);
