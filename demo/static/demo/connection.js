// The pill in the bar that says how the connection is.

const pill = document.getElementById("connection");

// state and delay: as LiveSocket gives them to onState.
export function showConnection(state, delay) {
  pill.dataset.state = state;
  if (state === "open") pill.textContent = "Connected";
  else pill.textContent = state === "waiting" && delay > 1500 ? "Offline, trying again" : "Connecting";
}
