"""Event handlers of the page, and the functions of its API: one function each."""

from __future__ import annotations

import math
import os
import random
import shutil
import zipfile
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import gradio as gr
from clips import (
    BRUSH,
    Edit,
    animator,
    clip_of,
    default_model,
    describe,
    details,
    edit_with,
    estimate,
    fitting,
    full_clip_of,
    models,
    preview,
    stem,
)
from limits import (
    MAX_VIDEO_FRAME,
    PHOTO_SECONDS,
    VIDEO_SECONDS,
    Cancelled,
    OutOfTime,
    at_most,
    supersede,
)
from pictures import NO_PAD, NO_TILES, SHOWN_SIDE, awaited, figures, pad_value, tiles
from results import folder
from visitors import VisitorAnimator, show, shown, visitor

import b2m
from b2m.errors import NothingMovesError
from b2m.media import Pixels, limit_side, limited_size, open_image, write_png
from b2m.media.video import read_video
from b2m.motion import flow_to_color, write_flow

try:  # ZeroGPU lends a GPU to decorated functions; elsewhere there is no such module
    from spaces import GPU as on_gpu
except ImportError:

    def on_gpu(function: Callable[..., Any]) -> Callable[..., Any]:
        """Leave the function as it is."""
        return function


MAX_FRAMES = 300  # of a video: others wait in line
MAX_VIDEO = 5e7  # pixels of all its frames, two or three minutes on two cores; others are shrunk
MAX_SIDE = 4096  # pixels, of an MP4; many players take no more
HINT = "Drop, paste or take a blurred photo, or click an example; it is animated at once."
KINDS = (
    "MP4",
    "GIF",
    "WebP",
    "Motion Photo",
    "PNG frames",
    "Motion field",
    "Sharp frame",
    "Contact sheet",
)
# What follows a photo, and is of no use once the page shows another one; all but the first of them
# follow its clip.
OF_SHOWN = ("again", "introduce", "propose", "explain")
IDLE: dict[str, Any] = {"busy": False, "spin": False, "text": ""}
CANCELLED = {**IDLE, "text": "Cancelled."}
_TOO_LARGE = "this photo is too large for this machine: make it smaller"


def busy(text: str, spin: bool = True) -> dict[str, Any]:
    """The status while it works; where progress is shown, other spinners are hidden."""
    return {"busy": True, "spin": spin, "text": text}


def refusal(sentence: str) -> gr.Error:
    """An error for the user, kept out of the server's log."""
    return gr.Error(sentence, print_exception=False)


def _told(error: BaseException, seconds: int, *given: Any) -> gr.Error | None:
    """The message of an error for the user; None for an internal error."""
    match error:
        case Cancelled():
            return gr.Error("Cancelled.", visible=False, print_exception=False)
        case OutOfTime():
            return refusal(
                f"this took longer than {seconds} s, which is as long as one job may take here: "
                "make the file smaller, or run b2m on your own machine"
            )
        case b2m.InputError() | b2m.OutputError():
            sentence = str(error)
            for path in given:  # a photo is known by its name here
                if isinstance(path, str) and os.path.isabs(path):
                    sentence = sentence.replace(f"{Path(path).parent}{os.sep}", "")
            return refusal(sentence)
        case MemoryError():
            return refusal(_TOO_LARGE)
        case RuntimeError() if "memory" in str(error):
            return refusal(_TOO_LARGE)
    return None


def in_plain_words(function: Callable[..., Any]) -> Callable[..., Any]:
    """Show errors as plain messages, and none of superseded jobs."""

    @wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        name = function.__name__
        seconds = VIDEO_SECONDS if name == "video" else PHOTO_SECONDS
        photo = args[0] if name in OF_SHOWN else None

        def gone() -> bool:
            return bool(photo) and not shown(photo, clip=name != "again")

        if gone():
            return gr.skip()
        try:
            with at_most(seconds, visitor(), photo):
                found = function(*args, **kwargs)
        except (Exception, Cancelled, OutOfTime) as error:
            # Gradio drops the event that waits behind one that fails.
            if gone():
                return gr.skip()
            if told := _told(error, seconds, *args, *kwargs.values()):
                raise told from error
            raise
        if gone():
            return gr.skip()
        if photo and name == "again":
            show(visitor(), photo, clip=True)
        return found

    return wrapped


