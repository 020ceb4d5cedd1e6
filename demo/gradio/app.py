"""Upload a blurred photo and see it move: a Gradio app, and a Hugging Face Space as it stands.

    python demo/gradio/app.py          # http://127.0.0.1:7860, weights from $B2M_WEIGHTS or bundled

Every button is also an endpoint (`gradio_client`) and a tool (MCP). One model is in memory; photos
are looked at one at a time, and what the page shows follows from the photo and a list of edits.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import gradio as gr
from clips import MOTIONS, Edit, animator, both_ends, directed, look, pad_value, stem, told

import b2m
from b2m import guidance as guidance_of
from b2m.media import fit, write_png
from b2m.motion import flow_to_color, resize_flow, write_flow
from b2m.sheets import arrows

try:  # ZeroGPU lends a GPU to decorated functions; elsewhere there is no such module
    from spaces import GPU as on_gpu
except ImportError:

    def on_gpu(function: Callable[..., Any]) -> Callable[..., Any]:
        """Leave the function as it is."""
        return function


HERE = Path(__file__).parent
EXAMPLES = next((p for p in (HERE / "examples", HERE.parents[1] / "examples") if p.is_dir()), None)
SHOWN_SIDE = 1280  # pixels, of the clip on the page; downloads are larger
SMALL_SIDE = 320  # of the clips in the gallery
KEEP_SECONDS = 3600  # how long results lie on disk
DIRECTIONS = ("right", "left", "up", "down")


def in_plain_words(function: Callable[..., Any]) -> Callable[..., Any]:
    """Show what went wrong as a person would say it."""

    @wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except b2m.InputError as error:
            raise gr.Error(str(error), title="That does not work") from error
        except MemoryError as error:
            raise gr.Error("this photo is too large for this machine: make it smaller") from error

    return wrapped


def folder() -> Path:
    """A new folder for results; those of an hour ago are removed."""
    root = Path(tempfile.gettempdir()) / "b2m-demo"
    root.mkdir(mode=0o700, exist_ok=True)
    for old in root.iterdir():
        if time.time() - old.stat().st_mtime > KEEP_SECONDS:
            shutil.rmtree(old, ignore_errors=True)
    return Path(tempfile.mkdtemp(dir=root))


# --- what the page shows of a clip ---------------------------------------------------------------


def photo_input(**kwargs: Any) -> gr.Image:
    """An image whose file is handed over untouched, so that what is none is told by b2m."""
    image = gr.Image(label="Blurred photo", type="filepath", image_mode=None, **kwargs)
    image.preprocess = lambda payload: None if payload is None else payload.path
    return image


def shown(
    photo: str, edits: list[Edit], motion: int, frames: int, speed: float, pingpong: bool
) -> tuple[Any, ...]:
    """Everything the page shows of a clip but the gallery."""
    prepared = look(photo)
    clip = directed(prepared, edits, motion, int(frames))
    where = folder()
    video = clip.save(
        where / f"{stem(photo)}.mp4",
        fps=max(1.0, float(frames) * float(speed)),
        pingpong=bool(pingpong),
        max_side=SHOWN_SIDE,
    )
    small = fit(clip.photo, SHOWN_SIDE)
    middle = fit(clip.middle, SHOWN_SIDE)
    colors = fit(flow_to_color(clip.flow), SHOWN_SIDE)
    palette = fit(guidance_of.to_color(clip.guidance), SHOWN_SIDE)
    pictures = [
        (arrows(small, resize_flow(clip.flow, small.shape[:2])), "motion over the exposure"),
        (colors, "the same as colours: hue is the direction"),
        (palette, "guidance: red right and up, green left and up, yellow left and down, blue right "
                  "and down"),
        (fit(both_ends(clip), SHOWN_SIDE), "both ends of the clip, one over the other"),
    ]  # fmt: skip
    return str(video), (small, middle), pictures, told(clip)


# --- what the buttons, the endpoints and the tools do --------------------------------------------


@on_gpu
@in_plain_words
def animate(
    photo: str, frames: float = 7, speed: float = 1.0, pingpong: bool = False
) -> tuple[Any, ...]:
    """Turn one motion-blurred photo into a short sharp clip of what happened in the exposure.

    Args:
        photo: the blurred photo, a file.
        frames: of the clip, from shutter open to shutter closed, 3 to 31.
        speed: 1 plays the exposure in a second, 2 in half of one.
        pingpong: whether the clip plays forwards, then backwards.

    Returns:
        The clip (mp4), photo and sharp photo, pictures of the motion, what is known about it,
        clips of other motions that would have left the same blur, and what the page needs.
    """
    prepared = look(photo)
    results = shown(photo, [], 0, int(frames), speed, pingpong)
    where, others = folder(), []
    clips = animator().animate(prepared, motions=MOTIONS)
    for number, clip in enumerate(clips, 1):
        small = clip.save(where / f"{stem(photo)}-{number}.gif", max_side=SMALL_SIDE)
        others.append((str(small), "most plausible" if number == 1 else f"motion {number}"))
    return *results, others, pad_value(prepared.photo), [], 0


@on_gpu
@in_plain_words
def again(
    photo: str, edits: list[Edit], motion: int, frames: float, speed: float, pingpong: bool
) -> tuple[Any, ...]:
    """The clip after a change of mind."""
    return shown(photo, edits, motion, int(frames), speed, pingpong)


@on_gpu
@in_plain_words
def drawn(
    photo: str,
    edits: list[Edit],
    motion: int,
    frames: float,
    speed: float,
    pingpong: bool,
    event: gr.EventData,
) -> tuple[Any, ...]:
    """A stroke, a tap or a hold on the pad."""
    points = [(float(x), float(y)) for x, y in event.points][:500]
    if event.tool == "stroke":
        edit: Edit = {"kind": "stroke", "points": points}
    else:
        edit = {"kind": event.tool, "point": points[0]}
    edits = [*edits, edit]
    return *shown(photo, edits, motion, int(frames), speed, pingpong), edits


@on_gpu
@in_plain_words
def said(
    photo: str,
    edits: list[Edit],
    motion: int,
    frames: float,
    speed: float,
    pingpong: bool,
    where: str,
) -> tuple[Any, ...]:
    """A word for everything that moves."""
    if where == "undo":
        edits = edits[:-1]
    elif where == "start over":
        edits = []
    elif where == "backwards":
        edits = [*edits, {"kind": "backwards"}]
    else:
        edits = [*edits, {"kind": "direction", "where": where}]
    return *shown(photo, edits, motion, int(frames), speed, pingpong), edits


@on_gpu
@in_plain_words
def picked(
    photo: str, frames: float, speed: float, pingpong: bool, event: gr.SelectData
) -> tuple[Any, ...]:
    """Another of the motions."""
    motion = int(event.index)
    return *shown(photo, [], motion, int(frames), speed, pingpong), [], motion


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
    field = directed(look(photo), []).flow
    where = folder()
    picture, numbers = where / f"{stem(photo)}-flow.png", where / f"{stem(photo)}.flo"
    write_png(picture, flow_to_color(field))
    write_flow(numbers, field)
    return str(picture), str(numbers)


@on_gpu
@in_plain_words
def deblur(photo: str) -> str:
    """Make the sharp photo of the middle instant of a motion-blurred one, in full size.

    Args:
        photo: the blurred photo, a file.

    Returns:
        The sharp photo (png).
    """
    path = folder() / f"{stem(photo)}-sharp.png"
    write_png(path, directed(look(photo), []).middle)
    return str(path)


@on_gpu
@in_plain_words
def video(
    clip: str,
    shutter: float = 1.0,
    progress: Any = gr.Progress(track_tqdm=True),  # noqa: B008 (where Gradio looks for it)
) -> str:
    """Turn a short motion-blurred video into sharp slow motion, seven frames for each of its own.

    Args:
        clip: the blurred video, a file.
        shutter: share of the time between two frames during which the shutter was open.

    Returns:
        The sharp video (mp4).
    """
    if not clip:
        raise b2m.InputError("there is no video yet: drop one")
    target = folder() / f"{stem(clip)}-sharp.mp4"
    animator().animate_video(clip, target, shutter=float(shutter))
    return str(target)


@on_gpu
@in_plain_words
def save(
    photo: str,
    edits: list[Edit],
    motion: int,
    frames: float,
    speed: float,
    pingpong: bool,
    kind: str,
) -> str:
    """The clip as a file of another kind."""
    clip = directed(look(photo), edits, motion, int(frames))
    where, name = folder(), stem(photo)
    rate = max(1.0, float(frames) * float(speed))
    if kind.startswith("GIF"):
        path = where / f"{name}.gif"
        for side in (960, 720, 540, 400, 300, 200):  # to share, under five megabytes
            clip.save(path, fps=rate, pingpong=bool(pingpong), max_side=side)
            if path.stat().st_size < 5e6:
                break
        return str(path)
    if kind.startswith("PNG"):
        clip.save(f"{where / name}{os.sep}")
        return shutil.make_archive(str(where / f"{name}-frames"), "zip", where / name)
    if kind.startswith("Sheet"):
        return str(clip.save_sheet(where / f"{name}.png"))
    suffix = ".webp" if kind.startswith("WebP") else ".mp4"
    return str(
        clip.save(where / f"{name}{suffix}", fps=rate, pingpong=bool(pingpong), max_side=1920)
    )


# --- the page ------------------------------------------------------------------------------------


def build() -> gr.Blocks:
    """The page, the endpoints and the tools."""
    with gr.Blocks(
        title="b2m: blur to motion",
        delete_cache=(600, KEEP_SECONDS),
        analytics_enabled=False,
        fill_width=False,
    ) as page:
        gr.Markdown(
            "# Blur to motion\n"
            "One motion-blurred photo in; out comes what happened while the shutter was open. "
            "Photos stay on this machine and are deleted after an hour."
        )
        edits, motion = gr.State([]), gr.State(0)
        with gr.Tab("Photo"), gr.Row():
            with gr.Column(scale=1, min_width=300):
                photo = photo_input(
                    sources=["upload", "clipboard", "webcam"],
                    elem_id="photo",
                    height=300,
                )
                go = gr.Button("Animate", variant="primary", elem_id="go")
                if EXAMPLES:
                    gr.Examples(
                        [[str(path)] for path in sorted(EXAMPLES.glob("*.jpg"))],
                        inputs=photo,
                        label="Examples",
                        cache_examples=False,
                    )
                with gr.Accordion("Clip", open=False):
                    frames = gr.Slider(3, 31, 7, step=1, label="Frames")
                    speed = gr.Slider(
                        0.25, 4, 1, step=0.25, label="Speed (1 plays the exposure in a second)"
                    )
                    pingpong = gr.Checkbox(False, label="Forwards, then backwards")
            with gr.Column(scale=2, min_width=320):
                clip = gr.Video(
                    label="What happened",
                    autoplay=True,
                    loop=True,
                    interactive=False,
                    elem_id="clip",
                    height=420,
                )
                known = gr.Markdown(elem_id="known")
                others = gr.Gallery(
                    label="Motions that fit: pick one",
                    columns=5,
                    object_fit="contain",
                    height=210,
                    allow_preview=False,
                    elem_id="motions",
                )
                with gr.Tab("Direct it"):
                    gr.Markdown(
                        "Draw over a thing the way it went, tap a thing to turn it round, or "
                        "hold it still."
                    )
                    pad = gr.HTML(
                        value={"picture": "", "width": 1, "height": 1},
                        html_template=(HERE / "pad.html").read_text(encoding="utf-8"),
                        css_template=(HERE / "pad.css").read_text(encoding="utf-8"),
                        js_on_load=(HERE / "pad.js").read_text(encoding="utf-8"),
                        elem_id="pad",
                    )
                    with gr.Row():
                        words = [
                            gr.Button(f"all {where}", size="sm", min_width=80)
                            for where in DIRECTIONS
                        ]
                        words.append(gr.Button("backwards", size="sm", min_width=80))
                        words.append(gr.Button("undo", size="sm", min_width=80))
                        words.append(gr.Button("start over", size="sm", min_width=80))
                with gr.Tab("Photo and sharp frame"):
                    slider = gr.ImageSlider(
                        label="Left the photo, right the middle instant",
                        interactive=False,
                        elem_id="compare",
                    )
                with gr.Tab("See why"):
                    pictures = gr.Gallery(label="Motion", columns=2, elem_id="why")
                with gr.Tab("Download"):
                    kind = gr.Radio(
                        ["MP4", "GIF under 5 MB", "WebP", "PNG frames, full size", "Sheet"],
                        value="MP4",
                        label="As",
                    )
                    make = gr.Button("Make the file", elem_id="make")
                    file = gr.File(label="Your file", elem_id="file")
        with gr.Tab("Video"), gr.Row():
            with gr.Column():
                blurry = gr.Video(label="Short blurred video", sources=["upload"])
                shutter = gr.Slider(0.1, 1.0, 1.0, step=0.05, label="Share of the time exposed")
                slow = gr.Button("Make it sharp slow motion", variant="primary")
            sharp = gr.Video(label="Sharp, seven times slower", autoplay=True, loop=True)
        with gr.Tab("Motion field and sharp photo"), gr.Row():
            with gr.Column():
                given = photo_input(height=300)
                with gr.Row():
                    find = gr.Button("Find the motion", variant="primary")
                    sharpen = gr.Button("Make the sharp photo")
            with gr.Column():
                colored = gr.Image(label="Motion as colours", type="filepath", interactive=False)
                numbers = gr.File(label="Motion in pixels (.flo)")
                still = gr.File(label="Sharp photo, full size (.png)")

        results = [clip, slider, pictures, known]
        settings = [frames, speed, pingpong]
        # One model: all that need it wait in one line.
        waits: dict[str, Any] = {"concurrency_id": "model", "concurrency_limit": 1}
        private: dict[str, Any] = {**waits, "api_visibility": "private"}
        everything = [*results, others, pad, edits, motion]
        gr.on(
            [go.click, photo.input],
            animate,
            [photo, *settings],
            everything,
            api_name="animate",
            trigger_mode="once",
            **waits,
        )
        state = [photo, edits, motion, *settings]
        for setting in settings:
            changed = setting.release if isinstance(setting, gr.Slider) else setting.input
            changed(again, state, results, trigger_mode="always_last", **private)
        pad.submit(drawn, state, [*results, edits], trigger_mode="multiple", **private)
        for button in words:
            where = gr.State(button.value.removeprefix("all "))
            button.click(said, [*state, where], [*results, edits], **private)
        others.select(picked, [photo, *settings], [*results, edits, motion], **private)
        make.click(save, [*state, kind], file, **private)
        slow.click(video, [blurry, shutter], sharp, api_name="video", **waits)
        find.click(flow, given, [colored, numbers], api_name="flow", **waits)
        sharpen.click(deblur, given, still, api_name="deblur", **waits)
    page.queue(max_size=32)
    return page


def main() -> None:
    """Serve it."""
    build().launch(
        server_name=os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1"),
        theme=gr.themes.Soft(primary_hue="indigo", neutral_hue="slate"),
        # As a style of the page: what is given as css loses its media queries.
        head=f"<style>{(HERE / 'page.css').read_text(encoding='utf-8')}</style>",
        max_file_size="64mb",
        mcp_server=True,
        show_error=True,
        footer_links=["api"],
        ssr_mode=False,
    )


if __name__ == "__main__":
    main()
