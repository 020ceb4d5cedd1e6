// Working size and multi-scale encoding: ports of b2m.inference.multiscale's working_photo and encode.
import { clamp, enlarge, lengths, roundEven, shrink } from "./motion.js";
const LEVELS = 4, MIN_SIDE = 48, SHORT = 16, LONG = 28, AROUND = 9, MIN_DETAIL = 0.34, MIN_CONTENT = 1;
// RGBA bytes as planes of sRGB codes, with at most so many pixels.
export function planesOf(pixels, width, height, maxPixels) {
  const side = width * height > maxPixels ? Math.floor(Math.max(width, height) * Math.sqrt(maxPixels / (width * height))) : Infinity;
  return fit({ planes: pixels, width, height }, side, 1, 4);
}
// Longest side at most `side`: planes of sRGB codes, averaged over areas and rounded.
function fit({ planes, width, height }, side, apart = width * height, stride = 1) {
  const longest = Math.max(width, height);
  if (longest <= side && stride === 1) return { planes, width, height };
  side = Math.min(side, longest);
  const W = Math.max(1, roundEven(width * side / longest)), H = Math.max(1, roundEven(height * side / longest));
  return { planes: shrink(planes, width, height, W, H, 3, apart, stride).map(roundEven), width: W, height: H };
}
// A photo without detail at its own size, such as an enlarged one, is encoded at a smaller size.
export function workingPhoto(photo) {
  let chosen = photo, finer = 0, larger = photo;
  for (let octave = 0; octave < LEVELS; octave++) {
    const smaller = fit(larger, Math.floor(Math.max(larger.width, larger.height) / 2)), content = detail(larger, smaller);
    if (octave && content > MIN_CONTENT ** 2 && finer < MIN_DETAIL ** 2 * content) chosen = larger;
    finer += content;
    if (Math.min(larger.width, larger.height) < 2 * MIN_SIDE) break;
    larger = smaller;
  }
  return chosen;
}
// Mean square of what a photo loses by halving.
function detail({ planes, width, height }, smaller) {
  const { width: w, height: h } = smaller, n = width * height, m = w * h, taps = (from, to) => Array.from({ length: to }, (_, k) => {
    const place = (k + 0.5) * from / to - 0.5, base = Math.floor(place), t = place - base, A = -0.75; // OpenCV's cubic kernel
    const near = (x) => ((A + 2) * x - (A + 3)) * x * x + 1, far = (x) => ((A * x - 5 * A) * x + 8 * A) * x - 4 * A;
    return [far(t + 1), near(t), near(1 - t), far(2 - t)].map((weight, i) => [clamp(base + i - 1, 0, from - 1), weight]);
  }).flat(2);
  const across = Float64Array.from(taps(w, width)), down = Float64Array.from(taps(h, height)), row = new Float64Array(w);
  let sum = 0;
  for (let c = 0; c < 3; c++) for (let y = 0; y < height; y++) {
    row.fill(0);
    for (let k = 8 * y; k < 8 * y + 8; k += 2) for (let x = 0, at = c * m + down[k] * w; x < w; x++) row[x] += down[k + 1] * smaller.planes[at + x];
    for (let x = 0; x < width; x++) {
      let value = 0;
      for (let k = 8 * x; k < 8 * x + 8; k += 2) value += row[across[k]] * across[k + 1];
      sum += (planes[c * n + y * width + x] - clamp(Math.round(value), 0, 255)) ** 2;
    }
  }
  return sum / (3 * n);
}
// Adaptive average pooling to half the size, as torch does.
function half({ planes, width, height }) {
  const W = roundEven(width / 2), H = roundEven(height / 2), out = new Float32Array(3 * W * H);
  for (let c = 0; c < 3; c++) for (let y = 0; y < H; y++) for (let x = 0; x < W; x++) {
    const top = Math.floor(y * height / H), bottom = Math.ceil((y + 1) * height / H), left = Math.floor(x * width / W), right = Math.ceil((x + 1) * width / W);
    let sum = 0;
    for (let j = top; j < bottom; j++) for (let i = left; i < right; i++) sum += planes[c * width * height + j * width + i];
    out[c * W * H + y * W + x] = sum / ((bottom - top) * (right - left));
  }
  return { planes: out, width: W, height: H };
}
// Mean or maximum over a window, clipped at the borders, one axis after the other.
export function pooled(map, w, h, window, mean) {
  const reach = window >> 1;
  for (const [count, step, lines, stride] of [[h, w, w, 1], [w, 1, h, w]]) {
    const out = new Float32Array(map.length);
    for (let l = 0; l < lines; l++) for (let k = 0; k < count; k++) {
      const from = Math.max(k - reach, 0), to = Math.min(k + reach, count - 1); let value = mean ? 0 : -Infinity;
      for (let j = from; j <= to; j++) { const v = map[l * stride + j * step]; value = mean ? value + v : Math.max(value, v); }
      out[l * stride + k * step] = mean ? value / (to - from + 1) : value;
    }
    map = out;
  }
  return map;
}
// Weight of the smaller photo's maps: 1 where motion is too long for the larger one.
function coarseWeight(axis, w, h) {
  const length = lengths(axis, w * h);
  if (!length.some((x) => x > SHORT)) return null;
  return pooled(pooled(length, w, h, AROUND), w, h, AROUND, true).map((x) => clamp((x - SHORT) / (LONG - SHORT), 0, 1));
}
// A photo, {planes in [0, 1], width, height}, and its smaller sizes.
export function pyramid(photo) {
  const sizes = [photo];
  while (sizes.length < LEVELS && Math.min(sizes.at(-1).width, sizes.at(-1).height) >= 2 * MIN_SIDE) sizes.push(half(sizes.at(-1)));
  return sizes;
}
// `run` encodes one of the sizes, and returns its maps by name.
export async function encode(run, sizes) {
  const ratio = (a, b) => Math.max(a.width, a.height) / Math.max(b.width, b.height); let known = null, from = null;
  for (let level = sizes.length - 1; level >= 0; level--) {
    const size = sizes[level];
    // Skipped where even the next size would not use its long motion.
    if (level && known && !lengths(known.axis, from.width * from.height).some((x) => x * ratio(sizes[level - 1], from) >= SHORT / 2)) continue;
    const maps = await run(size);
    if (known) fuse(maps, size, known, from, ratio(size, from));
    known = maps; from = size;
  }
  return known;
}
function fuse(maps, { planes, width, height }, coarse, smaller, ratio) {
  const up = (map, scale) => enlarge(map, smaller.width, smaller.height, width, height, scale), n = width * height;
  const axis = up(coarse.axis, ratio), trust = coarseWeight(axis, width, height);
  if (!trust) return;
  const other = { axis, curve: up(coarse.curve, ratio), middle: up(coarse.middle.map((x, i) => x - smaller.planes[i])).map((x, i) => x + planes[i]) };
  for (const [name, map] of Object.entries(maps)) { const far = other[name] ?? up(coarse[name]); for (let i = 0; i < map.length; i++) map[i] += trust[i % n] * (far[i] - map[i]); }
}
