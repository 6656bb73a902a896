// Shows one connection, and its events as they come.
"use strict";

(() => {
  const { byId, element, number, duration, age, notices, live, fetched } = Elements;
  const { now, name, every } = document.body.dataset;
  const MOST = 200;
  const CLOCK = { hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3, hourCycle: "h23" };
  const SIDES = { "frame from client": "in", "frame to client": "out", "opened": "good", "closing": "bad" };
  const events = new Map(); // those that were seen while the page was open, by what tells them apart
  let row = null;
  let over = false;

  function bytes(count) {
    if (count < 1000) return `${number(count)} B`;
    return count < 1000000 ? `${number(count / 1000)} kB` : `${number(count / 1000000)} MB`;
  }

  function showFacts() {
    const facts = [
      ["User", row.user || "not known"],
      ["Client", row.client || "not known"],
      ["Age", age(row.age)],
      ["Groups", row.groups.join(", ") + (row.groups_count > row.groups.length ? ` and ${row.groups_count - row.groups.length} more` : "") || "none"],
      ["Consumer", row.consumer || "not known"],
      ["Worker", row.worker || "not known"],
      ["Waits for the client", bytes(row.outbox_bytes)],
      ["Waits for its turn", bytes(row.read_ahead_bytes)],
    ];
    if (row.frames !== null) facts.push(["Frames so far", number(row.frames)]);
    byId("path").textContent = row.path;
    byId("facts").replaceChildren(...facts.flatMap(([title, text]) => [element("dt", { text: title }),
      element("dd", { text, class: text === "not known" || text === "none" ? "muted" : null })]));
  }

  function showTurn() {
    const box = byId("turn");
    const turn = over ? null : row.turn;
    box.classList.toggle("busy", Boolean(turn));
    if (!turn) {
      box.textContent = over ? "" : "No turn under way.";
      return;
    }
    const where = turn.stored ? "" : ", on its way to the channel layer";
    box.textContent = `Turn ${turn.number} for ${duration(turn.seconds)}${where}${turn.consumer ? `, in ${turn.consumer}` : ""}`;
  }

  function showEvents() {
    const shown = [...events.values()].sort((one, other) => other[0] - one[0]).slice(0, MOST);
    byId("events").replaceChildren(...shown.map(([at, word, size], place) => {
      const before = shown[place + 1];
      const gap = before ? at - before[0] : 0;
      const time = new Date(at * 1000);
      const clock = time.toLocaleTimeString(undefined, CLOCK);
      return element("li", { class: SIDES[word] || "other" },
        element("time", { text: clock, datetime: time.toISOString() }),
        element("span", { text: word }),
        element("span", { class: "size", text: size ? bytes(size) : "" }),
        element("span", { class: "gap muted", text: gap >= 1 ? `after ${age(gap)}` : "" }));
    }));
    byId("hint").textContent = row.kind !== "websocket" ? "No events are kept of requests." :
      events.size ? "Times, kinds and sizes alone are kept, never what was said." :
        "From now on its events are kept, and appear here.";
  }

  function take(answer) {
    if (answer.error) {
      over = Boolean(answer.gone);
      live(over ? "" : "bad", over ? "closed" : "no answer");
      if (!row || !over) notices([["bad", answer.error]]);
    } else if (answer.connection) {
      notices([]);
      row = answer.connection;
      live(row.state === "open" ? "good" : "wait", row.state);
      for (const event of row.events || []) events.set(event.join(" "), event);
      showFacts();
      showEvents();
    } else {
      live("wait", "no answer");
      notices(answer.problems.map((text) => ["bad", text]));
    }
    if (row) showTurn();
    if (byId("close")) byId("close").hidden = over || !row || row.kind !== "websocket";
  }

  async function look() {
    try {
      take(await fetched(`${now}?${new URLSearchParams({ name })}`));
    } catch (error) {
      live("wait", "connecting again");
    }
    if (!over) setTimeout(look, Number(every) * 1000);
  }

  if (byId("close")) {
    byId("close").addEventListener("click", () => Closing.ask("Close this WebSocket?", { name }, () => {}));
  }
  look();
})();
