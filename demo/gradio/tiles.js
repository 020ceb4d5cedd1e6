// One of the tiles is picked; which one is marked follows from `picked`, -1 for none.
function mark() {
  for (const button of element.querySelectorAll("button")) {
    button.setAttribute("aria-pressed", String(Number(button.dataset.index) === props.picked));
  }
}
element.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-index]");
  if (button) trigger("submit", { index: Number(button.dataset.index) });
});
watch("picked", mark);
new MutationObserver(mark).observe(element, { childList: true, subtree: true });
mark();
