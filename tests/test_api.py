"""The public contract: every kind of photo in, clips out, against independent arithmetic."""

import base64
import io
import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from made_pictures import apart, decoded, encoded, file_of, psnr, see_as
from made_pictures import sliding as translation
from PIL import Image, TiffImagePlugin
from scipy import ndimage
from torch.nn import functional

import b2m
from b2m import api, hub
from b2m.errors import InputError, OutputError
from b2m.inference import multiscale as scales
from b2m.inference.animator import BlurAnimator
from b2m.media.video import read_video
from b2m.models.animator import MotionAnimator, MotionAnimatorConfig
from b2m.models.animator import render as render_frame
from b2m.motion.fields import double_angle


def lively_model():
    """An untrained model whose motion and residuals are of some size."""
    torch.manual_seed(0)
    model = MotionAnimator(MotionAnimatorConfig.tiny()).eval()
    with torch.no_grad():
        model.head.weight.mul_(60)
        model.head.weight[192:200].mul_(6)  # the motion axis
        model.head.bias[-8:] = 20.0  # both masks: all of it moves
    return model


@pytest.fixture(scope="module")
def animator():
    return BlurAnimator(lively_model())


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights") / "animator"
    lively_model().save_pretrained(folder)
    return folder


@pytest.fixture
def sliding(monkeypatch):
    """Makes an animator that sees a photo as its given middle slid along one vector."""

    def make(flow, middle=None):
        found = BlurAnimator(MotionAnimator(MotionAnimatorConfig.tiny()).eval())
        see_as(monkeypatch, found.model, lambda seen: slide(seen, flow, middle))
        return found

    return make


def slide(photo, flow, middle=None):
    """The encoding of one translation; the middle is the photo where none is given."""
    middle = photo if middle is None else torch.from_numpy(middle).permute(2, 0, 1)[None]
    return translation(middle, flow)


def texture(height=48, width=64, seed=0, sigma=2.0):
    """A picture between 0.2 and 0.8 with detail: (H, W, 3) float64."""
    noise = np.random.default_rng(seed).normal(size=(height, width, 3))
    image = ndimage.gaussian_filter(noise, (sigma, sigma, 0))
    return np.clip(0.5 + 0.15 * image / image.std(), 0.2, 0.8)


def photo(height=48, width=64, seed=0, sigma=2.0):
    return np.rint(255 * texture(height, width, seed, sigma)).astype(np.uint8)


def streak(height=48, width=64, length=9, seed=0):
    """A photo blurred to the side."""
    image = texture(height, width, seed, 1.0)
    return encoded(np.mean([np.roll(decoded(image), i, 1) for i in range(length)], 0))


def mean_of(frames):
    return encoded(np.mean([decoded(frame / 255) for frame in frames], 0))