def rate(frames: float, speed: float) -> float:
    """Frames per second: 1 plays the exposure in a second, 2 in half of one."""
    return max(1.0, float(frames) * float(speed))


def _saved(
    photo: str,
    edits: list[Edit],
    motion: float,
    frames: float,
    speed: float,
    pingpong: bool,
    model: str,
) -> tuple[b2m.Clip, str]:
    """The clip, and as a file."""
    clip = clip_of(photo, model, edits, int(motion), int(frames))
    video = clip.save(
        folder() / f"{stem(photo)}.mp4",
        fps=rate(clip.count, speed),
        pingpong=bool(pingpong),
    )
    return clip, str(video)


def _shown(photo: str, edits: list[Edit], *settings: Any) -> tuple[Any, ...]:
    """The clip, its summary, its frames to step through, and the controls."""
    clip, video = _saved(photo, edits, *settings)
    *_, speed, _, model = settings
    seen = preview(photo, model)
    return (
        video,
        describe(clip, seen),
        details(clip, model, seen, float(speed)),
        {"count": clip.count, "fps": rate(clip.count, speed)},
        gr.Column(visible=bool(edits) or not clip.assessment.sharp),
        IDLE,
    )


SHOWN = 6  # of these


def _written(picture: Pixels, photo: str, what: str) -> str:
    """A picture made from a photo, as a file."""
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
    direction: str = "",
    strokes: Sequence[Sequence[Sequence[float]]] | None = None,
    reverse: Sequence[Sequence[float]] | None = None,
    guidance: str | None = None,
) -> tuple[str, str]:
    """Turn one motion-blurred photo into a short sharp clip of what happened in the exposure.

    Args:
        photo: the blurred photo, a file.
        frames: of the clip, from shutter open to shutter closed, 3 to 31.
        speed: 1 plays the exposure in a second, 2 in half of one.
        pingpong: whether the clip plays forwards, then backwards.
        motion: which of the motions that would have left the same blur, 1 the most plausible.
        model: which model; empty for the usual one.
        direction: which way everything that moves goes: right, down-right, down, down-left, left,
            up-left, up or up-right; empty leaves it open.
        strokes: lists of points [x, y] in pixels of the photo; what lies under a stroke goes the
            way it was drawn.
        reverse: points [x, y] in pixels of the photo; what moves there goes the other way.
        guidance: a picture in the five colours, a file: black still, red right and up, green left
            and up, yellow left and down, blue right and down.

    Returns:
        The clip (mp4), and what is known about it.
    """
    model = model or default_model()
    seen = preview(photo, model)
    edits: list[Edit] = [{"kind": "picture", "path": guidance}] if guidance else []
    if direction:
        edits.append({"kind": "direction", "where": direction})
    for name, lines in (("strokes", strokes), ("reverse", reverse)):
        if not isinstance(lines, list | tuple | None):
            raise b2m.InputError(f"{name} is {str(lines)[:80]!r}: give a list of points [x, y]")
    for tool, lines in (("stroke", strokes or ()), ("tap", [[point] for point in reverse or ()])):
        for line in lines:
            edit = edit_with(tool, line, seen.prepared.photo)
            _check_inside(edit, seen.size)
            edits.append(_shrunk(edit, seen.scale))
    clip, video = _saved(photo, edits, motion, frames, speed, pingpong, model)
    return video, f"{describe(clip, seen)}\n\n{details(clip, model, seen, speed)}"


def _check_inside(edit: Edit, size: tuple[int, int]) -> None:
    height, width = size
    for x, y in edit.get("points") or [edit["point"]]:
        if not (0 <= x < width and 0 <= y < height):
            raise b2m.InputError(f"x={x:g}, y={y:g} is outside of the photo, {width} × {height} px")


