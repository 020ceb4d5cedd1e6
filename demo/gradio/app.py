"""Upload a blurred photo and see it move: a Gradio app, and a Hugging Face Space as it stands.

    python demo/gradio/app.py          # http://127.0.0.1:7860, weights from $B2M_WEIGHTS or bundled

Buttons are endpoints (`gradio_client`) and tools (MCP), too. One model is in memory; photos are
encoded one at a time, and what the page shows follows from the photo and a list of edits.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from results import KEEP_SECONDS, clear, keep_sweeping  # before Gradio asks where to put files

# isort: split
import gradio as gr
import httpx
from actions import (
    CANCELLED,
    HINT,
    IDLE,
    KINDS,
    MAX_FRAMES,
    again,
    animate,
    begin,
    busy,
    deblur,
    directed_edit,
    drawn,
    explain,
    finished,
    flow,
    introduce,
    is_picture,
    propose,
    refusal,
    save,
    segment,
    video,
)
from card import Card
from clips import clip_of, default_model, loaded, models
from gradio.exceptions import InvalidPathError
from limits import MAX_PHOTO, MAX_WAITING, Guard, cancel, few_arenas, share_fairly
from pictures import NO_PAD, NO_TILES, examples, intro, pad_marks, wheel
from pydantic import ValidationError
from starlette.middleware import Middleware
from visitors import leave

import b2m
from b2m import assets as shipped
from b2m import guidance as guidance_of

HERE = Path(__file__).parent
PHOTOS = sorted(shipped.examples().glob("*.jpg"))
FIRST = "temple-shake.jpg"  # which plays before there is a photo
WORDS = {
    "Everything right": "right",
    "Everything left": "left",
    "Everything up": "up",
    "Everything down": "down",
    "Reverse": "reverse",
    "Shuffle": "shuffle",
    "Undo": "undo",
    "Redo": "redo",
    "Reset": "reset",
}
SETTINGS = ("frames", "speed", "pingpong", "model")  # that a link may hold


def text(name: str) -> str:
    """A file beside this one."""
    return (HERE / name).read_text(encoding="utf-8")


def photo_input(name: str = "Blurred photo", **kwargs: Any) -> gr.Image:
    """An image input whose file is passed on unchanged, so that b2m reports errors."""
    return untouched(gr.Image(label=name, type="filepath", image_mode=None, **kwargs))


Upload = TypeVar("Upload", gr.Image, gr.Video)


def untouched(upload: Upload) -> Upload:
    """Pass on the file as it was uploaded, or an example photo.

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


NOT_FETCHED = "the file at that address cannot be fetched from here: save it and upload it first"
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
    """Reports invalid values of API calls, which Gradio hides or does not name."""

    async def preprocess_data(self, block_fn: Any, inputs: list[Any], *args: Any) -> Any:
        """Check the values before Gradio does."""
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
        except (ValueError, OSError, httpx.HTTPError) as error:
            if not any(is_address(value) for value in inputs):
                raise
            raise refusal(NOT_FETCHED) from error


def is_address(value: Any) -> bool:
    """Whether a file is given by its URL."""
    given = value.get("path") if isinstance(value, dict) else None
    return isinstance(given, str) and given.startswith(("http://", "https://"))


