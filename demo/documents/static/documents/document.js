// A document: read it while others save, or edit it and be warned when somebody else does.

import { face, make } from "../demo/people.js";
import { byId, goLive, me } from "./live.js";

const pk = Number(document.querySelector("[data-document]").dataset.document);
const clock = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit" });
const draft = byId("draft");

let kept = null; // what the server has: title, text, version, changed, changed_by_name
let base = 0; // the version that the draft was made from
let editing = false;
let saving = false;

const { bridge, notices, sayWhere } = goLive({
  editing: () => editing,
  onPeople: showPeople,
  onOpen: () => { saving = false; show(); },
  onClose: () => { saving = false; show(); },
});
const stream = bridge.stream("text");
notices.titleOf = (other) => (other === pk ? kept?.title : null);

bridge.demultiplex("text", (message) => {
  if (message.action === "delete") return close();
  if (message.action === "refused") {
    saving = false;
    if (!message.conflict) warn("refused", message.reason);
    return show();
  }
  // A renaming carries a text too, which may be older than the one that has just been saved.
  if (kept && message.data.version < kept.version) return;
  const clean = !editing || draft.value === kept?.text;
  kept = message.data;
  if (clean || draft.value === kept.text) take();
  show();
});

// The draft is what the server has.
function take() {
  const { selectionStart, selectionEnd } = draft;
  if (draft.value !== kept.text) {
    draft.value = kept.text;
    draft.setSelectionRange(selectionStart, selectionEnd);
  }
  base = kept.version;
  saving = false;
}

function show() {
  if (!kept) return;
  const open = bridge.socket.readyState === WebSocket.OPEN;
  const changed = editing && draft.value !== kept.text;
  const behind = changed && base < kept.version;
  byId("title").textContent = kept.title;
  document.title = document.title.replace(/^.*(?= · )/, kept.title);
  byId("saved").textContent = saving ? "Saving …" : changed ? "Not saved yet"
    : kept.version ? `Saved by ${kept.changed_by_name || "somebody"}, ${clock.format(new Date(kept.changed))}` : "New";
  byId("text").textContent = kept.text;
  byId("text").hidden = editing;
  byId("quiet").hidden = editing || kept.text !== "";
  draft.hidden = !editing;
  byId("reading").hidden = editing;
  byId("editing").hidden = !editing;
  byId("edit").disabled = !open;
  byId("save").disabled = !open || !changed || behind || saving;
  byId("done").textContent = changed ? "Discard" : "Done";
  byId("conflict").hidden = !behind;
  if (behind) byId("conflict-text").textContent = `${kept.changed_by_name || "Somebody"} saved another text meanwhile. Yours is not saved.`;
}

function edit(begin) {
  editing = begin;
  take();
  byId("refused").hidden = true;
  show();
  sayWhere();
  if (begin) draft.focus();
  else byId("edit").focus();
}

function save() {
  if (byId("save").disabled) return;
  saving = true;
  byId("refused").hidden = true;
  stream.send({ action: "update", pk, data: { text: draft.value, version: base } });
  show();
}

function close() {
  bridge.socket.close(1000, "", { keepClosed: true });
  byId("connection").textContent = "Closed";
  byId("edit").disabled = byId("save").disabled = true;
  draft.readOnly = true;
  byId("together").hidden = byId("conflict").hidden = true;
  warn("gone", "This document was deleted. What you see is the last of it.");
}

function warn(id, text) {
  byId(id).textContent = text;
  byId(id).hidden = false;
}

function showPeople(everybody) {
  const there = everybody.filter((person) => person.edits[pk] || person.reads[pk]);
  byId("people").replaceChildren(...there.map((person) => {
    const row = make("li", person.edits[pk] ? "person editor" : "person");
    row.append(face(person.name), make("p", "", `${person.id === me.id ? "You" : person.name} ${doing(person)}`));
    return row;
  }));

  const others = there.filter((person) => person.id !== me.id && person.edits[pk]).map((person) => person.name);
  const twice = there.some((person) => person.id === me.id && person.edits[pk] > 1);
  let warning = "";
  if (editing && others.length) {
    const who = `${others.join(" and ")} ${others.length > 1 ? "are" : "is"}`;
    warning = `${who} editing this document too. Whoever saves second has to choose between the texts.`;
  } else if (editing && twice) {
    warning = "You are editing this document in another window too.";
  }
  // Not written again when nothing is new: it would be read out again.
  if (byId("together").textContent !== warning) byId("together").textContent = warning;
  byId("together").hidden = !warning;
}

function doing(person) {
  const verb = person.edits[pk] ? "edit" : "read";
  return person.id === me.id ? verb : `${verb}s`;
}

byId("edit").addEventListener("click", () => edit(true));
byId("done").addEventListener("click", () => edit(false));
byId("save").addEventListener("click", save);
byId("theirs").addEventListener("click", () => { take(); show(); });
byId("mine").addEventListener("click", () => { base = kept.version; show(); });
draft.addEventListener("input", show);
addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && event.key === "s" && editing) {
    event.preventDefault();
    save();
  }
});
addEventListener("beforeunload", (event) => {
  if (editing && kept && draft.value !== kept.text) event.preventDefault();
});
