"""The research view: one photo, its motions or two models side by side, with their numbers.

streamlit run demo/streamlit/app.py          # http://localhost:8501
"""

from __future__ import annotations

import base64
import hashlib
import tempfile
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import streamlit as st

import b2m
from b2m import api, hub
from b2m import assets as shipped
from b2m import guidance as guidance_of
from b2m.inference import preview as previews
from b2m.inference.clip import Clip
from b2m.inference.preview import Preview
from b2m.media import Pixels, limit_side
from b2m.motion import flow_to_color, resize_flow, write_flow
from b2m.visualize.contact_sheet import arrows, with_wheel

SHOWN_SIDE = 960
PLAYED_SIDE = 640
SOURCES = (
    "Possible motions",
    "Samples of the guidance predictor",
    "Everything in one direction",
    "Guidance picture",
    "Reverse",
)
COLORS = (
    "red right and up, green left and up, yellow left and down, blue right and down, black still"
)
TABLE = """<style>
[data-testid=stTable] table { width: 100%; }
[data-testid=stTable] :is(th, td) { padding: 0.25rem 0.3rem; white-space: normal; }
</style>"""
PLAYER = 'aria-label="The clip" style="width: 100%" autoplay loop muted playsinline controls'
FILES = {
    "mp4": "MP4",
    "gif": "GIF",
    "MP.jpg": "Motion Photo",
    "flo": "Motion field (.flo)",
    "png": "Contact sheet",
}


@st.cache_resource(max_entries=3, show_spinner="Loading the model …")
def loaded(model: str, predictor: str | None) -> tuple[b2m.BlurAnimator, str]:
    """One of each model for all visitors, and where its weights are from."""
    folder = hub.find_weights(api.animators()[model].weights_name)
    made = b2m.BlurAnimator.from_pretrained(folder, model=model, guidance_predictor=predictor)
    return made, hub.source_of(folder)


@st.cache_resource(max_entries=4, show_spinner="Estimating the motion …")
def preview(data: bytes, model: str) -> Preview:
    """The photo encoded at the size at which it is shown, cached."""
    return previews.preview(loaded(model, None)[0], data)


@st.cache_data
def models() -> list[str]:
    """Names of the models whose weights are at hand, at least one; failures are not cached."""
    return api.available_animators()


def painted() -> guidance_of.Guidance | None:
    """Guidance from a picture that is uploaded."""
    st.caption(f"Colours: {COLORS}.")
    upload = st.file_uploader("Guidance (PNG)", ["png"], key="guidance")
    if upload is None:
        st.info("Upload a guidance picture; until then there is no guidance.")
        return None
    try:
        return guidance_of.from_png(upload.getvalue())
    except b2m.InputError as error:
        raise b2m.InputError(named(error, upload.name)) from error


def named(error: b2m.InputError, name: str) -> str:
    """An error about an upload, with the name of its file."""
    sentence = str(error)
    for unnamed in ("image ", "guidance "):
        if sentence.startswith(unnamed):
            return f"{name} {sentence.removeprefix(unnamed)}"
    return sentence


def clips_of(
    data: bytes,
    model: str,
    source: str,
    where: str,
    picture: guidance_of.Guidance | None,
    frames: int,
    motions: int,
    seed: int,
) -> list[Clip]:
    """The clips of a model for the guidance that was chosen."""
    prepared = preview(data, model).prepared
    sampled = source == SOURCES[1] and model == "animator"
    chosen, _ = loaded(model, "cvae-gan" if sampled else None)
    count = chosen.model.native_frames or frames  # some models have a fixed number
    guidance = None
    if source == SOURCES[2]:
        guidance = guidance_of.from_direction(chosen.animate(prepared, frames=count)[0], where)
    elif source == SOURCES[3] and picture is not None:
        size = prepared.photo.shape[:2]
        guidance = picture if picture.shape[:2] == size else guidance_of.resize(picture, size)
    elif source == SOURCES[4]:
        guidance = guidance_of.reverse(chosen.animate(prepared, frames=count)[0])
    return chosen.animate(prepared, guidance=guidance, frames=count, motions=motions, seed=seed)


def decibels(value: float) -> str:
    """A figure of the table."""
    return "exact" if np.isinf(value) else f"{value:.1f}"


