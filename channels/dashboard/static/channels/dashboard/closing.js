// Asks before connections are closed, and has them closed.
"use strict";

const Closing = (() => {
  const { byId, plural, notices, fetched } = Elements;
  let asked = {};
  let then = () => {};

  function ask(question, which, done) {
    asked = which;
    then = done;
    byId("question").textContent = question;
    byId("refusal").textContent = "";
    byId("dialog").showModal();
  }

  async function close(form) {
    const button = form.querySelector("[type=submit]");
    const content = new FormData(form);
    for (const [key, value] of Object.entries(asked)) content.set(key, value);
    button.disabled = true;
    try {
      const answer = await fetched(form.dataset.url, { method: "POST", body: content });
      if (answer.error) {
        byId("refusal").textContent = answer.error;
        return;
      }
      byId("dialog").close();
      notices([["wait", `${plural(answer.closed, "WebSocket")} closed.`], ...answer.problems.map((text) => ["bad", text])]);
      then(answer);
    } catch (error) {
      byId("refusal").textContent = "No answer came; look again whether it was done.";
    } finally {
      button.disabled = false;
    }
  }

  if (byId("dialog")) {
    byId("closing").addEventListener("submit", (event) => {
      event.preventDefault();
      close(event.target);
    });
    byId("keep").addEventListener("click", () => byId("dialog").close());
  }

  return { ask };
})();
