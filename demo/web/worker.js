// Runs the network and what follows from it off the main thread. Messages: {load} with the engine,
// {photo} with RGBA bytes, {guidance} for that photo; answers carry the same id.
import { assess, sentencesOf } from "./assessment.js";
import { follow, resized } from "./conditioning.js";
import { coherentSigns, halfAngle, lengths, oddResidual } from "./motion.js";
import { encode, planesOf, pyramid, workingPhoto } from "./multiscale.js";
import { findRegions } from "./regions.js";
import { standsStill, warningsOf } from "./diagnostics.js";
const WARM = 8; // small photos that bring the network up to speed
const FRAMES = 15; // instants whose mean is projected onto the photo
const DARK = 0.01, MAX_GAIN = 2, LESS = 0.7, GRAIN = 0.6, NOISE = 0.25; // of b2m.inference.projection
const ENGINES = { wasm: ["ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"], webgpu: ["ort.webgpu.bundle.min.mjs", "ort-wasm-simd-threaded.asyncify.wasm"] };
let model, weights, shown; // of the photo that is shown: what guidance does not reach
const engines = {};

async function bytes(name) {
  const response = await fetch(new URL(`assets/${name}`, self.location));
  if (!response.ok) throw Error(`${name} cannot be fetched (${response.status}): reload the page`);
  return new Uint8Array(await response.arrayBuffer());
}
async function unpacked(name) {
  const packed = await bytes(name);
  if (packed[0] !== 0x1f || packed[1] !== 0x8b) return packed; // the server has decompressed it
  return new Uint8Array(await new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer());
}
async function load({ engine, threads }) {
  if (!engines[engine]) {
    const [script, binary] = ENGINES[engine];
    const [ort, wasm] = await Promise.all([import(`./assets/${script}`), unpacked(`${binary}.gz`)]);
    model ??= JSON.parse(new TextDecoder().decode(await bytes("model.json")));
    weights ??= await Promise.all(["features.onnx", "decode.onnx"].map(bytes));
    Object.assign(ort.env.wasm, { numThreads: self.crossOriginIsolated ? threads : 1, wasmBinary: wasm.buffer });
    ort.env.logLevel = "error"; const sessions = [];
    for (const each of weights) sessions.push(await ort.InferenceSession.create(each, { executionProviders: [engine], graphOptimizationLevel: "all" }));
    engines[engine] = { ort, sessions, threads: ort.env.wasm.numThreads };
  }
  return { threads: engines[engine].threads, isolated: self.crossOriginIsolated };
}
// Encodes one size of the photo, with guidance or null; maps by name. What guidance does not reach is kept.
async function run({ ort, sessions: [features, decode] }, size, said) {
  const { planes, width, height } = size, { stride } = model, W = Math.ceil(width / stride) * stride, H = Math.ceil(height / stride) * stride;
  const padded = (planes) => { // to the stride, by repeating the border
    const channels = planes.length / (width * height), out = new Float32Array(channels * W * H);
    for (let c = 0; c < channels; c++) for (let y = 0; y < H; y++) {
      const from = c * width * height + Math.min(y, height - 1) * width, to = (c * H + y) * W;
      out.set(planes.subarray(from, from + width), to); out.fill(planes[from + width - 1], to + width, to + W);
    }
    return new ort.Tensor("float32", out, [1, channels, H, W]);
  };
  const photo = padded(planes), kept = size.kept ??= await features.run({ photo });
  const guidance = padded(said ?? new Float32Array(2 * width * height)), given = new ort.Tensor("float32", [said ? 1 : 0], [1]);
  const result = await decode.run({ photo, ...kept, guidance, given }), maps = {};
  for (const name of Object.keys(result)) {
    const whole = await result[name].getData(), channels = model.maps[name], map = maps[name] = new Float32Array(channels * width * height);
    for (let row = 0; row < channels * height; row++) { const from = (Math.floor(row / height) * H + row % height) * W; map.set(whole.subarray(from, from + width), row * width); }
    result[name].dispose();
  }
  return maps;
}
// Small photos until another message comes: by then the browser has compiled the network in full.
async function warm({ engine }) {
  const [width, height] = [96, 64], planes = new Float32Array(3 * width * height).fill(0.5);
  for (let i = 0; i < WARM && !queued; i++) { await run(engines[engine], { planes, width, height }, null); await new Promise((resolve) => setTimeout(resolve)); }
}
async function prepare({ engine, pixels, width, height, maxPixels }) {
  const working = workingPhoto(planesOf(pixels, width, height, maxPixels)), { planes } = working, scale = working.width / width;
  shown = { engine, planes, scale, threshold: Math.max(model.threshold * scale, 1), sizes: pyramid({ ...working, planes: planes.map((code) => code / 255) }) };
  return direct(null);
}
async function direct(said) { // the photo that is shown, with guidance at its working size, or null
  const { engine, planes, scale, threshold, sizes } = shown, { width: w, height: h } = sizes[0], n = w * h, started = performance.now();
  const maps = await encode((size) => run(engines[engine], size, said && resized(said, w, h, size.width, size.height)), sizes), encoded = performance.now();
  let axis = halfAngle(maps.axis, n);
  if (!said && standsStill(planes, surface(axis, maps, n), w, h, threshold)) {
    for (const name of ["axis", "curve", "even", "odd"]) maps[name].fill(0);
    maps.moving_logits.fill(-1); maps.middle = planes.map((code) => code / 255); axis = halfAngle(maps.axis, n);
  }
  // Frames need motion wherever something passes (`path`); `flow` is that of the surface itself.
  const path = coherentSigns(axis, w, h);
  if (said) follow(maps, path, said, w, h, threshold);
  const flow = surface(path, maps, n), odd = oddResidual(maps.odd, path, n), labels = findRegions(surface(axis, maps, n), planes, w, h, threshold);
  const pack = (...parts) => { const out = new Float32Array(4 * n); parts.forEach(([map, from], c) => { for (let i = 0; i < n; i++) out[4 * i + c] = map[from * n + i]; }); return out; };
  const rgb = (map) => [[map, 0], [map, 1], [map, 2]], exposure = exposed(maps, path, odd, lengths(path, n), w, h), { mean, whole } = exposure, one = flow.map((x, i) => x === path[i] ? 1 : 0);
  const textures = {
    middle: pack(...rgb(maps.middle), [labels, 0]), path: pack([path, 0], [path, 1], [maps.curve, 0], [maps.curve, 1]),
    even: pack(...rgb(maps.even), [one, 0]), odd: pack(...rgb(odd)), mean: pack(...rgb(mean), [whole, 0]),
    seen: Uint8Array.from({ length: 4 * n }, (_, i) => i % 4 < 3 ? planes[(i % 4) * n + (i >> 2)] : 255),
  };
  const length = lengths(flow, n), longest = length.reduce((a, b) => Math.max(a, b), 0), seen = maps.moving_logits.filter((x) => x > 0);
  const { warnings, still, fastest } = warningsOf(planes, flow, w, h, model, 1 / scale, said, axis, threshold);
  const certainty = said || !seen.length ? null : seen.reduce((sum, x) => sum + 1 / (1 + Math.exp(-x)), 0) / seen.length;
  const judged = assess(planes, projected(planes, maps.middle, exposure, length, w, h, threshold), flow, w, h, { threshold, fastest, still, certainty });
  return { width: w, height: h, scale, threshold, textures, labels, flow, longest, warnings, still, sharp: judged.sharp, sentences: sentencesOf(judged), seconds: [(encoded - started) / 1000, (performance.now() - encoded) / 1000] };
}
// The motion where the surface that is seen at the middle instant moves, else zero.
const surface = (path, maps, n) => path.map((x, i) => maps.moving_logits[i % n] > 0 ? x : 0);
// Mean over the exposure in linear light, and the mean share of the residual that frames receive (see
// b2m's projection). Neither depends on the sign of the motion.
const LIGHT = Float32Array.from({ length: 16384 }, (_, i) => i / 16383 <= 0.04045 ? i / 16383 / 12.92 : ((i / 16383 + 0.055) / 1.055) ** 2.4);
const light = (value) => LIGHT[Math.min(Math.max(value, 0), 1) * 16383 + 0.5 | 0]; // of sRGB in [0, 1]
function exposed({ middle, curve, even }, path, odd, length, w, h) {
  const n = w * h, mean = new Float32Array(3 * n), whole = new Float32Array(n).fill(1);
  for (let instant = 0; instant < FRAMES; instant++) {
    const t = 2 * instant / (FRAMES - 1) - 1, square = t * t;
    for (let y = 0, i = 0; y < h; y++) for (let x = 0; x < w; x++, i++) {
      whole[i] -= LESS / FRAMES * Math.exp(Math.max(-((length[i] / (2 * GRAIN)) ** 2) * square, -16));
      const px = Math.min(Math.max(x - path[i] * t / 2 - curve[i] * square, 0), w - 1), py = Math.min(Math.max(y - path[n + i] * t / 2 - curve[n + i] * square, 0), h - 1);
      const x0 = px | 0, y0 = py | 0, a = y0 * w + x0, right = x0 < w - 1 ? 1 : 0, below = y0 < h - 1 ? w : 0, fx = px - x0, fy = py - y0;
      for (let c = 0, at = a, k = i; c < 3; c++, at += n, k += n) {
        const moved = (middle[at] * (1 - fx) + middle[at + right] * fx) * (1 - fy) + (middle[at + below] * (1 - fx) + middle[at + below + right] * fx) * fy;
        mean[k] += light(moved + even[k] * square + odd[k] * t) / FRAMES;
      }
    }
  }
  return { mean, whole };
}
// The middle frame as render.js draws it, sRGB codes; the photo's own where nothing moves, nor beside it.
function projected(planes, middle, { mean, whole }, length, w, h, threshold) {
  const n = w * h, out = planes.slice(), moves = (i) => length[i] >= threshold;
  for (let i = 0; i < n; i++) {
    if (!moves(i) && !moves(i - 1) && !moves(i + 1) && !moves(i - w) && !moves(i + w)) continue;
    for (let c = 0, k = i; c < 3; c++, k += n) {
      const here = light(planes[k] / 255), there = mean[k], floor = here < there ? 0 : DARK, noise = (here - there) / (here + DARK);
      const gain = Math.min((here + floor) / Math.max(there + floor, 1e-6), MAX_GAIN), share = (1 - LESS) / whole[i] - 1;
      const value = Math.min(Math.max(here + gain * (light(middle[k]) - there) + (here + DARK) * share * noise / (1 + (noise / NOISE) ** 2), 0), 1);
      out[k] = Math.round(255 * (value <= 0.0031308 ? value * 12.92 : 1.055 * value ** (1 / 2.4) - 0.055));
    }
  }
  return out;
}
let before = Promise.resolve(), queued = 0; // one after the other
self.onmessage = ({ data }) => { queued++; before = before.then(() => { queued--; return answer(data); }); };
async function answer({ id, load: loading, warm: warming, photo, guidance }) {
  try {
    const result = loading ? await load(loading) : warming ? await warm(warming) : photo ? await prepare(photo) : await direct(guidance);
    self.postMessage({ id, result }, result?.textures ? [...Object.values(result.textures), result.labels, result.flow].map((map) => map.buffer) : []);
  } catch (error) { self.postMessage({ id, error: error.message ?? String(error) }); }
}