class Shown:
    """A clip, and what the page shows of it, each made once."""

    def __init__(self, clip: Clip, seen: Preview) -> None:
        self.clip, self.assessment = clip, seen.assessment(clip)

    @cached_property
    def numbers(self) -> dict[str, str]:
        """Its row of the table."""
        clip = self.clip
        return {
            "Re-blur check, dB": decibels(clip.reblur_psnr),
            "Re-blur check of the motion alone, dB": decibels(clip.reblur_psnr_raw),
            "Score, dB": f"{clip.score:.2f}",
            "Fastest parts, px": f"{self.assessment.fastest:.1f}",
            "Moving": f"{(clip.guidance != 0).any(-1).mean():.0%}",
        }

    @cached_property
    def video(self) -> bytes:
        """The clip as it plays, forwards and backwards."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "clip.mp4"
            self.clip.save(path, pingpong=True, max_side=PLAYED_SIDE)
            return path.read_bytes()

    @cached_property
    def pictures(self) -> dict[str, Pixels]:
        """Of its motion, with their captions."""
        small = limit_side(self.clip.photo, SHOWN_SIDE)
        flow = resize_flow(self.clip.flow, small.shape[:2])
        longest = max(1.0, self.clip.fastest * small.shape[1] / self.clip.photo.shape[1])
        return {
            "Motion over the exposure": arrows(small, flow),
            "Motion field: the colour is the direction, as on the wheel; white is still": (
                with_wheel(flow_to_color(flow, longest), longest)
            ),
            f"Guidance: {COLORS}": limit_side(guidance_of.to_color(self.clip.guidance), SHOWN_SIDE),
        }


def results(
    data: bytes,
    models: tuple[str, ...],
    picture: guidance_of.Guidance | None,
    *options: str | int,
) -> dict[str, list[Shown]]:
    """The clips of each model, of those that the session holds already where it does.

    Args:
        data: the photo.
        models: one for each side.
        picture: guidance that was uploaded.
        options: source, direction, frames, motions and seed.
    """
    before = st.session_state.get("results", {})
    given = hashlib.sha256(data).digest(), None if picture is None else picture.tobytes(), *options
    now = {}
    for model in models:
        key = model, *given
        if key not in now:
            source, where, *numbers = options
            now[key] = before.get(key) or [
                Shown(clip, preview(data, model))
                for clip in clips_of(data, model, source, where, picture, *numbers)
            ]
    st.session_state["results"] = now  # what is shown no more is not kept
    return {model: shown for (model, *_), shown in now.items()}


def saved(data: bytes, model: str, clip: Clip, name: str) -> bytes:
    """A clip as a file of a kind, as bytes, in the photo's own size."""
    if preview(data, model).scale > 1:
        clip = previews.at_full_size(loaded(model, None)[0], data, clip)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        if path.suffix == ".flo":
            write_flow(path, clip.flow)
        elif path.suffix == ".png":
            clip.save_sheet(path)
        else:
            clip.save(path)
        return path.read_bytes()


def table(found: list[Shown]) -> pd.DataFrame:
    """The numbers of each option of a model, a column for each, so that they fit a phone."""
    return pd.DataFrame({option(n): shown.numbers for n, shown in enumerate(found, 1)})


def photo_bytes() -> tuple[str, bytes] | None:
    """Name and contents of the photo that was chosen."""
    place, beside = st.columns(2)
    upload = place.file_uploader("Blurred photo", key="photo")
    examples = sorted(shipped.examples().glob("*.jpg"))
    names = ["none", *(path.stem for path in examples)]
    chosen = beside.selectbox("Examples", names, key="example")
    if upload is not None:
        return upload.name, upload.getvalue()
    if chosen == "none":
        return None
    path = next(path for path in examples if path.stem == chosen)
    return path.name, path.read_bytes()


def option(number: int) -> str:
    """What an option is called."""
    return "Most likely" if number == 1 else f"Option {number}"


def nearest(clip: Clip, time: float) -> Pixels:
    """The frame at a time, of a model with a fixed number of frames its nearest."""
    place = round((time + 1) / 2 * (clip.count - 1))
    return clip.at(2 * place / (clip.count - 1) - 1)


