// A line chart of the last minutes. It moves on with time: each new point comes in from the right edge.

const SVG = "http://www.w3.org/2000/svg";
const TOP = 28, BOTTOM = 26, GAP = 10;
const dollars = new Intl.NumberFormat("en-US", { style: "currency", currency: "USD" });
const clock = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit" });
const fullClock = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit", second: "2-digit" });
const still = matchMedia("(prefers-reduced-motion: reduce)");

export class Chart {
  // box: the element to fill. seconds: how much time is shown.
  constructor(box, seconds) {
    this.box = box;
    this.seconds = seconds;
    this.points = [];
    this.pointer = null;
    this.build();
    new ResizeObserver(() => this.draw()).observe(box);
    box.addEventListener("pointermove", (event) => this.point(event.offsetX));
    box.addEventListener("pointerdown", (event) => this.point(event.offsetX));
    box.addEventListener("pointerleave", () => this.point(null));
  }

  // points: [second, dollars] pairs in the order of time.
  show(points) {
    const last = this.points.at(-1);
    const from = last && { second: last[0], y: this.y?.(last[1]) };
    this.points = points;
    this.draw();
    const passed = from && points.length ? points.at(-1)[0] - from.second : 0;
    if (passed > 0 && passed <= 3 && !still.matches) this.flow(passed, from.y);
  }

  build() {
    this.svg = make("svg", { role: "img" });
    this.svg.innerHTML = `<defs>
      <linearGradient id="under" x1="0" x2="0" y1="0" y2="1">
        <stop offset="0" stop-color="var(--water)" stop-opacity=".24"/><stop offset="1" stop-color="var(--water)" stop-opacity="0"/>
      </linearGradient>
      <clipPath id="plot"><rect/></clipPath>
    </defs>`;
    this.rules = make("g", {}, this.svg);
    const plot = make("g", { "clip-path": "url(#plot)" }, this.svg);
    this.moving = make("g", {}, plot);
    this.area = make("path", { fill: "url(#under)" }, this.moving);
    this.line = make("path", { class: "line" }, this.moving);
    this.times = make("g", {}, this.svg);
    this.head = make("g", {}, this.svg);
    make("circle", { class: "halo", r: 7 }, this.head);
    make("circle", { class: "head", r: 5.5 }, this.head);
    this.cross = make("g", { class: "cross" }, this.svg);
    this.crossLine = make("line", { y1: TOP }, this.cross);
    this.crossDot = make("circle", { r: 5 }, this.cross);
    this.tip = document.createElement("p");
    this.tip.className = "tip";
    this.box.append(this.svg, this.tip);
  }

  draw() {
    const { clientWidth: width, clientHeight: height } = this.box;
    const empty = !this.points.length || !width;
    for (const part of [this.svg, this.tip]) part.toggleAttribute("hidden", empty);
    if (empty) return;
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.svg.setAttribute("width", width);
    this.svg.setAttribute("height", height);

    const scale = niceScale(this.points.map(([, value]) => value), Math.max(2, Math.round(height / 75)));
    const labels = scale.ticks.map((value) => label(value, scale.step));
    const right = width - Math.max(...labels.map((text) => text.length)) * 7.2 - GAP;
    const bottom = height - BOTTOM;
    const end = this.points.at(-1)[0];
    this.right = right;
    this.perSecond = right / this.seconds;
    this.x = (second) => right - (end - second) * this.perSecond;
    this.y = (value) => bottom - ((value - scale.low) / (scale.high - scale.low)) * (bottom - TOP);

    set(this.svg.querySelector("#plot rect"), { x: 0, y: 0, width: right, height });
    this.rules.replaceChildren(...scale.ticks.flatMap((value, index) => [
      make("line", { class: "rule", x1: 0, x2: right, y1: this.y(value), y2: this.y(value) }),
      text(labels[index], width, this.y(value) + 4, "end"),
    ]));
    this.times.replaceChildren(...minutes(end - this.seconds, end, right < 480 ? 120 : 60)
      .filter((second) => this.x(second) > 22 && this.x(second) < right - 18)
      .map((second) => text(clock.format(second * 1000), this.x(second), height - 6, "middle")));

    const path = this.points.map(([second, value]) => `${this.x(second).toFixed(1)} ${this.y(value).toFixed(1)}`).join("L");
    this.line.setAttribute("d", `M${path}`);
    this.area.setAttribute("d", `M${this.x(this.points[0][0])} ${bottom}L${path}V${bottom}Z`);
    this.head.style.transform = `translate(${right}px, ${this.y(this.points.at(-1)[1])}px)`;
    this.crossLine.setAttribute("y2", bottom);
    this.describe();
    this.point(this.pointer);
  }

  // Let the last seconds come in from the right; the head follows the line where it meets the edge.
  flow(passed, y) {
    const options = { duration: 1000, easing: "linear" };
    const way = [{ transform: `translateX(${passed * this.perSecond}px)` }, { transform: "none" }];
    this.moving.animate(way, options);
    this.times.animate(way, options);
    this.head.animate([{ transform: `translate(${this.right}px, ${y}px)` }, {}], options);
  }

  // What is at the pointer: the line across, and the time and price in words.
  point(x) {
    this.pointer = x;
    const off = x === null || !this.points.length;
    this.cross.toggleAttribute("hidden", off);
    this.tip.toggleAttribute("hidden", off);
    if (off) return;
    const [second, value] = this.points.reduce((best, one) =>
      Math.abs(this.x(one[0]) - x) < Math.abs(this.x(best[0]) - x) ? one : best);
    const at = this.x(second);
    set(this.crossLine, { x1: at, x2: at });
    set(this.crossDot, { cx: at, cy: this.y(value) });
    const price = document.createElement("b");
    price.textContent = dollars.format(value);
    this.tip.replaceChildren(price, fullClock.format(second * 1000));
    const left = Math.min(Math.max(0, at - this.tip.offsetWidth / 2), this.box.clientWidth - this.tip.offsetWidth);
    this.tip.style.transform = `translate(${left}px, ${Math.max(0, this.y(value) - this.tip.offsetHeight - 14)}px)`;
  }

  // For those who cannot see it. Not announced: it changes every second.
  describe() {
    const [first, last] = [this.points[0], this.points.at(-1)];
    this.svg.setAttribute("aria-label", `Line chart of the price from ${fullClock.format(first[0] * 1000)}, `
      + `${dollars.format(first[1])}, to ${fullClock.format(last[0] * 1000)}, ${dollars.format(last[1])}`);
  }
}

// Round numbers around some values: about `count` steps of 1, 2 or 5 times a power of ten.
function niceScale(values, count) {
  const least = Math.min(...values), most = Math.max(...values);
  const rough = Math.max((most - least) / count, 0.02);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= rough);
  const low = Math.floor(least / step) * step, high = Math.max(Math.ceil(most / step), Math.floor(least / step) + 1) * step;
  const ticks = Array.from({ length: Math.round((high - low) / step) + 1 }, (_, index) => low + index * step);
  return { low, high, step, ticks };
}

function minutes(begin, end, every) {
  const first = Math.ceil(begin / every) * every;
  return Array.from({ length: Math.max(0, Math.floor((end - first) / every) + 1) }, (_, index) => first + index * every);
}

function label(value, step) {
  const digits = step < 1 ? 2 : 0;
  return value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

function text(content, x, y, anchor) {
  const element = make("text", { x, y, "text-anchor": anchor });
  element.textContent = content;
  return element;
}

function make(tag, attributes, parent) {
  const element = document.createElementNS(SVG, tag);
  set(element, attributes);
  parent?.append(element);
  return element;
}

function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
}