def patches(height, width, seed=0):
    """Guidance in patches, some of it still."""
    choices = np.array([(0, 0), (1, 1), (1, -1), (-1, 1), (-1, -1)], np.int8)
    random = np.random.default_rng(seed)
    classes = random.integers(0, 5, (-(-height // 8), -(-width // 8)))
    return choices[classes].repeat(8, 0).repeat(8, 1)[:height, :width]


# --- photos of every kind ------------------------------------------------------------------------


def test_exposure_time_and_warnings_of_the_photo(animator, tmp_path):
    exif = Image.Exif()
    exif[0x829A] = TiffImagePlugin.IFDRational(1, 8)
    data = file_of(Image.fromarray(photo()), exif=exif)
    assert animator.animate(data)[0].exposure_time == 0.125
    assert animator.animate(photo())[0].exposure_time is None
    moving = tmp_path / "moving.gif"
    first, second = (Image.fromarray(photo(seed=seed)) for seed in (0, 1))
    first.save(moving, save_all=True, append_images=[second])
    assert any("2 frames" in sentence for sentence in animator.animate(moving)[0].warnings)


# --- what a clip is ------------------------------------------------------------------------------


def projected(photo, frame, exposure, dark=0.01):
    """A frame scaled so that the mean of all is the photo, in linear light."""
    floor = np.where(photo < exposure, 0, dark)
    return photo + (frame - exposure) * (photo + floor) / (exposure + floor)


@pytest.mark.parametrize("vector", [(12.0, 0.0), (-6.0, 8.0), (0.0, -9.0), (5.0, 5.0)])
@pytest.mark.parametrize("count", [2, 4, 7, 9])
def test_a_clip_is_its_motion_and_its_photo(sliding, vector, count):
    """A known middle and a known motion: SciPy shifts, the formula adds what the photo says."""
    middle = texture()
    grid = max(count, 7)

    def shifted(time):
        u, v = vector
        return ndimage.shift(middle, (v * time / 2, u * time / 2, 0), order=1, mode="nearest")

    exposure = np.mean([decoded(shifted(time)) for time in np.linspace(-1, 1, grid)], 0)
    blurred = encoded(exposure)
    guidance = np.broadcast_to(np.sign([v or 1 for v in vector]).astype(np.int8), (48, 64, 2))
    if 0 in vector:  # the signs of a motion along an axis, as the rule of ties has them
        tie = {(12.0, 0.0): (1, -1), (0.0, -9.0): (-1, -1)}[vector]
        guidance = np.broadcast_to(np.array(tie, np.int8), (48, 64, 2))
    (clip,) = sliding(vector, middle).animate(blurred, guidance=guidance, frames=count)
    np.testing.assert_allclose(clip.flow, np.broadcast_to(vector, (48, 64, 2)), atol=1e-3)
    assert (clip.guidance == guidance).all()
    for time, frame in zip(np.linspace(-1, 1, count), clip.frames, strict=True):
        light = projected(decoded(blurred / 255), decoded(shifted(time)), exposure)
        assert apart(frame, encoded(light)) <= 1
    if count >= 7:
        assert clip.reblur_psnr > 50
    assert clip.reblur_psnr_raw > 50
    # A motion that is not the one is a worse explanation, before the projection.
    other = sliding((8.0, -6.0) if vector == (-6.0, 8.0) else (-3.0, 3.0), middle)
    assert other.animate(blurred, frames=count)[0].reblur_psnr_raw < 40


def test_a_wrong_motion_neither_burns_nor_blackens(sliding):
    """Where the frames disagree with the photo, they are scaled and stay in range."""
    pixels = photo()
    (clip,) = sliding((12.0, 0.0), texture(seed=5)).animate(pixels)
    light = decoded(clip.frames / 255)
    assert light.min() > 1e-4
    assert np.abs(light.mean(0) - decoded(pixels / 255))[light.max(0) < 1].max() < 0.01
    assert (clip.frames.max(0) > clip.frames.min(0)).mean() > 0.9


def test_reblur_is_the_mean_of_the_frames_in_linear_light(animator):
    pixels = streak()
    for count in (7, 8, 2):
        (clip,) = animator.animate(pixels, frames=count)
        assert clip.reblur_psnr == pytest.approx(psnr(mean_of(clip.frames), pixels), abs=0.05)


@pytest.mark.parametrize("count", [3, 7, 10])
def test_reblur_before_the_projection(animator, count):
    prepared = animator.prepare(streak())
    (clip,) = animator.animate(prepared, frames=count)
    oriented = torch.from_numpy(clip.flow).permute(2, 0, 1)[None]
    light = []
    for time in np.linspace(-1, 1, max(count, 7)):
        frame = render_frame(prepared.encoding, oriented, 0.0 if abs(time) < 1e-9 else time)
        light.append(decoded(frame[0].permute(1, 2, 0).clamp(0, 1).double().numpy()))
    expected = psnr(encoded(np.mean(light, 0)), clip.photo)
    assert clip.reblur_psnr_raw == pytest.approx(expected, abs=0.05)
    assert clip.score == clip.reblur_psnr_raw
    if count >= 7:
        assert clip.reblur_psnr > clip.reblur_psnr_raw + 3


def test_few_frames_are_those_of_seven(animator):
    """The mean of two frames is not the blur: the projection takes seven instants at least."""
    prepared = animator.prepare(streak())
    seven = animator.animate(prepared)[0]
    for count, step in ((2, 6), (3, 3), (4, 2)):
        few = animator.animate(prepared, frames=count)[0]
        assert apart(few.frames, seven.frames[::step]) == apart(few.middle, seven.frames[3]) == 0
        assert (few.flow == seven.flow).all() and (few.guidance == seven.guidance).all()
    assert apart(seven.middle, seven.frames[3]) == 0
    assert (b2m.guidance.from_flow(seven.flow) == seven.guidance).all()


def test_render_streams_any_number_of_frames(animator):
    (clip,) = animator.animate(streak())
    stream = clip.render(frames=5)
    assert iter(stream) is stream
    first = next(stream)
    assert first.shape == clip.photo.shape
    assert first.dtype == np.uint8
    assert len(list(stream)) == 4
    assert len(list(clip.render())) == 31
    for count in (2, 6):
        frames = list(clip.render(count))
        assert len(frames) == count
        assert apart(frames[0], clip.frames[0]) == apart(frames[-1], clip.frames[-1]) == 0
    nine = animator.animate(streak(), frames=9)[0].frames
    # Two streams at once do not disturb each other.
    pairs = list(zip(clip.render(9), clip.render(10), strict=False))
    assert apart(np.stack([nine_again for nine_again, _ in pairs]), nine) == 0


@pytest.mark.parametrize("size", [(24, 32), (96, 128), (50, 100), (96, 40), (1, 1), (7, 64)])
def test_render_at_any_size(sliding, size):
    (clip,) = sliding((9.0, 0.0), texture()).animate(streak())
    frames = list(clip.render(7, size=size))
    assert {frame.shape for frame in frames} == {(*size, 3)}
    method = cv2.INTER_AREA if size[0] <= 48 and size[1] <= 64 else cv2.INTER_LINEAR
    resized = cv2.resize(clip.photo, size[::-1], interpolation=method)
    assert psnr(mean_of(frames), resized) > 48
    still = sliding((0.0, 0.0)).animate(photo())[0]
    resized = cv2.resize(still.photo, size[::-1], interpolation=method)
    for frame in still.render(2, size=size):
        assert apart(frame, resized) == 0


def test_notebooks_show_clips(animator, tmp_path):
    (clip,) = animator.animate(photo())
    html = clip._repr_html_()
    data = base64.b64decode(html.split("base64,")[1].split('"')[0])
    (tmp_path / "shown.mp4").write_bytes(data)
    assert len(list(read_video(tmp_path / "shown.mp4"))) == 2 * 7 - 2
    assert 'aria-label="The clip' in html
    with Image.open(io.BytesIO(clip._repr_png_())) as sheet:
        assert sheet.format == "PNG" and sheet.width > 200


def test_what_moves_against_the_camera(movers, sliding):
    animator, pixels = movers
    mask = animator.animate(pixels)[0].moving
    assert mask.shape == (64, 128) and mask.dtype == bool
    for thing in THINGS:
        assert mask[thing].mean() > 0.9
    assert mask[:8].mean() + mask[56:].mean() < 0.05
    assert not sliding((9.0, 4.0)).animate(photo())[0].moving.any()


def test_what_moves_by_the_flow_of_any_model(monkeypatch):
    """A thing moves before a still ground, by the network's word for it."""
    asked = []

    def network(name, weights, chosen, device):
        asked.append((weights, device))

        def model(image):
            line = torch.zeros(1, 2, *image.shape[-2:])
            line[:, 0, 20:44, 40:80] = 12
            return line

        model.parameters = lambda: iter([torch.zeros(1)])
        return model

    monkeypatch.setattr(api, "_loaded_flow", network)
    mask = b2m.segment_motion(photo(64, 128), model="blur-flow", weights="w", device="cpu")
    assert asked == [("w", "cpu")]
    assert mask.shape == (64, 128) and mask.dtype == bool
    assert mask[24:40, 44:76].all() and not mask[:16].any() and not mask[:, 84:].any()
    with pytest.raises(InputError, match=r"'oracle'.*'animator'.*'blur-flow'"):
        b2m.segment_motion(photo(), model="oracle")


def test_guidance_that_holds_everything_says_so(sliding):
    pixels = photo(sigma=0.5)
    nothing = np.zeros((*pixels.shape[:2], 2), np.int8)
    for line, says in (((9.0, 0.0), "guidance holds still"), ((0.0, 0.0), "no motion blur")):
        (clip,) = sliding(line).animate(pixels, guidance=nothing)
        (sentence,) = clip.warnings
        assert says in sentence


def test_guidance_of_a_part_shows_what_was_missed(sliding, monkeypatch):
    """Of the whole photo it does not: such motion is not missed."""
    animator, pixels = sliding((0.0, 0.0)), photo(sigma=0.5)

    def guided(seen, guidance=None):
        return slide(seen.photo, (0.0, 0.0) if guidance is None else (9.0, 0.0))

    monkeypatch.setattr(animator.model, "decode", guided)
    prepared = animator.prepare(pixels)
    guidance = np.zeros((*pixels.shape[:2], 2), np.int8)
    guidance[10:30, 20:40] = 1
    (clip,) = animator.animate(prepared, guidance=guidance)
    assert not clip.warnings
    assert np.allclose(clip.flow[10:30, 20:40], (9, 0), atol=0.1)
    assert np.abs(clip.flow[:, 45:]).max() < 0.1
    for whole in (None, np.ones_like(guidance)):
        assert np.abs(animator.animate(prepared, guidance=whole)[0].flow).max() < 0.1


@pytest.mark.parametrize("seed", ["a", 1.5, None, True, 2**63])
def test_seeds_are_whole_numbers(animator, seed):
    with pytest.raises(InputError, match="seed="):
        animator.animate(photo(), seed=seed)


def test_a_still_photo(sliding):
    pixels = photo(sigma=0.5)
    (clip,) = sliding((0.0, 0.0)).animate(pixels)
    assert clip.warnings == ["no motion blur was found, so the clip is still"]
    assert (clip.guidance == 0).all()
    assert np.abs(clip.flow).max() < 0.01
    for frame in clip.frames:
        assert apart(frame, pixels) == 0
    assert clip.reblur_psnr == clip.reblur_psnr_raw == math.inf
    assert sliding((9.0, 0.0)).animate(pixels)[0].warnings == []
    assert sliding((2.0, 0.0)).animate(pixels)[0].warnings != []
    # Guidance makes no motion, and that is said.
    right = np.ones((*pixels.shape[:2], 2), np.int8)
    (clip,) = sliding((0.0, 0.0)).animate(pixels, guidance=right)
    assert "100% of what guidance" in clip.warnings[1]
    assert sliding((9.0, 0.0)).animate(pixels, guidance=right)[0].warnings == []


# --- which way -----------------------------------------------------------------------------------


def test_what_guidance_calls_still_stays_as_in_the_photo(animator):
    prepared = animator.prepare(photo(96, 128))
    bare = animator.animate(prepared)[0].flow
    length = np.hypot(bare[..., 0], bare[..., 1])
    assert length.max() > 5
    (clip,) = animator.animate(prepared, guidance=np.zeros((96, 128, 2), np.int8))
    assert (clip.flow == 0).all()
    assert (clip.frames == clip.photo).all()
    assert any("still" in warning for warning in clip.warnings)
    # Half of it still: that stays, but for what the other half may pass over.
    half = b2m.guidance.from_flow(bare)
    half[:, :64] = 0
    (clip,) = animator.animate(prepared, guidance=half)
    far = np.zeros((96, 128), bool)
    far[:, : 64 - int(length.max()) - 5] = True
    assert length[far].max() > 8
    assert (clip.flow[~half.any(-1)] == 0).all()


def test_guidance_chooses_the_sign(animator):
    prepared = animator.prepare(streak())
    guidance = patches(48, 64)
    (clip,) = animator.animate(prepared, guidance=guidance)
    assert (clip.guidance == guidance).all()
    assert clip.guidance.dtype == np.int8
    assert ((clip.flow * guidance).sum(-1) >= 0).all()
    assert (clip.flow[~guidance.any(-1)] == 0).all()
    assert clip.flow[guidance.any(-1)].any(-1).mean() > 0.9
    (back,) = animator.animate(prepared, guidance=-guidance)
    np.testing.assert_array_equal(back.flow, -clip.flow)


def test_the_guidance_of_a_clip_gives_it_again(sliding):
    prepared = (animator := sliding((9.0, -5.0), texture())).prepare(streak())
    (clip,) = animator.animate(prepared)
    again = animator.animate(prepared, guidance=clip.guidance)[0]
    assert (again.flow == clip.flow).all()
    assert apart(again.frames, clip.frames) == 0


def test_motions(animator, sliding):
    prepared = animator.prepare(streak())
    assert len(animator.animate(prepared, motions=1)) == 1
    for guidance in (None, patches(48, 64)):
        clips = animator.animate(prepared, guidance=guidance, motions=2, seed=5)
        assert len(clips) == 2
        first, second = clips
        assert (first.flow == -second.flow).all()
        assert apart(first.frames, second.frames[::-1]) <= 1
        assert (first.guidance == -second.guidance).all()
        assert first.score >= second.score - 0.01
        assert [clip.seed for clip in clips] == [5, 5]
    assert animator.animate(prepared)[0].seed == 0
    clips = sliding((7.0, 4.0)).animate(photo(), motions=5)  # a camera goes one way or the other
    assert len(clips) == 2 and (clips[0].flow == -clips[1].flow).all()
    assert len(sliding((0.0, 0.0)).animate(photo(), motions=5)) == 1


def two_movers(seen, left=(9.0, -3.0), right=(2.0, 10.0)):
    """The encoding of two things before a background that stands."""
    encoding = slide(seen, (0.0, 0.0))
    for columns, vector in ((slice(16, 56), left), (slice(72, 112), right)):
        line = double_angle(torch.tensor(vector).view(1, 2, 1, 1))
        encoding.axis[..., 12:52, columns] = line
    return encoding


THINGS = np.s_[12:52, 16:56], np.s_[12:52, 72:112]


@pytest.fixture
def movers(sliding, monkeypatch):
    """An animator that sees two things go, each its way, and a photo of 64 x 128 for it."""
    found = sliding((0.0, 0.0))
    see_as(monkeypatch, found.model, two_movers)
    return found, photo(64, 128, sigma=1.5)


def cosine(one, other):
    lengths = np.hypot(one[..., 0], one[..., 1]) * np.hypot(other[..., 0], other[..., 1])
    return (one * other).sum(-1) / np.maximum(lengths, 1e-6)


def test_all_the_motions_of_two_things(movers):
    animator, pixels = movers
    prepared = animator.prepare(pixels)
    clips = animator.animate(prepared, motions=5, seed=3)
    ways = {tuple(float(np.sign(clip.flow[thing][5, 5, 1])) for thing in THINGS) for clip in clips}
    assert ways == {(-1, 1), (1, -1), (-1, -1), (1, 1)} and len(clips) == 4
    scores = [clip.score for clip in clips]
    assert scores == sorted(scores, reverse=True) and scores[0] > scores[-1]
    assert scores[0] == clips[0].reblur_psnr_raw
    for clip in clips:
        assert (clip.guidance == b2m.guidance.from_flow(clip.flow)).all()
        assert clip.reblur_psnr_raw == pytest.approx(clips[0].reblur_psnr_raw, abs=0.01)
        # What stands stands in all of them; the things leave it within their own motion.
        for frame in clip.frames:
            assert apart(frame[58:], pixels[58:]) == 0
    # The same seed, the same clips; fewer are the first of more.
    again = animator.animate(pixels, motions=5, seed=3)
    fewer = animator.animate(prepared, motions=2, seed=3)
    for one, other in [*zip(clips, again, strict=True), *zip(clips, fewer, strict=False)]:
        assert (one.flow == other.flow).all() and one.score == other.score
        assert apart(one.frames, other.frames) == 0
        assert one.seed == other.seed == 3


def test_reversing_one_region_leaves_the_rest(movers):
    animator, pixels = movers
    prepared = animator.prepare(pixels)
    (clip,) = animator.animate(prepared)
    (back,) = animator.animate(prepared, guidance=b2m.guidance.reverse(clip, (36, 30)))
    left, right = (cosine(clip.flow[thing], back.flow[thing]) for thing in THINGS)
    assert left.max() < -0.7 and right.min() > 0.9
    # Its frames run backwards, the other's as before; the two do not touch.
    assert apart(back.frames[:, :, :62], clip.frames[::-1, :, :62]) <= 1
    assert apart(back.frames[:, :, 66:], clip.frames[:, :, 66:]) <= 1
    twice = b2m.guidance.reverse(back, (40, 20))
    assert apart(animator.animate(prepared, guidance=twice)[0].frames, clip.frames) <= 1
    everything = b2m.guidance.reverse(clip)
    (reversed_clip,) = animator.animate(prepared, guidance=everything)
    assert apart(reversed_clip.frames, clip.frames[::-1]) <= 1


def test_guidance_and_motions(movers):
    """What guidance speaks of is kept for as long as something else can vary."""
    animator, pixels = movers
    prepared = animator.prepare(pixels)
    guidance = np.zeros((64, 128, 2), np.int8)
    guidance[THINGS[0]] = (-1, 1)
    clips = animator.animate(prepared, guidance=guidance, motions=5)
    assert len(clips) == 4
    downs = [[float(np.sign(clip.flow[thing][5, 5, 1])) for thing in THINGS] for clip in clips]
    assert [down[0] for down in downs] == [1, 1, -1, -1]
    assert downs[0][1] == -downs[1][1]
    assert (clips[0].guidance == guidance).all()
    scores = [clip.score for clip in clips]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] - scores[2] > 0.5


@pytest.mark.parametrize("count", [1, 0, -7, 2.5, "7", None, True])
def test_wrong_numbers(animator, count):
    prepared = animator.prepare(photo())
    with pytest.raises(InputError, match="frames"):
        animator.animate(prepared, frames=count)
    if count is not None:  # which leaves it to the clip
        with pytest.raises(InputError, match="frames"):
            animator.animate(prepared)[0].render(frames=count)
    if count != 1 or count is True:
        with pytest.raises(InputError, match="motions"):
            animator.animate(prepared, motions=count)


@pytest.mark.parametrize("size", [(0, 9), (9,), 9, (9.5, 9), (9, -1), "9x9"])
def test_wrong_sizes(animator, size):
    clip = animator.animate(photo())[0]
    with pytest.raises(InputError, match="size"):
        clip.render(size=size)


def test_a_prepared_photo_serves_many_times(animator):
    prepared = animator.prepare(streak())
    kept = [part.clone() for part in prepared.encoding]
    (first,) = animator.animate(prepared, guidance=patches(48, 64))
    frames = first.frames.copy()
    other = animator.animate(prepared, guidance=patches(48, 64, seed=1), frames=4)[0]
    assert apart(other.frames[0], frames[0]) > 20
    for part, before in zip(prepared.encoding, kept, strict=True):
        assert torch.equal(part, before)
    assert apart(animator.animate(prepared, guidance=patches(48, 64))[0].frames, frames) == 0
    assert apart(animator.animate(streak(), guidance=patches(48, 64))[0].frames, frames) == 0


# --- large photos --------------------------------------------------------------------------------


@pytest.fixture
def small_work(monkeypatch):
    """Photos of more than 48 x 64 pixels count as large, and rows go in strips."""
    monkeypatch.setattr(scales, "WORKING_PIXELS", 48 * 64)
    monkeypatch.setattr("b2m.media.color_spaces._STRIP_PIXELS", 1200)


@pytest.mark.parametrize("size", [(144, 192), (131, 250), (300, 90)])
def test_large_photos(small_work, sliding, size, monkeypatch):
    monkeypatch.setattr("b2m.inference.projection._LESS", np.float32(0))  # tested for itself
    pixels = 90 + photo(*size, sigma=1.0) // 4  # no frame leaves the range
    animator = sliding((6.0, 2.0))
    prepared = replace(animator.prepare(pixels), encode_detail=None)
    height, width = prepared.working.shape[:2]
    assert 0.8 * 48 * 64 < height * width <= 48 * 64
    assert abs(height / width - size[0] / size[1]) < 0.05
    (clip,) = animator.animate(prepared)
    assert clip.frames.shape == (7, *size, 3)
    expected = (6.0 * size[1] / width, 2.0 * size[0] / height)
    np.testing.assert_allclose(clip.flow, np.broadcast_to(expected, (*size, 2)), rtol=1e-3)
    # The mean explains the photo, though the network has never seen its detail.
    assert psnr(mean_of(clip.frames), pixels) > 50
    assert clip.reblur_psnr > 50
    # Every frame is the photo and an enlarged change: compared with PyTorch's interpolation.
    flow = clip._renderer.path
    light = [
        decoded(render_frame(prepared.encoding, flow, time)[0].double().clamp(0, 1).numpy())
        for time in np.linspace(-1, 1, 7)
    ]
    for index in (0, 3, 5):
        mean = np.mean(light, 0)
        seen = decoded(prepared.working.transpose(2, 0, 1) / 255)
        change = (projected(seen, light[index], mean) - seen) / (seen + 0.01)
        change = torch.from_numpy(change)[None]
        larger = functional.interpolate(change, size, mode="bilinear", align_corners=False)
        expected = decoded(pixels / 255)
        expected = encoded(expected + (expected + 0.01) * larger[0].permute(1, 2, 0).numpy())
        assert apart(clip.frames[index], expected) <= 1


def test_large_photos_have_no_seams(small_work, sliding, monkeypatch):
    animator = sliding((6.0, 2.0))
    prepared = replace(animator.prepare(photo(144, 192)), encode_detail=None)
    clip = animator.animate(prepared)[0]
    in_strips, flow, guidance = clip.frames, clip.flow, clip.guidance
    monkeypatch.setattr("b2m.media.color_spaces._STRIP_PIXELS", 1 << 20)
    whole = animator.animate(prepared)[0]
    assert apart(in_strips, whole.frames) == 0
    assert (flow == whole.flow).all()
    assert (guidance == whole.guidance).all()


def test_what_is_still_stays_the_photo(small_work, animator, sliding, monkeypatch):
    pixels = photo(144, 192, sigma=0.6)
    for frame in sliding((0.0, 0.0)).animate(pixels)[0].frames:
        assert apart(frame, pixels) == 0
    # The left half stands, the right half moves.
    found = sliding((0.0, 0.0))

    def half(seen):
        encoding = slide(seen, (6.0, 0.0))
        encoding.axis[..., : seen.shape[-1] // 2] = 0
        return encoding

    see_as(monkeypatch, found.model, half)
    frames = found.animate(pixels)[0].frames
    assert apart(frames[:, :, :90], np.broadcast_to(pixels[:, :90], (7, 144, 90, 3))) == 0
    assert apart(frames[0, :, 100:], pixels[:, 100:]) > 10


def test_frames_need_not_be_kept(animator, monkeypatch):
    prepared = animator.prepare(streak())
    kept = animator.animate(prepared)[0].frames
    monkeypatch.setattr("b2m.inference.clip._KEPT_VALUES", 0)
    assert apart(animator.animate(prepared)[0].frames, kept) == 0


# --- files ---------------------------------------------------------------------------------------


@pytest.fixture
def clip(sliding):
    pixels = photo(51, 64, sigma=5.0)
    return sliding((24.0, 0.0), pixels / 255).animate(pixels)[0]


@pytest.mark.parametrize("pingpong", [False, True])
def test_mp4(clip, tmp_path, pingpong):
    path = clip.save(tmp_path / "clip.mp4", pingpong=pingpong)
    assert path == tmp_path / "clip.mp4"
    video = read_video(path)
    frames = list(video)
    assert len(frames) == (12 if pingpong else 7)
    assert frames[0].shape == (52, 64, 3)  # H.264 has even sides only
    assert video.fps == pytest.approx(7)
    order = [0, 1, 2, 3, 4, 5, 6, 5, 4, 3, 2, 1][: len(frames)]
    for frame, index in zip(frames, order, strict=True):
        found = [psnr(frame[:51], other) for other in clip.frames]
        assert int(np.argmax(found)) == index and found[index] > 30


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".GIF"])
def test_animations(clip, tmp_path, suffix):
    with Image.open(clip.save(str(tmp_path / f"clip{suffix}"), fps=10)) as picture:
        assert (picture.n_frames, picture.size) == (7, (64, 51))
        for number, frame in enumerate(clip.frames):
            picture.seek(number)
            assert psnr(np.asarray(picture.convert("RGB")), frame) > 28
    with Image.open(clip.save(tmp_path / f"clip{suffix}", pingpong=True)) as picture:
        assert picture.n_frames == 12


@pytest.mark.parametrize("name", ["frames", "frames/", "my.photo/", "there.before"])
def test_folder_of_frames(clip, tmp_path, name):
    if name == "there.before":
        (tmp_path / name).mkdir()
    folder = clip.save(f"{tmp_path}/{name}", max_side=20)
    assert folder == tmp_path / name
    files = sorted(folder.iterdir())
    assert len(files) == 7
    for file, frame in zip(files, clip.frames, strict=True):
        assert apart(np.asarray(Image.open(file)), frame) == 0


def test_longest_side_and_rate(clip, tmp_path):
    clip.save(tmp_path / "clip.mp4", fps=25, max_side=32)
    video = read_video(tmp_path / "clip.mp4")
    assert (video.width, video.height, video.fps) == (32, 26, 25)


def test_a_saved_clip_plays_for_a_second(sliding, tmp_path):
    for count, rate in ((2, 5), (30, 30), (90, 60)):
        found = sliding((9.0, 0.0)).animate(photo(16, 16), frames=count)[0]
        assert read_video(found.save(tmp_path / "clip.mp4")).fps == pytest.approx(rate, rel=0.01)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("clip.avi", {}, "avi.*mp4"),
        ("clip.png", {}, "png.*folder"),
        ("clip.mp4", {"fps": 0}, "0 frames per second"),
        ("clip.gif", {"fps": math.nan}, "nan"),
        ("clip.mp4", {"max_side": 0}, "0"),
    ],
)
def test_what_cannot_be_saved(clip, tmp_path, name, options, words):
    with pytest.raises(InputError, match=words):
        clip.save(tmp_path / name, **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["clip.mp4", "clip.gif", "clip.webp", "frames"])
