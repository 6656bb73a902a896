// The prices page: one socket, which is in the group of the coin that is chosen.

import { showConnection } from "../demo/connection.js";
import { LiveSocket } from "../demo/live_socket.js";
import { Chart } from "./chart.js";

const STALE_MILLISECONDS = 5000;
const UNANSWERED_MILLISECONDS = 3000;
const byId = (id) => document.getElementById(id);
const dollars = new Intl.NumberFormat("en-US", { style: "currency", currency: "USD" });
const difference = new Intl.NumberFormat("en-US", { style: "currency", currency: "USD", signDisplay: "exceptZero" });
const percent = new Intl.NumberFormat("en-US", { style: "percent", minimumFractionDigits: 2, signDisplay: "exceptZero" });

const seconds = Number(byId("chart").dataset.seconds);
const chart = new Chart(byId("chart"), seconds);
const prices = new Map(); // second → dollars
let coin = document.querySelector("[name=coin]:checked").value;
let stale = null;
let unanswered = null;

const socket = new LiveSocket({
  address() {
    const url = new URL(`../${coin}/`, location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    return url;
  },
  onMessage({ coin: of, prices: news, refused }) {
    if (refused) console.error(refused);
    // The last price of the other coin may have been on its way when this one was chosen.
    if (of === coin && news) show(news);
  },
  onState(state, delay) {
    showConnection(state, delay);
    if (state === "open") expectAnswer();
    else clearTimeout(unanswered);
    if (state === "waiting") complain("There is no connection. Are ", "daphne", " and a worker running?");
  },
});

byId("coins").addEventListener("change", (event) => choose(event.target.value));

function choose(chosen) {
  coin = chosen;
  prices.clear();
  draw();
  // If the socket is away just now, it comes back to this coin's address.
  if (socket.isOpen) {
    socket.send({ watch: coin });
    expectAnswer();
  }
  const name = document.querySelector("[name=coin]:checked + span").textContent;
  document.title = document.title.replace(/^.*(?= ·)/, name);
  history.replaceState(null, "", `../${coin}/`);
}

function show(news) {
  clearTimeout(unanswered);
  for (const [second, value] of news) prices.set(second, value);
  const newest = Math.max(...prices.keys());
  for (const second of prices.keys()) if (second <= newest - seconds) prices.delete(second);
  if (news.length) draw();
  byId("quiet").hidden = prices.size > 0;
  clearTimeout(stale);
  stale = setTimeout(() => {
    if (socket.isOpen) complain("No new prices come. Is ", "manage.py tick_prices", " running?");
  }, STALE_MILLISECONDS);
}

// A coin that was chosen is a message, which waits until a worker takes it.
function expectAnswer() {
  clearTimeout(unanswered);
  clearTimeout(stale);
  unanswered = setTimeout(
    () => complain("The choice waits for a worker. Is ", "manage.py runworker", " running?"), UNANSWERED_MILLISECONDS);
}

function draw() {
  const points = [...prices].sort(([one], [other]) => one - other);
  chart.show(points);
  byId("change").hidden = !points.length;
  if (!points.length) {
    for (const id of ["price", "low", "high"]) byId(id).textContent = "–";
    return;
  }
  byId("span").textContent = duration(points.at(-1)[0] - points[0][0]);
  const values = points.map(([, value]) => value);
  const [before, now] = [values[0], values.at(-1)];
  byId("price").textContent = dollars.format(now);
  byId("low").textContent = dollars.format(Math.min(...values));
  byId("high").textContent = dollars.format(Math.max(...values));
  byId("change").dataset.way = now > before ? "up" : now < before ? "down" : "";
  byId("change-value").textContent = `${difference.format(now - before)} (${percent.format(now / before - 1)})`;
}

function duration(length) {
  return length < 60 ? `in ${length} s` : `in ${Math.round(length / 60)} min`;
}

function complain(before, name, after) {
  const command = document.createElement("code");
  command.textContent = name;
  byId("quiet").replaceChildren(before, command, after);
  byId("quiet").hidden = false;
}
