// How strokes look: SVG paths, in the units of the board, in colours that the style sheet has for light and dark.

const SVG = "http://www.w3.org/2000/svg";

export function makePath({ color, width, points }) {
  const path = document.createElementNS(SVG, "path");
  path.dataset.color = color;
  path.setAttribute("stroke-width", width);
  path.setAttribute("d", line(points));
  return path;
}

// A smooth line: each point bends it, and it passes through the middle between two.
export function line(points) {
  const [x, y] = points;
  if (points.length === 2) return `M${x} ${y}h0`;
  let path = `M${x} ${y}`;
  for (let at = 2; at < points.length - 2; at += 2) {
    const [bendX, bendY, nextX, nextY] = points.slice(at, at + 4);
    path += `Q${bendX} ${bendY} ${(bendX + nextX) / 2} ${(bendY + nextY) / 2}`;
  }
  return `${path}L${points.at(-2)} ${points.at(-1)}`;
}
