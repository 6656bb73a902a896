// How people look: a face of their initials, in a colour of their own.

export function make(tag, className, text) {
  const element = document.createElement(tag);
  element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function initials(name) {
  const words = name.split(/\s+/).filter(Boolean);
  return [words[0], words.length > 1 ? words.at(-1) : ""].map((word) => [...(word ?? "")][0] ?? "").join("").toUpperCase();
}

function hueOf(name) {
  let hash = 0;
  for (const letter of name) hash = (hash * 31 + letter.codePointAt(0)) % 360;
  return hash;
}

// Gives an element the colour of a name.
export function coloured(element, name) {
  element.style.setProperty("--hue", hueOf(name));
  return element;
}

export function face(name) {
  const element = coloured(make("span", "face", initials(name)), name);
  element.setAttribute("aria-hidden", "true");
  return element;
}
