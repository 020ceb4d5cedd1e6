"""Clips by the papers' models: their own frames, their order, and motion measured between them."""

import numpy as np
import pytest
import torch
from made_pictures import decoded, encoded, light
from scipy import ndimage

import b2m
from b2m.errors import InputError
from b2m.inference import frame_models
from b2m.inference.animator import BlurAnimator
from b2m.media.image import read_image
from b2m.models import (
    BlurDecomposer,
    BlurDecomposerConfig,
    BlurFlowNet,
    BlurFlowNetConfig,
    GuidancePredictor,
    GuidancePredictorConfig,
    JinSequence,
    JinSequenceConfig,
    VideoRestorer,
    VideoRestorerConfig,
)

KINDS = {
    "decomposer": (BlurDecomposer, BlurDecomposerConfig),
    "video-restorer": (VideoRestorer, VideoRestorerConfig),
    "jin": (JinSequence, JinSequenceConfig),
}
SPEED = 9.0  # pixels to the right over the exposure, at the photo's own size


def tiny(name):
    torch.manual_seed(0)
    kind, config = KINDS[name]
    return kind(config.tiny()).eval()


def texture(height, width):
    noise = np.random.default_rng(1).normal(size=(height, width, 3))
    smooth = ndimage.gaussian_filter(noise, (2, 2, 0))
    return ((smooth - smooth.min()) / np.ptp(smooth)).astype(np.float32)


def slid(picture, way, count=7):
    """The picture at evenly spaced instants of a motion to the right (1) or left (-1)."""
    steps = way * SPEED * (np.arange(count) / (count - 1) - 0.5)
    moved = [ndimage.shift(picture, (0, step, 0), order=1, mode="nearest") for step in steps]
    return torch.from_numpy(np.stack(moved)).permute(0, 3, 1, 2)


@pytest.fixture
def picture():
    return texture(72, 96)


@pytest.fixture
def photo(picture):
    return encoded(decoded(slid(picture, 1)).mean(0).transpose(1, 2, 0))


@pytest.fixture
def sliding(monkeypatch, picture):
    """Makes an animator of the named model that sees the picture slide.

    A model that takes guidance lets it slide the way that most of the guidance says.
    """

    def make(name):
        model = tiny(name)

        def forward(photo, guidance=None):
            way = 1 if guidance is None or guidance[:, 0].sum() >= 0 else -1
            return slid(picture, way, model.native_frames)[None]

        monkeypatch.setattr(model, "forward", forward)
        return BlurAnimator(model)

    return make


