// The board: strokes that are kept, strokes that are under way, and the pointers of the others.
// What moves is in layers of its own, so that the hundreds of strokes below are not painted again with each frame.

import { make } from "../demo/people.js";
import { line, makePath } from "./strokes.js";

const POINTER_MILLISECONDS = 4000;

export class Canvas {
  constructor({ kept, live, pointers, quiet, wide, high }) {
    Object.assign(this, { keptLayer: kept, liveLayer: live, pointerLayer: pointers, quiet, wide, high });
    this.version = 0;
    this.kept = new Map(); // id → path
    this.mine = new Map(); // key → a stroke of this page that has not come back from the server, with its path
    this.theirs = new Map(); // player → the stroke that they draw, with its path
    this.pointers = new Map(); // player → label
  }

  // The whole board. Strokes that others are drawing go on.
  replace({ version, drawn }) {
    this.kept.clear();
    this.keptLayer.replaceChildren();
    this.version = version;
    drawn.forEach((stroke) => this.keep(stroke));
    this.arrange();
  }

  // A change of the board; false if one before it is missing.
  change({ version, drawn, gone }) {
    if (version <= this.version) return true;
    const complete = version === this.version + 1;
    this.version = version;
    for (const id of gone) {
      this.kept.get(id)?.remove();
      this.kept.delete(id);
    }
    drawn.forEach((stroke) => this.keep(stroke));
    this.arrange();
    return complete;
  }

  // Strokes lie over each other in the order of their ids, which is nearly always the order in which they come.
  keep(stroke) {
    const path = makePath(stroke);
    path.dataset.id = stroke.id;
    this.kept.get(stroke.id)?.remove();
    this.kept.set(stroke.id, path);
    let above = null;
    let below = this.keptLayer.lastElementChild;
    while (below && Number(below.dataset.id) > stroke.id) [above, below] = [below, below.previousElementSibling];
    this.keptLayer.insertBefore(path, above);
    this.mine.get(stroke.key)?.path.remove();
    this.mine.delete(stroke.key);
    for (const [player, live] of this.theirs) if (live.key === stroke.key) this.dropLive(player);
  }

  // Points of a stroke that this page draws. It is `ended` when the pen is lifted, and `incomplete` if the server may
  // not have all of it.
  draw(key, pen, points) {
    let stroke = this.mine.get(key);
    if (!stroke) this.mine.set(key, (stroke = this.begin({ ...pen, key, points: [] })));
    this.extend(stroke, points);
    this.arrange();
  }

  drawTheirs(player, { points, ...stroke }) {
    if (this.theirs.get(player)?.key !== stroke.key) {
      this.dropLive(player);
      this.theirs.set(player, this.begin({ ...stroke, points: [] }));
    }
    this.extend(this.theirs.get(player), points);
    this.arrange();
  }

  begin(stroke) {
    const path = makePath({ ...stroke, points: [0, 0] });
    this.liveLayer.append(path);
    return { ...stroke, path, ended: false, incomplete: false };
  }

  extend(stroke, points) {
    stroke.points.push(...points);
    stroke.path.setAttribute("d", line(stroke.points));
  }

  dropLive(player) {
    this.theirs.get(player)?.path.remove();
    this.theirs.delete(player);
  }

  // Where somebody's pointer is, for as long as it moves.
  point({ id, name, color }, [x, y]) {
    let pointer = this.pointers.get(id);
    if (!pointer) {
      pointer = make("span", "pointer");
      this.pointers.set(id, pointer);
      this.pointerLayer.append(pointer);
    }
    pointer.textContent = name;
    pointer.dataset.color = color;
    pointer.style.translate = `${(100 * x) / this.wide}cqw ${(100 * y) / this.high}cqh`;
    clearTimeout(pointer.timer);
    pointer.timer = setTimeout(() => this.dropPointer(id), POINTER_MILLISECONDS);
  }

  dropPointer(id) {
    clearTimeout(this.pointers.get(id)?.timer);
    this.pointers.get(id)?.remove();
    this.pointers.delete(id);
  }

  forget(player) {
    this.dropLive(player);
    this.dropPointer(player);
  }

  arrange() {
    const count = this.kept.size + this.mine.size + this.theirs.size;
    this.quiet.hidden = count > 0;
    this.keptLayer.ownerSVGElement.setAttribute("aria-label", `The board, with ${count} stroke${count === 1 ? "" : "s"}`);
  }
}
