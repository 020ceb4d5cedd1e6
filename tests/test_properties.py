"""What holds whatever is given: guidance, flow files, arrays of any kind, sizes, batches."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import b2m
from b2m import guidance as guidance_of
from b2m.media.image import read_image
from b2m.motion.io import read_flow, write_flow

relaxed = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
few = settings(relaxed, max_examples=6)
seeds = st.integers(0, 2**32 - 1)
sides = st.integers(16, 70)


@given(seeds, sides, sides, st.sampled_from(["flo", "pfm", "png"]), st.sampled_from("dfFs"))
@relaxed
def test_flow_files_hold_what_they_are_given(tmp_path, seed, height, width, kind, layout):
    rng = np.random.default_rng(seed)
    flow = rng.normal(0, 20, (height, width, 2)).astype(np.float64 if layout == "d" else np.float32)
    flow = np.asfortranarray(flow) if layout == "F" else flow
    flow = flow[::-1, ::2] if layout == "s" else flow
    write_flow(tmp_path / f"f.{kind}", flow)
    error = 1 / 128 if kind == "png" else 1e-5
    np.testing.assert_allclose(read_flow(tmp_path / f"f.{kind}"), flow, atol=error + 1e-6)


@given(
    seeds, sides, sides, st.sampled_from([0, 1, 3, 4]),
    st.sampled_from(["u1", "u2", "f2", "f4", "f8", ">u2", ">f4"]),
    st.sampled_from(["C", "F", "reversed", "every second", "read only"]),
)  # fmt: skip
@relaxed
def test_arrays_of_any_kind(seed, height, width, channels, dtype, layout):
    rng = np.random.default_rng(seed)
    shape = (2 * height, 2 * width, *([channels] if channels else []))
    bytes_ = rng.integers(0, 256, shape)
    scale = {"u": {1: 1, 2: 257}.get(np.dtype(dtype).itemsize, 1), "f": 1 / 255}
    array = (bytes_ * scale[np.dtype(dtype).kind]).astype(dtype)
    if layout == "F":
        array = np.asfortranarray(array)
    elif layout == "reversed":
        array, bytes_ = array[::-1, ::-1], bytes_[::-1, ::-1]
    elif layout == "every second":
        array, bytes_ = array[::2, ::2], bytes_[::2, ::2]
    elif layout == "read only":
        array.setflags(write=False)
    pixels = read_image(array).pixels
    assert pixels.dtype == np.uint8 and pixels.flags.c_contiguous
    plain = read_image(np.ascontiguousarray(bytes_.astype(np.uint8))).pixels
    # Halves have eleven bits.
    assert np.abs(pixels.astype(int) - plain).max() <= (1 if dtype == "f2" else 0)


@pytest.fixture(scope="module")
def animator():
    return b2m.BlurAnimator.from_pretrained(device="cpu")


@given(seeds, st.integers(16, 600), st.integers(16, 40), st.booleans())
@few
def test_sizes_of_any_kind(animator, seed, long, short, upright):
    height, width = (long, short) if upright else (short, long)
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 8 + 2, width // 8 + 2, 3))
    photo = coarse.repeat(8, 0).repeat(8, 1)[:height, :width].astype(np.uint8)
    clip = animator.animate(photo, frames=2)[0]
    assert clip.frames.shape == (2, height, width, 3) and clip.frames.dtype == np.uint8
    assert clip.flow.shape == (height, width, 2) and np.isfinite(clip.flow).all()
    guidance_of.validate(clip.guidance, height, width)
