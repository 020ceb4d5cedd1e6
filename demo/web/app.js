// The page: reads photos, shows and directs the clip, saves it.
import { quadrants } from "./conditioning.js";
import { WHEEL } from "./motion.js";
import { MAX_FULL_PIXELS, pixelsOf, readPhoto } from "./read.js";
import { Renderer } from "./render.js";
import { gif, mp4, pngs, recorded, videoConfig } from "./save.js";
const $ = (id) => document.getElementById(id), asked = new URLSearchParams(location.search);
// Pixels at which motion is estimated, that are shown, and that are saved.
const MAX_PIXELS = { wasm: 2 ** 19, webgpu: 2 ** 21 }, SHOWN = 2 ** 20, MAX_SAVED_PIXELS = { mp4: 2 ** 23, gif: 2 ** 20, png: MAX_FULL_PIXELS };
// Milliseconds that make a hold, pixels that make a drag, click tolerance as a share of the longest side, milliseconds of a loop.
const HOLD = 350, MOVED = 6, TOLERANCE = 0.03, PERIOD = 2400;
const canvas = $("clip"), worker = new Worker("worker.js", { type: "module" }), waiting = new Map();
let renderer, model, engine = "wasm", threads = 1, latest = 0; // the number of the photo that was asked for last
let photo = null, scene = null, shown = null; // the file, what the worker found, the pixels on the canvas
let playing = true, reading = false, time = 0, view = 0, lit = 0, peeking = false, saving = false, cross = null, stroke = null;

worker.onmessage = ({ data: { id, result, error } }) => {
  const { resolve, reject } = waiting.get(id); waiting.delete(id); error ? reject(Error(error)) : resolve(result);
};
worker.onerror = (event) => { for (const { reject } of waiting.values()) reject(Error(event.message ?? "the page's worker cannot be started")); waiting.clear(); };
const ask = (message, transfer = []) => new Promise((resolve, reject) => {
  const id = ++ask.count; waiting.set(id, { resolve, reject }); worker.postMessage({ id, ...message }, transfer);
});
ask.count = 0;
function say(words, wrong = false) { $("status").textContent = words; $("status").classList.toggle("wrong", wrong); }
const busy = (on) => { $("busy").hidden = !on; $("busy").removeAttribute("value"); };

