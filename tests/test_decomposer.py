"""BlurDecomposer: the promises of its form."""

from dataclasses import replace

import pytest
import torch
from made_models import learn, on_paper, parameters, photos

from b2m.losses import staged_mse
from b2m.models import BlurDecomposer, BlurDecomposerConfig

TINY = BlurDecomposerConfig.tiny()
UNGUIDED = BlurDecomposerConfig(width=4, blocks=1, guided=False)
PLAIN = replace(TINY, residual=False)


def make(config=TINY, seed=0):
    """An untrained model in evaluation mode whose norms have seen something."""
    torch.manual_seed(seed)
    model = BlurDecomposer(config)
    with torch.no_grad():
        if model.refine is not None:
            model.refine[-1].weight.mul_(100)
        if config.residual:
            model.rough[-1].weight.mul_(100)
        for _ in range(20):
            model(photos(4, 64, 64), directions(4, 64, 64))
    return model.eval()


def directions(batch, height, width, seed=0):
    """Guidance, everywhere moving but for the upper left corner."""
    generator = torch.Generator().manual_seed(seed)
    guidance = 2.0 * torch.randint(0, 2, (batch, 2, height, width), generator=generator) - 1
    guidance[..., : height // 2, : width // 2] = 0
    return guidance


@pytest.mark.parametrize("size", ["paper", "compact"])
def test_one_stage_is_of_equal_size(size):
    config = getattr(BlurDecomposerConfig, size)()
    one, two = on_paper(config.one_stage()), on_paper(config)
    assert one.refine is None
    assert parameters(one) == pytest.approx(parameters(two), rel=0.02)
    assert config.one_stage().one_stage() == config.one_stage()


@pytest.mark.parametrize("config", [TINY, TINY.one_stage()])
def test_frames_are_of_the_last_stage(config):
    model, photo, guidance = make(config), photos(2, 65, 98), directions(2, 65, 98)
    with torch.inference_mode():
        stages = model.stages(photo, guidance)
        assert stages.shape == (2, config.stages, 7, 3, 65, 98)
        assert torch.equal(stages[:, -1], model(photo, guidance))


def test_guidance_says_which_way():
    photo, guidance = photos(1, 64, 64), directions(1, 64, 64)
    right = torch.tensor([1.0, -1.0]).view(1, 2, 1, 1).expand(1, 2, 64, 64)
    with torch.inference_mode():
        guided, unguided = make(), make(UNGUIDED)
        assert (guided(photo, guidance) - guided(photo, -guidance)).abs().max() > 1e-3
        assert torch.equal(guided(photo), guided(photo, right))
        assert torch.equal(unguided(photo, guidance), unguided(photo))


@pytest.mark.parametrize("config", [TINY, PLAIN])
def test_still_pixels_of_the_rough_sequence_are_the_photo(config):
    photo, guidance = photos(1, 66, 66), directions(1, 66, 66)
    with torch.inference_mode():
        rough = make(config).stages(photo, guidance)[:, 0]
    assert torch.equal(
        rough[..., :33, :33], photo[:, None, :, :33, :33].expand_as(rough[..., :33, :33])
    )
    assert (rough != photo[:, None])[..., 33:].float().mean() > 0.5
    if not config.residual:
        assert rough.min() >= 0
        assert rough.max() <= 1


def test_a_residual_begins_at_the_photo_and_the_papers_form_does_not():
    photo, guidance = photos(2, 64, 64), directions(2, 64, 64)
    for config, near in ((TINY, True), (PLAIN, False)):
        torch.manual_seed(0)
        with torch.inference_mode():
            frames = BlurDecomposer(config).eval()(photo, guidance)
        assert ((frames - photo[:, None]).abs().max() < 0.05) == near
    assert not BlurDecomposerConfig.paper().residual


def test_the_second_stage_does_not_see_guidance():
    model = make()
    seen = []
    model.refine.register_forward_pre_hook(lambda module, given: seen.append(given[0].shape))
    with torch.inference_mode():
        model(photos(1, 64, 64), directions(1, 64, 64))
    assert seen == [(1, 3 + 21, 64, 64)]


def test_it_learns_a_batch_by_heart():
    """One photo with its two clips. Rates above 5e-3 keep stage 1 at the mean colour for long."""
    torch.manual_seed(0)
    model = BlurDecomposer(BlurDecomposerConfig(width=8, blocks=1))
    sharp = photos(1, 48, 60, seed=9)
    forward = torch.stack([sharp[..., 2 * n : 2 * n + 48] for n in range(7)], 1)
    frames = torch.cat([forward, forward.flip(1)])  # the same photo both ways
    photo = frames.mean(1)
    guidance = torch.tensor([[-1.0, 1.0], [1.0, -1.0]])[:, :, None, None].expand(2, 2, 48, 48)
    one_for_both = (photo[:, None] - frames).square().mean()

    def learnt():
        stages = model.stages(photo, guidance).unbind(1)
        rough, refined = ((stage - frames).square().mean() for stage in stages)
        return rough < 0.7 * one_for_both and refined < 0.3 * one_for_both

    learn(model, lambda: staged_mse(model.stages(photo, guidance), frames), learnt, 150, 3e-3)


@pytest.mark.parametrize("bits", [1, 3, 4])
def test_other_numbers_of_directions(bits):
    torch.manual_seed(0)
    model = BlurDecomposer(replace(TINY, bits=bits)).eval()
    with torch.inference_mode():
        photo, guidance = photos(1, 64, 64), torch.ones(1, bits, 64, 64)
        assert model(photo, guidance).shape == (1, 7, 3, 64, 64)
        assert model(photo).shape == (1, 7, 3, 64, 64)
