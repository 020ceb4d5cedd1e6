// Follows guidance: ports of b2m.inference.conditioning and of b2m.guidance.from_flow.
import { clamp, lengths, nearest } from "./motion.js";
import { pooled } from "./multiscale.js";
const FADE = 0.5, FARTHEST = 40, SOFT = 5, CERTAIN = 20;
// Guidance: the quadrant of each vector, planes of -1 and 1; 0 where it is shorter than the threshold.
export function quadrants(flow, n, threshold) {
  const out = new Float32Array(2 * n);
  for (let i = 0; i < n; i++) {
    const u = flow[i], v = flow[n + i], right = Math.sign(u), down = Math.sign(v);
    if (u * u + v * v < threshold * threshold) continue;
    out[i] = right && down ? right : right + down; out[n + i] = right && down ? down : down - right;
  }
  return out;
}
export function resized(planes, w, h, W, H) { // each pixel takes the nearest's value
  const out = new Float32Array(planes.length / (w * h) * W * H);
  for (let k = 0; k < out.length; k++) out[k] = planes[Math.floor(k / (W * H)) * w * h + Math.floor(Math.floor(k % (W * H) / W) * h / H) * w + Math.floor(k % W * w / W)];
  return out;
}
function spread(map, w, h) { // zeros get the mean of the nearest that are none, coarse to fine
  if (w * h === 1) return map;
  const W = (w + 1) >> 1, H = (h + 1) >> 1, coarse = new Float32Array(W * H);
  for (let y = 0; y < H; y++) for (let x = 0; x < W; x++) {
    const a = 2 * y * w + 2 * x, right = 2 * x + 1 < w ? 1 : 0, below = 2 * y + 1 < h ? w : 0;
    coarse[y * W + x] = (map[a] + map[a + right] + map[a + below] + map[a + right + below]) / 4; // at borders each counts twice
  }
  const filled = resized(spread(coarse, W, H), W, H, w, h);
  return map.map((value, i) => value || filled[i]);
}
// Turns `path` as guidance says, and takes what guidance holds still out of it and of the maps.
export function follow(maps, path, said, w, h, threshold) {
  const n = w * h, agreement = new Float32Array(n), length = lengths(path, n), still = (i) => !said[i] && !said[n + i];
  for (let i = 0; i < n; i++) agreement[i] = Math.sign(path[i] * said[i] + path[n + i] * said[n + i]);
  const way = spread(agreement, w, h), near = nearest((i) => !still(i), w, h);
  const away = (i) => near[i] < 0 ? Infinity : Math.hypot(i % w - near[i] % w, Math.floor(i / w) - Math.floor(near[i] / w));
  let share = length.map((long, i) => away(i) <= Math.min(long, FARTHEST) ? 1 : clamp((1 + FADE - long / threshold) / FADE, 0, 1));
  share = near[0] < 0 ? share.fill(0) : pooled(share, w, h, SOFT, true).map((x, i) => still(i) ? x : 1);
  for (let i = 0; i < 2 * n; i++) path[i] *= (way[i % n] < 0 ? -1 : 1) * share[i % n];
  for (const [name, power] of [["curve", 2], ["even", 2], ["odd", 1]]) maps[name].forEach((x, i, map) => { map[i] = x * share[i % n] ** power; });
  maps.moving_logits.forEach((_, i, map) => { map[i] = still(i) ? -CERTAIN : CERTAIN; });
}