// --- photos in ------------------------------------------------------------------------------------
async function start() {
  const response = await fetch("assets/model.json").catch(() => ({ ok: false }));
  if (!response.ok) throw Error("the page is not whole: its folder assets/ is missing; make web makes it");
  model = await response.json(); renderer = new Renderer(canvas);
  $("examples").replaceChildren(...model.examples.map((name) => {
    const button = document.createElement("button"), image = new Image();
    image.src = `assets/${name}`; image.alt = `Example: ${name.replace(/[-.]|jpg/g, " ").trim()}`;
    button.type = "button"; button.append(image); button.onclick = () => show(`assets/${name}`);
    return button;
  }));
  $("limits").textContent = `Motion is estimated at up to ${megapixels(MAX_PIXELS.wasm)} megapixels, or ${megapixels(MAX_PIXELS.webgpu)} where the browser has`
    + ` WebGPU; larger photos are shrunk for it. Clips are saved at the photo's size, up to ${megapixels(MAX_SAVED_PIXELS.png)} megapixels as PNGs,`
    + ` ${megapixels(MAX_SAVED_PIXELS.mp4)} as a video and ${megapixels(MAX_SAVED_PIXELS.gif)} as a GIF.`;
  if (asked.get("engine") === "webgpu") engine = await graphics() ? "webgpu" : "wasm";
  ({ threads } = await ask({ load: { engine, threads: +(asked.get("threads") ?? Math.min(4, navigator.hardwareConcurrency)) } }));
  if (!latest) say("Ready: choose a photo, or one of the examples.");
  if (!latest) ask({ warm: { engine } }).catch(() => {});
  navigator.serviceWorker?.register("sw.js").catch(() => {}); // without it the page needs a network
}
const megapixels = (pixels) => Math.round(pixels / 1e5) / 10;
async function graphics() { // a real graphics processor
  const adapter = await navigator.gpu?.requestAdapter({ powerPreference: "high-performance" }).catch(() => null);
  return Boolean(adapter) && (asked.get("engine") === "webgpu" || !(adapter.info?.isFallbackAdapter ?? adapter.isFallbackAdapter));
}
async function show(source, name) {
  const turn = ++latest;
  try {
    busy(true); reading = true; say("Reading the photo …");
    if (typeof source === "string") { name = source.split("/").at(-1); source = await (await fetch(source)).blob(); }
    const read = await readPhoto(source, name); await ready;
    if (read.width * read.height > MAX_PIXELS.wasm && engine === "wasm" && asked.get("engine") !== "wasm" && await graphics()) {
      say("Loading WebGPU support, once …");
      try { await ask({ load: { engine: "webgpu", threads: 1 } }); engine = "webgpu"; } catch { /* WebAssembly at a smaller size */ }
    }
    const full = pixelsOf(read, MAX_FULL_PIXELS, renderer.largest), { width, height } = full;
    say(`Estimating the motion in ${read.name} …`);
    const prepare = (engine) => { const pixels = full.data.slice(); return ask({ photo: { engine, pixels, width, height, maxPixels: MAX_PIXELS[engine] } }, [pixels.buffer]); };
    const found = await prepare(engine).catch((error) => {
      if (engine === "wasm") throw error;
      engine = "wasm";
      return ask({ load: { engine, threads } }).then(() => prepare(engine));
    });
    if (turn !== latest) return;
    photo?.bitmap.close(); photo = read; scene = found; shown = pixelsOf(read, Math.max(SHOWN, found.width * found.height));
    renderer.set(scene); delete scene.textures; $("stage").hidden = false; document.body.classList.add("shown"); restored();
    time = scene.still || matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : -1; play(!scene.still && time !== 0);
    canvas.setAttribute("aria-label", `The clip of ${photo.name}: what happened while the shutter was open`);
    tell();
    const smaller = width !== scene.width ? ` Motion estimated at ${scene.width}×${scene.height}.` : "";
    const kept = photo.width !== width ? ` Shrunk to ${width}×${height}, the largest size that is kept.` : "";
    const [network, rest] = scene.seconds.map((seconds) => seconds.toFixed(1)), where = engine === "wasm" ? `WebAssembly, ${threads} thread${threads > 1 ? "s" : ""}` : "WebGPU";
    $("facts").textContent = `${photo.name}, ${photo.width}×${photo.height}.${smaller}${kept} Network: ${network} s on ${where}; regions and projection: ${rest} s.`;
    say(scene.sharp ? "Nothing moves in this photo." : "Drag over the picture to scrub through time; tap a moving region to reverse it.");
  } catch (error) {
    if (turn === latest) say(error.message, true);
  } finally { if (turn === latest) { busy(false); reading = false; } }
}
function tell() { // what is to be known first, and then the warnings; no tools where nothing moves
  const [first, ...others] = scene.sentences, notes = [...photo.notes, ...scene.warnings.filter((sentence) => sentence !== model.sentences.still)];
  const made = (tag, textContent) => Object.assign(document.createElement(tag), { textContent });
  $("summary").replaceChildren(made("strong", first), ` ${others.join(" ")}`);
  $("warnings").replaceChildren(...notes.map((words) => made("li", words)));
  for (const tools of document.querySelectorAll(".directing")) tools.hidden = scene.sharp;
}
function restored() { // the canvas at its interactive size, after a save too
  $("view").style.width = `min(100%, ${Math.round(68 * shown.width / shown.height)}vh)`;
  renderer.photo(shown.data, shown.width, shown.height); draw();
}

