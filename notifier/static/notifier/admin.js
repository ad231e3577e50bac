/* Copies what stands beside the button; where the browser has no clipboard for us, it marks the text instead. */
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-ntf-copy]");
  if (!button) return;
  const text = button.parentElement.querySelector("pre");
  const mark = () => {
    window.getSelection().selectAllChildren(text);
    button.textContent = "Marked: press Ctrl+C";
  };
  if (!navigator.clipboard) return mark();
  navigator.clipboard.writeText(text.textContent).then(() => { button.textContent = "Copied"; }, mark);
});

/* When would the policy that stands in the form try again? Asked of the server, which saves nothing. */
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-ntf-preview]");
  if (!button) return;
  const shown = button.parentElement.querySelector("div");
  try {
    const answer = await fetch(button.dataset.ntfPreview, { method: "POST", body: new FormData(button.form) });
    shown.innerHTML = answer.ok ? await answer.text() : `The server answered ${answer.status}.`;
  } catch {
    shown.textContent = "The server cannot be reached.";
  }
});
