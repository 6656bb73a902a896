// Finds connections, and looks again every few seconds.
"use strict";

(() => {
  const { byId, element, number, age, plural, notices, live, fetched } = Elements;
  const { found: url, one } = document.body.dataset;
  const AGAIN = 5000;
  const PAUSE = 250; // after a key
  const form = byId("search");
  let timer = null;
  let asked = 0;
  let open = 0;

  function query() {
    const filled = [...new FormData(form)].map(([key, value]) => [key, value.trim()]).filter(([, value]) => value);
    return new URLSearchParams(filled);
  }

  // What is looked for, without how.
  function which() {
    const filters = query();
    filters.delete("requests");
    return Object.fromEntries(filters);
  }

  function row(connection) {
    const link = element("a", { href: `${one}?${new URLSearchParams({ name: connection.name })}`, text: connection.path || "/" });
    const more = connection.groups_count - Math.min(2, connection.groups.length);
    const groups = connection.groups.slice(0, 2).join(", ") + (more > 0 ? ` +${more}` : "");
    const cell = (label, text, kind = null) => element("td", { "data-label": label, text: text || "–", class: text ? kind : "muted" });
    const kind = connection.state === "open" ? connection.kind : `${connection.kind}, ${connection.state}`;
    return element("tr", {}, element("td", {}, link), cell("User", connection.user), cell("Groups", groups),
      cell("Client", connection.client, "mono"), cell("Age", age(connection.age)), cell("Kind", kind));
  }

  function show(answer) {
    if (answer.error) {
      notices([["bad", answer.error]]);
      live("bad", "no answer");
      return;
    }
    if (answer.problems.length) notices(answer.problems.map((problem) => ["bad", problem]));
    live(answer.problems.length ? "wait" : "good", answer.problems.length ? "in part" : "live");
    const { count, connections } = answer;
    const shown = connections.length < count ? `, the oldest ${number(connections.length)} shown` : "";
    byId("count").textContent = plural(count, "connection") + shown;
    document.querySelector("#connections tbody").replaceChildren(...connections.map(row));
    if (!count) {
      const nothing = Object.keys(which()).length ? "No open connection fits." : "No connection is open.";
      document.querySelector("#connections tbody").append(element("tr", {}, element("td", { text: nothing, colspan: "6", class: "muted" })));
    }
    open = count;
    const close = byId("close");
    if (close) {
      close.hidden = !Object.keys(which()).length || !count || form.elements.requests.checked;
      close.textContent = `Close ${number(count)}…`;
    }
  }

  async function look() {
    clearTimeout(timer);
    const mine = (asked += 1);
    try {
      const answer = await fetched(`${url}?${query()}`);
      if (mine === asked) show(answer);
    } catch (error) {
      live("wait", "connecting again");
    }
    if (mine === asked) timer = setTimeout(look, AGAIN);
  }

  function changed() {
    const text = query().toString();
    window.history.replaceState(null, "", text ? `?${text}` : window.location.pathname);
    notices([]);
    clearTimeout(timer);
    timer = setTimeout(look, PAUSE);
  }

  for (const [key, value] of new URLSearchParams(window.location.search)) {
    const field = form.elements[key];
    if (field && field.type === "checkbox") field.checked = true;
    else if (field) field.value = value;
  }
  form.addEventListener("input", changed);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    look();
  });
  if (byId("close")) {
    byId("close").addEventListener("click", () => {
      const words = Object.entries(which()).map(([key, value]) => `${key} ${value}`).join(", ");
      Closing.ask(`Close ${plural(open, "WebSocket")} with ${words}?`, which(), look);
    });
  }
  look();
})();
