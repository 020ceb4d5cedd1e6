"""VideoRestorer: its form, its switches, and what it can learn."""

from dataclasses import replace
from itertools import product

import pytest
import torch
from made_models import FORMS, configured, learn, on_paper, parameters, photos

from b2m.losses import video_restoration_loss
from b2m.models import VideoRestorer, VideoRestorerConfig
from b2m.models.layers import SpatialTransformer, affine_warp, local_contrast
from b2m.models.video_restorer import merge_clips

TINY = VideoRestorerConfig.tiny()
variants = pytest.mark.parametrize(
    "config", [configured("VideoRestorer", form) for form in FORMS["VideoRestorer"]]
)


def make(config=TINY, seed=0):
    """An untrained model in evaluation mode, moved away from its quiet start."""
    torch.manual_seed(seed)
    model = VideoRestorer(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("decide.3.weight"):
                parameter.normal_(std=0.1)
            elif any(part in name for part in ("predict", "flow", "head")):
                parameter.mul_(100)
    return model


def loss_of(model, photo, truth):
    images, transforms = model.scales(photo)
    return video_restoration_loss(images, truth, transforms)


@variants
def test_scales_are_halves_of_the_padded_photo(config):
    model, photo = make(config), photos(2, 65, 98)
    with torch.inference_mode():
        frames = model(photo)
        images, transforms = model.scales(photo)
    assert [tuple(image.shape) for image in images] == [
        (2, config.frames, 3, 96 // n, 128 // n) for n in (16, 8, 4, 2, 1)
    ]
    assert len(transforms) == 5 * (config.transformed + config.pictured)
    assert {tuple(transform.shape) for transform in transforms} <= {(2, config.frames - 1, 2, 3)}
    assert frames.shape == (2, config.frames, 3, 65, 98)
    if not config.norm:
        assert torch.equal(images[-1][..., :65, :98], frames)


def test_a_transposed_photo_gives_the_transposed_clip():
    """In one of its two orders: no direction in the picture is better than another."""
    model, photo = make(), photos(2, 64, 96)
    with torch.inference_mode():
        clips, transposed = model(photo), model(photo.mT).mT
        as_it_lies = model.scales(photo).images[-1]
    assert (clips - as_it_lies).abs().max() > 1e-3
    for clip, other in zip(clips, transposed, strict=True):
        errors = [(clip - order).abs().max() for order in (other, other.flip(0))]
        assert min(errors) < 1e-5


def test_where_only_one_clip_moves_it_counts_alone():
    """What moves across is taken from the photo as it lies, what moves up from the transposed."""
    still = torch.zeros(1, 3, 3, 64, 160)
    across, up = still.clone(), still.clone()
    for n in range(3):
        across[:, n, :, 30:34, 20 + 4 * n : 24 + 4 * n] = 1
        up[:, n, :, 30 + 4 * n : 34 + 4 * n, 120:124] = 1
    merged = merge_clips(across, up)
    torch.testing.assert_close(merged[..., :60], across[..., :60], atol=1e-4, rtol=0)
    torch.testing.assert_close(merged[..., 100:], up[..., 100:], atol=1e-4, rtol=0)
    torch.testing.assert_close(merge_clips(across, across.flip(1)), across)
    torch.testing.assert_close(merge_clips(still + 0.2, still + 0.4), still + 0.3)


@variants
def test_it_starts_with_the_photo_and_the_identity(config):
    torch.manual_seed(0)
    photo = photos(2, 64, 96)
    with torch.inference_mode():
        images, transforms = VideoRestorer(config).scales(photo)
    for image in images if config.residual else []:
        small = torch.nn.functional.interpolate(photo, image.shape[-2:], mode="area")
        assert (image - small[:, None]).abs().max() < 0.1
    for transform in transforms:
        assert torch.equal(transform, torch.eye(2, 3).expand_as(transform))


@variants
def test_ablations_leave_out_what_they_say(config):
    model = make(config)
    transformers = sum(isinstance(module, SpatialTransformer) for module in model.modules())
    others = config.frames - 1
    assert transformers == 5 * others * (config.transformed + config.pictured)
    assert sum(len(other.warps) for other in model.others) == 5 * others * config.warped
    assert (model.refine is not None) == config.refined


def test_decoders_see_what_the_equations_join():
    """Eq. 1 and 2 at a quarter of the resolution, by hand."""
    model, photo, seen = make(), photos(1, 64, 96), []
    other = model.others[1]
    other.decoder.register_forward_pre_hook(lambda module, given: seen.append(given))
    with torch.inference_mode():
        images, _ = model.scales(photo)
        encoded = model.encoder(torch.cat([photo, local_contrast(photo)], 1))
        features, middle = encoded[1], images[2][:, 1]
        _, whole = other.transformers[1](features, features)
        _, pictured = other.picture_transformers[2](torch.cat([features, middle], 1), middle)
        expected = [
            features,
            affine_warp(features, whole),
            other.warps[1](features),
            affine_warp(middle, pictured),
        ]
    deepest, joined, _ = seen[0]
    assert deepest.shape[1] == 3 * TINY.widths[4]
    torch.testing.assert_close(joined[2], torch.cat(expected, 1))
    torch.testing.assert_close(joined[4][:, :3], photo)
    assert (whole - torch.eye(2, 3)).abs().max() > 1e-3


@variants
def test_pictures_are_predicted_or_changes_of_the_photo(config):
    """Of heads that say 0.25 everywhere."""
    model, photo = make(config), photos(1, 64, 96)
    model.refine = None
    for module in [model.middle, *(other.decoder for other in model.others)]:
        for head in module.predict:
            torch.nn.init.zeros_(head.weight)
            torch.nn.init.constant_(head.bias, 0.25)
    with torch.inference_mode():
        images = model.scales(photo).images
    for image, step in zip(images, (16, 8, 4, 2, 1), strict=True):
        cells = photo.view(1, 3, 64 // step, step, 96 // step, step).mean((3, 5))
        expected = 0.25 + (cells if config.norm else 0 * cells)
        torch.testing.assert_close(image, expected[:, None].expand_as(image))


def test_local_warping_follows_its_flow():
    warping = make().others[0].warps[0]
    torch.nn.init.zeros_(warping.flow.weight)
    with torch.no_grad():
        warping.flow.bias.copy_(torch.tensor([2.0, -1.0]))
    features = torch.rand(1, 4, 20, 24)
    moved = warping(features)
    torch.testing.assert_close(moved[..., 2:, :-3], features[..., 1:-1, 2:-1])


def test_frames_share_no_weights():
    counts = [parameters(on_paper(replace(TINY, frames=frames))) for frames in (3, 5, 7)]
    assert counts[2] - counts[1] == counts[1] - counts[0] > 0
    with torch.inference_mode():
        first, middle, last = make()(photos(1, 64, 64)).unbind(1)
    assert min((a - b).abs().max() for a, b in product((first,), (middle, last))) > 1e-3


def test_the_refining_block_mends_the_middle_frame_alone():
    model, photo = make(replace(TINY, pictured=False)), photos(1, 64, 64)
    with torch.inference_mode():
        before = model.scales(photo)
        model.refine = None
        after = model.scales(photo)
    for one, other in zip(before.images[:-1], after.images[:-1], strict=True):
        assert torch.equal(one, other)
    change = (before.images[-1] - after.images[-1]).abs().amax((0, 2, 3, 4))
    assert change[1] > 0
    assert change[0] == change[2] == 0


@pytest.mark.parametrize("norm", [True, False], ids=["ours", "the paper's"])
def test_it_learns_a_batch_by_heart(norm):
    torch.manual_seed(0)
    width, steps, rate, share = (8, 60, 3e-3, 0.7) if norm else (12, 100, 4e-3, 0.6)
    sizes = (width,) * 5, width, (width,) * 6, 8
    model = VideoRestorer(VideoRestorerConfig(*sizes, frames=3, norm=norm))
    sharp = photos(1, 32, 76, seed=9)
    frames = torch.stack([sharp[..., 6 * n : 6 * n + 64] for n in range(3)], 1)
    photo = torch.stack([sharp[..., 2 * n : 2 * n + 64] for n in range(7)]).mean(0)
    # The paper's form does not begin with the photo, but has to learn what it looks like.
    start = photo[:, None] if norm else frames.mean((-2, -1), keepdim=True)
    begun = (start - frames).square().mean((0, 2, 3, 4))

    def learnt():
        return ((model(photo) - frames).square().mean((0, 2, 3, 4)) < share * begun).all()

    learn(model, lambda: loss_of(model, photo, frames), learnt, steps, rate)