def _shrunk(edit: Edit, scale: float) -> Edit:
    """An edit in pixels of the photo, converted to those of the preview."""
    if "points" in edit:
        return edit | {"points": [[x / scale, y / scale] for x, y in edit["points"]]}
    return edit | {"point": [value / scale for value in edit["point"]]}


def begin(photo: str | None, request: gr.Request) -> tuple[Any, ...]:
    """Show the estimated time, and clear the results of another photo."""
    page = request.session_hash or ""
    show(page, photo)
    supersede(page, photo)
    if not photo:
        return finished()
    try:
        text = f"Estimating the motion: about {max(1, round(estimate(photo)))} s"
    except b2m.InputError:  # which is told when it is encoded
        text = "Reading the photo"
    return (
        1, [], [], NO_TILES, gr.Column(visible=False), NO_PAD, None, "", "", gr.skip(),
        gr.Column(visible=False), busy(text), gr.Column(visible=False), gr.Column(visible=True),
    )  # fmt: skip


def no_clip() -> tuple[Any, ...]:
    """The page's outputs without a clip."""
    return None, "", "", gr.skip(), gr.Column(visible=False), IDLE


def finished() -> tuple[Any, ...]:
    """The page without a photo."""
    return (
        1, [], [], NO_TILES, gr.Column(visible=False), NO_PAD, *no_clip(),
        gr.Column(visible=True), gr.Column(visible=False),
    )  # fmt: skip


@on_gpu
@in_plain_words
def again(photo: str | None, edits: list[Edit], *settings: Any) -> tuple[Any, ...]:
    """The clip of a new photo or after undo and redo; without a photo there is none."""
    return _shown(photo, edits, *settings) if photo else no_clip()


def _edited(photo: str, edits: list[Edit], undone: list[Edit], *settings: Any) -> tuple[Any, ...]:
    """The clip after an edit; an edit without effect is reported and dropped."""
    try:
        return *_shown(photo, edits, *settings), edits, undone
    except NothingMovesError:
        gr.Info("Nothing moves there: choose something blurred by motion.")
        return (*(gr.skip() for _ in range(SHOWN - 1)), IDLE, gr.skip(), gr.skip())


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
    """A stroke, a tap, a freeze or a brush stroke on the pad."""
    shown = preview(photo, model).prepared.photo
    edit = edit_with(str(event.tool), event.points, shown, getattr(event, "brush", None) or BRUSH)
    return _edited(photo, [*edits, edit], [], motion, frames, speed, pingpong, model)


@on_gpu
@in_plain_words
def directed_edit(
    photo: str,
    edits: list[Edit],
    motion: float,
    frames: float,
    speed: float,
    pingpong: bool,
    model: str,
    undone: list[Edit],
    where: str,
) -> tuple[Any, ...]:
    """A direction for everything that moves, or undo and redo."""
    if where == "undo":
        edits, undone = edits[:-1], [*edits[-1:], *undone]
    elif where == "redo":
        edits, undone = [*edits, *undone[:1]], undone[1:]
    elif where == "reset":
        edits, undone = [], [*edits, *undone]
    elif where == "shuffle":
        edits, undone = [*edits, {"kind": "shuffle", "seed": random.randrange(1 << 31)}], []
    elif where == "reverse":
        edits, undone = [*edits, {"kind": "reverse"}], []
    else:
        edits, undone = [*edits, {"kind": "direction", "where": where}], []
    return _edited(photo, edits, undone, motion, frames, speed, pingpong, model)


def _explained(
    photo: str, edits: list[Edit], motion: float, frames: float, model: str
) -> tuple[Any, Any]:
    """Photo and sharp photo, and pictures of the motion."""
    clip = clip_of(photo, model, edits, int(motion), int(frames))
    return (limit_side(clip.photo, SHOWN_SIDE), limit_side(clip.middle, SHOWN_SIDE)), figures(clip)


