// What is said of a clip: a port of b2m.inference.assessment; the constants are explained there.
import { lengths, pieces, roundEven } from "./motion.js";
const SHARP = "This photo looks sharp", SPECK = 0.002, SCATTERED = 0.1, SURE = 0.9, FAIRLY_SURE = 0.78, LITTLE = 0.06, TINY = 0.01, CLEARLY = 1.5, SOMEWHAT = 1.12;
// Photo and middle frame are planes of sRGB codes; the frame need only be known where something moves, and beside it.
export function assess(photo, middle, flow, w, h, { threshold, fastest, still, certainty }) {
  const n = w * h, length = lengths(flow, n), moves = (i) => length[i] >= threshold, count = length.reduce((sum, x) => sum + (x >= threshold ? 1 : 0), 0);
  if (still || !count) return { sharp: still, moved: 0, fastest: 0, sharpened: 1, specks: 0, certainty: null };
  const moved = count / n, specks = pieces(w, h, moves).reduce((sum, { length: size }) => sum + (size < SPECK * n ? size : 0), 0) / count;
  const energy = (planes) => { // of how fast an image changes along the motion
    const grey = (i) => (9798 * planes[i] + 19235 * planes[n + i] + 3735 * planes[2 * n + i] + 16384) >> 15; let sum = 0;
    for (let y = 0, i = 0; y < h; y++) for (let x = 0; x < w; x++, i++) if (moves(i)) {
      const left = x > 0 ? 1 : 0, right = x < w - 1 ? 1 : 0, above = y > 0 ? 1 : 0, below = y < h - 1 ? 1 : 0;
      const across = (grey(i + right) - grey(i - left)) / (left + right), down = (grey(i + below * w) - grey(i - above * w)) / (above + below);
      sum += ((across * flow[i] + down * flow[n + i]) / length[i]) ** 2;
    }
    return Math.max(sum / count, 1e-6);
  };
  const sharp = certainty !== null && certainty < FAIRLY_SURE && (moved < TINY || specks > SCATTERED && moved < LITTLE);
  return { sharp, moved, fastest, sharpened: Math.sqrt(energy(middle) / energy(photo)), specks, certainty };
}
export function sentencesOf({ sharp, moved, fastest, sharpened, specks, certainty }) {
  if (sharp && !moved) return [`${SHARP}: no motion blur was found in it.`];
  const share = moved >= TINY ? `${roundEven(100 * moved)}%` : "less than 1%", times = `${sharpened.toFixed(1)} times the detail along the motion`;
  if (sharp) return [`${SHARP}: what seems to move is ${share} of it, and that is most likely an error.`];
  const unsure = specks > SCATTERED || certainty !== null && certainty < FAIRLY_SURE, went = `of the photo ${unsure ? "may have " : ""}moved`;
  const what = moved < TINY ? `Less than 1% ${went}.` : `${moved > 0.95 ? "All" : `About ${share}`} ${went}, the fastest parts by ${roundEven(fastest)} px.`;
  const detail = sharpened >= CLEARLY ? `What moved became clearly sharper (${times}).` : sharpened >= SOMEWHAT ? `What moved became a little sharper (${times}).`
    : "What moved hardly became sharper: the clip shows the motion, not new detail.";
  const said = [what, detail];
  if (specks > SCATTERED) said.push("b2m is not sure of this motion: part of it is scattered in small specks.");
  else if (certainty !== null) said.push(certainty < FAIRLY_SURE ? "b2m is not sure of this motion: where it ends is vague, and that part of the photo may be sharp."
    : `b2m is ${certainty >= SURE ? "" : "fairly "}sure of what moved; forwards or backwards, blur does not tell.`);
  return said;
}
