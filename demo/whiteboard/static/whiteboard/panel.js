// The whiteboard's panel on the start page: what is on the board just now.

import { makePath } from "./strokes.js";

const preview = document.getElementById("preview");
const response = await fetch(preview.dataset.strokes);
if (response.ok) {
  const { drawn } = await response.json();
  preview.replaceChildren(...drawn.map(makePath));
}
