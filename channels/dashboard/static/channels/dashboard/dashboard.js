// Shows each snapshot, and what has changed since the one before.
"use strict";

(() => {
  const { events, every, bounds: boundsText } = document.body.dataset;
  const bounds = JSON.parse(boundsText);
  const HISTORY = 90;
  const SHOWN_SECONDS = 300;
  const SMOOTH = 5; // figures are those of the last ten seconds, charts those of each report
  const snapshots = [];
  const seen = new Map(); // process → when it was first and last seen, and as what

  const { byId, element, round, number, duration, age, notices: showAsNotices, live } = Elements;

  // -- tiles -----------------------------------------------------------------------------------

  const TILES = [
    { name: "Open WebSockets", value: (f) => f.sockets, show: number },
    { name: "Frames/s", value: (f) => f.frames, show: number },
    { name: "Requests/s", value: (f) => f.requests, show: number },
    { name: "Group deliveries/s", value: (f) => f.deliveries, show: number },
    { name: "Turn, p95", title: "from a frame to the end of its consumer", value: (f) => f.turn95, show: duration },
    { name: "Wait on a channel, p95", value: (f) => f.wait95, show: duration },
    { name: "Errors", title: "of consumers, since the page was opened", sum: true, value: (f) => f.errors, show: number, bad: true },
    { name: "Lost or dropped", title: "messages, since the page was opened", sum: true, value: (f) => f.lost, show: number, bad: true },
  ];

  function buildTiles() {
    for (const tile of TILES) {
      tile.points = [];
      tile.total = 0;
      tile.figure = element("strong", { text: "–" });
      tile.line = document.createElementNS("http://www.w3.org/2000/svg", "path");
      tile.area = document.createElementNS("http://www.w3.org/2000/svg", "path");
      tile.area.setAttribute("class", "area");
      const chart = document.createElementNS("http://www.w3.org/2000/svg", "svg");
      chart.setAttribute("viewBox", "0 0 100 30");
      chart.setAttribute("preserveAspectRatio", "none");
      chart.setAttribute("aria-hidden", "true");
      chart.append(tile.area, tile.line);
      tile.box = element("div", { class: "tile", title: tile.title || null }, element("span", { text: tile.name }), tile.figure, chart);
      byId("tiles").append(tile.box);
    }
  }

  function showTiles(smooth, latest) {
    for (const tile of TILES) {
      const point = tile.value(latest);
      if (tile.sum) tile.total += point;
      tile.figure.textContent = tile.show(tile.sum ? tile.total : tile.value(smooth));
      tile.box.classList.toggle("bad", Boolean(tile.bad && tile.total));
      tile.points.push(point || 0);
      if (tile.points.length > HISTORY) tile.points.shift();
      const most = Math.max(...tile.points, 1e-9);
      const step = 100 / (HISTORY - 1);
      const start = HISTORY - tile.points.length;
      const places = tile.points.map((value, at) => `${((start + at) * step).toFixed(2)},${(28 - (value / most) * 25).toFixed(2)}`);
      tile.line.setAttribute("d", `M${places.join("L")}`);
      tile.area.setAttribute("d", `M${(start * step).toFixed(2)},30L${places.join("L")}L100,30Z`);
    }
  }

  // -- processes -------------------------------------------------------------------------------

  function remember(processes, at) {
    for (const process of processes) {
      const known = seen.get(process.name) || { from: Math.max(process.started * 1000 || at, at - SHOWN_SECONDS * 1000) };
      const gone = process.verdict === "ended" || process.verdict === "lost";
      if (!gone || !known.until) known.until = gone ? at - process.age * 1000 : at;
      if (process.verdict === "draining" && !known.drains) known.drains = at;
      known.process = process;
      seen.set(process.name, known);
    }
    for (const [name, known] of seen) {
      if (known.until < at - SHOWN_SECONDS * 1000) seen.delete(name);
    }
  }

  function what(process) {
    if (process.kind === "web") {
      return `${number(Figures.numberOf(process.sockets))} sockets, ${number(process.requesting || 0)} requests`;
    }
    const parts = [`${process.busy || 0} of ${process.threads || 0} threads busy`];
    if (process.instances) parts.push(`${number(process.instances)} instances`);
    if (process.tasks) parts.push(`${number(process.tasks)} coroutines`);
    return parts.join(", ");
  }

  function showProcesses(at) {
    const rows = [...seen.values()].sort((one, other) =>
      (one.process.kind !== "web") - (other.process.kind !== "web") || other.from - one.from);
    byId("processes").replaceChildren(...rows.map(({ process, from, until, drains }) => {
      const bar = element("i", { class: process.verdict });
      const place = (time) => 100 - ((at - time) / (SHOWN_SECONDS * 1000)) * 100;
      bar.style.left = `${Math.max(0, place(from))}%`;
      bar.style.right = `${Math.max(0, 100 - place(until))}%`;
      const track = element("div", { class: "track" }, bar);
      if (drains) {
        const part = element("i", { class: "draining" });
        part.style.left = `${Math.max(0, place(drains))}%`;
        part.style.right = bar.style.right;
        track.append(part);
      }
      const alive = process.verdict === "running" || process.verdict === "draining";
      return element("div", { class: `row ${alive ? "" : "gone"}` },
        element("div", { class: "who" },
          element("b", { text: process.kind }),
          element("span", { class: "muted", text: ` ${process.host || ""} ${process.pid || ""}` })),
        track,
        element("div", { class: "facts" },
          element("span", { class: `pill ${{ running: "good", draining: "wait", lost: "bad" }[process.verdict] || ""}`, text: process.verdict }),
          element("span", { class: "muted", text: alive ? `${what(process)}, up ${age(at / 1000 - process.started)}` : `${age((at - until) / 1000)} ago` })));
    }));
  }

  // -- tables ----------------------------------------------------------------------------------

  function fill(id, rows, columns, nothing) {
    const body = document.querySelector(`#${id} tbody`);
    body.replaceChildren(...rows.map((cells) => element("tr", {}, ...cells.map((cell) => {
      const [text, kind] = Array.isArray(cell) ? cell : [cell, null];
      return element("td", { text, class: kind });
    }))));
    if (!rows.length) body.append(element("tr", {}, element("td", { text: nothing, colspan: columns, class: "muted" })));
  }

  const badIf = (count) => (count ? [number(count), "bad"] : "0");

  function showTables(figures, seconds) {
    const channels = [...figures.channels].sort(([one], [other]) => one.localeCompare(other));
    fill("channels", channels.map(([name, facts]) => [
      name, number(facts.done / seconds), duration(Figures.quantile(facts.waited, 0.5, bounds)),
      duration(Figures.quantile(facts.waited, 0.95, bounds)), badIf(facts.failed), badIf(facts.dropped),
      facts.listening ? `${facts.listening} workers` : ["nobody", "bad"],
    ]), 7, "No worker has reported yet.");
    const time = [...figures.consumers.values()].reduce((sum, facts) => sum + facts.seconds.sum, 0);
    const consumers = [...figures.consumers].sort(([, one], [, other]) => other.seconds.sum - one.seconds.sum || other.all - one.all);
    fill("consumers", consumers.slice(0, 30).map(([name, facts]) => [
      name, number(facts.runs / seconds), duration(facts.runs ? facts.seconds.sum / facts.runs : null),
      duration(Figures.quantile(facts.seconds, 0.95, bounds)), number(facts.all), badIf(facts.failed),
      time ? `${round.format((facts.seconds.sum / time) * 100)} %` : "–",
    ]), 7, "No consumer has run yet.");
    fill("sockets", [...figures.paths].sort(([, one], [, other]) => other - one).slice(0, 30)
      .map(([path, count]) => [path, number(count)]), 2, "No WebSocket is open.");
    fill("ends", [...figures.ends].sort(([, one], [, other]) => other.count - one.count)
      .map(([reason, { lost, count }]) => [reason, lost ? [number(count), "bad"] : number(count)]), 2, "Nothing yet.");
  }

  let shownErrors = "";

  function showErrors(errors) {
    const key = JSON.stringify(errors.map((error) => [error.process, error.at]));
    if (key === shownErrors) return; // what somebody has unfolded stays so
    shownErrors = key;
    byId("errors").replaceChildren(...errors.slice(0, 20).map((error) => element("details", {},
      element("summary", {},
        element("time", { text: new Date(error.at * 1000).toLocaleTimeString() }),
        element("b", { text: ` ${error.error}` }),
        element("span", { class: "muted", text: ` ${error.consumer} on ${error.channel}` })),
      element("pre", { text: error.traceback }))));
    if (!errors.length) byId("errors").append(element("p", { class: "muted", text: "No consumer has failed." }));
  }

  // -- what is wrong, first --------------------------------------------------------------------

  function showNotices(snapshot, figures) {
    const notices = [];
    if (snapshot.error) notices.push(["bad", snapshot.error]);
    const processes = snapshot.processes || [];
    const alive = processes.filter((process) => process.verdict === "running");
    const count = (verdict) => processes.filter((process) => process.verdict === verdict).length;
    if (processes.length) {
      if (!alive.some((process) => process.kind === "worker")) notices.push(["bad", "No worker is running: messages wait."]);
      if (!alive.some((process) => process.kind === "web")) notices.push(["bad", "No web server is running."]);
      if (count("lost")) notices.push(["bad", `${count("lost")} of the processes ended without saying so: killed, or cut off from the channel layer.`]);
      const away = alive.filter((process) => process.layer && process.layer.up === false).length;
      if (away) notices.push(["bad", `${away} of the processes cannot reach the channel layer.`]);
      if (figures && figures.wait95 !== null && figures.wait95 > 1) notices.push(["wait", `Messages wait ${duration(figures.wait95)} for a worker: start more of them.`]);
      if (count("draining")) notices.push(["wait", `${count("draining")} of the processes are about to end.`]);
    }
    showAsNotices(notices);
  }

  function take(snapshot) {
    const at = Date.now();
    byId("layer").textContent = snapshot.layer;
    if (snapshot.error) {
      showNotices(snapshot, null);
      return;
    }
    snapshots.push({ at, snapshot });
    if (snapshots.length > SMOOTH + 1) snapshots.shift();
    const [oldest] = snapshots;
    const before = snapshots.length > 1 ? snapshots[snapshots.length - 2] : null;
    const between = (one) => Math.max(0.5, one ? (at - one.at) / 1000 : Number(every));
    const latest = Figures.compare(snapshot, before && before.snapshot, between(before), bounds);
    const smooth = Figures.compare(snapshot, before && oldest.snapshot, between(before && oldest), bounds);
    remember(snapshot.processes, at);
    showTiles(smooth, latest);
    showProcesses(at);
    showTables(smooth, between(before && oldest));
    showErrors(smooth.recent);
    showNotices(snapshot, smooth);
  }

  buildTiles();

  // The worker that sends the snapshots may be killed, of which the stream says nothing for long: its silence does.
  const SILENCE = 4 * Number(every) * 1000;
  let source = null;
  let heard = 0;

  function listen() {
    if (source) source.close();
    heard = Date.now();
    source = new EventSource(events);
    source.addEventListener("open", () => live("good", "live"));
    source.addEventListener("message", (event) => {
      heard = Date.now();
      take(JSON.parse(event.data));
    });
    source.addEventListener("error", () => {
      if (source.readyState === EventSource.CLOSED) live("bad", "stopped: load the page again");
      else live("wait", "connecting again");
    });
  }

  listen();
  setInterval(() => {
    if (Date.now() - heard > SILENCE) {
      live("wait", "connecting again");
      listen();
    }
  }, 1000);
})();
