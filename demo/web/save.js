// Saves clips as MP4 (WebCodecs, or whatever MediaRecorder writes), GIF, or PNGs in a ZIP. `frames` is
// an async generator that draws one frame after the other on `canvas`.
const text = (string) => new TextEncoder().encode(string);
function joined(parts) {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0)); let at = 0;
  for (const part of parts) { out.set(part, at); at += part.length; }
  return out;
}
const big = (bytes) => (...values) => joined(values.map((value) => Uint8Array.from({ length: bytes }, (_, i) => Math.floor(value / 256 ** (bytes - 1 - i)) % 256)));
const little = (bytes) => (...values) => joined(values.map((value) => Uint8Array.from({ length: bytes }, (_, i) => Math.floor(value / 256 ** i) % 256)));
const u8 = (...values) => Uint8Array.from(values), u16 = big(2), u32 = big(4), l16 = little(2), l32 = little(4);

// --- MP4 -------------------------------------------------------------------------------------------
const CODECS = ["avc1.640034", "avc1.64002a", "avc1.4d0034", "avc1.42003e", "avc1.42002a", "vp09.00.50.08", "av01.0.08M.08"];
export async function videoConfig(width, height, fps) {
  if (!globalThis.VideoEncoder) return null;
  for (const codec of CODECS) {
    const config = { codec, width, height, framerate: fps, bitrate: Math.round(Math.min(Math.max(width * height * fps, 1e6), 60e6)), latencyMode: "realtime" };
    if (codec.startsWith("avc1")) config.avc = { format: "avc" };
    if ((await VideoEncoder.isConfigSupported(config).catch(() => ({}))).supported) return config;
  }
  return null;
}
// Sides are made even, as most players want, by leaving out the last row or column.
export async function mp4(canvas, frames, fps) {
  const width = canvas.width & ~1, height = canvas.height & ~1, config = await videoConfig(width, height, fps), samples = [];
  if (!config) return null;
  let described, failed = null, count = 0;
  const encoder = new VideoEncoder({
    output: (chunk, metadata) => {
      const data = new Uint8Array(chunk.byteLength); chunk.copyTo(data); samples.push({ data, key: chunk.type === "key" });
      described ??= metadata?.decoderConfig;
    },
    error: (error) => { failed = error; },
  });
  encoder.configure(config);
  for await (const _ of frames) {
    const frame = new VideoFrame(canvas, { timestamp: Math.round(1e6 * count / fps), duration: Math.round(1e6 / fps), visibleRect: { x: 0, y: 0, width, height } });
    encoder.encode(frame, { keyFrame: count++ === 0 }); frame.close();
    while (encoder.encodeQueueSize > 4 && !failed) await new Promise((resolve) => setTimeout(resolve, 5));
  }
  await encoder.flush().catch((error) => { failed ??= error; }); encoder.close();
  if (failed) throw failed;
  return new Blob([container(samples, { ...config, ...described }, width, height, fps)], { type: "video/mp4" });
}
const box = (type, ...parts) => { const body = joined(parts); return joined([u32(body.length + 8), text(type), body]); };
const full = (type, version, flags, ...parts) => box(type, u32(version * 2 ** 24 + flags), ...parts);
function container(samples, { codec, description, colorSpace }, width, height, fps) {
  const scale = 1000 * Math.round(fps), each = 1000, length = samples.length * each, matrix = u32(65536, 0, 0, 0, 65536, 0, 0, 0, 0x40000000);
  const numbers = codec.split(".").slice(1).map((part) => parseInt(part, 10)), kind = codec.slice(0, 4);
  const space = { bt709: 1, smpte170m: 6, bt470bg: 5, "iec61966-2-1": 13, rgb: 0 }, color = ["primaries", "transfer", "matrix"].map((name) => space[colorSpace?.[name]] ?? 1), range = colorSpace?.fullRange ? 128 : 0;
  const bytes = description && new Uint8Array(description.buffer ?? description, description.byteOffset ?? 0, description.byteLength);
  const setup = {
    avc1: () => box("avcC", bytes),
    vp09: () => full("vpcC", 1, 0, u8(numbers[0], numbers[1], numbers[2] * 16 + 2 + (range && 1), ...color), u16(0)),
    av01: () => box("av1C", bytes ?? u8(0x81, numbers[0] * 32 + numbers[1], 0x0c, 0)),
  }[kind]();
  const picture = box(kind, new Uint8Array(6), u16(1), new Uint8Array(16), u16(width, height), u32(0x480000, 0x480000, 0), u16(1), new Uint8Array(32), u16(24, 65535), setup,
    box("colr", text("nclx"), u16(...color), u8(range)));
  const type = box("ftyp", text("isom"), u32(512), text(`isomiso2${kind === "avc1" ? "avc1" : "iso6"}mp41`));
  const movie = (start) => box("moov",
    full("mvhd", 0, 0, u32(0, 0, scale, length, 65536), u16(256, 0), u32(0, 0), matrix, new Uint8Array(24), u32(2)),
    box("trak", full("tkhd", 0, 3, u32(0, 0, 1, 0, length, 0, 0), u16(0, 0, 0, 0), matrix, u32(width * 65536, height * 65536)),
      box("mdia", full("mdhd", 0, 0, u32(0, 0, scale, length), u16(0x55c4, 0)), full("hdlr", 0, 0, u32(0), text("vide"), new Uint8Array(12), text("b2m\0")),
        box("minf", full("vmhd", 0, 1, new Uint8Array(8)), box("dinf", full("dref", 0, 0, u32(1), full("url ", 0, 1))),
          box("stbl", full("stsd", 0, 0, u32(1), picture), full("stts", 0, 0, u32(1, samples.length, each)), full("stsc", 0, 0, u32(1, 1, samples.length, 1)),
            full("stsz", 0, 0, u32(0, samples.length, ...samples.map(({ data }) => data.length))), full("stco", 0, 0, u32(1, start)),
            full("stss", 0, 0, u32(samples.filter(({ key }) => key).length, ...samples.flatMap(({ key }, i) => key ? [i + 1] : []))))))));
  const start = type.length + movie(0).length + 8;
  return joined([type, movie(start), box("mdat", ...samples.map(({ data }) => data))]);
}
// Where there is no WebCodecs: in real time, in the format that the browser writes.
export async function recorded(canvas, frames, fps) {
  const mimeType = globalThis.MediaRecorder && ["video/mp4", "video/webm;codecs=vp9", "video/webm"].find((type) => MediaRecorder.isTypeSupported(type));
  if (!mimeType) throw Error("this browser writes no video: take the GIF or the PNGs");
  const stream = canvas.captureStream(0), recorder = new MediaRecorder(stream, { mimeType, videoBitsPerSecond: 12e6 }), parts = [];
  recorder.ondataavailable = (event) => parts.push(event.data);
  const ended = new Promise((resolve) => { recorder.onstop = resolve; }); recorder.start();
  for await (const _ of frames) { stream.getVideoTracks()[0].requestFrame(); await new Promise((resolve) => setTimeout(resolve, 1000 / fps)); }
  recorder.stop(); await ended;
  return new Blob(parts, { type: mimeType.split(";")[0] });
}

