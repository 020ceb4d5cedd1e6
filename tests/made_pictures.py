"""Made pictures, and what happens to them while a shutter is open."""

import io
import math
import struct
import zlib

import cv2
import numpy as np
import torch
from scipy import ndimage

from b2m.models.animator import Encoding, Features
from b2m.motion.fields import double_angle


def slid(photo, vector, count=9):
    """Frames of a picture that slides, with the middle one in place."""
    times = np.linspace(-0.5, 0.5, count)
    moved = [ndimage.shift(photo, (vector[1] * t, vector[0] * t, 0), order=1) for t in times]
    return np.stack(moved)


def leaves(height, width, seed=0):
    """A picture of edges in every octave: discs that cover each other (Lee et al. 2001)."""
    rng = np.random.default_rng(seed)
    picture = np.zeros((height, width, 3), np.uint8)
    for radius in (4 / np.sqrt(rng.uniform(0.004, 1, 3000))).astype(int):  # as many as r^-3
        centre = rng.integers(0, (width, height)).tolist()
        color = rng.integers(20, 236, 3).tolist()
        cv2.circle(picture, centre, int(radius), color, -1, cv2.LINE_AA)
    return picture


def file_of(image, kind="PNG", **options):
    """A picture of Pillow's as the bytes of a file."""
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def png(pixels, *chunks):
    """A PNG of (H, W[, C]) uint8 or uint16 with further chunks, each (name, data)."""
    deep = pixels.dtype == np.uint16
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[1 if pixels.ndim == 2 else pixels.shape[2]]
    height, width = pixels.shape[:2]
    rows = pixels.astype(">u2" if deep else np.uint8)
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows), 1)
    return _png(width, height, 16 if deep else 8, kind, *chunks, (b"IDAT", data))


def png_claiming(width, height):
    """A PNG that says how large it is, and has next to nothing inside."""
    return _png(width, height, 8, 2, (b"IDAT", zlib.compress(bytes(64))))


def _png(width, height, bits, kind, *chunks):
    data = b"\x89PNG\r\n\x1a\n"
    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    for name, body in ((b"IHDR", header), *chunks, (b"IEND", b"")):
        checksum = struct.pack(">I", zlib.crc32(name + body))
        data += struct.pack(">I", len(body)) + name + body + checksum
    return data


# --- colour spaces, straight from their standards -------------------------------------------------

BT2020 = np.array(  # ITU-R BT.2087: linear BT.709 to linear BT.2020
    [[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]]
)
DISPLAY_P3 = np.array(  # linear sRGB to linear Display P3
    [[0.822462, 0.177538, 0.0], [0.033194, 0.966806, 0.0], [0.017083, 0.072397, 0.910520]]
)


def pattern(height, width):
    """(H, W, 3) uint8 of smooth colours, not quite black or white."""
    y, x = np.mgrid[:height, :width]
    waves = [100 * np.sin(x / 25), 100 * np.sin(y / 20 + x / 60), 90 * np.cos((x - y) / 30)]
    return np.clip(128 + np.stack(waves, -1), 0, 255).astype(np.uint8)


def decoded(srgb):
    """Linear light of sRGB in [0, 1] (IEC 61966-2-1)."""
    srgb = np.asarray(srgb, np.float64)
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def light(pixels):
    """Of uint8 sRGB, 1 for white."""
    return decoded(pixels / 255)


def srgb(linear):
    """Values in [0, 1] of light."""
    linear = np.clip(linear, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def encoded(linear):
    """uint8 sRGB of light."""
    return np.rint(255 * srgb(linear)).astype(np.uint8)


def to_bt2020(pixels):
    """Light of uint8 sRGB in the primaries of BT.2020."""
    return np.clip(light(pixels) @ BT2020.T, 0, 1)


def pq(linear):
    """SMPTE ST 2084 of light whose white is shown at 203 candela per square metre."""
    power = (linear * 203 / 10000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375


def hlg(linear):
    """ITU-R BT.2100 HLG of light whose white is shown at 203 of 1000 candela per square metre."""
    shown = linear * 203 / 1000
    luma = shown @ np.array([0.2627, 0.6780, 0.0593])
    scene = shown * luma[..., None] ** ((1 - 1.2) / 1.2)
    high = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), high)


# --- how far apart pictures are -------------------------------------------------------------------


def apart(one, other):
    """The largest difference between 8-bit pictures."""
    assert one.shape == other.shape
    return int(np.abs(one.astype(int) - other.astype(int)).max())


def mean_apart(one, other):
    """The mean difference between 8-bit pictures."""
    return float(np.abs(np.asarray(one, int) - np.asarray(other, int)).mean())


def psnr(one, other):
    """Of 8-bit pictures in dB, by the definition."""
    error = np.mean((one.astype(np.float64) - other.astype(np.float64)) ** 2)
    return 10 * math.log10(255**2 / error) if error else math.inf


# --- networks -------------------------------------------------------------------------------------


def see_as(monkeypatch, model, encode):
    """Let an animator's network see what a function from a photo (1, 3, H, W) to an Encoding says,
    whatever guidance says."""
    monkeypatch.setattr(model, "features", lambda photo: Features(photo, photo, photo))
    monkeypatch.setattr(model, "decode", lambda features, guidance=None: encode(features.photo))


def sliding(middle, vector):
    """The encoding of a picture (1, 3, H, W) of which all slides by one vector."""
    size = middle.shape[-2:]
    flow = torch.tensor(vector, dtype=torch.float32).view(1, 2, 1, 1).expand(1, 2, *size)
    zeros = torch.zeros(1, 6, *size)
    known = torch.full((1, 1, *size), 20.0)
    line = double_angle(flow)
    return Encoding(middle.float(), line, zeros[:, :2], zeros[:, :3], zeros, known, known)
