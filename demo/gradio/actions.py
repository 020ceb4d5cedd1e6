"""What the buttons, the endpoints and the tools do: one function each."""

from __future__ import annotations

import math
import os
import random
import shutil
import zipfile
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import gradio as gr
from attended import Attended
from clips import (
    Edit,
    animator,
    clip_of,
    default_model,
    edit_with,
    fitting,
    full_clip_of,
    look,
    models,
    stem,
    told,
)
from limits import (
    MOST_VIDEO_FRAME,
    PHOTO_SECONDS,
    VIDEO_SECONDS,
    OutOfTime,
    at_most,
)
from pictures import SHOWN_SIDE, figures, pad_value, tiles
from results import folder

import b2m
from b2m.media import Pixels, fit, open_image, write_png
from b2m.media.video import Video, as_rate, read_video, write_timed_mp4
from b2m.motion import flow_to_color, write_flow

try:  # ZeroGPU lends a GPU to decorated functions; elsewhere there is no such module
    from spaces import GPU as on_gpu
except ImportError:

    def on_gpu(function: Callable[..., Any]) -> Callable[..., Any]:
        """Leave the function as it is."""
        return function


MOST_FRAMES = 300  # of a video: others wait in line
MOST_VIDEO = 5e7  # pixels of all its frames, two or three minutes on two cores; others are shrunk
SHARED_BYTES = 5e6
HINT = "Drop a photo, paste one, take one, or click an example."
KINDS = (
    "MP4",
    "GIF under 5 MB",
    "WebP",
    "Motion Photo",
    "PNG frames, full size",
    "Sharp photo, full size",
    "Sheet",
)


def refusal(sentence: str) -> gr.Error:
    """What the user did not get, and why; the log of the server need not know."""
    return gr.Error(sentence, print_exception=False)