def panel(
    place: str, name: str, data: bytes, model: str, found: list[Shown], default: int, time: float
) -> None:
    """One side of the page: a motion's clip, frame, flow, guidance and files."""
    number = 1
    if len(found) > 1:
        number = st.selectbox(
            "Option",
            list(range(1, len(found) + 1)),
            index=min(default, len(found) - 1),
            format_func=option,
            key=f"motion-{place}",
        )
    shown = found[number - 1]
    clip = shown.clip
    st.subheader(f"{model}: {option(number)}")
    photo, playing = st.columns(2)
    photo.image(limit_side(clip.photo, SHOWN_SIDE), caption="Photo")
    # Not st.video: its autoplay is lost where the browser renders the page in several passes.
    video = base64.b64encode(shown.video).decode()
    playing.html(f'<video {PLAYER} src="data:video/mp4;base64,{video}"></video>')
    playing.caption("Result")
    st.image(limit_side(nearest(clip, time), SHOWN_SIDE), caption=f"t = {(time + 1) / 2:.2f}")
    for caption, picture in shown.pictures.items():
        st.image(picture, caption=caption)
    stem = f"{Path(name).stem}-{model}-{number}"
    with st.popover("Download"):
        for suffix, label in FILES.items():
            st.download_button(
                label,
                lambda file=f"{stem}.{suffix}": saved(data, model, clip, file),
                file_name=f"{stem}.{suffix}",
                key=f"{suffix}-{place}",
                on_click="ignore",
            )


def main() -> None:
    """Draw the page."""
    st.set_page_config("Blur to motion: research view", layout="wide")
    st.title("Blur to motion")
    given = photo_bytes()
    try:
        names = models()
    except b2m.InputError as error:
        st.error(str(error))
        return
    with st.expander("Settings"):
        one, other = st.columns(2)
        left = one.selectbox("Model, left", names, key="model-left")
        right = other.selectbox("Model, right", names, key="model-right")
        source = st.radio("Guidance", SOURCES, key="source")
        where = ""
        if source == SOURCES[2]:
            where = st.selectbox("Direction", list(guidance_of.DIRECTIONS), key="direction")
        frames = st.slider("Frames", 3, 31, 7, key="frames")
        motions = st.slider("Options at most", 1, 5, 3, key="motions")
        seed = int(st.number_input("Seed", 0, 9999, 0, key="seed"))
    if given is None:
        st.info("Upload a motion-blurred photo, or choose an example.")
        return
    name, data = given
    try:
        picture = painted() if source == SOURCES[3] else None
    except b2m.InputError as error:
        st.error(str(error))
        return
    try:
        found = results(data, (left, right), picture, source, where, frames, motions, seed)
    except b2m.InputError as error:
        st.error(named(error, name))
        return
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "memory" not in str(error):  # PyTorch's has no type
            raise
        st.error("there is not enough memory for this photo: make it smaller")
        return
    for model, shown in found.items():
        title = "" if left == right else f"{model}: "
        clip = shown[0].clip
        st.write(f"{title}{' '.join(shown[0].assessment.sentences)}")
        for sentence in clip.further_warnings:
            st.warning(f"{title}{sentence}")
    st.html(TABLE)
    for model, shown in found.items():
        if left != right:
            st.markdown(f"**{model}**")
        st.table(table(shown))
    device = loaded(left, None)[0].device.type.upper()
    known = ", ".join(f"{model} ({loaded(model, None)[1]})" for model in found)
    seen = preview(data, left)
    height, width = seen.size
    small = f"{seen.prepared.photo.shape[1]} × {seen.prepared.photo.shape[0]}"
    shown_in = f", shown in {small}; downloads are full size" if seen.scale > 1 else ""
    st.caption(f"Weights: {known}. Computed on {device}. {width} × {height} px{shown_in}.")
    count = max(shown[0].clip.count for shown in found.values())
    index = st.slider("Frame (both sides)", 1, count, (count + 1) // 2, key="frame")
    time = 2 * (index - 1) / (count - 1) - 1
    sides = (("left", left, 0), ("right", right, len(found[right]) - 1 if left == right else 0))
    for column, (place, model, default) in zip(st.columns(2), sides, strict=True):
        with column:
            panel(place, name, data, model, found[model], default, time)


main()
