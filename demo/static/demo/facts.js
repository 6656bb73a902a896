// Facts about a connection, and a short list of what happened. The page has an element with the id of each fact.

const SECOND = 1000;
const EVENTS = 4;
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });

// state: "good", "wait" or nothing, for its colour.
export function showFact(id, state, text) {
  const element = document.getElementById(id);
  element.dataset.state = state;
  element.textContent = text;
}

// How long a socket has been open and how often one was lost.
export function showSocket(id, openedAt, losses) {
  if (openedAt === null) showFact(id, "wait", losses ? "lost, opening another" : "opening");
  else showFact(id, "good", `open for ${span(performance.now() - openedAt)}, ${lost(losses)}`);
}

// Adds a line to a list, which keeps the last few.
export function tell(list, text) {
  const line = document.createElement("li");
  const time = document.createElement("time");
  time.textContent = clock.format(new Date());
  line.append(time, text);
  list.append(line);
  while (list.children.length > EVENTS) list.firstElementChild.remove();
}

function lost(losses) {
  return losses === 0 ? "never lost" : losses === 1 ? "lost once" : `lost ${losses} times`;
}

function span(milliseconds) {
  const seconds = Math.round(milliseconds / SECOND);
  return seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}
