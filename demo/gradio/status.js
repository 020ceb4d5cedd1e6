// Says what is being done; the button cancels it.
element.addEventListener("click", (event) => {
  if (event.target.closest("button")) trigger("submit", {});
});
