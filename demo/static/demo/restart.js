// Buttons that restart a process of the demo.

// area: what has their forms in it. tell: takes the sentences that say what happens.
export function letRestart(area, tell) {
  area.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = event.submitter;
    button.disabled = true;
    tell(`Restarting ${button.dataset.name} …`);
    try {
      const response = await fetch(event.target.action, { method: "POST", body: new FormData(event.target), redirect: "manual" });
      if (response.status >= 400) tell(response.status === 503 ? await response.text() : `Refused: ${response.status}.`);
    } catch {
      // The web server that is restarted may go before it has answered.
    }
    button.disabled = false;
  });
}
