// Mouse, finger and stylus on the board, as points in its units, gathered for each frame of the screen.
// With the keyboard: arrows move the pen, the space bar puts it down and lifts it.

const NEAR = 3; // units that a point is away from the one before, at least
const HOVER_MILLISECONDS = 60;
const STEP = 20;
const ARROWS = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] };

export class Pen {
  // onDraw(points), onLift() and onHover(point) are called; onAim(point) for what only this page shows.
  constructor(surface, { wide, high, onDraw, onLift, onHover, onAim }) {
    Object.assign(this, { surface, wide, high, onDraw, onLift, onHover, onAim });
    this.down = false;
    this.points = [];
    this.last = null;
    this.frame = null;
    this.hovered = 0;
    this.aim = [wide / 2, high / 2];
    surface.addEventListener("pointerdown", (event) => this.put(event));
    surface.addEventListener("pointermove", (event) => this.move(event));
    for (const end of ["pointerup", "pointercancel"]) surface.addEventListener(end, (event) => event.isPrimary && this.lift());
    surface.addEventListener("keydown", (event) => this.press(event));
    surface.addEventListener("blur", () => this.lift());
  }

  put(event) {
    if (!event.isPrimary || event.button !== 0) return;
    this.lift();
    this.surface.setPointerCapture(event.pointerId);
    this.down = true;
    this.add(this.place(event));
  }

  move(event) {
    if (!event.isPrimary) return;
    if (this.down) {
      const events = event.getCoalescedEvents?.() ?? [];
      for (const one of events.length ? events : [event]) this.add(this.place(one));
    } else if (event.pointerType !== "touch" && event.timeStamp - this.hovered > HOVER_MILLISECONDS) {
      this.hovered = event.timeStamp;
      this.onHover(this.place(event));
    }
  }

  press(event) {
    if (event.key === " ") {
      event.preventDefault();
      if (event.repeat) return;
      if (this.down) this.lift();
      else {
        this.down = true;
        this.add(this.aim);
      }
    } else if (ARROWS[event.key] && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      const [byX, byY] = ARROWS[event.key];
      this.aim = this.within(this.aim[0] + byX, this.aim[1] + byY);
      if (this.down) this.add(this.aim);
      else this.onHover(this.aim);
      this.onAim(this.aim);
    }
  }

  place(event) {
    const box = this.surface.getBoundingClientRect();
    this.aim = this.within(
      ((event.clientX - box.left) / box.width) * this.wide, ((event.clientY - box.top) / box.height) * this.high);
    return this.aim;
  }

  within(x, y) {
    return [Math.min(Math.max(Math.round(x), 0), this.wide), Math.min(Math.max(Math.round(y), 0), this.high)];
  }

  add([x, y]) {
    if (this.last && Math.hypot(x - this.last[0], y - this.last[1]) < NEAR) return;
    this.last = [x, y];
    this.points.push(x, y);
    this.frame ??= requestAnimationFrame(() => this.flush());
  }

  flush() {
    cancelAnimationFrame(this.frame);
    this.frame = null;
    if (this.points.length) this.onDraw(this.points);
    this.points = [];
  }

  lift() {
    if (!this.down) return;
    this.flush();
    this.down = false;
    this.last = null;
    this.onLift();
  }
}