@pytest.mark.parametrize("name", KINDS)
def test_frames_are_the_models_own(name, tmp_path):
    model = tiny(name)
    image = (255 * texture(67, 91)).astype(np.uint8)
    clip = BlurAnimator(model).animate(image, frames=model.native_frames)[0]
    assert clip.frames.shape == (model.native_frames, 67, 91, 3)
    assert clip.frames.dtype == np.uint8
    assert clip.flow.shape == (67, 91, 2)
    assert clip.guidance.shape == (67, 91, 2)
    assert np.array_equal(clip.middle, clip.frames[model.native_frames // 2])
    assert clip.save(tmp_path / "clip.mp4").stat().st_size > 0


@pytest.mark.parametrize("name", ["decomposer", "jin"])
def test_clips_average_to_the_photo(sliding, photo, name):
    clip = sliding(name).animate(photo)[0]
    assert np.abs(light(clip.frames).mean(0) - light(photo)).max() < 0.01
    assert clip.reblur_psnr > 45


@pytest.mark.parametrize("name", KINDS)
def test_flow_is_that_between_the_ends(sliding, photo, name):
    animator = sliding(name)
    flow = animator.animate(photo, frames=animator.model.native_frames)[0].flow
    inside = flow[12:-12, 16:-16]
    assert np.median(inside[..., 0]) == pytest.approx(SPEED, abs=0.5)
    assert np.median(inside[..., 1]) == pytest.approx(0, abs=0.3)


def test_a_model_that_finds_nothing_says_so_of_itself(monkeypatch, photo):
    model = tiny("jin")
    monkeypatch.setattr(
        model, "forward", lambda photo, _=None: photo[:, None].expand(-1, 7, *[-1] * 3)
    )
    told = BlurAnimator(model).animate(photo)[0].warnings
    assert "this model found almost no motion, so its clip is nearly still" in told
    assert not any(line.startswith("no motion blur") for line in told)  # there is some


@pytest.mark.parametrize("name", KINDS)
def test_weights_that_ship_tell_their_limits(tmp_path, photo, name):
    shipped = BlurAnimator.from_pretrained(model=name)
    assert shipped.model.limits in shipped.animate(photo)[0].summary
    assert "the animator does" in shipped.model.limits
    shipped.model.save_pretrained(tmp_path)
    assert BlurAnimator.from_pretrained(tmp_path, model=name).model.limits == ""


def test_a_model_without_guidance_has_two_orders(sliding, photo):
    animator = sliding("jin")
    prepared = animator.prepare(photo)
    forwards, backwards = animator.animate(prepared, motions=5)
    # To a code: the mean over the exposure is summed in the other order.
    assert np.abs(forwards.frames.astype(int) - backwards.frames[::-1]).max() <= 1
    left = np.full((72, 96, 2), (-1, -1), np.int8)
    told = animator.animate(prepared, guidance=left)[0]
    assert np.array_equal(told.frames, backwards.frames)


def test_the_decomposer_goes_where_guidance_says(sliding, photo):
    animator = sliding("decomposer")
    left = np.full((72, 96, 2), (-1, -1), np.int8)
    clips = animator.animate(photo, guidance=left, motions=5)
    assert np.median(clips[0].flow[12:-12, 16:-16, 0]) == pytest.approx(-SPEED, abs=0.5)
    assert np.array_equal(clips[0].guidance, left)
    assert len(clips) == 2  # what was said, and its reverse
    assert np.median(clips[1].flow[12:-12, 16:-16, 0]) == pytest.approx(SPEED, abs=0.5)


def test_the_decomposer_is_guided_by_the_predictor(sliding, photo):
    torch.manual_seed(0)
    predictor = GuidancePredictor(GuidancePredictorConfig.tiny()).eval()
    animator = BlurAnimator(sliding("decomposer").model, predictor)
    once = animator.animate(photo, motions=5, seed=3)
    again = animator.animate(photo, motions=5, seed=3)
    assert len(once) == len(again) <= 5
    for one, other in zip(once, again, strict=True):
        assert np.array_equal(one.frames, other.frames)
        assert set(np.unique(one.guidance)) <= {-1, 0, 1}
    assert [clip.score for clip in once] == sorted((c.score for c in once), reverse=True)


def test_a_decomposer_without_guidance_has_two_orders(photo):
    torch.manual_seed(0)
    config = BlurDecomposerConfig(width=4, blocks=1, guided=False)
    clips = BlurAnimator(BlurDecomposer(config).eval()).animate(photo, motions=3)
    assert np.abs(clips[0].frames.astype(int) - clips[1].frames[::-1]).max() <= 1


def test_large_photos_are_looked_at_smaller(monkeypatch, sliding, photo):
    monkeypatch.setattr("b2m.inference.multiscale.WORKING_PIXELS", 72 * 96)
    large = photo.repeat(2, axis=0).repeat(2, axis=1)
    clip = sliding("jin").animate(large)[0]
    assert clip.frames.shape == (7, 144, 192, 3)
    assert np.median(clip.flow[24:-24, 32:-32, 0]) == pytest.approx(2 * SPEED, abs=1)


def test_no_other_frames_than_there_are(sliding, photo):
    animator = sliding("jin")
    with pytest.raises(InputError, match="7: ask for 7, or take model='animator'"):
        animator.animate(photo, frames=9)
    clip = animator.animate(photo)[0]
    assert len(list(clip.render())) == 7
    with pytest.raises(InputError, match="frames=31"):
        clip.render(31)
    with pytest.raises(InputError, match=r"none at time 0\.1"):
        clip.at(0.1)


def test_what_does_not_go_together(sliding, photo, tmp_path):
    jin, decomposer = sliding("jin"), sliding("decomposer")
    with pytest.raises(InputError, match="prepared for another model"):
        decomposer.animate(jin.prepare(photo))
    with pytest.raises(InputError, match="'jin' takes no guidance predictor"):
        BlurAnimator.from_pretrained(model="jin", guidance_predictor="cvae-gan")
    with pytest.raises(InputError, match="takes only 'cvae-gan'"):
        BlurAnimator.from_pretrained(model="decomposer", guidance_predictor="regions")
    with pytest.raises(InputError, match="no model for this is called 'blur-flow'"):
        BlurAnimator.from_pretrained(model="blur-flow")
    with pytest.raises(InputError, match="takes no guidance"):
        b2m.flow(photo, model="blur-flow", guidance=np.zeros((72, 96, 2), np.int8))


def test_the_functions_take_a_model(photo, tmp_path):
    weights = tmp_path / "jin"
    tiny("jin").save_pretrained(weights)
    clip = BlurAnimator.from_pretrained(weights, model="jin").animate(photo)[0]
    assert np.array_equal(b2m.animate(photo, model="jin", weights=weights)[0].frames, clip.frames)
    assert np.array_equal(b2m.deblur(photo, model="jin", weights=weights), clip.middle)
    assert np.array_equal(b2m.flow(photo, model="jin", weights=weights), clip.flow)


def test_the_flow_network(photo, tmp_path):
    torch.manual_seed(0)
    model = BlurFlowNet(BlurFlowNetConfig.tiny()).eval()
    model.save_pretrained(tmp_path)
    found = b2m.flow(photo, model="blur-flow", weights=tmp_path)
    pixels = read_image(photo).pixels
    with torch.inference_mode():
        plain = model(torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255)
    assert found.dtype == np.float32
    plain = plain[0].permute(1, 2, 0).numpy()
    same, opposite = ((found == way * plain).all(-1) for way in (1, -1))
    assert (same | opposite).all()


def test_neighbours_in_the_flow_agree(photo, monkeypatch):
    model = BlurFlowNet(BlurFlowNetConfig.tiny()).eval()
    steep = torch.zeros(1, 2, 72, 96)
    steep[:, 1] = 12
    steep[..., 48:] *= -1  # as a network gives it for motion straight down
    monkeypatch.setattr(model, "forward", lambda seen: steep)
    found = frame_models.flow(model, photo)
    assert len(np.unique(np.sign(found[..., 1]))) == 1
