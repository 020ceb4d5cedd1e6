"""Make the example photos from the open pack: `python examples/make.py PACK`.

Each is the mean in linear light of many instants of a photo, or of frames of a real clip. None of
the pictures was trained on: they come from the pack's val and test splits.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.linalg import expm

from b2m.blur import linear_to_srgb8, srgb8_to_linear
from b2m.media.video import read_video

INSTANTS = 61
HERE = Path(__file__).parent
Light = NDArray[np.float32]


def load(path: Path) -> Light:
    """(H, W, 4) linear light, multiplied by alpha."""
    rgba = np.array(Image.open(path).convert("RGBA"))
    alpha = rgba[..., 3:].astype(np.float32) / 255
    return np.concatenate([srgb8_to_linear(rgba[..., :3]) * alpha, alpha], 2)


def motion(
    shift: tuple[float, float] = (0, 0), turn: float = 0, zoom: float = 0, yaw: float = 0
) -> NDArray[np.float64]:
    """Generator of a camera's or a thing's motion: pixels, degrees, share, degrees."""
    focal = 800.0
    tilt = np.radians(yaw)
    angle = np.radians(turn)
    return np.array(
        [
            [zoom, -angle, shift[0] + tilt * focal],
            [angle, zoom, shift[1]],
            [-tilt / focal, 0, 0],
        ]
    )


def exposure(
    draw: Callable[[float], Light],
) -> Light:
    """Mean of the instants from -1 to 1."""
    return np.mean([draw(time)[..., :3] for time in np.linspace(-1, 1, INSTANTS)], axis=0)


def moved(
    image: Light,
    size: tuple[int, int],
    centre: tuple[float, float],
    scale: float,
    path: NDArray[np.float64],
    border: int,
) -> Light:
    """An image about a centre of a frame of a size (width, height), moved along a path."""
    height, width = image.shape[:2]
    place = np.array([[scale, 0, 0], [0, scale, 0], [0, 0, 1.0]])
    place = place @ np.array([[1, 0, -(width - 1) / 2], [0, 1, -(height - 1) / 2], [0, 0, 1.0]])
    back = np.array([[1, 0, centre[0]], [0, 1, centre[1]], [0, 0, 1.0]])
    return cv2.warpPerspective(
        image, back @ expm(path) @ place, size, flags=cv2.INTER_LINEAR, borderMode=border
    )


def shaken(
    path: Path, linear: NDArray[np.float64], curved: NDArray[np.float64], crop: int
) -> Light:
    """A photo seen by a moving camera, cropped so that no border shows."""
    image = load(path)
    height, width = image.shape[:2]
    centre = ((width - 1) / 2, (height - 1) / 2)

    def draw(time: float) -> Light:
        way = time * linear + time**2 * curved
        return moved(image, (width, height), centre, 1.0, way, cv2.BORDER_REFLECT_101)

    return exposure(draw)[crop:-crop, crop:-crop]


def parting(background: Path, left: Path, right: Path) -> Light:
    """Two things that move apart before a still background."""
    scene, one, other = load(background), load(left), load(right)
    size = scene.shape[1::-1]

    def draw(time: float) -> Light:
        frame = scene
        for thing, centre, scale, way in (
            (one, (190, 250), 1.05, motion(shift=(-9, 3), turn=1.5)),
            (other, (455, 280), 1.0, motion(shift=(12, -4), turn=-2.0)),
        ):
            layer = moved(thing, size, centre, scale, time * way, cv2.BORDER_CONSTANT)
            frame = layer + frame * (1 - layer[..., 3:])
        return frame

    return exposure(draw)


def real(clip: Path, first: int, count: int) -> tuple[Light, float]:
    """Mean of consecutive frames of a clip, and how long they took."""
    video = read_video(clip)
    frames = [frame for number, frame in enumerate(video) if first <= number < first + count]
    return np.mean([srgb8_to_linear(frame) for frame in frames], axis=0), count / video.fps


def save(name: str, light: Light, seconds: float | None = None) -> None:
    """Write a JPEG, with its exposure time where there was one."""
    image = Image.fromarray(linear_to_srgb8(light))
    exif = Image.Exif()
    if seconds is not None:
        exif.get_ifd(0x8769)[0x829A] = seconds
    image.save(HERE / f"{name}.jpg", quality=92, exif=exif)
    print(name, image.size)


def main(pack: Path) -> None:
    """Make them all."""
    test, val = pack / "photos" / "test", pack / "photos" / "val"
    wallpapers = "deb-lomiri-wallpapers-16.04__"
    still = motion()
    save(
        "portrait-shake",
        shaken(
            test / "pypi-scikit-image__astronaut.jpg",
            motion(shift=(6, 4), turn=0.3),
            motion(shift=(1.5, -2.5)),
            24,
        )[:, 40:400],
    )
    save(
        "temple-shake",
        shaken(
            test / "pypi-scikit-learn__china.jpg",
            motion(shift=(7, -3), turn=0.8),
            motion(shift=(0, 3)),
            28,
        ),
    )
    save(
        "coffee-pan",
        shaken(test / "pypi-scikit-image__coffee.jpg", motion(yaw=0.75), still, 24),
    )
    save(
        "cat-roll",
        shaken(test / "pypi-scikit-image__chelsea.jpg", motion(turn=2.4), still, 20),
    )
    save(
        "dahlia-zoom",
        shaken(test / "pypi-scikit-learn__flower.jpg", motion(zoom=0.035), still, 16),
    )
    save(
        "moving-apart",
        parting(
            val / f"{wallpapers}aitzgorri_by_Aitzol_Berasategi.jpg",
            pack / "cutouts" / "val" / f"{wallpapers}friends_by_Aitzol_Berasategi.webp",
            pack / "cutouts" / "val" / f"{wallpapers}Picture_0B_by_freespace.webp",
        ),
    )
    for name, first, count in (("box-tilted", 244, 13), ("box-carried", 120, 9)):
        save(name, *real(pack / "video" / "test" / "opencv_box.mp4", first, count))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} PACK")
    main(Path(sys.argv[1]))
