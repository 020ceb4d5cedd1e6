// Motion axes, coherent signs and colours: ports of b2m's half_angle, coherent_signs, flow_to_color.
// Maps are planes: channel c of a map of n pixels begins at c * n.
export const clamp = (x, low, high) => Math.min(Math.max(x, low), high);
export const roundEven = (x) => { const r = Math.round(x); return r - x === 0.5 && r % 2 ? r - 1 : r; }; // of what is not negative
export function halfAngle(axis, n) {
  const out = new Float32Array(2 * n);
  for (let i = 0; i < n; i++) {
    const c = axis[i], s = axis[n + i], length = Math.sqrt(c * c + s * s + 1e-6), longer = length + Math.abs(c);
    const scale = length / Math.sqrt(longer * longer + s * s), flat = c >= 0;
    out[i] = (flat ? longer : s) * scale; out[n + i] = (flat ? s : longer) * scale;
  }
  return out;
}
export function lengths(flow, n) {
  const out = new Float32Array(n);
  for (let i = 0; i < n; i++) out[i] = Math.sqrt(flow[i] * flow[i] + flow[n + i] * flow[n + i]); // hypot is slow
  return out;
}
// What hangs together of `known`, as lists of pixels: across corners too, unless only `alike` neighbours do.
export function pieces(w, h, known, alike = null) {
  const seen = new Uint8Array(w * h), found = [];
  for (let k = 0; k < w * h; k++) {
    if (seen[k] || !known(k)) continue;
    const piece = [k]; seen[k] = 1; found.push(piece);
    for (const i of piece) {
      const x = i % w, y = (i - x) / w;
      for (let Y = Math.max(y - 1, 0); Y <= Math.min(y + 1, h - 1); Y++) for (let X = Math.max(x - 1, 0); X <= Math.min(x + 1, w - 1); X++) {
        const j = Y * w + X;
        if (!seen[j] && known(j) && (!alike || ((X === x || Y === y) && alike(i, j)))) { seen[j] = 1; piece.push(j); }
      }
    }
  }
  return found;
}
// Shrunk by averages over areas, as OpenCV does: planes of w x h to W x H, none larger; or, with
// other strides between channels and pixels, RGBA bytes.
export function shrink(planes, w, h, W, H, channels = planes.length / (w * h), apart = w * h, stride = 1) {
  const spans = (from, to) => Array.from({ length: to }, (_, k) => {
    const start = k * from / to, end = (k + 1) * from / to, parts = [];
    for (let i = Math.floor(start); i < Math.min(Math.ceil(end - 1e-9), from); i++) parts.push([i, (Math.min(end, i + 1) - Math.max(start, i)) * to / from]);
    return parts;
  });
  const across = spans(w, W), down = spans(h, H), row = new Float64Array(w), out = new Float32Array(channels * W * H);
  for (let c = 0; c < channels; c++) for (let y = 0; y < H; y++) {
    row.fill(0);
    for (const [j, share] of down[y]) for (let x = 0, at = c * apart + j * w * stride; x < w; x++, at += stride) row[x] += share * planes[at];
    for (let x = 0; x < W; x++) {
      const parts = across[x]; let sum = 0;
      for (let k = 0; k < parts.length; k++) sum += parts[k][1] * row[parts[k][0]];
      out[c * W * H + y * W + x] = sum;
    }
  }
  return out;
}
// Bilinear, as torch's interpolate.
export function enlarge(map, w, h, W, H, scale = 1) {
  const channels = map.length / (w * h), out = new Float32Array(channels * W * H);
  for (let y = 0; y < H; y++) {
    const py = Math.max((y + 0.5) * h / H - 0.5, 0), y0 = Math.min(Math.floor(py), h - 1), below = y0 < h - 1 ? w : 0, fy = py - y0;
    for (let x = 0; x < W; x++) {
      const px = Math.max((x + 0.5) * w / W - 0.5, 0), x0 = Math.min(Math.floor(px), w - 1), right = x0 < w - 1 ? 1 : 0, fx = px - x0;
      for (let c = 0, a = y0 * w + x0; c < channels; c++, a += w * h)
        out[c * W * H + y * W + x] = scale * ((map[a] * (1 - fx) + map[a + right] * fx) * (1 - fy) + (map[a + below] * (1 - fx) + map[a + below + right] * fx) * fy);
    }
  }
  return out;
}
// Mean motion axis of each cell of a coarse grid; the sign has no meaning.
export function coarseLines(flow, width, height, w, h) {
  const n = width * height, doubled = new Float32Array(2 * n);
  for (let i = 0; i < n; i++) { const u = flow[i], v = flow[n + i], m = Math.max(Math.sqrt(u * u + v * v), 1e-9); doubled[i] = (u * u - v * v) / m; doubled[n + i] = 2 * u * v / m; }
  return halved(shrink(doubled, width, height, w, h), w * h);
}
export function halved(doubled, n) {
  const out = new Float32Array(2 * n);
  for (let k = 0; k < n; k++) {
    const length = Math.hypot(doubled[k], doubled[n + k]), angle = Math.atan2(doubled[n + k], doubled[k]) / 2;
    out[k] = length * Math.cos(angle); out[n + k] = length * Math.sin(angle);
  }
  return out;
}
// For each cell the nearest one for which `known` holds: by two passes of squared distances.
export function nearest(known, w, h) {
  const FAR = 1e9, up = new Int32Array(w * h).fill(-1), out = new Int32Array(w * h).fill(-1);
  for (let x = 0; x < w; x++) { // the nearest row in each column
    let last = -1;
    for (let y = 0; y < h; y++) { if (known(y * w + x)) last = y; up[y * w + x] = last; }
    last = -1;
    for (let y = h - 1; y >= 0; y--) {
      if (known(y * w + x)) last = y;
      const above = up[y * w + x];
      if (last >= 0 && (above < 0 || last - y < y - above)) up[y * w + x] = last;
    }
  }
  const place = new Int32Array(w), edge = new Float64Array(w + 1);
  for (let y = 0; y < h; y++) { // lower envelope of parabolas (Felzenszwalb and Huttenlocher 2012)
    let k = -1; const f = (x) => (up[y * w + x] - y) ** 2, meet = (a, b) => (f(b) + b * b - f(a) - a * a) / (2 * (b - a));
    for (let x = 0; x < w; x++) {
      if (up[y * w + x] < 0) continue;
      while (k >= 0 && meet(place[k], x) <= edge[k]) k--;
      edge[k + 1] = k < 0 ? -FAR : meet(place[k], x); place[++k] = x;
    }
    for (let x = 0, j = 0; x < w && k >= 0; x++) { while (j < k && edge[j + 1] < x) j++; out[y * w + x] = up[y * w + place[j]] * w + place[j]; }
  }
  return out;
}
const GRID = 48, MIN_LENGTH = 0.5, COSINE = 0.5;
export function coherentSigns(flow, width, height) {
  const n = width * height, cell = Math.max(width, height) / GRID;
  const w = Math.max(1, roundEven(width / Math.max(cell, 1))), h = Math.max(1, roundEven(height / Math.max(cell, 1)));
  const cells = coarseLines(flow, width, height, w, h), m = w * h;
  const vx = Float64Array.from(cells.subarray(0, m)), vy = Float64Array.from(cells.subarray(m)), size = vx.map((x, k) => Math.hypot(x, vy[k]));
  const edges = [];
  for (let y = 0; y < h; y++) for (let x = 0; x < w; x++) for (const [dx, dy] of [[1, 0], [0, 1], [1, 1], [-1, 1]]) {
    const X = x + dx, Y = y + dy, a = y * w + x, b = Y * w + X;
    if (X < 0 || X >= w || Y >= h || size[a] <= MIN_LENGTH || size[b] <= MIN_LENGTH) continue;
    const cosine = Math.abs(vx[a] * vx[b] + vy[a] * vy[b]) / (size[a] * size[b]);
    if (cosine > COSINE) edges.push([cosine * Math.min(size[a], size[b]), a, b]);
  }
  edges.sort((p, q) => q[0] - p[0]); const root = Int32Array.from(vx, (_, k) => k), tree = Array.from(vx, () => []);
  const find = (k) => { while (root[k] !== k) k = root[k] = root[root[k]]; return k; };
  for (const [, a, b] of edges) { const p = find(a), q = find(b); if (p !== q) { root[p] = q; tree[a].push(b); tree[b].push(a); } }
  const seen = new Uint8Array(m);
  for (let k = 0; k < m; k++) {
    if (seen[k] || size[k] <= MIN_LENGTH) continue;
    const inside = [k]; seen[k] = 1;
    for (const parent of inside) for (const child of tree[parent]) if (!seen[child]) {
      seen[child] = 1; inside.push(child);
      if (vx[child] * vx[parent] + vy[child] * vy[parent] < 0) { vx[child] *= -1; vy[child] *= -1; }
    }
    if (backwards(inside, vx, vy, w)) for (const i of inside) { vx[i] *= -1; vy[i] *= -1; }
  }
  const near = nearest((k) => size[k] > MIN_LENGTH, w, h), signed = flow.slice();
  if (near[0] < 0) return signed;
  const guide = enlarge(Float32Array.from({ length: 2 * m }, (_, k) => (k < m ? vx : vy)[near[k % m]]), w, h, width, height);
  for (let i = 0; i < n; i++) if (guide[i] * flow[i] + guide[n + i] * flow[n + i] < 0) { signed[i] *= -1; signed[n + i] *= -1; }
  return signed;
}
function backwards(inside, vx, vy, w) {
  let sx = 0, sy = 0, sum = 0, mx = 0, my = 0, turn = 0, out = 0;
  for (const i of inside) { sx += vx[i]; sy += vy[i]; sum += Math.hypot(vx[i], vy[i]); mx += i % w / inside.length; my += Math.floor(i / w) / inside.length; }
  if (Math.hypot(sx, sy) > 0.1 * sum) return (Math.abs(sx) > 0.2 * Math.abs(sy) ? sx : sy) < 0;
  for (const i of inside) { const r = i % w - mx, d = Math.floor(i / w) - my; turn += r * vy[i] - d * vx[i]; out += r * vx[i] + d * vy[i]; }
  return (Math.abs(turn) >= Math.abs(out) ? turn : out) < 0;
}
export function oddResidual(odd, flow, n) {
  const out = new Float32Array(3 * n);
  for (let i = 0; i < n; i++) {
    const u = flow[i], v = flow[n + i], r = 1 / Math.sqrt(u * u + v * v + 1);
    for (let c = 0; c < 3; c++) out[c * n + i] = (odd[c * n + i] * u + odd[(3 + c) * n + i] * v) * r;
  }
  return out;
}
// The 55 colours of Middlebury's wheel (Baker et al. 2011), as b2m.motion.flow_to_color has them.
export const WHEEL = [[15, 0, 1, 1], [6, 1, 0, -1], [4, 1, 2, 1], [11, 2, 1, -1], [13, 2, 0, 1], [6, 0, 2, -1]].flatMap(([count, full, changing, way]) =>
  Array.from({ length: count }, (_, k) => { const color = [0, 0, 0], step = Math.floor(255 * k / count) / 255; color[full] = 1; color[changing] = way > 0 ? step : 1 - step; return color; }));
