// Frame by frame: the slider, its buttons and the arrow keys move the video; playing moves the slider.
const video = () => document.querySelector("#clip video");
const slider = () => element.querySelector("input");
const count = () => props.value.count;
function tell(number) {
  slider().value = number;
  element.querySelector("output").textContent = `Frame ${number} of ${count()}`;
}
function show(number) {
  const clip = video();
  if (!clip) return;
  number = Math.min(Math.max(number, 1), count());
  clip.pause();
  clip.currentTime = (number - 0.5) / props.value.fps; // the middle of its time
  tell(number);
}
function follow() {
  const clip = video();
  if (clip && !clip.paused && props.value.fps) {
    const place = Math.floor(clip.currentTime * props.value.fps); // back again after the last
    tell(Math.min(place < count() ? place + 1 : 2 * count() - 1 - place, count()));
  }
  requestAnimationFrame(follow);
}
element.addEventListener("input", (event) => show(Number(event.target.value)));
element.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button) show(Number(slider().value) + Number(button.dataset.step));
});
document.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!step || !event.target.closest?.("#clip")) return;
  event.preventDefault();
  event.stopPropagation();
  show(Number(slider().value) + step);
}, true);
requestAnimationFrame(follow);