def test_places_that_cannot_be_written(clip, tmp_path, name):
    with pytest.raises(OutputError, match="nowhere"):
        clip.save(tmp_path / "nowhere" / name)
    (tmp_path / "file").write_text("kept")
    with pytest.raises(OutputError, match="file"):
        clip.save(tmp_path / "file" / name)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "kept"


# --- weights and plain functions -----------------------------------------------------------------


def test_functions_agree_with_the_animator(weights, monkeypatch, tmp_path):
    monkeypatch.setenv("B2M_WEIGHTS", str(weights))
    path = tmp_path / "photo.png"
    Image.fromarray(streak()).save(path)
    animator = BlurAnimator.from_pretrained()
    guidance = patches(48, 64)
    (expected,) = animator.animate(path, guidance=guidance, frames=3, seed=4)
    (clip,) = b2m.animate(path, guidance=guidance, frames=3, seed=4)
    assert isinstance(clip, b2m.Clip)
    assert apart(clip.frames, expected.frames) == 0
    assert (clip.seed, clip.score) == (4, expected.score)
    assert (b2m.flow(path, guidance=guidance) == expected.flow).all()
    bare = animator.animate(path)[0]
    assert (b2m.flow(path) == bare.flow).all()
    assert apart(b2m.deblur(path), bare.frames[3]) == 0
    assert len(b2m.animate(path, motions=2)) == 2
    # Named weights, and those of the variable, are loaded once.
    assert (b2m.flow(path, weights=weights) == bare.flow).all()
    hits = api._loaded.cache_info().hits
    b2m.flow(path)
    assert api._loaded.cache_info().hits == hits + 1
    monkeypatch.setenv("B2M_WEIGHTS", str(tmp_path / "gone"))
    with pytest.raises(InputError, match="gone"):
        b2m.flow(path)


def test_bad_weights(weights, tmp_path):
    with pytest.raises(InputError, match=r"nowhere.*does not exist"):
        BlurAnimator.from_pretrained(tmp_path / "nowhere")
    (tmp_path / hub.CONFIG_FILE).write_text('{"model": "Toaster"}')
    (tmp_path / hub.WEIGHTS_FILE).touch()
    with pytest.raises(InputError, match=r"Toaster.*MotionAnimator"):
        b2m.deblur(photo(), weights=tmp_path)


def test_models_and_devices_that_are_not_there(weights):
    with pytest.raises(InputError, match="nope"):
        BlurAnimator.from_pretrained(weights, model="nope")
    with pytest.raises(InputError, match="toaster"):
        BlurAnimator.from_pretrained(weights, device="toaster")
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="cuda"):
            b2m.flow(photo(), weights=weights, device="cuda")