// --- time -----------------------------------------------------------------------------------------
function draw() {
  if (!scene || saving) return;
  renderer.draw(time, peeking ? 2 : view, lit); $("time").value = time;
  $("time").setAttribute("aria-valuetext", `${Math.round(50 * (time + 1))} % of the exposure`);
}
function play(on) {
  playing = on;
  play.since = performance.now() - Math.acos(-time) / (2 * Math.PI) * PERIOD; // goes on from the instant that is shown
  $("play").textContent = on ? "Pause" : "Play"; $("play").setAttribute("aria-pressed", on); draw();
}
function at(moment) { time = Math.min(Math.max(moment, -1), 1); play(false); }
function loop(now) { if (playing && scene && !saving && !reading && !peeking && !stroke) { time = -Math.cos(2 * Math.PI * (now - play.since) / PERIOD); draw(); } requestAnimationFrame(loop); }
function peek(on) { peeking = on; $("compare").setAttribute("aria-pressed", on); draw(); }

// --- directing ------------------------------------------------------------------------------------
// What was reversed is drawn so at once; then the network decodes the photo anew, with the motion as guidance.
let directed = 0, decoding = Promise.resolve();
function follow(words, free = false) {
  if (scene.still) { say("Nothing moves in this photo."); return; }
  const turn = latest, mine = ++directed, stale = () => turn !== latest || mine !== directed;
  busy(true); say("Decoding with the new direction …"); draw();
  decoding = decoding.then(async () => {
    if (stale()) return; // a later edit holds this one, too
    const found = await ask({ guidance: free ? null : quadrants(Float32Array.from(scene.flow, (x, k) => renderer.flipped(scene.labels[k % scene.labels.length]) ? -x : x), scene.labels.length, scene.threshold) });
    if (stale()) return;
    scene = found; renderer.set(scene); delete scene.textures; lit = 0; busy(false); say(words); tell(); wheel(); draw();
  }).catch((error) => { if (!stale()) { busy(false); say(error.message, true); } });
}
const moves = (i) => Math.hypot(scene.flow[i], scene.flow[scene.width * scene.height + i]) >= scene.threshold;
// The region at a position in [0, 1] x [0, 1], or the nearest within the click tolerance; 0 for none.
function labelAt([across, down]) {
  const { width: w, height: h, labels } = scene, x = Math.min(Math.floor(across * w), w - 1), y = Math.min(Math.floor(down * h), h - 1);
  if (moves(y * w + x)) return labels[y * w + x];
  const reach = Math.ceil(TOLERANCE * Math.max(w, h)); let best = 0, least = reach ** 2;
  for (let Y = Math.max(y - reach, 0); Y <= Math.min(y + reach, h - 1); Y++) for (let X = Math.max(x - reach, 0); X <= Math.min(x + reach, w - 1); X++) {
    const far = (X - x) ** 2 + (Y - y) ** 2;
    if (far <= least && moves(Y * w + X)) { least = far; best = labels[Y * w + X]; }
  }
  return best;
}
function light(labels) { lit = labels; draw(); clearTimeout(light.timer); light.timer = setTimeout(() => { lit = 0; draw(); }, 350); }
function reverse(place) {
  const label = labelAt(place);
  if (!label) { say("Nothing moves there: choose a point on something blurred by motion.", true); return; }
  renderer.flip(label); light(label); follow("Reversed. Tap again to undo.");
}
const goes = (i, label) => { const n = scene.width * scene.height, s = renderer.flipped(label) ? -1 : 1; return [s * scene.flow[i], s * scene.flow[n + i]]; };
function direct(points) { // regions under an arrow move along it
  const { width: w, height: h } = scene, places = [];
  for (let k = 1; k < points.length; k++) {
    const [a, b] = [points[k - 1], points[k]], dx = (b[0] - a[0]) * w, dy = (b[1] - a[1]) * h, long = Math.hypot(dx, dy), steps = Math.ceil(long);
    for (let i = 0; i < steps; i++) { const share = (i + 0.5) / steps; places.push({ at: [a[0] + share * (b[0] - a[0]), a[1] + share * (b[1] - a[1])], way: [dx / long, dy / long] }); }
  }
  const few = places.filter((_, i) => i % Math.ceil(places.length / 200) === 0), found = few.map(({ at }) => labelAt(at)), counts = new Map();
  for (const label of found) if (label) counts.set(label, (counts.get(label) ?? 0) + 1);
  let taken = [...counts].filter(([, count]) => 3 * count >= few.length).map(([label]) => label);
  if (!taken.length && found[0]) taken = [found[0]]; // an arrow that leaves its region
  if (!taken.length) { say("The arrow is over nothing that moves: draw it on something blurred by motion.", true); return; }
  for (const label of taken) {
    let agreement = 0;
    few.forEach(({ at: [across, down], way }, k) => {
      const i = Math.min(Math.floor(down * h), h - 1) * w + Math.min(Math.floor(across * w), w - 1), [u, v] = goes(i, label);
      if (found[k] === label && scene.labels[i] === label) agreement += u * way[0] + v * way[1];
    });
    if (agreement < 0) renderer.flip(label);
  }
  light(taken[0]); follow("The motion follows the arrow.");
}
function directAll(x, y, words) { // each region along its own line; perpendicular ones turn clockwise
  const sums = new Map();
  scene.labels.forEach((label, i) => {
    if (!moves(i)) return;
    const [u, v] = goes(i, label); sums.set(label, (sums.get(label) ?? 0) + u * (x - 1e-6 * y) + v * (y + 1e-6 * x));
  });
  for (const [label, sum] of sums) if (sum < 0) renderer.flip(label);
  follow(words);
}

