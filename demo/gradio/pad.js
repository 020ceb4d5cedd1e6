// Strokes and taps as lists of points in pixels of the photo, sent when the pointer lifts.
const TAPS = ["tap", "hold"];
const INKS = { red: "#f00", green: "#0f0", yellow: "#ff0", blue: "#00f", black: "#000" };
let points = null;
let cross = null; // where the arrow keys have moved to
const canvas = () => element.querySelector("canvas");
const tool = () => element.querySelector("input:checked").value;
const brush = () => Number(element.querySelector("input[type=range]").value) / 100; // of the longest side

function place(event) {
  const box = canvas().getBoundingClientRect();
  const across = Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1);
  const down = Math.min(Math.max((event.clientY - box.top) / box.height, 0), 1);
  return [across * (props.value.width - 1), down * (props.value.height - 1)];
}

function line(pen, color, width, draw) {
  pen.strokeStyle = color;
  pen.lineWidth = width;
  pen.lineCap = pen.lineJoin = "round";
  pen.beginPath();
  draw();
  pen.stroke();
}

// A line with an arrowhead, a ring about what is tapped, or paint.
function mark(pen, scale, how, points, wide) {
  const path = () => points.forEach(([x, y], n) =>
    (n ? pen.lineTo(x * scale, y * scale) : pen.moveTo(x * scale, y * scale)));
  const [x, y] = points[points.length - 1].map((value) => value * scale);
  const [px, py] = points[Math.max(0, points.length - 6)].map((value) => value * scale);
  const angle = Math.atan2(y - py, x - px);
  if (INKS[how]) {
    const alpha = pen.globalAlpha;
    pen.globalAlpha = 0.6 * alpha;
    line(pen, INKS[how], Math.max(props.value.width, props.value.height) * wide * scale, () => {
      path();
      if (points.length === 1) pen.lineTo(x, y);
    });
    pen.globalAlpha = alpha;
    return;
  }
  for (const [color, width] of [["#fff", 6], ["#4f46e5", 3]]) {
    line(pen, color, width, () => {
      if (TAPS.includes(how)) {
        pen.arc(x, y, 12, 0, 2 * Math.PI);
        return;
      }
      path();
      for (const turn of [2.6, -2.6]) {
        pen.moveTo(x, y);
        pen.lineTo(x + 14 * Math.cos(angle + turn), y + 14 * Math.sin(angle + turn));
      }
    });
  }
}

// What hardly moves is a tap, unless something is painted.
function meant(points, scale) {
  const far = Math.max(...points.map(([x, y]) => Math.hypot(x - points[0][0], y - points[0][1])));
  return tool() === "stroke" && far * scale < 8 ? "tap" : tool();
}

function draw() {
  const box = canvas().getBoundingClientRect();
  const pen = canvas().getContext("2d");
  canvas().width = box.width;
  canvas().height = box.height;
  const scale = box.width / props.value.width;
  pen.globalAlpha = 0.5; // what the clip follows already
  for (const [how, drawn, wide] of props.marks || []) mark(pen, scale, how, drawn, wide);
  pen.globalAlpha = 1;
  if (points) mark(pen, scale, meant(points, scale), points, brush());
  if (cross) {
    const [x, y] = cross.map((value) => value * scale);
    for (const [color, width] of [["#fff", 4], ["#4f46e5", 2]]) {
      line(pen, color, width, () => {
        pen.moveTo(x - 12, y); pen.lineTo(x + 12, y);
        pen.moveTo(x, y - 12); pen.lineTo(x, y + 12);
      });
    }
  }
}

function finish() {
  const scale = canvas().getBoundingClientRect().width / props.value.width;
  const how = meant(points, scale);
  const drawn = TAPS.includes(how) ? [points[points.length - 1]] : points;
  points = null;
  setTimeout(draw, 600);
  trigger("submit", { tool: how, points: drawn, brush: brush() });
}

element.addEventListener("pointerdown", (event) => {
  if (event.target !== canvas() || !props.value.picture) return;
  event.preventDefault();
  canvas().setPointerCapture(event.pointerId);
  cross = null;
  points = [place(event)];
  draw();
});
element.addEventListener("pointermove", (event) => {
  if (!points || cross) return;
  points.push(place(event));
  draw();
});
element.addEventListener("pointerup", () => { if (points && !cross) finish(); });
element.addEventListener("pointercancel", () => { points = null; draw(); });

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
element.addEventListener("keydown", (event) => {
  if (event.target !== canvas() || !props.value.picture) return;
  const { width, height } = props.value;
  if (ARROWS[event.key]) {
    const step = Math.max(width, height) / (event.shiftKey ? 200 : 40);
    const [x, y] = cross || [width / 2, height / 2];
    cross = [Math.min(Math.max(x + ARROWS[event.key][0] * step, 0), width - 1),
             Math.min(Math.max(y + ARROWS[event.key][1] * step, 0), height - 1)];
    if (points) points.push(cross);
  } else if (event.key === "Enter" || event.key === " ") {
    cross = cross || [width / 2, height / 2];
    const starts = !points && !TAPS.includes(tool());
    if (!points) points = [cross];
    if (!starts) finish();
  } else if (event.key === "Escape") {
    points = cross = null;
  } else {
    return;
  }
  event.preventDefault();
  draw();
});
element.addEventListener("focusout", () => { cross = points = null; draw(); });
watch("marks", draw);
new ResizeObserver(draw).observe(element); // a canvas that is not in sight has no size
