// Warnings: a port of b2m.inference.diagnostics, whose sentences the build writes to model.json.
import { clamp, lengths, pieces, roundEven } from "./motion.js";
const VISIBLE = 12, NOTHING = 0.002, LITTLE = 0.018, VISIBLE_SHARE = 0.2, SPARSE = 320, STILL_SHARE = 0.002, LONG_SHARE = 0.25, UNSEEN = 0.5;
const BURNT = 245, STREAK = 6, LARGEST = 0.02, SLENDER = 2, MIN_EXTENT = 0.6, BEYOND = 0.25, DARK = 180, MAX_STREAKS = 200;
const MAX_BURNT = 0.1, BARS = 5, BAR_LENGTH = 12, BAR_SLENDER = 4, BAR_ANGLE = 0.12, BAR_RATIO = 1.4;
// Whether the estimated motion would hardly change the photo (planes of sRGB codes).
export function standsStill(photo, flow, width, height, threshold) {
  const n = width * height, step = Math.max(width, height) >= SPARSE ? 2 : 1;
  const at = (c, x, y) => {
    x = clamp(x, 0, width - 1); y = clamp(y, 0, height - 1);
    const a = Math.floor(y) * width + Math.floor(x) + c * n, right = x < width - 1 ? 1 : 0, below = y < height - 1 ? width : 0, fx = x % 1, fy = y % 1;
    return Math.round((photo[a] * (1 - fx) + photo[a + right] * fx) * (1 - fy) + (photo[a + below] * (1 - fx) + photo[a + below + right] * fx) * fy);
  };
  let visible = 0, moving = 0, count = 0;
  for (let y = 0; y < height; y += step) for (let x = 0; x < width; x += step) {
    const u = flow[y * width + x] / 2, v = flow[n + y * width + x] / 2; count++;
    if (4 * (u * u + v * v) < threshold * threshold) continue;
    moving++;
    if ([0, 1, 2].some((c) => Math.abs(at(c, x + u, y + v) - at(c, x - u, y - v)) > VISIBLE)) visible++;
  }
  return visible / count < NOTHING || (visible / count < LITTLE && visible < VISIBLE_SHARE * moving);
}
// Warnings, whether the clip is still, and how fast its fastest parts are, in the photo's pixels. With guidance `said`, `seen` is
// the path that the network sees and `guided` the length from which on guidance calls its motion moving.
export function warningsOf(photo, flow, width, height, { threshold, sentences }, scale, said, seen, guided) {
  const n = width * height, length = lengths(flow, n), step = Math.max(1, Math.floor(Math.max(width, height) / 1024)), sample = new Float32Array(Math.ceil(width / step) * Math.ceil(height / step)), found = [];
  const stands = (length) => length.reduce((sum, x) => sum + (x >= threshold ? 1 : 0), 0) / n < STILL_SHARE, still = stands(length);
  if (still) found.push(said && !stands(lengths(seen, n)) ? sentences.held : sentences.still);
  if (burntStreaks(photo, flow, width, height)) found.push(still ? sentences.unfollowed : sentences.streaks);
  if (said) {
    let moving = 0, unseen = 0;
    for (let i = 0; i < n; i++) if (said[i] || said[n + i]) { moving++; if (length[i] < guided / 2) unseen++; }
    if (unseen > UNSEEN * moving) found.push(sentences.unseen.replace(/\{share[^}]*\}/, `${roundEven(100 * unseen / moving)}%`));
  }
  for (let y = 0, k = 0; y < height; y += step) for (let x = 0; x < width; x += step) sample[k++] = length[y * width + x];
  sample.sort();
  const place = 0.99 * (sample.length - 1), low = Math.floor(place), fastest = sample[low] + (place - low) * ((sample[low + 1] ?? sample[low]) - sample[low]);
  if (fastest > LONG_SHARE * Math.min(width, height)) found.push(sentences.long.replace(/\{length[^}]*\}/, roundEven(fastest * scale)));
  return { still: found.includes(sentences.still), fastest: fastest * scale, warnings: found };
}
const variance = (values) => { const mean = values.reduce((a, b) => a + b, 0) / values.length; return values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / values.length; };
const along = (piece, angle) => piece.map(([x, y]) => x * Math.cos(angle) + y * Math.sin(angle));
const extent = (piece, angle) => Math.sqrt(12 * variance(along(piece, angle))) + 1;
// Saturated lights that leave streaks, along the motion or, where none is found, parallel bars.
function burntStreaks(photo, flow, width, height) {
  const n = width * height, least = (i) => Math.min(photo[i], photo[n + i], photo[2 * n + i]), streaks = [], bars = [];
  let burnt = 0;
  for (const inside of pieces(width, height, (i) => least(i) >= BURNT)) {
    const span = (values) => values.reduce((a, b) => Math.max(a, b)) - values.reduce((a, b) => Math.min(a, b)) + 1;
    const longest = Math.max(span(inside.map((i) => i % width)), span(inside.map((i) => Math.floor(i / width))));
    burnt += inside.length;
    if (inside.length <= LARGEST * n && longest >= MIN_EXTENT * STREAK) streaks.push(inside);
  }
  streaks.sort((a, b) => b.length - a.length);
  for (const inside of streaks.slice(0, MAX_STREAKS)) {
    const piece = inside.map((i) => [i % width, Math.floor(i / width)]); let re = 0, im = 0;
    for (const i of inside) { const u = flow[i], v = flow[n + i], m = Math.hypot(u, v) || 1; re += (u * u - v * v) / m / inside.length; im += 2 * u * v / m / inside.length; }
    const motion = Math.hypot(re, im); let angle = Math.atan2(im, re) / 2;
    if (motion >= STREAK) {
      const long = extent(piece, angle), wide = extent(piece, angle + Math.PI / 2);
      if (long >= SLENDER * wide && long >= MIN_EXTENT * motion && endsAbruptly(piece, angle, motion, least, width, height)) return true;
      continue;
    }
    const xs = piece.map((p) => p[0]), ys = piece.map((p) => p[1]), xx = variance(xs), yy = variance(ys), xy = (variance(piece.map(([x, y]) => x + y)) - xx - yy) / 2;
    angle = Math.atan2(2 * xy, xx - yy) / 2; // its own direction
    const long = extent(piece, angle);
    if (long >= Math.max(BAR_LENGTH, BAR_SLENDER * extent(piece, angle + Math.PI / 2))) bars.push([angle, long]);
  }
  if (burnt / n > MAX_BURNT) return false;
  const alike = ([a, l], [b, m]) => Math.abs(Math.atan2(Math.sin(2 * (a - b)), Math.cos(2 * (a - b)))) / 2 < BAR_ANGLE && Math.abs(Math.log(l / m)) < Math.log(BAR_RATIO);
  return bars.some((bar) => bars.filter((other) => alike(bar, other)).length >= BARS);
}
function endsAbruptly(piece, angle, motion, least, width, height) {
  const beyond = Math.max(2, BEYOND * motion), reached = along(piece, angle);
  return [-1, 1].every((sign) => {
    const end = reached.reduce((far, x) => Math.max(far, sign * x), -Infinity), last = piece.filter((_, i) => sign * reached[i] >= end - 1);
    const mean = (c) => last.reduce((sum, p) => sum + p[c], 0) / last.length;
    const x = Math.round(mean(0) + sign * beyond * Math.cos(angle)), y = Math.round(mean(1) + sign * beyond * Math.sin(angle));
    return !(x >= 0 && x < width && y >= 0 && y < height && least(y * width + x) > DARK);
  });
}