// --- GIF -------------------------------------------------------------------------------------------
export async function gif(canvas, frames, fps) {
  const { width, height } = canvas, n = width * height, pen = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true }), parts = [];
  let palette = null;
  for await (const _ of frames) {
    pen.drawImage(canvas, 0, 0); const { data } = pen.getImageData(0, 0, width, height);
    if (!palette) { // of the first frame: all have about the same colours
      palette = paletteOf(data);
      parts.push(text("GIF89a"), l16(width, height), u8(0xf7, 0, 0), palette.colors, u8(0x21, 0xff, 11), text("NETSCAPE2.0"), u8(3, 1, 0, 0, 0));
    }
    const indices = new Uint8Array(n);
    for (let i = 0; i < n; i++) { // ordered dithering hides the steps of skies
      const x = i % width, y = (i / width) | 0, d = BAYER[(y & 3) * 4 + (x & 3)];
      indices[i] = palette.nearest(data[4 * i] + d, data[4 * i + 1] + d, data[4 * i + 2] + d);
    }
    parts.push(u8(0x21, 0xf9, 4, 0), l16(Math.round(100 / fps)), u8(0, 0, 0x2c), l16(0, 0, width, height), u8(0, 8), lzw(indices));
  }
  return new Blob([...parts, u8(0x3b)], { type: "image/gif" });
}
const BAYER = [0, 8, 2, 10, 12, 4, 14, 6, 3, 11, 1, 9, 15, 7, 13, 5].map((value) => value / 2 - 3.75);
function paletteOf(data) { // median cut over a sample
  const step = 4 * Math.max(1, Math.floor(data.length / 4 / 30000)), sample = [];
  for (let i = 0; i < data.length; i += step) sample.push([data[i], data[i + 1], data[i + 2]]);
  const spread = (colors) => [0, 1, 2].map((c) => { let low = 255, high = 0; for (const color of colors) { low = Math.min(low, color[c]); high = Math.max(high, color[c]); } return high - low; });
  const boxOf = (colors) => { const wide = spread(colors), axis = wide.indexOf(Math.max(...wide)); return { colors, axis, worth: wide[axis] * Math.sqrt(colors.length) }; };
  const boxes = [boxOf(sample)];
  while (boxes.length < 256) {
    const best = boxes.reduce((a, b) => b.worth > a.worth ? b : a);
    if (!best.worth) break;
    const { colors, axis } = best, half = colors.sort((a, b) => a[axis] - b[axis]).length >> 1;
    boxes.splice(boxes.indexOf(best), 1, boxOf(colors.slice(0, half)), boxOf(colors.slice(half)));
  }
  const colors = new Uint8Array(768), known = new Int16Array(2 ** 15).fill(-1);
  boxes.forEach((part, k) => [0, 1, 2].forEach((c) => { colors[3 * k + c] = Math.round(part.colors.reduce((sum, color) => sum + color[c], 0) / part.colors.length); }));
  const nearest = (r, g, b) => {
    const cell = (v) => v < 0 ? 0 : v > 255 ? 31 : v >> 3, key = cell(r) << 10 | cell(g) << 5 | cell(b);
    if (known[key] >= 0) return known[key];
    let least = Infinity;
    for (let k = 0; k < boxes.length; k++) {
      const far = 2 * (colors[3 * k] - r) ** 2 + 4 * (colors[3 * k + 1] - g) ** 2 + (colors[3 * k + 2] - b) ** 2;
      if (far < least) { least = far; known[key] = k; }
    }
    return known[key];
  };
  return { colors, nearest };
}
function lzw(indices) { // 8 bits; the result comes in blocks of at most 255 bytes
  const out = [], CLEAR = 256;
  let table = new Int16Array(4096 * 256).fill(-1), used = [], next = 258, bits = 9, held = 0, have = 0;
  const put = (code) => { held |= code << have; have += bits; while (have >= 8) { out.push(held & 255); held >>>= 8; have -= 8; } };
  put(CLEAR); let prefix = indices[0];
  for (let i = 1; i < indices.length; i++) {
    const place = prefix * 256 + indices[i], known = table[place];
    if (known >= 0) { prefix = known; continue; }
    put(prefix); table[place] = next; used.push(place);
    if (next === 2 ** bits) bits++;
    if (++next === 4096) { put(CLEAR); for (const each of used) table[each] = -1; used = []; next = 258; bits = 9; }
    prefix = indices[i];
  }
  put(prefix);
  if (next === 2 ** bits) bits++;
  put(CLEAR + 1);
  if (have) out.push(held & 255);
  const blocks = [];
  for (let i = 0; i < out.length; i += 255) { const block = out.slice(i, i + 255); blocks.push(u8(block.length), Uint8Array.from(block)); }
  return joined([...blocks, u8(0)]);
}