// --- pointer and keys -----------------------------------------------------------------------------
const dragging = () => document.querySelector("input[name=drag]:checked").value;
function place(event) { // in [0, 1] x [0, 1]
  const box = canvas.getBoundingClientRect();
  return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height].map((share) => Math.min(Math.max(share, 0), 1));
}
let touch = null;
canvas.addEventListener("pointerdown", (event) => {
  if (!scene || saving || !event.isPrimary || event.button) return;
  canvas.setPointerCapture(event.pointerId);
  touch = { x: event.clientX, y: event.clientY, moment: time, points: [place(event)], moved: false, timer: setTimeout(() => peek(true), HOLD) };
  cross = null; ink();
});
canvas.addEventListener("pointermove", (event) => {
  if (!touch || peeking) return;
  if (!touch.moved && Math.hypot(event.clientX - touch.x, event.clientY - touch.y) < MOVED) return;
  if (!touch.moved) { touch.moved = true; clearTimeout(touch.timer); touch.moment = time; }
  if (dragging() === "time") { at(touch.moment + 2.2 * (event.clientX - touch.x) / canvas.clientWidth); return; }
  touch.points.push(place(event)); stroke = touch.points; ink();
});
function released(event) {
  if (!touch) return;
  const { moved, points, timer } = touch; touch = stroke = null; clearTimeout(timer); ink();
  if (peeking) peek(false);
  else if (event.type === "pointerup" && !moved) reverse(points[0]);
  else if (event.type === "pointerup" && dragging() === "arrow") direct(points);
  play(playing);
}
canvas.addEventListener("pointerup", released);
canvas.addEventListener("pointercancel", released);
canvas.addEventListener("contextmenu", (event) => event.preventDefault());
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
canvas.addEventListener("keydown", (event) => {
  if (!scene || saving) return;
  const way = ARROWS[event.key];
  if (way) {
    const step = event.shiftKey ? 0.005 : 0.03;
    cross = (cross ?? [0.5, 0.5]).map((share, axis) => Math.min(Math.max(share + step * way[axis], 0), 1)); stroke?.push(cross);
  } else if (event.key === "Enter") {
    cross ??= [0.5, 0.5];
    if (dragging() === "time") reverse(cross);
    else if (!stroke) stroke = [cross];
    else { const points = stroke; stroke = null; points.length > 1 ? direct(points) : reverse(cross); }
  } else if (event.key === "Escape") { cross = stroke = null; } else if (event.key === " ") { play(!playing); } else { return; }
  event.preventDefault(); ink();
});
canvas.addEventListener("blur", () => { if (!touch) { cross = stroke = null; ink(); } });
function ink() { // the arrow that is being drawn, and the cross of the keys
  const board = $("ink"), pen = board.getContext("2d"), w = board.width = board.clientWidth, h = board.height = board.clientHeight;
  const path = (draw) => {
    for (const [color, width] of [["#fff", 7], ["#4f46e5", 3.5]]) {
      Object.assign(pen, { strokeStyle: color, lineWidth: width, lineCap: "round", lineJoin: "round" });
      pen.beginPath(); draw(); pen.stroke();
    }
  };
  if (stroke?.length > 1) path(() => {
    stroke.forEach(([x, y], k) => k ? pen.lineTo(x * w, y * h) : pen.moveTo(x * w, y * h));
    const [a, b] = [stroke[Math.max(0, stroke.length - 6)], stroke.at(-1)], angle = Math.atan2((b[1] - a[1]) * h, (b[0] - a[0]) * w);
    for (const turn of [2.6, -2.6]) { pen.moveTo(b[0] * w, b[1] * h); pen.lineTo(b[0] * w + 16 * Math.cos(angle + turn), b[1] * h + 16 * Math.sin(angle + turn)); }
  });
  if (cross) path(() => { const [x, y] = [cross[0] * w, cross[1] * h]; pen.moveTo(x - 12, y); pen.lineTo(x + 12, y); pen.moveTo(x, y - 12); pen.lineTo(x, y + 12); });
}
$("time").oninput = () => at(+$("time").value);
$("play").onclick = () => play(!playing);
for (const [press, let_go] of [["pointerdown", "pointerup"], ["keydown", "keyup"]]) {
  $("compare").addEventListener(press, (event) => { if (!event.key || event.key === " " || event.key === "Enter") peek(true); });
  for (const end of [let_go, "blur", "pointercancel", "pointerleave"]) $("compare").addEventListener(end, () => peek(false));
}
$("motion").onclick = () => { view = 1 - view; $("motion").setAttribute("aria-pressed", view === 1); $("legend").hidden = !view; wheel(); draw(); };
document.querySelectorAll("input[name=drag]").forEach((input) => { input.onchange = () => $("view").classList.toggle("arrow", dragging() === "arrow"); });
document.querySelectorAll("[data-way]").forEach((button) => {
  button.onclick = () => directAll(...button.dataset.way.split(",").map(Number), `All motion is directed ${button.textContent.replace("Everything ", "")}, each region along its own line.`);
});
$("backwards").onclick = () => { for (const label of new Set(scene.labels)) renderer.flip(label); follow("All motion is reversed: the blur would be the same."); };
$("again").onclick = () => { renderer.flips.fill(0); follow("Directions are reset.", true); };
function wheel() { // the legend: a vector from the centre has the colour of its end
  const pen = $("wheel").getContext("2d"), size = $("wheel").width, image = pen.createImageData(size, size);
  for (let i = 0; i < size * size; i++) {
    const u = ((i % size) + 0.5) / size * 2 - 1, v = (Math.floor(i / size) + 0.5) / size * 2 - 1, radius = Math.hypot(u, v);
    const spot = (Math.atan2(-v, -u) / Math.PI + 1) / 2 * WHEEL.length, k = Math.floor(spot), next = WHEEL[(k + 1) % WHEEL.length];
    WHEEL[k % WHEEL.length].forEach((low, c) => { image.data[4 * i + c] = 255 * (1 - Math.min(radius, 1) * (1 - low - (spot - k) * (next[c] - low))); });
    image.data[4 * i + 3] = 255 * Math.min(Math.max((1 - radius) * size / 2, 0), 1);
  }
  pen.putImageData(image, 0, 0);
  $("rim").textContent = scene ? `edge: ${Math.round(Math.max(3, scene.longest) / scene.scale)} px` : "";
}

