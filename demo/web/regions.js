// Coherent regions: a port of b2m.motion.regions.find_regions; the constants are explained there.
import { clamp, coarseLines, halved, nearest, pieces, roundEven, shrink } from "./motion.js";
const GRID = 192, SAMPLES = 4, SHARE = 0.25, SUPERPIXEL = 5, SLIC_ITERATIONS = 4, REACH = 2, EDGE = 20, DISCONTINUITY = 0.42, NEGLIGIBLE = 0.003, SMALL = 0.02, SIMILAR = 0.3;
const FRINGE = 0.06, FRINGE_SPEED = 0.6, FRINGE_CONTACT = 0.25, RIM_ANGLE = 35 * Math.PI / 180, MAX_REGIONS = 250, INTERPOLATED = 8;
// A label from 1 on for each pixel, regions with most motion first; still pixels get the label of the
// nearest region. All zeros where nothing moves.
export function findRegions(flow, photo, width, height, threshold) {
  const cell = Math.max(Math.max(width, height) / GRID, 1), step = Math.max(1, Math.floor(cell / SAMPLES));
  const w = Math.max(1, roundEven(width / cell)), h = Math.max(1, roundEven(height / cell)), n = width * height;
  const W = Math.ceil(width / step), H = Math.ceil(height / step), sparse = new Float32Array(2 * W * H), moves = new Float32Array(W * H);
  for (let y = 0; y < H; y++) for (let x = 0; x < W; x++) {
    const i = y * step * width + x * step, k = y * W + x;
    sparse[k] = flow[i]; sparse[W * H + k] = flow[n + i]; moves[k] = flow[i] ** 2 + flow[n + i] ** 2 >= threshold ** 2 ? 1 : 0;
  }
  const moving = Uint8Array.from(shrink(moves, W, H, w, h), (share) => share >= SHARE ? 1 : 0);
  const cells = coarseLines(sparse, W, H, w, h), colors = lab(shrink(photo, width, height, w, h).map(roundEven), w * h);
  const labels = joined(cells, moving, colors, w, h);
  const near = nearest((k) => labels[k] > 0, w, h), whole = new Uint8Array(w * h), out = new Uint8Array(n);
  if (near[0] < 0) return out;
  for (let k = 0; k < w * h; k++) whole[k] = labels[near[k]];
  for (let y = 0; y < height; y++) {
    const py = clamp((y + 0.5) * h / height - 0.5, 0, h - 1), a = Math.floor(py), b = Math.min(a + 1, h - 1), fy = py - a, row = Math.floor(y * h / height) * w;
    for (let x = 0; x < width; x++) {
      const px = clamp((x + 0.5) * w / width - 0.5, 0, w - 1), c = Math.floor(px), d = Math.min(c + 1, w - 1), fx = px - c, i = y * width + x;
      const p = whole[a * w + c], q = whole[a * w + d], r = whole[b * w + c], s = whole[b * w + d];
      out[i] = whole[row + Math.floor(x * w / width)];
      if (p === q && p === r && p === s) continue;
      for (const number of [p, q, r, s]) { // smooth borders between cells
        const share = ((p === number) * (1 - fx) + (q === number) * fx) * (1 - fy) + ((r === number) * (1 - fx) + (s === number) * fx) * fy;
        if (number <= INTERPOLATED && Math.round(255 * share) > 127) out[i] = number;
      }
    }
  }
  return out;
}
function lab(codes, n) { // planes of CIE Lab
  const out = new Float32Array(3 * n), f = (t) => t > 0.008856 ? Math.cbrt(t) : 7.787 * t + 16 / 116;
  const linear = (code) => { const v = code / 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; };
  for (let k = 0; k < n; k++) {
    const r = linear(codes[k]), g = linear(codes[n + k]), b = linear(codes[2 * n + k]);
    const x = f((0.412453 * r + 0.357580 * g + 0.180423 * b) / 0.950456), Y = 0.212671 * r + 0.715160 * g + 0.072169 * b, z = f((0.019334 * r + 0.119193 * g + 0.950227 * b) / 1.088754);
    out[k] = Y > 0.008856 ? 116 * Math.cbrt(Y) - 16 : 903.3 * Y; out[n + k] = 500 * (x - f(Y)); out[2 * n + k] = 200 * (f(Y) - z);
  }
  return out;
}
function joined(cells, moving, colors, w, h) {
  const n = w * h, length = new Float32Array(n), doubled = new Float32Array(2 * n), labels = new Uint8Array(n);
  for (let k = 0; k < n; k++) {
    const u = cells[k], v = cells[n + k], m = Math.max(Math.hypot(u, v), 1e-9);
    length[k] = Math.hypot(u, v); doubled[k] = (u * u - v * v) / m; doubled[n + k] = 2 * u * v / m;
  }
  const { patches, count } = superpixelsOf(doubled, length, moving, colors, w, h);
  if (!count) return labels;
  const motion = new Float64Array(count), lines = Array.from({ length: count }, () => [0, 0, 0]);
  for (let k = 0; k < n; k++) if (moving[k]) { const p = patches[k], l = lines[p]; motion[p] += length[k]; l[0] += doubled[k]; l[1] += doubled[n + k]; l[2]++; }
  const roots = merge(count, boundariesOf(doubled, length, patches, count, moving, colors, w, h), Array.from(motion), lines.map((l) => [...l]));
  const number = new Map([...new Set(roots)].sort((a, b) => a - b).map((root, i) => [root, i])), regions = patches.map((p, k) => moving[k] ? number.get(roots[p]) : -1);
  const moved = new Float64Array(number.size), together = Array.from(moved, () => [0, 0, 0]);
  for (let p = 0; p < count; p++) { const r = number.get(roots[p]); moved[r] += motion[p]; lines[p].forEach((value, c) => { together[r][c] += value; }); }
  const belongs = fringeOwners(regions, moved, together, w, h), sums = new Float64Array(moved.length);
  for (let k = 0; k < n; k++) if (moving[k]) sums[belongs[regions[k]]] += length[k];
  const rank = new Map(Array.from(sums.keys()).sort((a, b) => sums[b] - sums[a]).map((r, i) => [r, i + 1]));
  for (let k = 0; k < n; k++) if (moving[k]) { const r = rank.get(belongs[regions[k]]); labels[k] = r > MAX_REGIONS ? 0 : r; }
  return labels;
}
function superpixelsOf(doubled, length, moving, colors, w, h) { // small connected pieces, by SLIC superpixels
  const n = w * h, F = 8, features = new Float32Array(F * n), chosen = new Int32Array(n), rows = Math.ceil(h / SUPERPIXEL), columns = Math.ceil(w / SUPERPIXEL);
  for (let k = 0; k < n; k++) {
    const x = k % w, y = Math.floor(k / w), m = Math.max(length[k], 1);
    features[F * k] = 2 * doubled[k] / m; features[F * k + 1] = 2 * doubled[n + k] / m; features[F * k + 2] = 2 * Math.log(m);
    for (let c = 0; c < 3; c++) features[F * k + 3 + c] = colors[c * n + k] / EDGE;
    features[F * k + 6] = y / SUPERPIXEL; features[F * k + 7] = x / SUPERPIXEL;
    chosen[k] = Math.floor(y / SUPERPIXEL) * columns + Math.floor(x / SUPERPIXEL);
  }
  for (let step = 0; step < SLIC_ITERATIONS; step++) {
    const sums = new Float64Array(F * rows * columns), counts = new Float64Array(rows * columns), centres = new Float32Array(sums.length);
    for (let k = 0; k < n; k++) { counts[chosen[k]]++; for (let f = 0; f < F; f++) sums[F * chosen[k] + f] += features[F * k + f]; }
    for (let i = 0; i < sums.length; i++) centres[i] = counts[Math.floor(i / F)] ? sums[i] / counts[Math.floor(i / F)] : Infinity;
    for (let k = 0; k < n; k++) {
      const row = Math.floor(Math.floor(k / w) / SUPERPIXEL), column = Math.floor((k % w) / SUPERPIXEL); let best = Infinity;
      for (let r = row - 1; r <= row + 1; r++) for (let c = column - 1; c <= column + 1; c++) {
        if (r < 0 || r >= rows || c < 0 || c >= columns) continue;
        let far = 0;
        for (let f = 0, at = F * (r * columns + c); f < F && far < best; f++) { const apart = features[F * k + f] - centres[at + f]; far += apart * apart; }
        if (far < best) { best = far; chosen[k] = r * columns + c; }
      }
    }
  }
  const found = pieces(w, h, (k) => moving[k], (i, j) => chosen[i] === chosen[j]), patches = new Int32Array(n).fill(-1); // a still gap may split a cluster
  found.forEach((piece, number) => { for (const k of piece) patches[k] = number; });
  return { patches, count: found.length };
}
function around(k, w, h) {
  const out = [], x = k % w;
  if (x > 0) out.push(k - 1); if (x < w - 1) out.push(k + 1); if (k >= w) out.push(k - w); if (k < w * (h - 1)) out.push(k + w);
  return out;
}
// Neighbouring pairs of patches: how motion jumps in all across their border, and how long it is.
function boundariesOf(doubled, length, patches, count, moving, colors, w, h) {
  const n = w * h, means = new Float32Array(2 * count), counts = new Float32Array(count), borders = Array.from({ length: count }, () => new Map());
  for (let k = 0; k < n; k++) if (moving[k]) { counts[patches[k]]++; means[patches[k]] += doubled[k]; means[count + patches[k]] += doubled[n + k]; }
  const calm = halved(means.map((sum, i) => sum / counts[i % count]), count), size = (p) => Math.hypot(calm[p], calm[count + p]);
  for (const [stride, limit] of [[1, w], [w, h]]) for (let before = 0; before < n; before++) {
    const place = stride === 1 ? before % w : Math.floor(before / w), after = before + stride;
    if (place + 1 >= limit || !moving[before] || !moving[after] || patches[before] === patches[after]) continue;
    let back = before, forth = after; // as far as cells are moving
    for (let r = 1; r <= REACH && place - r >= 0 && moving[before - r * stride]; r++) back = before - r * stride;
    for (let r = 1; r <= REACH && place + 1 + r < limit && moving[after + r * stride]; r++) forth = after + r * stride;
    const p = patches[back], q = patches[forth], a = size(p), b = size(q), ux = calm[p], uy = calm[count + p], vx = calm[q], vy = calm[count + q];
    const jump = Math.min(Math.hypot(ux - vx, uy - vy), Math.hypot(ux + vx, uy + vy)) / Math.max(a, b, 1e-6);
    const dip = 1 - Math.min(length[before], length[after]) / Math.max(Math.min(a, b), 1e-6); // where two lines meet, or a still gap
    const edge = Math.min(Math.hypot(...[0, 1, 2].map((c) => colors[c * n + back] - colors[c * n + forth])) / EDGE, 1);
    const one = patches[before], other = patches[after], [total, cells] = borders[one].get(other) ?? [0, 0], entry = [total + Math.max(jump, dip) * (0.75 + 0.5 * edge), cells + 1];
    borders[one].set(other, entry); borders[other].set(one, entry);
  }
  return borders;
}
const later = (p, q) => q[0] - p[0] || q[1] - p[1] || q[2] - p[2];
function merge(count, borders, weight, lines) { // pairs with the least mean jump first, up to a limit
  const parent = Array.from({ length: count }, (_, k) => k), everything = Math.max(weight.reduce((a, b) => a + b, 0), 1e-9);
  const jump = (one, other) => { const [total, cells] = borders[one].get(other); return total / cells; };
  const patience = (one, other) => {
    const share = Math.min(weight[one], weight[other]) / everything;
    if (share < NEGLIGIBLE) return Infinity;
    const [a, b] = [one, other].map((r) => [lines[r][0] / lines[r][2], lines[r][1] / lines[r][2]]);
    const alike = Math.hypot(a[0] - b[0], a[1] - b[1]) < SIMILAR * Math.max(Math.hypot(...a), Math.hypot(...b), 1e-9);
    return share < SMALL || alike ? 2 * DISCONTINUITY : DISCONTINUITY;
  };
  for (const lenient of [false, true]) { // small regions can only be told from large ones after these have formed
    const queue = borders.flatMap((beside, a) => [...beside.keys()].filter((b) => a < b).map((b) => [jump(a, b), a, b])).sort(later); // the next comes last
    while (queue.length) {
      const [price, one, other] = queue.pop();
      if (!borders[one].has(other) || jump(one, other) !== price || price > (lenient ? patience(one, other) : DISCONTINUITY)) continue;
      const [keep, gone] = borders[one].size >= borders[other].size ? [one, other] : [other, one];
      parent[gone] = keep; weight[keep] += weight[gone]; lines[gone].forEach((value, c) => { lines[keep][c] += value; });
      borders[keep].delete(gone); borders[gone].delete(keep);
      for (const [beside, [total, cells]] of borders[gone]) {
        borders[beside].delete(gone);
        const known = borders[keep].get(beside) ?? [0, 0], entry = [total + known[0], cells + known[1]];
        borders[keep].set(beside, entry); borders[beside].set(keep, entry);
        const item = [jump(keep, beside), Math.min(keep, beside), Math.max(keep, beside)]; let low = 0, high = queue.length;
        while (low < high) { const half = (low + high) >> 1; if (later(queue[half], item) < 0) low = half + 1; else high = half; }
        queue.splice(low, 0, item);
      }
      borders[gone] = new Map();
    }
  }
  return parent.map((_, k) => { while (parent[k] !== k) k = parent[k]; return k; });
}
function fringeOwners(regions, motion, lines, w, h) { // the border of a region, where its motion fades, is no region
  const count = motion.length, outline = new Float64Array(count), shared = Array.from({ length: count }, () => new Map()), all = motion.reduce((a, b) => a + b, 0);
  for (let k = 0; k < w * h; k++) if (regions[k] >= 0) for (const j of around(k, w, h)) if (regions[j] !== regions[k]) {
    outline[regions[k]]++;
    if (regions[j] >= 0) shared[regions[k]].set(regions[j], (shared[regions[k]].get(regions[j]) ?? 0) + 1);
  }
  let belongs = Array.from({ length: count }, (_, r) => r);
  for (let rim = 0; rim < count; rim++) {
    if (motion[rim] >= FRINGE * all) continue;
    const [thing, touches] = [...shared[rim]].reduce((a, b) => b[1] > a[1] || (b[1] === a[1] && b[0] < a[0]) ? b : a, [-1, 0]);
    if (thing < 0) continue;
    const a = lines[rim], b = lines[thing], alike = a[0] * b[0] + a[1] * b[1] >= Math.cos(2 * RIM_ANGLE) * Math.hypot(a[0], a[1]) * Math.hypot(b[0], b[1]);
    const slower = motion[rim] / a[2] < FRINGE_SPEED * motion[thing] / b[2] && motion[rim] < motion[thing] / 3;
    if (alike && slower && touches >= FRINGE_CONTACT * outline[rim]) belongs[rim] = thing;
  }
  for (let i = 0; i < 2; i++) belongs = belongs.map((r) => belongs[r]);
  return belongs;
}
