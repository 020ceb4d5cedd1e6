// One of the tiles is picked.
element.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-index]");
  if (!button) return;
  for (const other of element.querySelectorAll("button")) {
    other.setAttribute("aria-pressed", String(other === button));
  }
  trigger("submit", { index: Number(button.dataset.index) });
});