def in_plain_words(function: Callable[..., Any]) -> Callable[..., Any]:
    """Show what went wrong in plain words."""

    @wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        seconds = VIDEO_SECONDS if function.__name__ == "video" else PHOTO_SECONDS
        try:
            with at_most(seconds):
                return function(*args, **kwargs)
        except OutOfTime as error:
            raise refusal(
                f"this took longer than {seconds} s, which is as long as one job may take here: "
                "make the file smaller, or run b2m on your own machine"
            ) from error
        except (b2m.InputError, b2m.OutputError) as error:
            sentence = str(error)
            for given in (*args, *kwargs.values()):  # a photo is known by its name here
                if isinstance(given, str) and os.path.isabs(given):
                    sentence = sentence.replace(f"{Path(given).parent}{os.sep}", "")
            raise refusal(sentence) from error
        except (MemoryError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and "memory" not in str(error):
                raise
            sentence = "this photo is too large for this machine: make it smaller"
            raise refusal(sentence) from error

    return wrapped


def rate(frames: float, speed: float) -> float:
    """Frames per second: 1 plays the exposure in a second, 2 in half of one."""
    return max(1.0, float(frames) * float(speed))


def _shown(
    photo: str,
    edits: list[Edit],
    motion: float,
    frames: float,
    speed: float,
    pingpong: bool,
    model: str,
) -> tuple[str, str]:
    """The clip as a file, and what is known about it."""
    clip = clip_of(photo, model, edits, int(motion), int(frames))
    video = clip.save(
        folder() / f"{stem(photo)}.mp4",
        fps=rate(clip.count, speed),
        pingpong=bool(pingpong),
    )
    return str(video), told(clip, model, look(photo, model), float(speed))


def _written(picture: Pixels, photo: str, what: str) -> str:
    """A picture made of a photo, as a file."""
    path = folder() / f"{stem(photo)}-{what}.png"
    write_png(path, picture)
    return str(path)


@on_gpu
@in_plain_words
def animate(
    photo: str,
    frames: float = 7,
    speed: float = 1.0,
    pingpong: bool = False,
    motion: float = 1,
    model: str = "",
) -> tuple[str, str]:
    """Turn one motion-blurred photo into a short sharp clip of what happened in the exposure.

    Args:
        photo: the blurred photo, a file.
        frames: of the clip, from shutter open to shutter closed, 3 to 31.
        speed: 1 plays the exposure in a second, 2 in half of one.
        pingpong: whether the clip plays forwards, then backwards.
        motion: which of the motions that would have left the same blur, 1 the most plausible.
        model: which model; empty for the usual one.

    Returns:
        The clip (mp4), and what is known about it.
    """
    return _shown(photo, [], motion, frames, speed, pingpong, model or default_model())


@on_gpu
@in_plain_words
def again(
    photo: str | None, edits: list[Edit], *settings: Any
) -> tuple[str, str] | tuple[None, str]:
    """The clip after another photo or a change of mind; without a photo, an empty page."""
    return _shown(photo, edits, *settings) if photo else (None, HINT)


@on_gpu
@in_plain_words
def drawn(
    photo: str,
    edits: list[Edit],
    motion: float,
    frames: float,
    speed: float,
    pingpong: bool,
    model: str,
    event: gr.EventData,
) -> tuple[Any, ...]:
    """A stroke, a tap, a hold or a brush on the pad."""
    edit = edit_with(str(event.tool), event.points, look(photo, model).prepared.photo)
    edits = [*edits, edit]
    return *_shown(photo, edits, motion, frames, speed, pingpong, model), edits


@on_gpu
@in_plain_words
def said(
    photo: str,
    edits: list[Edit],
    motion: float,
    frames: float,
    speed: float,
    pingpong: bool,
    model: str,
    where: str,
) -> tuple[Any, ...]:
    """A word for everything that moves."""
    if where == "undo":
        edits = edits[:-1]
    elif where == "start over":
        edits = []
    elif where == "surprise me":
        edits = [*edits, {"kind": "surprise", "seed": random.randrange(1 << 31)}]
    elif where == "backwards":
        edits = [*edits, {"kind": "backwards"}]
    else:
        edits = [*edits, {"kind": "direction", "where": where}]
    return *_shown(photo, edits, motion, frames, speed, pingpong, model), edits


def _explained(
    photo: str, edits: list[Edit], motion: float, frames: float, model: str
) -> tuple[Any, Any]:
    """Photo and sharp photo, and pictures of the motion."""
    clip = clip_of(photo, model, edits, int(motion), int(frames))
    return (fit(clip.photo, SHOWN_SIDE), fit(clip.middle, SHOWN_SIDE)), figures(clip)


@on_gpu
@in_plain_words
def explain(photo: str | None, edits: list[Edit], motion: float, frames: float, model: str) -> Any:
    """See why, and compare."""
    return _explained(photo, edits, motion, frames, model) if photo else gr.skip()


@on_gpu
@in_plain_words
def introduce(photo: str | None, frames: float, model: str) -> Any:
    """The same of a new photo, and the pad with it."""
    if not photo:
        return gr.skip()
    return *_explained(photo, [], 1, frames, model), pad_value(look(photo, model).prepared.photo)


@on_gpu
@in_plain_words
def propose(photo: str | None, frames: float, model: str) -> Any:
    """Small clips of the motions that fit."""
    if not photo:
        return gr.skip()
    first = clip_of(photo, model, [], 1, int(frames))
    return tiles(fitting(first, look(photo, model).prepared, model))


def is_picture(photo: str | None) -> bool:
    """Whether a file is a picture at all: another would stand on the page as a broken one."""
    try:
        open_image(photo or "").close()
    except b2m.InputError:
        return False
    return True


@on_gpu
@in_plain_words
def flow(photo: str) -> tuple[str, str]:
    """Find the motion in a motion-blurred photo.

    Args:
        photo: the blurred photo, a file.

    Returns:
        The motion field as colours (png), and as numbers in pixels over the exposure (Middlebury
        flo).
    """
    field = full_clip_of(photo, default_model(), []).flow
    numbers = folder() / f"{stem(photo)}.flo"
    write_flow(numbers, field)
    return _written(flow_to_color(field), photo, "flow"), str(numbers)


@on_gpu
@in_plain_words
def segment(photo: str) -> str:
    """Tell what moves by itself in a motion-blurred photo from what the camera does.

    Args:
        photo: the blurred photo, a file.

    Returns:
        White where it moves against the camera, black elsewhere (png).
    """
    mask = full_clip_of(photo, default_model(), []).moving
    return _written(255 * mask.astype("uint8"), photo, "moving")


@on_gpu
@in_plain_words
def deblur(photo: str) -> str:
    """Make the sharp photo of the middle instant of a motion-blurred one, in full size.

    Args:
        photo: the blurred photo, a file.

    Returns:
        The sharp photo (png).
    """
    return _written(full_clip_of(photo, default_model(), []).middle, photo, "sharp")


@on_gpu
@in_plain_words
def video(
    clip: str,
    shutter: float = 1.0,
    model: str = "",
    progress: Any = gr.Progress(track_tqdm=True),  # noqa: B008 (where Gradio looks for it)
) -> str:
    """Turn a short motion-blurred video into sharp slow motion, seven frames for each of its own.

    The larger the video, and the more frames it has, the smaller it is made first.

    Args:
        clip: the blurred video, a file.
        shutter: share of the time between two frames during which the shutter was open.
        model: "animator", the only one that makes videos; empty for it.

    Returns:
        The sharp video (mp4).
    """
    if not clip:
        raise b2m.InputError("there is no video yet: drop one")
    if model not in ("", "animator"):
        at_hand = "animator" in models()
        remedy = "choose it in the settings of Photo" if at_hand else "its weights are not here"
        raise b2m.InputError(f"'{model}' makes no videos, only the animator does: {remedy}")
    film = read_video(clip, max_pixels=MOST_VIDEO_FRAME)
    for sentence in film.warnings:
        gr.Info(sentence)
    if (count := film.count()) > MOST_FRAMES:
        raise b2m.InputError(
            f"the video has {count} frames, and this page takes up to {MOST_FRAMES}: cut it, or "
            "run 'b2m video' on your own machine"
        )
    target = folder() / f"{stem(clip)}-sharp.mp4"
    small = target.with_name("small.mp4")
    try:
        share = math.sqrt(MOST_VIDEO / (count * film.width * film.height))
        if share < 1:
            side = int(share * max(film.width, film.height))
            write_small(film, side, small)
            shown = read_video(small)
            gr.Info(
                f"{film.width} × {film.height} px in {count} frames are too much for this page: "
                f"the sharp video has {shown.width} × {shown.height} px. Cut yours for larger ones."
            )
        source = small if share < 1 else clip
        Attended(animator("animator")).animate_video(source, target, shutter=float(shutter))
        small.unlink(missing_ok=True)
    finally:
        if not target.exists():
            shutil.rmtree(target.parent, ignore_errors=True)
    return str(target)


def write_small(film: Video, side: int, target: Path) -> None:
    """Write a video again, its longer side shrunk to so many pixels."""
    times = ((fit(frame, side), round(start / film.tick)) for frame, (start, _) in film.timed())
    rate = as_rate(film.fps)
    write_timed_mp4(target, times, film.tick, rate)


@on_gpu
@in_plain_words
def save(
    photo: str,
    edits: list[Edit],
    motion: float,
    frames: float,
    speed: float,
    pingpong: bool,
    model: str,
    kind: str,
) -> str:
    """The clip as a file of another kind."""
    full = kind.endswith("full size")
    if kind == "Motion Photo":  # holds the photo itself; of those here, only JPEGs are whole
        full = not look(photo, model).prepared.source.jpeg
    made = full_clip_of if full else clip_of
    clip = made(photo, model, edits, int(motion), int(frames))
    where, name = folder(), stem(photo)
    options: dict[str, Any] = {"fps": rate(clip.count, speed), "pingpong": bool(pingpong)}
    if kind.startswith("GIF"):
        path = where / f"{name}.gif"
        for side in (960, 720, 540, 400, 300, 200):
            clip.save(path, max_side=side, **options)
            if path.stat().st_size < SHARED_BYTES:
                break
        return str(path)
    if kind.startswith("PNG"):
        frames_of = where / f"{name}-frames"
        clip.save(f"{frames_of}{os.sep}")
        with zipfile.ZipFile(f"{frames_of}.zip", "w") as packed:  # PNG is packed already
            for picture in sorted(frames_of.iterdir()):
                packed.write(picture, f"{frames_of.name}/{picture.name}")
        return f"{frames_of}.zip"
    if kind.startswith("Sharp"):
        return _written(clip.middle, photo, "sharp")
    if kind == "Sheet":
        return str(clip.save_sheet(where / f"{name}.png"))
    ending = {"WebP": ".webp", "Motion Photo": ".MP.jpg"}.get(kind, ".mp4")
    return str(clip.save(where / f"{name}{ending}", **options))
