// Strokes and taps as lists of points in pixels of the photo, sent when the pointer lifts.
let points = null;
const stage = () => element.querySelector(".stage");
const canvas = () => element.querySelector("canvas");

function place(event) {
  const box = canvas().getBoundingClientRect();
  const across = Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1);
  const down = Math.min(Math.max((event.clientY - box.top) / box.height, 0), 1);
  return [across * (props.value.width - 1), down * (props.value.height - 1)];
}

function draw() {
  const box = canvas().getBoundingClientRect();
  const pen = canvas().getContext("2d");
  canvas().width = box.width;
  canvas().height = box.height;
  if (!points) return;
  const scale = box.width / props.value.width;
  for (const [color, width] of [["#fff", 6], ["#4f46e5", 3]]) {
    pen.strokeStyle = color;
    pen.lineWidth = width;
    pen.lineCap = pen.lineJoin = "round";
    pen.beginPath();
    points.forEach(([x, y], n) => (n ? pen.lineTo(x * scale, y * scale)
                                     : pen.moveTo(x * scale, y * scale)));
    const [x, y] = points[points.length - 1];
    const [px, py] = points[Math.max(0, points.length - 6)];
    const angle = Math.atan2(y - py, x - px);
    for (const turn of [2.6, -2.6]) {
      pen.moveTo(x * scale, y * scale);
      pen.lineTo(x * scale + 14 * Math.cos(angle + turn), y * scale + 14 * Math.sin(angle + turn));
    }
    pen.stroke();
  }
}

element.addEventListener("pointerdown", (event) => {
  if (event.target !== canvas() || !props.value.picture) return;
  event.preventDefault();
  canvas().setPointerCapture(event.pointerId);
  points = [place(event)];
});
element.addEventListener("pointermove", (event) => {
  if (!points) return;
  points.push(place(event));
  draw();
});
function lift(event) {
  if (!points) return;
  const drawn = points;
  const scale = canvas().getBoundingClientRect().width / props.value.width;
  const [first, last] = [drawn[0], drawn[drawn.length - 1]];
  const far = Math.max(...drawn.map(([x, y]) => Math.hypot(x - first[0], y - first[1]))) * scale;
  let tool = element.querySelector("input:checked").value;
  // What hardly moves is a tap, whichever tool is chosen.
  if (tool === "stroke" && far < 8) tool = "tap";
  points = null;
  setTimeout(draw, 600);
  trigger("submit", { tool: tool, points: tool === "stroke" ? drawn : [last] });
}
element.addEventListener("pointerup", lift);
element.addEventListener("pointercancel", () => { points = null; draw(); });
