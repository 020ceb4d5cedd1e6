"""Upload a blurred photo and see it move: a Gradio app, and a Hugging Face Space as it stands.

    python demo/gradio/app.py          # http://127.0.0.1:7860, weights from $B2M_WEIGHTS or bundled

Buttons are endpoints (`gradio_client`) and tools (MCP), too. One model is in memory; photos are
looked at one at a time, and what the page shows follows from the photo and a list of edits.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any, TypeVar

from results import KEEP_SECONDS, clear, keep_sweeping  # before Gradio asks where to put files

# isort: split
import gradio as gr
from actions import (
    HINT,
    KINDS,
    MOST_FRAMES,
    again,
    animate,
    deblur,
    drawn,
    explain,
    flow,
    introduce,
    is_picture,
    propose,
    refusal,
    said,
    save,
    segment,
    video,
)
from clips import default_model, loaded, models
from gradio.exceptions import InvalidPathError
from limits import MOST_PHOTO, MOST_WAITING, Guard, few_arenas, share_fairly
from pictures import NO_TILES, examples, pad_marks
from pydantic import ValidationError
from starlette.middleware import Middleware

import b2m
from b2m import assets as shipped

HERE = Path(__file__).parent
PHOTOS = sorted(shipped.examples().glob("*.jpg"))
WORDS = ("right", "left", "up", "down", "backwards", "surprise me", "undo", "start over")


def text(name: str) -> str:
    """A file beside this one."""
    return (HERE / name).read_text(encoding="utf-8")


def photo_input(**kwargs: Any) -> gr.Image:
    """An image whose file is handed over untouched, so that what is none is told by b2m."""
    return untouched(gr.Image(label="Blurred photo", type="filepath", image_mode=None, **kwargs))


Upload = TypeVar("Upload", gr.Image, gr.Video)


def untouched(upload: Upload) -> Upload:
    """Have the file handed over as it was uploaded, or an example photo.

    Gradio's own check passes over requests that leave out what it goes by, and what such a request
    names may be any file of the server.
    """

    def preprocess(payload: Any) -> str | None:
        if payload is None:
            return None
        place = Path(payload.path or "").resolve()
        uploads = Path(upload.GRADIO_CACHE).resolve()
        if not place.is_relative_to(uploads) and place not in [path.resolve() for path in PHOTOS]:
            raise refusal(NOT_UPLOADED)
        return str(place)

    upload.preprocess = preprocess
    return upload


NOT_UPLOADED = "this is not a file that was uploaded here: upload it first"
FILE = ((dict,), "an uploaded file, as gradio_client's handle_file makes it")
NUMBER = ((int, float), "a number")
WANTED: dict[type, tuple[tuple[type, ...], str]] = {
    gr.Image: FILE,
    gr.Video: FILE,
    gr.Slider: NUMBER,
    gr.Number: NUMBER,
    gr.Checkbox: ((bool,), "true or false"),
    gr.Dropdown: ((str,), "one of its choices"),
}


class Page(gr.Blocks):
    """Tells who asks with values that are none so: Gradio hides it, or names no parameter."""

    async def preprocess_data(self, block_fn: Any, inputs: list[Any], *args: Any) -> Any:
        """Look at the values before Gradio does."""
        if len(inputs) < len(block_fn.inputs):
            names = ", ".join(str(block.label) for block in block_fn.inputs)
            raise refusal(f"{len(inputs)} values came; this takes {len(block_fn.inputs)}: {names}")
        inputs = [
            checked(block, value) if type(block) in WANTED else value
            for block, value in zip(block_fn.inputs, inputs, strict=False)
        ]
        try:
            return await super().preprocess_data(block_fn, inputs, *args)
        except (ValidationError, InvalidPathError) as error:  # of files alone
            raise refusal(NOT_UPLOADED) from error


def checked(block: Any, value: Any) -> Any:
    """The value that a part of the page is given.

    Raises:
        gr.Error: it is none for it.
    """
    kinds, wanted = WANTED[type(block)]
    if value is None and dict in kinds:
        return value  # for a missing photo there is another sentence
    fits = isinstance(value, kinds) and (not isinstance(value, bool) or bool in kinds)
    if isinstance(block, gr.Dropdown):
        value = block.value if value == "" else value
        choices = [choice for _, choice in block.choices]
        fits, wanted = value in choices, " or ".join(map(repr, choices))
    elif fits and isinstance(block, gr.Slider):
        # Not a number is neither.
        fits = block.minimum <= value <= block.maximum
        wanted = f"{block.minimum:g} to {block.maximum:g}"
    if not fits:
        raise refusal(f"{block.label}: {str(value)[:80]!r} is not {wanted}")
    return value


def own(name: str, value: Any, elem_id: str, **kwargs: Any) -> gr.HTML:
    """A part of the page with a template, a style and, where there is one, a script of its own."""
    script = text(f"{name}.js") if (HERE / f"{name}.js").exists() else None
    return gr.HTML(
        value=value,
        html_template=text(f"{name}.html"),
        css_template=text(f"{name}.css"),
        js_on_load=script,
        elem_id=elem_id,
        **kwargs,
    )


def build() -> gr.Blocks:
    """The page, the endpoints and the tools."""
    with Page(
        title="b2m: blur to motion",
        delete_cache=(600, KEEP_SECONDS),
        analytics_enabled=False,
        fill_width=False,
    ) as page:
        gr.Markdown(
            "# Blur to motion\n"
            "One motion-blurred photo in; out comes what happened while the shutter was open. "
            f"Photos of up to {MOST_PHOTO // 10**6} megapixels; they stay on this machine and are "
            "deleted after an hour."
        )
        edits = gr.State([])
        motion = gr.Number(1, label="Motion", visible=False, precision=0)
        with gr.Tab("Photo"), gr.Row():
            with gr.Column(scale=1, min_width=300):
                photo = photo_input(
                    sources=["upload", "clipboard", "webcam"], elem_id="photo", height=280
                )
                go = gr.Button("Animate", variant="primary", elem_id="go")
                gr.Markdown("Or one of these:")
                picked_example = own("tiles", examples(PHOTOS), "examples")
                with gr.Accordion("Settings", open=False):
                    frames = gr.Slider(3, 31, 7, step=1, label="Frames")
                    speed = gr.Slider(
                        0.25, 4, 1, step=0.25, label="Speed: 1 plays the exposure in a second"
                    )
                    pingpong = gr.Checkbox(False, label="Forwards, then backwards")
                    model = gr.Dropdown(
                        models(),
                        value=default_model(),
                        label="Model",
                        visible=len(models()) > 1,
                        elem_id="model",
                    )
            with gr.Column(scale=2, min_width=320):
                clip = gr.Video(
                    label="What happened",
                    autoplay=True,
                    loop=True,
                    interactive=False,
                    elem_id="clip",
                )
                known = gr.Markdown(HINT, label="What is known", elem_id="known")
                with gr.Column(visible=False) as more:
                    gr.Button("Hold to see the photo", size="sm", elem_id="peek")
                    gr.Markdown("**Motions that fit.** Blur does not tell them apart: pick one.")
                    others = own("tiles", NO_TILES, "motions")
                    with gr.Tab("Direct it"):
                        gr.Markdown(
                            "Draw over a thing the way it went, tap a thing to turn it round or to "
                            "hold it still, or paint where things went."
                        )
                        pad = own("pad", {"picture": "", "width": 1, "height": 1}, "pad", marks=[])
                        with gr.Row(elem_id="words"):
                            words = [
                                gr.Button(
                                    f"all {word}" if number < 4 else word, size="sm", min_width=90
                                )
                                for number, word in enumerate(WORDS)
                            ]
                    with gr.Tab("Compare"):
                        slider = gr.ImageSlider(
                            label="Photo | sharp frame",
                            interactive=False,
                            elem_id="compare",
                        )
                    with gr.Tab("See why"):
                        why = own("figures", {"pictures": []}, "why")
                    with gr.Tab("Download"):
                        kind = gr.Radio(list(KINDS), value=KINDS[0], label="As", elem_id="kind")
                        make = gr.Button("Make the file", elem_id="make")
                        file = gr.File(label="Your file", elem_id="file", height=110)
        with gr.Tab("Video"):
            gr.Markdown(
                "Each frame of a blurred video becomes seven sharp ones; its neighbours tell which "
                f"way things went. Up to {MOST_FRAMES} frames; large ones are made smaller first."
            )
            with gr.Row():
                with gr.Column():
                    blurry = untouched(
                        gr.Video(label="Short blurred video", sources=["upload"], elem_id="blurry")
                    )
                    shutter = gr.Slider(
                        0.1,
                        1.0,
                        1.0,
                        step=0.05,
                        label="Shutter open",
                        info="Share of the time: 1 for phones in dim light, 0.5 in the cinema.",
                    )
                    slow = gr.Button(
                        "Make it sharp slow motion", variant="primary", elem_id="make-slow"
                    )
                sharp = gr.Video(
                    label="Sharp, seven times slower", autoplay=True, loop=True, elem_id="slow"
                )
        with gr.Tab("Motion field"):
            gr.Markdown(
                "How far each part of the photo went while the shutter was open, and which way: "
                "hue is the direction, white stands still. Or, in white, what moved by itself."
            )
            with gr.Row():
                with gr.Column():
                    given = photo_input(height=280, elem_id="given")
                    with gr.Row():
                        find = gr.Button("Find the motion", variant="primary", elem_id="find")
                        part = gr.Button("What moves by itself", elem_id="part")
                        sharpen = gr.Button("Make the sharp photo")
                with gr.Column():
                    colored = gr.Image(
                        label="What was found",
                        type="filepath",
                        interactive=False,
                        buttons=["download", "fullscreen"],  # to share would be to send it away
                        elem_id="colored",
                    )
                    numbers = gr.File(
                        label="Motion in pixels (.flo)", elem_id="numbers", height=110
                    )
                    still = gr.File(label="Sharp photo, full size (.png)", height=110)

        # One model: all photos that need it wait in one line.
        waits: dict[str, Any] = {"concurrency_id": "model", "concurrency_limit": 1}
        private: dict[str, Any] = {**waits, "api_visibility": "private"}
        # What follows an event is dropped while it is still at work for an earlier one, unless it
        # is told to come again for the last.
        last: dict[str, Any] = {"trigger_mode": "always_last"}
        quietly: dict[str, Any] = {**private, **last, "show_progress": "hidden"}
        # The clip stays in sight while the next one is made.
        lightly: dict[str, Any] = {**private, "show_progress": "minimal"}
        settings = [frames, speed, pingpong, motion, model]
        state = [photo, edits, motion, frames, speed, pingpong, model]
        results = [clip, known]

        def explained(event: Any) -> Any:
            """What follows once the clip is there."""
            return event.success(
                explain, [photo, edits, motion, frames, model], [slider, why], **quietly
            )

        def proposed(event: Any) -> None:
            """What a new photo brings with it, and takes with it when it goes or is none."""
            event.failure(
                lambda photo: (
                    gr.Column(visible=False),
                    None,
                    HINT,
                    gr.skip() if is_picture(photo) else None,
                ),
                photo,
                [more, *results, photo],
                api_visibility="private",
            )
            shown = event.success(
                lambda photo: gr.Column(visible=bool(photo)),
                photo,
                more,
                api_visibility="private",
                **last,
            )
            introduced = shown.success(
                introduce, [photo, frames, model], [slider, why, pad], **quietly
            )
            # What takes longest comes last, and is seen to be under way.
            introduced.success(propose, [photo, frames, model], others, **private, **last)

        # Not with the clip: a state among the results of an endpoint makes its tool fail. Without
        # motions to pick, until there are those of the photo.
        anew: dict[str, Any] = {
            "fn": lambda: (1, [], NO_TILES),
            "outputs": [motion, edits, others],
            "api_visibility": "private",
        }
        proposed(
            go.click(trigger_mode="once", **anew).then(
                animate, [photo, *settings], results, api_name="animate", **waits
            )
        )
        proposed(
            gr.on([photo.input, model.input], trigger_mode="always_last", **anew).then(
                again, state, results, **private, **last
            )
        )

        def take(event: gr.EventData) -> tuple[Any, ...]:
            """One of the example photos."""
            return str(PHOTOS[int(event.index)]), 1, [], NO_TILES

        proposed(
            picked_example.submit(
                take, None, [photo, motion, edits, others], api_visibility="private"
            ).success(again, state, results, **private, **last)
        )

        def pick(event: gr.EventData) -> tuple[int, list[Any]]:
            """Another of the motions."""
            return int(event.index) + 1, []

        explained(
            others.submit(pick, None, [motion, edits], api_visibility="private").success(
                again, state, results, **lightly, **last
            )
        )
        for setting in (frames, speed, pingpong):
            setting.input(again, state, results, **lightly, **last)
        edited = [*results, edits]
        explained(pad.submit(drawn, state, edited, trigger_mode="multiple", **lightly))
        for button, word in zip(words, WORDS, strict=True):
            explained(button.click(said, [*state, gr.State(word)], edited, **lightly))
        edits.change(
            lambda edits: gr.HTML(marks=pad_marks(edits)),
            edits,
            pad,
            api_visibility="private",
            show_progress="hidden",
            **last,
        )
        make.click(save, [*state, kind], file, **private)
        # Photos do not wait for videos, which take minutes.
        minutes = {"concurrency_id": "video", "concurrency_limit": 1}
        slow.click(video, [blurry, shutter, model], sharp, api_name="video", **minutes)
        find.click(flow, given, [colored, numbers], api_name="flow", **waits)
        part.click(segment, given, colored, api_name="segment", **waits)
        sharpen.click(deblur, given, still, api_name="deblur", **waits)
    page.queue(max_size=MOST_WAITING)
    share_fairly(page._queue)
    return page


def theme() -> gr.themes.Base:
    """Calm, with fonts of the reader's own machine and colours that are read easily."""
    fonts = ("system-ui", "sans-serif")
    return gr.themes.Soft(
        primary_hue="indigo",
        neutral_hue="slate",
        font=fonts,
        font_mono=("ui-monospace", "monospace"),
    ).set(
        body_background_fill="*neutral_100",
        block_border_width="1px",
        block_border_color="*neutral_200",
        block_shadow="none",
        button_secondary_background_fill="*neutral_50",
        button_secondary_border_color="*neutral_300",
        button_secondary_background_fill_hover_dark="*primary_600",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        block_label_text_color="*primary_800",
        block_title_text_color="*primary_800",
        block_info_text_color="*neutral_600",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_600",
        button_primary_background_fill_hover_dark="*primary_700",
        color_accent="*primary_700",
        checkbox_border_color="*neutral_400",
        checkbox_label_background_fill_selected="*primary_600",
        checkbox_label_background_fill_selected_dark="*primary_600",
        link_text_color="*primary_700",
        link_text_color_dark="*primary_300",
        link_text_color_hover_dark="*primary_200",
        link_text_color_active_dark="*primary_300",
        link_text_color_visited="*primary_700",
        link_text_color_visited_dark="*primary_300",
    )


def stop(*_: Any) -> None:
    """End at once, whatever is being computed, and leave no files."""
    clear()
    os._exit(0)


def main() -> None:
    """Serve it."""
    signal.signal(signal.SIGTERM, stop)
    few_arenas()
    # Gradio would offer to send what was made to the Hub.
    os.environ.setdefault("GRADIO_RUN_HISTORY", "False")
    keep_sweeping()
    try:
        loaded(default_model())
    except b2m.InputError as error:  # before anybody waits
        sys.exit(str(error))
    build().launch(
        server_name=os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1"),
        theme=theme(),
        # As a style of the page: what is given as css loses its media queries.
        head=f"<style>{text('page.css')}</style><script>{text('page.js')}</script>",
        max_file_size="64mb",
        allowed_paths=[str(path) for path in PHOTOS],
        app_kwargs={"middleware": [Middleware(Guard)]},
        mcp_server=True,
        footer_links=["api"],
        ssr_mode=False,
    )


if __name__ == "__main__":
    main()