@on_gpu
@in_plain_words
def explain(photo: str | None, edits: list[Edit], motion: float, frames: float, model: str) -> Any:
    """Details and comparison of the clip."""
    return _explained(photo, edits, motion, frames, model) if photo else gr.skip()


@on_gpu
@in_plain_words
def introduce(photo: str | None, frames: float, model: str) -> Any:
    """Details of a new photo, its drawing pad, and a placeholder for its motion hypotheses."""
    if not photo or clip_of(photo, model, [], 1, int(frames)).assessment.sharp:
        return gr.skip()
    shown = preview(photo, model).prepared.photo
    explained = _explained(photo, [], 1, frames, model)
    return *explained, pad_value(shown), awaited(shown), gr.Column(visible=True)


@on_gpu
@in_plain_words
def propose(photo: str | None, frames: float, model: str) -> Any:
    """Small clips of the motion hypotheses, where there are several."""
    if not photo:
        return gr.skip()
    first = clip_of(photo, model, [], 1, int(frames))
    found = (
        [first] if first.assessment.sharp else fitting(first, preview(photo, model).prepared, model)
    )
    return tiles(found) if len(found) > 1 else NO_TILES, gr.Column(visible=len(found) > 1)


def is_picture(photo: str | None) -> bool:
    """Whether a file is a picture: another would show as a broken image."""
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
    """Segment the moving objects of a motion-blurred photo.

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
    """Deblur a photo: its middle instant, in full size.

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
        shutter: share of the time between two frames during which the shutter was open; a shutter
            angle of 180 degrees is 0.5.
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
    blurred = read_video(clip, max_pixels=MAX_VIDEO_FRAME)
    for sentence in blurred.warnings:
        gr.Info(sentence)
    if (count := blurred.count()) > MAX_FRAMES:
        raise b2m.InputError(
            f"the video has {count} frames, and this page takes up to {MAX_FRAMES}: cut it, or "
            "run 'b2m video' on your own machine"
        )
    target = folder() / f"{stem(clip)}-sharp.mp4"
    share = math.sqrt(MAX_VIDEO / (count * blurred.width * blurred.height))
    side = int(share * max(blurred.width, blurred.height)) if share < 1 else None
    try:
        if side is not None:
            height, width = limited_size((blurred.height, blurred.width), side)
            gr.Info(
                f"{blurred.width} × {blurred.height} px in {count} frames are too much for this "
                f"page: the sharp video has {width} × {height} px. Cut yours for larger ones."
            )
        VisitorAnimator(animator("animator")).animate_video(
            clip, target, shutter=float(shutter), max_side=side
        )
    finally:
        if not target.exists():
            shutil.rmtree(target.parent, ignore_errors=True)
    return str(target)


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
    """The edited clip as a file, at the photo's own size."""
    clip = full_clip_of(photo, model, edits, int(motion), int(frames))
    where, name = folder(), stem(photo)
    options: dict[str, Any] = {"fps": rate(clip.count, speed), "pingpong": bool(pingpong)}
    if kind == "PNG frames":
        frames_of = where / f"{name}-frames"
        clip.save(f"{frames_of}{os.sep}")
        with zipfile.ZipFile(f"{frames_of}.zip", "w") as packed:  # PNG is packed already
            for picture in sorted(frames_of.iterdir()):
                packed.write(picture, f"{frames_of.name}/{picture.name}")
        return f"{frames_of}.zip"
    if kind == "Motion field":
        write_flow(where / f"{name}.flo", clip.flow)
        return str(where / f"{name}.flo")
    if kind == "Sharp frame":
        return _written(clip.middle, photo, "sharp")
    if kind == "Contact sheet":
        return str(clip.save_sheet(where / f"{name}.png"))
    if kind == "MP4":
        options["max_side"] = MAX_SIDE
    endings = {"GIF": ".gif", "WebP": ".webp", "Motion Photo": ".MP.jpg"}
    return str(clip.save(where / f"{name}{endings.get(kind, '.mp4')}", **options))
