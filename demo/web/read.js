// Reads photos from files, the clipboard and the camera, with b2m's sentences for bad input.
export const MAX_FULL_PIXELS = 2 ** 24; // pixels of a photo that is kept; a canvas on a phone holds no more
const MAX_PIXELS = 200e6, MIN_SIDE = 16, FORMATS = "JPEG, PNG, WebP, AVIF, GIF or BMP";
export async function readPhoto(blob, name = blob.name || "image") {
  if (!blob.size) throw Error(`${name} is empty (0 bytes): give an image file`);
  const head = new Uint8Array(await blob.slice(0, 2 ** 18).arrayBuffer()), brand = String.fromCharCode(...head.subarray(4, 12));
  if (/^ftyp(hei[cx]|mif1|msf1|hevc)/.test(brand) && !(await decodes(blob))) throw Error(`${name} is a HEIC photo, which is not read here: save it as JPEG first`);
  if ((brand.startsWith("ftyp") && !/^ftyp(hei[cx]|mif1|msf1|hevc|avi[fs])/.test(brand)) || (head[0] === 0x1a && head[1] === 0x45 && head[2] === 0xdf))
    throw Error(`${name} is a video, not a photo: give one image (${FORMATS})`);
  const [claimed, claimedHeight] = claims(head);
  if (claimed * claimedHeight > MAX_PIXELS) throw Error(`${name} claims ${claimed}x${claimedHeight} pixels: at most 200 million are read; shrink it first`);
  const bitmap = await decodes(blob);
  if (!bitmap) throw Error(`${name} is not an image that can be read, or it is damaged: give a ${FORMATS} file`);
  const { width, height } = bitmap;
  if (Math.min(width, height) < MIN_SIDE) throw Error(`${name} is ${width}x${height} pixels: at least ${MIN_SIDE}x${MIN_SIDE} are needed`);
  const count = await framesOf(blob), notes = count > 1 ? [`${name} holds ${count} frames: the first was taken`] : [];
  return { bitmap, name, width, height, notes };
}
const decodes = (blob) => createImageBitmap(blob, { imageOrientation: "from-image" }).catch(() => null);
async function framesOf(blob) { // of an animation, where the browser tells
  const type = (await globalThis.ImageDecoder?.isTypeSupported(blob.type).catch(() => false)) && blob.type;
  if (!type) return 1;
  const decoder = new ImageDecoder({ data: await blob.arrayBuffer(), type });
  try { await decoder.tracks.ready; return decoder.tracks.selectedTrack?.frameCount ?? 1; } catch { return 1; } finally { decoder.close(); }
}
// Width and height as the head of a PNG or JPEG says, before anything is decoded.
function claims(head) {
  const view = new DataView(head.buffer);
  if (view.byteLength > 24 && view.getUint32(0) === 0x89504e47) return [view.getUint32(16), view.getUint32(20)];
  if (view.byteLength > 4 && view.getUint16(0) === 0xffd8) for (let at = 2; at + 9 < head.length && head[at] === 0xff; at += 2 + view.getUint16(at + 2))
    if (head[at + 1] >= 0xc0 && head[at + 1] <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(head[at + 1])) return [view.getUint16(at + 7), view.getUint16(at + 5)];
  return [0, 0];
}
// RGBA bytes on white, at most so many pixels and so long a side.
export function pixelsOf({ bitmap, width, height }, maxPixels, side = Infinity) {
  const share = Math.min(1, Math.sqrt(maxPixels / (width * height)), side / Math.max(width, height));
  const w = Math.max(1, Math.floor(width * share)), h = Math.max(1, Math.floor(height * share));
  const canvas = new OffscreenCanvas(w, h), pen = canvas.getContext("2d", { willReadFrequently: true });
  pen.fillStyle = "#fff"; pen.fillRect(0, 0, w, h); pen.imageSmoothingQuality = "high"; pen.drawImage(bitmap, 0, 0, w, h);
  return pen.getImageData(0, 0, w, h);
}
