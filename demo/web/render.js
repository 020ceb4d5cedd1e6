// Draws any instant of the exposure at any size with WebGL: b2m.models.animator.render, then the
// projection that makes the frames average to the photo (b2m.inference.projection).
import { WHEEL } from "./motion.js";
const VERTEX = `#version 300 es
void main() { gl_Position = vec4(vec2(gl_VertexID & 1, gl_VertexID >> 1) * 4.0 - 1.0, 0, 1); }`;
const FRAGMENT = `#version 300 es
precision highp float; precision highp int; precision highp sampler2D;
uniform sampler2D middle, path, even, odd, mean, seen, photo;
uniform ivec2 size, outer; // of the maps, and of what is drawn
uniform float time, longest; uniform int view; uniform uint flips[8]; uniform int lit; uniform vec3 wheel[${WHEEL.length}];
out vec4 color;
const float DARK = 0.01, MAX_GAIN = 2.0, LESS = 0.7, GRAIN = 0.6, NOISE = 0.25;
vec3 decoded(vec3 v) { return mix(pow((v + 0.055) / 1.055, vec3(2.4)), v / 12.92, lessThanEqual(v, vec3(0.04045))); }
vec3 encoded(vec3 v) { v = clamp(v, 0.0, 1.0); return mix(1.055 * pow(v, vec3(1.0 / 2.4)) - 0.055, v * 12.92, lessThanEqual(v, vec3(0.0031308))); }
vec3 sharp(vec2 at) { // bilinear, borders repeated
  at = clamp(at, vec2(0), vec2(size - 1)); ivec2 a = ivec2(floor(at)), b = min(a + 1, size - 1); vec2 f = at - vec2(a);
  return mix(mix(texelFetch(middle, a, 0).rgb, texelFetch(middle, ivec2(b.x, a.y), 0).rgb, f.x),
             mix(texelFetch(middle, ivec2(a.x, b.y), 0).rgb, texelFetch(middle, b, 0).rgb, f.x), f.y);
}
int label(ivec2 p) { return int(texelFetch(middle, p, 0).a + 0.5); }
float way(ivec2 p) { int r = label(p); return ((flips[r >> 5] >> uint(r & 31)) & 1u) == 1u ? -1.0 : 1.0; }
vec3 change(ivec2 p) { // of the photo's light, as a share of it
  vec4 move = texelFetch(path, p, 0), exposed = texelFetch(mean, p, 0);
  float t = time, s = way(p), fading = -dot(move.xy, move.xy) / (4.0 * GRAIN * GRAIN);
  vec3 frame = texelFetch(middle, p, 0).rgb, here = decoded(texelFetch(seen, p, 0).rgb);
  if (t != 0.0) frame = sharp(vec2(p) - s * move.xy * t / 2.0 - move.zw * t * t) + texelFetch(even, p, 0).rgb * t * t + texelFetch(odd, p, 0).rgb * s * t;
  vec3 floor_ = mix(vec3(DARK), vec3(0), lessThan(here, exposed.rgb));
  vec3 gain = min((here + floor_) / max(exposed.rgb + floor_, 1e-6), MAX_GAIN) / (here + DARK);
  vec3 noise = (here - exposed.rgb) / (here + DARK); noise /= 1.0 + noise * noise / (NOISE * NOISE);
  float share = (1.0 - LESS * exp(max(fading * t * t, -16.0))) / exposed.a;
  return gain * (decoded(clamp(frame, 0.0, 1.0)) - exposed.rgb) + noise * (share - 1.0);
}
vec2 surface(ivec2 p) { return texelFetch(path, p, 0).xy * texelFetch(even, p, 0).a; } // its own motion
vec3 hue(vec2 v) {
  float radius = length(v), place = (atan(-v.y, -v.x) / 3.14159265358979 + 1.0) / 2.0 * ${WHEEL.length}.0; int k = int(place);
  vec3 c = mix(wheel[k % ${WHEEL.length}], wheel[(k + 1) % ${WHEEL.length}], place - float(k));
  return 1.0 - min(radius, 1.0) * (1.0 - c);
}
void main() {
  ivec2 p = ivec2(gl_FragCoord.x, float(outer.y) - gl_FragCoord.y); // the top row first
  vec2 at = outer == size ? vec2(p) : clamp((vec2(p) + 0.5) * vec2(size) / vec2(outer) - 0.5, vec2(0), vec2(size - 1));
  ivec2 a = ivec2(floor(at)), b = min(a + 1, size - 1), near = ivec2(at + 0.5); vec2 f = at - vec2(a);
  if (view == 1) { color = vec4(hue(way(near) * surface(near) / longest), 1); return; }
  vec4 there = texelFetch(photo, p, 0);
  if (view == 2) { color = there; return; }
  vec3 light = decoded(there.rgb), changed = change(a);
  if (f != vec2(0)) changed = mix(mix(changed, change(ivec2(b.x, a.y)), f.x), mix(change(ivec2(a.x, b.y)), change(b), f.x), f.y);
  color = vec4(encoded(light + (light + DARK) * changed), 1);
  if (lit > 0 && label(near) == lit && length(surface(near)) > 1.0) color.rgb = mix(color.rgb, vec3(0.65, 0.71, 0.99), 0.4);
}`;
export class Renderer {
  constructor(canvas) {
    const gl = this.gl = canvas.getContext("webgl2", { preserveDrawingBuffer: true, antialias: false, alpha: false });
    if (!gl) throw Error("this browser lacks WebGL 2, with which the clip is drawn: use another, or b2m on a computer");
    const program = gl.createProgram();
    for (const [type, text] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(type);
      gl.shaderSource(shader, text); gl.compileShader(shader); gl.attachShader(program, shader);
      if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw Error(gl.getShaderInfoLog(shader));
    }
    gl.linkProgram(program); gl.useProgram(program); gl.bindVertexArray(gl.createVertexArray());
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw Error(gl.getProgramInfoLog(program));
    this.at = (name) => gl.getUniformLocation(program, name);
    this.units = ["middle", "path", "even", "odd", "mean", "seen", "photo"];
    this.units.forEach((name, unit) => gl.uniform1i(this.at(name), unit));
    gl.uniform3fv(this.at("wheel"), WHEEL.flat());
    this.flips = new Uint32Array(8);
  }
  get largest() { return Math.min(this.gl.getParameter(this.gl.MAX_TEXTURE_SIZE), ...this.gl.getParameter(this.gl.MAX_VIEWPORT_DIMS)); }
  texture(name, data, width, height) {
    const { gl } = this, float = data instanceof Float32Array, unit = this.units.indexOf(name);
    this.textures ??= {};
    gl.deleteTexture(this.textures[name] ?? null);
    gl.activeTexture(gl.TEXTURE0 + unit); gl.bindTexture(gl.TEXTURE_2D, this.textures[name] = gl.createTexture());
    if (ArrayBuffer.isView(data)) gl.texImage2D(gl.TEXTURE_2D, 0, float ? gl.RGBA32F : gl.RGBA8, width, height, 0, gl.RGBA, float ? gl.FLOAT : gl.UNSIGNED_BYTE, data);
    else gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, gl.RGBA, gl.UNSIGNED_BYTE, data);
    for (const filter of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, filter, gl.NEAREST);
  }
  set(scene) {
    for (const [name, data] of Object.entries(scene.textures)) this.texture(name, data, scene.width, scene.height);
    this.gl.uniform2i(this.at("size"), scene.width, scene.height);
    this.gl.uniform1f(this.at("longest"), Math.max(3, scene.longest));
    this.flips.fill(0);
  }
  // What is drawn: a photo of at least the maps' size, as a source of pixels.
  photo(source, width, height) {
    const { gl } = this;
    this.texture("photo", source, width, height);
    gl.canvas.width = width; gl.canvas.height = height; gl.viewport(0, 0, width, height);
    gl.uniform2i(this.at("outer"), width, height);
  }
  flip(label) { this.flips[label >> 5] ^= 1 << (label & 31); }
  flipped(label) { return (this.flips[label >> 5] >>> (label & 31) & 1) === 1; }
  draw(time, view = 0, lit = 0) { // view: 0 the clip, 1 its motion, 2 the photo
    const { gl } = this;
    gl.uniform1f(this.at("time"), time); gl.uniform1i(this.at("view"), view); gl.uniform1i(this.at("lit"), lit); gl.uniform1uiv(this.at("flips"), this.flips);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }
}
