// Who this browser is: a name, and the keys of what it said lately. Kept in local storage where that is allowed.

const KEYS_KEPT = 500;
const FIRST = ["Quiet", "Early", "Amber", "Brisk", "Gentle", "Silver", "Steady", "Clever", "Mossy", "Bright"];
const SECOND = ["Otter", "Heron", "Trout", "Willow", "Miller", "Swift", "Reed", "Beaver", "Dipper", "Alder"];

function load(item, otherwise) {
  try {
    return JSON.parse(localStorage.getItem(`chat-${item}`)) ?? otherwise;
  } catch {
    return otherwise;
  }
}

function save(item, value) {
  try {
    localStorage.setItem(`chat-${item}`, JSON.stringify(value));
  } catch {
    // Private windows may refuse; then it lasts as long as the page.
  }
}

const keys = new Set(load("keys", []));

export function keepKey(key) {
  keys.add(key);
  save("keys", [...keys].slice(-KEYS_KEPT));
}

export function isMine(key) {
  return keys.has(key);
}

export function keptName() {
  return load("name", null) || keepName("");
}

// Keeps a name, or makes one up, and returns it.
export function keepName(name) {
  const kept = name.trim() || `${pick(FIRST)} ${pick(SECOND)}`;
  save("name", kept);
  return kept;
}

function pick(words) {
  return words[Math.floor(Math.random() * words.length)];
}
