"""Photos and videos of every kind that b2m reads, made from nothing, and ways to damage them."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageCms

WIDTH, HEIGHT = 48, 32


def picture(seed: int = 0) -> np.ndarray:
    """(HEIGHT, WIDTH, 3) uint8."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    waves = [np.sin(x / 7 + seed), np.cos(y / 5 - seed), np.sin((x + y) / 9)]
    return (128 + 100 * np.stack(waves, -1)).astype(np.uint8)


def photos() -> dict[str, bytes]:
    """Whole photos by name: formats, modes, profiles, EXIF, XMP, further pictures."""
    image = Image.fromarray(picture())
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    exif.get_ifd(0x8769)[0x829A] = 0.02
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""/></rdf:RDF></x:xmpmeta>'  # noqa: E501
    both = {"icc_profile": srgb, "exif": exif}
    rgba = image.copy()
    rgba.putalpha(Image.fromarray(picture()[..., 0]))
    deep = picture()[..., 0].astype(np.uint16) * 257
    made: dict[str, bytes] = {}

    def save(name: str, picture: Image.Image, kind: str, **options: object) -> None:
        buffer = io.BytesIO()
        picture.save(buffer, kind, **options)
        made[f"{name}.{kind.lower()}"] = buffer.getvalue()

    save("plain", image, "JPEG", xmp=xmp, **both)
    save("progressive", image, "JPEG", progressive=True, exif=exif)
    save("grey", image.convert("L"), "JPEG")
    save("cmyk", image.convert("CMYK"), "JPEG")
    save("several", image, "MPO", save_all=True, append_images=[image.rotate(180)])
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA"):
        save(mode, rgba.convert(mode), "PNG", **both)
    save("deep", Image.fromarray(deep), "PNG")
    save("animated", image, "PNG", save_all=True, append_images=[image.rotate(180)])
    save("lossy", image, "WEBP", xmp=xmp, **both)
    save("lossless", rgba, "WEBP", lossless=True)
    save("animated", image, "WEBP", save_all=True, append_images=[image.rotate(180)])
    save("plain", image, "AVIF", **both)
    save("alpha", rgba, "AVIF")
    for compression in (None, "tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits"):
        save(f"{compression}", image, "TIFF", compression=compression, **both)
    save("deep", Image.fromarray(deep), "TIFF")
    save("float", Image.fromarray(deep.astype(np.float32) / 65535), "TIFF")
    save("palette", image.quantize(32), "GIF")
    save("animated", image, "GIF", save_all=True, append_images=[image.rotate(180)])
    save("plain", image, "BMP")
    save("plain", image, "PPM")
    save("plain", image, "JPEG2000")
    return made


def videos(folder: Path) -> dict[str, bytes]:
    """Whole videos of ten frames by name: containers and codecs."""
    kinds = {
        "a.mp4": ("libx264", "yuv420p", {}),
        "fragments.mp4": ("libx264", "yuv420p", {"movflags": "frag_keyframe+empty_moov"}),
        "ten.mp4": ("libx264", "yuv420p10le", {}),
        "a.mov": ("qtrle", "argb", {}),
        "a.mkv": ("libx264", "yuv444p", {}),
        "a.webm": ("libvpx-vp9", "yuva420p", {}),
        "a.avi": ("mjpeg", "yuvj420p", {}),
        "b.avi": ("mpeg4", "yuv420p", {}),
        "a.ts": ("libx264", "yuv420p", {}),
        "a.mpg": ("mpeg2video", "yuv420p", {}),
        "a.flv": ("flv", "yuv420p", {}),
        "a.gif": ("gif", "rgb8", {}),
        "a.apng": ("apng", "rgba", {}),
    }
    made = {}
    for name, (codec, form, options) in kinds.items():
        path = folder / name
        with av.open(str(path), "w", options=options) as container:
            stream = container.add_stream(codec, rate=25)
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, form
            for number in range(10):
                frame = av.VideoFrame.from_ndarray(picture(number))
                frame.pts = number
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        made[name] = path.read_bytes()
    return made


# --- damage ---------------------------------------------------------------------------------------


def flip_bits(data: bytearray, rng: np.random.Generator) -> bytearray:
    """Some bits, mostly in the headers."""
    reach = len(data) if rng.random() < 0.5 else min(len(data), 512)
    for place in rng.integers(0, reach, rng.choice([1, 2, 5, 40])):
        data[place] ^= 1 << rng.integers(8)
    return data


def truncate(data: bytearray, rng: np.random.Generator) -> bytearray:
    """The end is missing."""
    return data[: rng.integers(1, len(data))]


def lie(data: bytearray, rng: np.random.Generator) -> bytearray:
    """Numbers in the headers become others: sizes, lengths, counts, offsets."""
    values = [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\xff\xff", b"\x80\0\0\0"]
    for place in rng.integers(0, max(1, min(len(data) - 4, 1024)), rng.integers(1, 5)):
        value = values[rng.integers(len(values))][:: rng.choice([1, -1])]
        length = rng.choice([1, 2, 4])
        data[place : place + length] = value[:length]
    return data


def cut_out(data: bytearray, rng: np.random.Generator) -> bytearray:
    """A part is missing, is there twice, or is zero."""
    start, end = sorted(rng.integers(0, len(data), 2))
    part = [b"", data[start:end] * 2, bytes(end - start)][rng.integers(3)]
    return data[:start] + part + data[end:]


def splice(data: bytearray, rng: np.random.Generator, other: bytes) -> bytearray:
    """The beginning of one file and the end of another."""
    return data[: rng.integers(1, len(data))] + other[rng.integers(0, len(other)) :]


def mutated(wholes: dict[str, bytes], rng: np.random.Generator) -> tuple[str, bytes]:
    """The name of a file, and its bytes with one to three kinds of damage."""
    names = sorted(wholes)
    name = names[rng.integers(len(names))]
    data = bytearray(wholes[name])
    ways: list[Callable[..., bytearray]] = [flip_bits, truncate, lie, cut_out]
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        if rng.random() < 0.1:
            data = splice(data, rng, wholes[names[rng.integers(len(names))]])
        else:
            data = ways[rng.integers(len(ways))](data, rng)
        data = data or bytearray(b"\0")
    return name, bytes(data)
