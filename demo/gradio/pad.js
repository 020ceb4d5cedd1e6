// Strokes and taps as lists of points in pixels of the photo, sent when the pointer lifts.
const TAPS = ["tap", "hold"];
const INKS = { red: "#f00", green: "#0f0", yellow: "#ff0", blue: "#00f", black: "#000" };
let points = null;
let cross = null; // where the arrow keys have moved to
const canvas = () => element.querySelector("canvas");
const tool = () => element.querySelector("input:checked").value;

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

function draw() {
  const box = canvas().getBoundingClientRect();
  const pen = canvas().getContext("2d");
  canvas().width = box.width;
  canvas().height = box.height;
  const scale = box.width / props.value.width;
  if (points) {
    const path = () => points.forEach(([x, y], n) =>
      (n ? pen.lineTo(x * scale, y * scale) : pen.moveTo(x * scale, y * scale)));
    if (INKS[tool()]) {
      const brush = Math.max(props.value.width, props.value.height) / 20 * scale;
      pen.globalAlpha = 0.6;
      line(pen, INKS[tool()], brush, path);
      pen.globalAlpha = 1;
    } else {
      const [x, y] = points[points.length - 1];
      const [px, py] = points[Math.max(0, points.length - 6)];
      const angle = Math.atan2(y - py, x - px);
      for (const [color, width] of [["#fff", 6], ["#4f46e5", 3]]) {
        line(pen, color, width, () => {
          path();
          for (const turn of [2.6, -2.6]) {
            pen.moveTo(x * scale, y * scale);
            pen.lineTo(x * scale + 14 * Math.cos(angle + turn),
                       y * scale + 14 * Math.sin(angle + turn));
          }
        });
      }
    }
  }
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
  const drawn = points;
  const scale = canvas().getBoundingClientRect().width / props.value.width;
  const [first, last] = [drawn[0], drawn[drawn.length - 1]];
  const far = Math.max(...drawn.map(([x, y]) => Math.hypot(x - first[0], y - first[1]))) * scale;
  // What hardly moves is a tap, unless something is painted.
  const meant = tool() === "stroke" && far < 8 ? "tap" : tool();
  points = null;
  setTimeout(draw, 600);
  trigger("submit", { tool: meant, points: TAPS.includes(meant) ? [last] : drawn });
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