// --- PNGs ------------------------------------------------------------------------------------------
export async function pngs(canvas, frames) {
  const files = [];
  for await (const _ of frames) {
    const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
    files.push([`${String(files.length).padStart(3, "0")}.png`, new Uint8Array(await blob.arrayBuffer())]);
  }
  return zip(files);
}
function zip(files) { // stored: PNGs do not get smaller
  const parts = [], directory = []; let at = 0;
  for (const [name, data] of files) {
    const head = joined([l16(20, 0, 0, 0, 0x21), l32(crc(data), data.length, data.length), l16(name.length, 0)]);
    parts.push(joined([l32(0x04034b50), head, text(name)]), data);
    directory.push(l32(0x02014b50), l16(20), head, l16(0, 0, 0), l32(0, at), text(name)); at += 30 + name.length + data.length;
  }
  const list = joined(directory);
  return new Blob([...parts, list, l32(0x06054b50), l16(0, 0, files.length, files.length), l32(list.length, at), l16(0)], { type: "application/zip" });
}
const CRC = Uint32Array.from({ length: 256 }, (_, k) => { for (let i = 0; i < 8; i++) k = k & 1 ? 0xedb88320 ^ (k >>> 1) : k >>> 1; return k; });
function crc(data) {
  let value = -1;
  for (let i = 0; i < data.length; i++) value = CRC[(value ^ data[i]) & 255] ^ (value >>> 8);
  return (value ^ -1) >>> 0;
}