def checked(block: Any, value: Any) -> Any:
    """The value of a component, checked.

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
    """A custom component: template, style and optional script."""
    script = text(f"{name}.js") if (HERE / f"{name}.js").exists() else None
    return gr.HTML(
        value=value,
        html_template=text(f"{name}.html"),
        css_template=text(f"{name}.css"),
        js_on_load=script,
        elem_id=elem_id,
        **kwargs,
    )


def enabled(*buttons: gr.Button) -> Callable[[Any], Any]:
    """Enables buttons only where there is a file for them."""

    def update(file: Any) -> Any:
        found = [gr.Button(interactive=bool(file)) for _ in buttons]
        return found if len(found) > 1 else found[0]

    return update


def privacy() -> str:
    """What happens to uploaded photos."""
    host = os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1")
    if os.environ.get("SPACE_ID") or host not in ("127.0.0.1", "localhost", "::1"):
        return "Processed on this server, deleted after an hour."
    return "Photos stay on this machine and are deleted after an hour."


def build() -> gr.Blocks:
    """The page, its API endpoints and tools."""
    first = clip_of(str(shipped.examples() / FIRST), default_model(), [])
    with Page(
        title="Blur to motion",
        delete_cache=(600, KEEP_SECONDS),
        analytics_enabled=False,
        fill_width=False,
    ) as page:
        gr.Markdown(
            "# Blur to motion\n"
            "Turns one motion-blurred photo into a short sharp clip. "
            f"Photos of up to {MAX_PHOTO // 10**6} megapixels. {privacy()}"
        )
        edits, undone, taken = gr.State([]), gr.State([]), gr.State(None)
        motion = gr.Number(1, label="Motion", visible=False, precision=0)
        with gr.Tab("Photo"), gr.Row():
            with gr.Column(scale=1, min_width=300):
                photo = photo_input(
                    sources=["upload", "clipboard", "webcam"], elem_id="photo", height=280
                )
                go = gr.Button("Animate", variant="primary", elem_id="go", interactive=False)
                gr.Markdown("Examples")
                picked_example = own("tiles", examples(PHOTOS), "examples", picked=-1)
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
                    share = gr.Button("Copy a link to these settings", size="sm", elem_id="share")
                    link = gr.Textbox(
                        label="Link: it holds the settings and nothing of the photo",
                        visible=False,
                        interactive=False,
                        elem_id="link",
                    )
            with gr.Column(scale=2, min_width=320):
                with gr.Column(elem_id="first") as example:
                    gr.Markdown(HINT)
                    own("intro", intro(first), "intro")
                status = own("status", IDLE, "status")
                with gr.Column(visible=False, elem_id="result") as result:
                    clip = gr.Video(
                        label="Result",
                        autoplay=True,
                        loop=True,
                        interactive=False,
                        elem_id="clip",
                    )
                    player = own("player", {"count": 7, "fps": 7}, "player")
                    known = gr.Markdown("", label="Summary", elem_id="known")
                with gr.Column(visible=False) as more:
                    gr.Button("Show original", size="sm", elem_id="peek")
                    with gr.Column(visible=False) as options:
                        gr.Markdown(
                            "**Possible motions.** Each would have left the same blur: pick one."
                        )
                        others = own("tiles", NO_TILES, "motions", picked=0)
                    with gr.Tab("Edit motion"):
                        gr.Markdown(
                            "Draw a stroke over an object in the direction of its motion, tap an "
                            "object to reverse or freeze it, or paint directions."
                        )
                        pad = own("pad", NO_PAD, "pad", marks=[])
                        with gr.Row(elem_id="words"):
                            words = {
                                word: gr.Button(
                                    label,
                                    size="sm",
                                    min_width=90,
                                    elem_id=word,
                                    interactive=word not in ("undo", "redo", "reset"),
                                )
                                for label, word in WORDS.items()
                            }
                    with gr.Tab("Compare"):
                        gr.Markdown("Drag the line; or hold “Show original” while the clip plays.")
                        slider = gr.ImageSlider(
                            label="Photo | sharp frame",
                            interactive=False,
                            elem_id="compare",
                        )
                    with gr.Tab("Details"):
                        detail = gr.Markdown("", elem_id="detail")
                        why = own("figures", {"pictures": []}, "why")
                    with gr.Tab("Download"):
                        gr.Markdown(
                            "Format of the file: the clip as edited, at the size of the photo."
                        )
                        with gr.Row(elem_id="kinds"):
                            kinds = [gr.Button(kind, size="sm", min_width=90) for kind in KINDS]
                        file = gr.File(label="File", elem_id="file", height=110, interactive=False)
        with gr.Tab("Video"):
            gr.Markdown(
                "Each frame of a blurred video becomes seven sharp ones; the neighbouring frames "
                f"tell the direction. Up to {MAX_FRAMES} frames; large videos are shrunk first."
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
                        label="Shutter fraction (180° = 0.5)",
                        info="Share of the time: 1 for phones in dim light, 0.5 in the cinema.",
                    )
                    slow = gr.Button(
                        "Create slow motion",
                        variant="primary",
                        elem_id="make-slow",
                        interactive=False,
                    )
                    video_status = own("status", IDLE, "video_status")
                sharp = gr.Video(
                    label="Slow motion, seven times slower",
                    autoplay=True,
                    loop=True,
                    elem_id="slow",
                )
        with gr.Tab("Motion field") as field:
            gr.Markdown(
                "How far and in which direction each part of the photo moved while the shutter was "
                "open: the colour is the direction, white is still. Or a mask, in which moving "
                "objects are white."
            )
            with gr.Row():
                with gr.Column():
                    given = photo_input(height=280, elem_id="given")
                    with gr.Row(equal_height=True):
                        find = gr.Button(
                            "Estimate motion", variant="primary", elem_id="find", interactive=False
                        )
                        part = gr.Button(
                            "Segment moving objects", elem_id="part", interactive=False
                        )
                        sharpen = gr.Button("Deblur", elem_id="sharpen", interactive=False)
                    measuring = own("status", IDLE, "measuring")
                with gr.Column():
                    colored = gr.Image(
                        label="Motion field or moving objects",
                        type="filepath",
                        interactive=False,
                        buttons=["download", "fullscreen"],  # to share would be to send it away
                        elem_id="colored",
                    )
                    legend = gr.HTML(
                        f'<img src="{wheel()}" width="72" height="72" '
                        'alt="Colour wheel: the colour of each direction of motion">',
                        elem_id="wheel",
                        visible=False,
                    )
                    numbers = gr.File(label="Motion field (.flo)", elem_id="numbers", height=110)
                    still = gr.Image(
                        label="Sharp photo, full size",
                        type="filepath",
                        interactive=False,
                        format="png",
                        buttons=["download", "fullscreen"],
                        elem_id="still",
                    )

        # One model: all photos that need it wait in one line.
        waits: dict[str, Any] = {"concurrency_id": "model", "concurrency_limit": 1}
        # One sign of work is enough: the line with Cancel.
        private: dict[str, Any] = {
            **waits,
            "api_visibility": "private",
            "show_progress": "hidden",
        }
        # Answered at once, whatever else is being made.
        at_once: dict[str, Any] = {
            "queue": False,
            "api_visibility": "private",
            "show_progress": "hidden",
        }
        # What follows an event is dropped while it is still at work for an earlier one, unless it
        # is told to come again for the last.
        last: dict[str, Any] = {"trigger_mode": "always_last"}
        quietly: dict[str, Any] = {**private, **last}
        settings = [frames, speed, pingpong, motion, model]
        state = [photo, edits, motion, frames, speed, pingpong, model]
        results = [clip, known, detail, player, more, status]
        edited = [*results, edits, undone]
        whole = [
            motion, edits, undone, others, options, pad, clip, known, detail, player, more, status,
            example, result,
        ]  # fmt: skip

        def idle(line: gr.HTML) -> dict[str, Any]:
            """An empty status, unless the work was cancelled."""
            rest = {"fn": lambda now: IDLE if now["busy"] else now, "inputs": line, "outputs": line}
            return {**rest, **at_once}

        updating = {"fn": lambda: busy("Updating the clip"), "outputs": status, **at_once}

        def explained(event: Any) -> Any:
            """Updates after the clip is made, or failed."""
            event.failure(**idle(status))
            return event.success(
                explain, [photo, edits, motion, frames, model], [slider, why], **quietly
            )

        def proposed(event: Any) -> None:
            """Updates after a new photo, or its removal."""
            event.failure(
                lambda photo: (*finished(), gr.skip() if is_picture(photo) else None),
                photo,
                [*whole, photo],
                **at_once,
            )
            introduced = event.success(
                introduce, [photo, frames, model], [slider, why, pad, others, options], **quietly
            )
            # What takes longest comes last.
            proposal = introduced.success(
                propose, [photo, frames, model], [others, options], **quietly
            )
            proposal.failure(
                lambda: (NO_TILES, gr.Column(visible=False)), None, [others, options], **at_once
            )

        def started(event: Any) -> None:
            """Start of a new photo."""
            proposed(event.then(again, state, results, **private, **last))

        anew: dict[str, Any] = {"fn": begin, "inputs": photo, "outputs": whole, **at_once}
        started(go.click(trigger_mode="once", **anew))
        started(gr.on([photo.input, model.select], trigger_mode="always_last", **anew))
        photo.change(enabled(go), photo, go, **at_once, **last)

        def take(event: gr.EventData) -> str:
            """Take an example photo."""
            return str(PHOTOS[int(event.index)])

        started(picked_example.submit(take, None, photo, **at_once).success(**anew))

        def pick(event: gr.EventData) -> tuple[Any, ...]:
            """Pick another motion hypothesis."""
            return int(event.index) + 1, [], [], busy("Updating the clip")

        explained(
            others.submit(pick, None, [motion, edits, undone, status], **at_once).success(
                again, state, results, **private, **last
            )
        )
        for setting in (frames, speed, pingpong):
            setting.input(again, state, results, **private, **last).failure(**idle(status))
        pad.submit(**updating)
        explained(pad.submit(drawn, state, edited, trigger_mode="multiple", **private))
        for word, button in words.items():
            button.click(**updating)
            explained(
                button.click(directed_edit, [*state, undone, gr.State(word)], edited, **private)
            )
        gr.on(
            [edits.change, undone.change, motion.change],
            lambda edits, undone, motion: (
                gr.HTML(marks=pad_marks(edits)),
                gr.HTML(picked=-1 if edits else int(motion) - 1),
                gr.Button(interactive=bool(edits)),
                gr.Button(interactive=bool(undone)),
                gr.Button(interactive=bool(edits)),
            ),
            [edits, undone, motion],
            [pad, others, words["undo"], words["redo"], words["reset"]],
            **at_once,
            **last,
        )

        async def stop(request: gr.Request) -> dict[str, Any]:
            """End what is being made for this page."""
            await cancel(page._queue, str(request.session_hash))
            return CANCELLED

        async def stop_all(request: gr.Request) -> Any:
            """The same, and the page as without a photo if there is no clip yet."""
            waits = leave(request.session_hash or "")
            told = await stop(request)
            return {**(dict(zip(whole, finished(), strict=True)) if waits else {}), status: told}

        status.submit(stop_all, None, whole, **at_once)
        for line in (video_status, measuring):
            line.submit(stop, None, line, **at_once)
        for kind, button in zip(KINDS, kinds, strict=True):
            making = busy(f"Writing: {kind}")
            button.click(lambda making=making: making, None, status, **at_once)
            made = button.click(save, [*state, gr.State(kind)], file, **private)
            made.success(
                None, file, None, js="(file) => window.b2mTake(file)", api_visibility="private"
            )
            made.then(**idle(status))
        share.click(
            None,
            [frames, speed, pingpong, model],
            link,
            js="(...values) => window.b2mLink(values)",
            api_visibility="private",
        ).then(lambda: gr.Textbox(visible=True), None, link, **at_once)
        page.load(chosen, None, [frames, speed, pingpong, model], **at_once)

        # Photos do not wait for videos, which take minutes.
        minutes = {"concurrency_id": "video", "concurrency_limit": 1}
        creating = busy("Creating slow motion", spin=False)
        slow.click(lambda: creating, None, video_status, **at_once)
        made = slow.click(video, [blurry, shutter, model], sharp, api_name="video", **minutes)
        made.then(**idle(video_status))
        blurry.change(enabled(slow), blurry, slow, **at_once, **last)

        def take_over(photo: str | None, given: str | None, taken: str | None) -> tuple[Any, Any]:
            """Take the photo of the first tab, if it is new, or there is none here."""
            fresh = photo and (photo != taken or not given)
            return (photo, photo) if fresh else (gr.skip(), gr.skip())

        field.select(take_over, [photo, given, taken], [given, taken], **at_once)
        given.change(
            lambda: (None, None, None, gr.HTML(visible=False)),
            None,
            [colored, numbers, still, legend],
            **at_once,
        )
        buttons = (find, part, sharpen)
        given.change(enabled(*buttons), given, [*buttons], **at_once, **last)
        for button, asked, found in (
            (find, flow, [colored, numbers]),
            (part, segment, colored),
            (sharpen, deblur, still),
        ):
            button.click(lambda: busy("Analysing the photo"), None, measuring, **at_once)
            made = button.click(
                asked, given, found, api_name=asked.__name__, show_progress="hidden", **waits
            )
            made.then(**idle(measuring))
            if button is not sharpen:  # a mask has no colours
                made.success(
                    lambda visible=button is find: gr.HTML(visible=visible), None, legend, **at_once
                )
        endpoint(photo_input(visible=False), settings, waits)
    page.queue(max_size=MAX_WAITING)
    share_fairly(page._queue)
    return page


def endpoint(photo: gr.Image, settings: list[Any], waits: dict[str, Any]) -> None:
    """The endpoint /animate, with all edits of the page."""
    asked = [
        gr.Dropdown(["", *guidance_of.DIRECTIONS], value="", label="Direction", visible=False),
        points("Strokes"),
        points("Reverse"),
        photo_input(visible=False, name="Guidance"),
    ]
    results = [gr.Video(label="Result", visible=False), gr.Markdown(label="Summary", visible=False)]
    gr.Button(visible=False).click(
        animate, [photo, *settings, *asked], results, api_name="animate", **waits
    )


def points(name: str) -> gr.JSON:
    """The JSON schema of a list of points, or of lists of them."""
    lists = gr.JSON(label=name, visible=False)
    schema = {"type": "array", "items": {}, "description": "points [x, y], or lists of them"}
    lists.api_info = lambda: schema
    return lists


def chosen(request: gr.Request) -> tuple[Any, ...]:
    """The settings in the page's URL."""
    asked = dict(request.query_params)
    limits = {"frames": (3, 31), "speed": (0.25, 4)}
    found: list[Any] = []
    for name in SETTINGS:
        value = asked.get(name)
        if name in limits:
            least, most = limits[name]
            try:
                number = float(value or "")
            except ValueError:
                number = float("nan")
            found.append(number if least <= number <= most else gr.skip())
        elif name == "pingpong":
            found.append(value == "true" if value else gr.skip())
        else:
            found.append(value if value in models() else gr.skip())
    return tuple(found)


def theme() -> gr.themes.Base:
    """The theme: system fonts, readable colours."""
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
    """Exit at once, and leave no files."""
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
        app_kwargs={"middleware": [Middleware(Guard), Middleware(Card, picture=HERE / "card.jpg")]},
        mcp_server=True,
        footer_links=["api"],
        ssr_mode=False,
    )


if __name__ == "__main__":
    main()
