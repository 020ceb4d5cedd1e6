"""The research view: one photo, its motions side by side, with their numbers.

streamlit run demo/streamlit/app.py          # http://localhost:8501
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import streamlit as st

import b2m
from b2m import guidance as guidance_of
from b2m.clip import Clip, Prepared
from b2m.media import fit
from b2m.motion import flow_to_color, resize_flow, write_flow
from b2m.sheets import arrows

HERE = Path(__file__).parent
EXAMPLES = next((p for p in (HERE / "examples", HERE.parents[1] / "examples") if p.is_dir()), None)
SHOWN_SIDE = 960
SOURCES = (
    "the likeliest motions",
    "a direction",
    "a picture in the five colours",
    "a clip reversed",
)


@st.cache_resource(show_spinner="Loading the model …")
def animator() -> b2m.BlurAnimator:
    """One model for all visitors."""
    return b2m.BlurAnimator.from_pretrained()


@st.cache_resource(max_entries=4, show_spinner="Looking at the photo …")
def look(data: bytes) -> Prepared:
    """Look at a photo, or remember the look."""
    return animator().prepare(data)


def clips_of(prepared: Prepared, source: str, frames: int, motions: int, seed: int) -> list[Clip]:
    """The clips for the guidance that was chosen; its controls are drawn in the side bar."""
    guidance = None
    if source == SOURCES[1]:
        where = st.sidebar.selectbox("Direction", list(guidance_of.DIRECTIONS), key="direction")
        base = animator().animate(prepared)[0]
        guidance = guidance_of.from_direction(base, where)
    elif source == SOURCES[2]:
        st.sidebar.caption(
            "Black still, red right and up, green left and up, yellow left and down, blue right "
            "and down."
        )
        painted = st.sidebar.file_uploader("Guidance (PNG)", ["png"], key="guidance")
        if painted is None:
            st.info("Upload a guidance picture in the side bar; until then nothing is given.")
        else:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / painted.name
                path.write_bytes(painted.getvalue())
                guidance = guidance_of.from_png(path)
            if guidance.shape[:2] != prepared.photo.shape[:2]:
                guidance = guidance_of.resize(guidance, prepared.photo.shape[:2])
    elif source == SOURCES[3]:
        guidance = guidance_of.reverse(animator().animate(prepared)[0])
    return animator().animate(
        prepared, guidance=guidance, frames=frames, motions=motions, seed=seed
    )


def saved(clip: Clip, name: str) -> bytes:
    """A clip as a file of a kind, as bytes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        if path.suffix == ".flo":
            write_flow(path, clip.flow)
        elif path.suffix == ".png":
            clip.save_sheet(path)
        else:
            clip.save(path)
        return path.read_bytes()


def table(clips: list[Clip]) -> list[dict[str, str]]:
    """The numbers of each motion."""
    rows = []
    for number, clip in enumerate(clips, 1):
        rows.append(
            {
                "motion": str(number),
                "re-blur, dB": f"{clip.reblur_psnr:.1f}",
                "re-blur before projection, dB": f"{clip.reblur_psnr_raw:.1f}",
                "score": f"{clip.score:.2f}",
                "fastest, px": f"{clip.fastest:.1f}",
                "moving": f"{(clip.guidance != 0).any(-1).mean():.0%}",
            }
        )
    return rows


def photo_bytes() -> tuple[str, bytes] | None:
    """Name and contents of the photo that was chosen."""
    upload = st.sidebar.file_uploader("Blurred photo", key="photo")
    if upload is not None:
        return upload.name, upload.getvalue()
    examples = sorted(EXAMPLES.glob("*.jpg")) if EXAMPLES else []
    names = ["none", *(path.stem for path in examples)]
    chosen = st.sidebar.selectbox("Or an example", names, key="example")
    if chosen == "none":
        return None
    path = next(path for path in examples if path.stem == chosen)
    return path.name, path.read_bytes()


def main() -> None:
    """Draw the page."""
    st.set_page_config("b2m: blur to motion", layout="wide")
    st.title("Blur to motion")
    given = photo_bytes()
    source = st.sidebar.radio("Guidance from", SOURCES, key="source")
    frames = st.sidebar.slider("Frames", 3, 31, 7, key="frames")
    motions = st.sidebar.slider("Motions at the most", 1, 5, 3, key="motions")
    seed = int(st.sidebar.number_input("Seed", 0, 9999, 0, key="seed"))
    if given is None:
        st.info("Upload a motion-blurred photo in the side bar, or choose an example.")
        return
    name, data = given
    try:
        prepared = look(data)
        clips = clips_of(prepared, source, frames, motions, seed)
    except b2m.InputError as error:
        st.error(str(error).replace("these bytes", name))
        return
    for sentence in clips[0].warnings:
        st.warning(sentence)
    st.dataframe(table(clips), hide_index=True)
    numbers = list(range(1, len(clips) + 1))
    columns = st.columns(2)
    for column, place, default in zip(columns, ("left", "right"), (0, len(clips) - 1), strict=True):
        with column:
            number = st.selectbox("Motion", numbers, index=default, key=f"motion-{place}")
            clip = clips[number - 1]
            index = st.slider("Frame", 1, frames, (frames + 1) // 2, key=f"frame-{place}")
            time = 2 * (index - 1) / (frames - 1) - 1
            st.image(fit(clip.at(time), SHOWN_SIDE), caption=f"t = {(time + 1) / 2:.2f}")
            small = fit(clip.photo, SHOWN_SIDE)
            flow = resize_flow(clip.flow, small.shape[:2])
            st.image(arrows(small, flow), caption="Motion over the exposure")
            st.image(fit(flow_to_color(clip.flow), SHOWN_SIDE), caption="The same as colours")
            st.image(fit(guidance_of.to_color(clip.guidance), SHOWN_SIDE), caption="Guidance")
            stem = f"{Path(name).stem}-{number}"
            for suffix, label in (
                ("mp4", "Clip (MP4)"),
                ("gif", "Clip (GIF)"),
                ("flo", "Motion (.flo)"),
                ("png", "Contact sheet"),
            ):
                st.download_button(
                    label,
                    lambda clip=clip, file=f"{stem}.{suffix}": saved(clip, file),
                    file_name=f"{stem}.{suffix}",
                    key=f"{suffix}-{place}",
                    on_click="ignore",
                )


main()