// --- files in and out -----------------------------------------------------------------------------
for (const input of [$("file"), $("capture")]) input.onchange = () => { if (input.files[0]) show(input.files[0]); input.value = ""; };
addEventListener("dragover", (event) => { event.preventDefault(); $("drop").classList.add("over"); });
addEventListener("dragleave", () => $("drop").classList.remove("over"));
addEventListener("drop", (event) => { event.preventDefault(); $("drop").classList.remove("over"); if (event.dataTransfer.files[0]) show(event.dataTransfer.files[0]); });
addEventListener("paste", (event) => {
  const [file] = event.clipboardData.files;
  if (!file) { say("The clipboard holds no image: copy one first.", true); return; }
  event.preventDefault(); show(file, file.name || "the pasted image");
});
$("camera").onclick = async () => {
  const video = $("viewfinder").querySelector("video");
  if (matchMedia("(pointer: coarse)").matches || !navigator.mediaDevices) { $("capture").click(); return; } // the camera app of a phone is better
  try {
    video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1280 } } });
    await video.play(); $("viewfinder").showModal();
  } catch (error) { say(`The camera cannot be used: ${error.message}.`, true); }
};
$("viewfinder").onclose = () => {
  const video = $("viewfinder").querySelector("video");
  video.srcObject?.getTracks().forEach((track) => track.stop()); video.srcObject = null;
};
$("away").onclick = () => $("viewfinder").close();
$("shoot").onclick = async () => {
  const video = $("viewfinder").querySelector("video"), board = new OffscreenCanvas(video.videoWidth, video.videoHeight);
  board.getContext("2d").drawImage(video, 0, 0); $("viewfinder").close();
  show(await board.convertToBlob({ type: "image/png" }), "photo.png");
};
function instants() {
  const count = +$("frames").value, times = Array.from({ length: count }, (_, i) => 2 * i / (count - 1) - 1);
  return { count, times: $("pingpong").checked ? [...times, ...times.slice(1, -1).reverse()] : times };
}
async function* frames(times) {
  for (const [i, moment] of times.entries()) {
    renderer.draw(moment); $("busy").value = (i + 1) / times.length; yield moment;
    await new Promise((resolve) => setTimeout(resolve));
  }
}
async function save(kind) {
  const { count, times } = instants(), fps = Math.min(Math.max(count, 5), 60), kinds = { mp4, gif, png: pngs };
  const buttons = document.querySelectorAll("#stage button, #stage input, #stage select, #choose button, #choose input");
  try {
    await decoding; saving = true; busy(true); say("Writing …"); buttons.forEach((button) => { button.disabled = true; });
    let sized = pixelsOf(photo, MAX_SAVED_PIXELS[kind], renderer.largest);
    if (kind === "mp4" && !await videoConfig(sized.width & ~1, sized.height & ~1, fps)) sized = pixelsOf(photo, Infinity, Math.min(1920, renderer.largest));
    renderer.photo(sized.data, sized.width, sized.height);
    const blob = await kinds[kind](canvas, frames(kind === "png" ? times.slice(0, count) : times), fps) ?? await recorded(canvas, frames(times), fps);
    const ending = kind === "png" ? "zip" : blob.type.split("/")[1], name = `${photo.name.replace(/\.[^.]*$/, "")}.${ending}`;
    const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
    link.click(); setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    const size = kind === "mp4" ? `${sized.width & ~1}×${sized.height & ~1}` : `${sized.width}×${sized.height}`;
    const shrunk = sized.width < photo.width ? " Shrunk from the photo's size." : "";
    say(`Saved ${name}: ${kind === "png" ? count : times.length} frames of ${size}, ${(blob.size / 1e6).toFixed(1)} MB.${shrunk}`);
    return blob;
  } catch (error) {
    say(`It cannot be saved: ${error.message}`, true);
  } finally { saving = false; busy(false); buttons.forEach((button) => { button.disabled = false; }); restored(); play(playing); }
}
document.querySelectorAll("[data-save]").forEach((button) => { button.onclick = () => save(button.dataset.save); });

requestAnimationFrame(loop);
const ready = start();
ready.then(() => busy(false), (error) => { busy(false); say(error.message, true); });
// For tests.
globalThis.b2m = { show, save, at, direct, reverse, get scene() { return scene; }, get renderer() { return renderer; }, get latest() { return latest; } };
