"""GuidancePredictor: the paper's size, the promises of its form, and its training."""

import numpy as np
import pytest
import torch
from made_models import learn, on_paper, parameters, photos

from b2m import guidance as guidance_rules
from b2m.data.sample import SampleBatch
from b2m.guidance.palette import PALETTE
from b2m.guidance.quantize import quantize
from b2m.losses import guidance_cross_entropy
from b2m.models.guidance_predictor import (
    MAX_SIDE,
    GuidanceDiscriminator,
    GuidancePredictor,
    GuidancePredictorConfig,
    logits_to_classes,
    one_hot,
    to_classes,
    to_guidance,
)
from b2m.train.objectives import PredictorObjective
from b2m.train.recipes import find_recipe

TINY = GuidancePredictorConfig.tiny()
PLAIN = GuidancePredictorConfig(width=4, widest=8, levels=4, blocks=(), encoder=4)  # the paper's
variants = pytest.mark.parametrize("config", [TINY, PLAIN])


def make(config=TINY, seed=0):
    torch.manual_seed(seed)
    return GuidancePredictor(config).eval()


def motions(batch, height, width, seed=0):
    """Flow that moves as one, but for the upper left corner, which is still."""
    generator = torch.Generator().manual_seed(seed)
    flow = 10 * torch.randn(batch, 2, 1, 1, generator=generator).sign()
    flow = flow.expand(batch, 2, height, width).clone()
    flow[..., : height // 2, : width // 2] = 0
    return flow


def latents(batch, config=TINY, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, config.latent, generator=generator)


# --- sizes ----------------------------------------------------------------------------------------


def test_paper_size():
    config = GuidancePredictorConfig.paper()
    assert config.widths == [64, 128, 256, 512, 512, 512, 512, 512]
    widths, latent, kernel = config.widths, 4, 16
    # Down: each level sees what is above it and z; the first and the innermost have a bias.
    down = sum(
        (taken + latent) * given * kernel
        for taken, given in zip([3, *widths[:-1]], widths, strict=True)
    )
    # Up: what comes from below beside what came down; only the last has a bias.
    up = widths[-1] * widths[-2] * kernel
    up += sum(
        2 * taken * given * kernel
        for taken, given in zip(widths[:-1], [5, *widths[:-2]], strict=True)
    )
    model = on_paper(config)
    assert parameters(model.generator) == down + up + widths[0] + widths[-1] + 5
    assert parameters(model.generator) / 1e6 == pytest.approx(54.6, abs=0.05)
    dropped = [module for module in model.modules() if isinstance(module, torch.nn.Dropout)]
    assert [module.p for module in dropped] == [0.5] * 3
    assert model(torch.empty(1, 3, 256, 256, device="meta")).shape == (1, 5, 256, 256)


# --- classes --------------------------------------------------------------------------------------


def test_classes_are_those_of_the_palette():
    guidance = torch.tensor(list(PALETTE)).T.reshape(1, 2, 1, 5)
    classes = to_classes(guidance)
    assert classes.tolist() == [[[0, 1, 2, 3, 4]]]
    assert torch.equal(to_guidance(classes), guidance.to(torch.int8))
    assert to_guidance(classes).dtype == torch.int8
    assert torch.equal(one_hot(classes).argmax(1), classes)
    assert torch.equal(to_classes(guidance.float()), classes)


# --- the promises of its form ---------------------------------------------------------------------


@variants
@pytest.mark.parametrize("size", [(65, 98), (16, 31)])
def test_one_guidance_for_each_latent(config, size):
    with torch.inference_mode():
        guidance = make(config).predict(photos(1, *size), latents(3, config))
    assert guidance.shape == (3, 2, *size)
    for one in guidance:
        guidance_rules.validate(one.permute(1, 2, 0).numpy(), *size)


@pytest.mark.parametrize("size", [(600, 400), (300, 1000), (257, 90)])
def test_a_large_photo_is_looked_at_small(size):
    photo = photos(1, *size)
    seen = []
    model = make()
    model.generator.register_forward_pre_hook(lambda module, given: seen.append(given))
    with torch.inference_mode():
        guidance = model.predict(photo, latents(1))
    assert max(guidance.shape[-2:]) == MAX_SIDE
    assert min(guidance.shape[-2:]) == round(MAX_SIDE * min(size) / max(size))
    ((padded, _, told),) = seen
    assert max(padded.shape[-2:]) == MAX_SIDE
    # It is told how much smaller, as that is how much shorter the motion is that counts as still.
    scale = torch.tensor(MAX_SIDE / max(size)).log2().item()
    assert told == pytest.approx(scale)


@variants
def test_the_latent_changes_the_answer(config):
    model, photo = make(config), photos(1, 64, 64)
    with torch.inference_mode():
        one, other = model(photo, latents(1, config)), model(photo, -latents(1, config))
        middle = model(photo)
        assert (one - other).abs().max() > 1e-3
        assert torch.equal(middle, model(photo, torch.zeros(1, config.latent)))
        assert (middle - one).abs().max() > 1e-3


@variants
def test_the_answer_is_a_function_of_photo_and_latent(config):
    model, photo, latent = make(config), photos(1, 65, 70), latents(1, config)
    with torch.inference_mode():
        torch.manual_seed(1)
        one = model(photo, latent)
        torch.manual_seed(2)
        assert torch.equal(model(photo, latent), one)


def test_the_paper_drops_out_in_training_only():
    model, photo, latent = make(PLAIN), photos(1, 64, 64), latents(1, PLAIN)
    with torch.inference_mode():
        model.train()
        assert not torch.equal(model(photo, latent), model(photo, latent))


def test_a_pixel_moves_where_that_is_likelier_than_still():
    shares = torch.tensor(
        [[0.4, 0.3, 0.0, 0.3, 0.0], [0.6, 0.4, 0.0, 0.0, 0.0], [0.2, 0.1, 0.1, 0.1, 0.5]]
    )
    logits = shares.clamp_min(1e-9).log().T[None, :, None]
    assert logits.argmax(1).tolist() == [[[0, 0, 4]]]
    assert logits_to_classes(logits).tolist() == [[[1, 0, 4]]]


def test_the_latent_has_no_say_in_what_the_photo_tells():
    model, photo = make(), photos(1, 64, 64)
    with torch.inference_mode():
        one, other = (model(photo, sign * 3 * latents(1)).softmax(1) for sign in (1, -1))
    assert (one - other).abs().max() > 1e-3
    for first, second in ((0, 0), (1, 3), (2, 4)):  # still, and opposite quadrants together
        both = [p[:, first] + p[:, second] for p in (one, other)]
        torch.testing.assert_close(*both, atol=1e-6, rtol=1e-5)


def test_the_threshold_matters_to_the_compact_form_only():
    photo = photos(1, 64, 64)
    with torch.inference_mode():
        assert not torch.equal(make()(photo, threshold=1.0), make()(photo))
        assert torch.equal(make(PLAIN)(photo, threshold=1.0), make(PLAIN)(photo))


def test_latents_are_drawn_in_opposites():
    model = make()
    drawn = model.sample_latents(5, seed=3)
    assert drawn.shape == (5, 4)
    assert torch.equal(drawn[0], -drawn[1])
    assert torch.equal(drawn[2], -drawn[3])
    assert not torch.equal(drawn[0].abs(), drawn[2].abs())
    assert torch.equal(model.sample_latents(3, seed=3), drawn[:3])
    assert torch.equal(model.sample_latents(5, seed=np.int64(3)), drawn)
    assert not torch.equal(model.sample_latents(5, seed=4), drawn)
    many = model.sample_latents(4000, seed=0)
    assert many.std().item() == pytest.approx(1, abs=0.03)


# --- training -------------------------------------------------------------------------------------


def test_discriminators_judge_patches_at_two_scales():
    discriminator = GuidanceDiscriminator(width=64)
    planes = torch.rand(2, 5, 256, 256)
    with torch.inference_mode():
        scores = discriminator(planes)
    assert [tuple(score.shape) for score in scores] == [(2, 1, 30, 30), (2, 1, 14, 14)]
    for scale, width in zip(discriminator.scales, (64, 32), strict=True):
        channels = [m.out_channels for m in scale if isinstance(m, torch.nn.Conv2d)]
        assert channels == [width, 2 * width, 4 * width, 8 * width, 1]


def objective(config=TINY):
    torch.manual_seed(0)
    recipe = find_recipe("guidance-predictor-tiny")
    return PredictorObjective(GuidancePredictor(config), recipe)


def batch(count=2, size=48):
    flow = motions(count, size, size)
    guidance = quantize(flow).float()
    return {"photo": photos(count, size, size), "flow": flow, "guidance": guidance}


def test_the_step_seeds_what_is_random():
    training = objective()
    torch.manual_seed(5)
    one = training(batch(), step=0)
    torch.manual_seed(5)
    other = training(batch(), step=0)
    assert all(torch.equal(one[name], other[name]) for name in one)
    torch.manual_seed(6)
    assert not torch.equal(training(batch(), step=0)["model"], one["model"])


@variants
def test_it_learns_a_batch_by_heart(config):
    """The same photo with motions one against the other, which only the latent can tell apart."""
    torch.manual_seed(0)
    model = GuidancePredictor(config).train()
    photo = photos(1, 48, 48).expand(2, -1, -1, -1)
    flow = motions(1, 48, 48)
    classes = to_classes(quantize(torch.cat([flow, -flow])))
    planes = one_hot(classes)

    def logits():
        return model(photo, model.encode(planes).mean)

    def learnt():
        return (logits_to_classes(logits()) == classes).float().mean() > 0.95

    learn(model, lambda: guidance_cross_entropy(logits(), classes), learnt, 150, 5e-3)


def test_validation_is_its_definition():
    flow = motions(2, 48, 48)
    guidance = quantize(flow)
    scenes = SampleBatch.of(photos(2, 48, 48), photos(2, 48, 48)[:, None], flow)

    class Oracle(GuidancePredictor):
        """Backwards, then right but for a quarter of what moves and of what is still, then no."""

        def predict(self, photo, latents):
            assert len(latents) == 5
            truth = guidance[next(numbers)]
            almost = truth.clone()
            almost[:, 40:] = 0  # rows 40 to 47 move all along: 8 * 48 of 24 * 24 + 24 * 48 pixels
            almost[:, :6, :24] = 1  # a quarter of the still ones
            return torch.stack([-truth, almost, *[torch.zeros_like(truth)] * 3])

    numbers = iter(range(2))
    scores = PredictorObjective.validate(Oracle(TINY), scenes)
    moving, still = 24 * 24 + 24 * 48, 24 * 24
    assert scores["moving"] == pytest.approx(1 - 8 * 48 / moving)
    assert scores["moving_first"] == 0
    assert scores["still"] == pytest.approx(0.75)
    assert scores["moving_or_still"] == pytest.approx(1 - (8 * 48 + 6 * 24) / (moving + still))
