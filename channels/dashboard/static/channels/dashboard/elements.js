// Elements and texts that all pages make.
"use strict";

const Elements = (() => {
  const byId = (id) => document.getElementById(id);

  function element(name, attributes = {}, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (key === "text") made.textContent = value;
      else if (value !== null) made.setAttribute(key, value);
    }
    made.append(...children);
    return made;
  }

  const round = new Intl.NumberFormat(undefined, { maximumFractionDigits: 0 });
  const fine = new Intl.NumberFormat(undefined, { maximumFractionDigits: 1 });
  const number = (value) => (value >= 100 || Number.isInteger(value) ? round : fine).format(value);

  function duration(seconds) {
    if (seconds === null) return "–";
    if (seconds < 0.01) return `${fine.format(seconds * 1000)} ms`;
    if (seconds < 1) return `${round.format(seconds * 1000)} ms`;
    return `${fine.format(seconds)} s`;
  }

  function age(seconds) {
    if (seconds < 90) return `${Math.max(0, Math.round(seconds))} s`;
    if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
    if (seconds < 172800) return `${Math.round(seconds / 3600)} h`;
    return `${Math.round(seconds / 86400)} days`;
  }

  function plural(count, what) {
    return `${number(count)} ${what}${count === 1 ? "" : "s"}`;
  }

  function notices(list) {
    byId("notices").replaceChildren(...list.map(([kind, text]) => element("li", { class: `notice ${kind}`, text })));
  }

  function live(kind, text) {
    byId("live").className = `pill ${kind}`;
    byId("live").textContent = text;
  }

  // An answer as JSON. Who has been logged out meanwhile is sent to log in.
  async function fetched(url, options = {}) {
    const response = await fetch(url, { credentials: "same-origin", ...options });
    if (response.redirected || !(response.headers.get("Content-Type") || "").includes("json")) {
      window.location.reload();
      throw new Error("not logged in");
    }
    return response.json();
  }

  return { byId, element, round, fine, number, duration, age, plural, notices, live, fetched };
})();
