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
