"""BlurFlowNet: its form, its equations, and what it can learn."""

import json
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from made_models import learn, photos

from b2m.data.scenes import SceneConfig
from b2m.evaluate import methods
from b2m.evaluate.test_sets import scene_samples
from b2m.losses import EPE_WEIGHTS, multiscale_epe
from b2m.metrics import flow_epe_either_sign
from b2m.models import BlurFlowNet, BlurFlowNetConfig
from b2m.models.blur_flow import correlate
from b2m.models.layers import SpatialTransformer, local_contrast
from b2m.motion.fields import double_angle, half_angle
from b2m.tensors import to_tensor
from b2m.train.objectives import FlowObjective
from b2m.train.recipes import find_recipe

TINY = BlurFlowNetConfig.tiny()
PAPER = replace(TINY, norm=False)  # the paper's form: RGB to vectors
ABLATIONS = list(product([True, False], repeat=2))


def tiny(transformed=True, refined=True):
    return replace(TINY, transformed=transformed, refined=refined)


def make(config=TINY, seed=0):
    """An untrained model in evaluation mode, moved away from its quiet start."""
    torch.manual_seed(seed)
    model = BlurFlowNet(config).eval()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, SpatialTransformer):
                module.decide[-1].weight.normal_(std=0.1)
        model.context.head.weight.mul_(100)
    return model


def test_correlation_is_its_equation():
    generator = np.random.default_rng(0)
    first, last = generator.normal(size=(2, 2, 3, 6, 7))
    expected = np.zeros((2, 25, 6, 7))
    for b, y, x, down, right in np.ndindex(2, 6, 7, 5, 5):
        row, column = y + down - 2, x + right - 2
        if 0 <= row < 6 and 0 <= column < 7:
            products = [first[b, c, y, x] * last[b, c, row, column] for c in range(3)]
            expected[b, 5 * down + right, y, x] = sum(products) / 3
    found = correlate(torch.from_numpy(first), torch.from_numpy(last), 2)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)


def test_correlation_is_best_where_things_went():
    """Three to the right and one up, as a flow from the first frame to the last would say."""
    last = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 64, 20, 20)))
    first = last.roll((1, -3), (2, 3))
    best = correlate(first, last).argmax(1)[0, 5:-5, 5:-5]
    assert (best == 9 * (4 - 1) + (4 + 3)).all()


@pytest.mark.parametrize("config", [TINY, PAPER])
def test_scales_are_halves_of_the_padded_photo(config):
    with torch.inference_mode():
        scales = make(config).scales(photos(2, 65, 98))
    assert [tuple(x.shape) for x in scales] == [(2, 2, 72 // n, 104 // n) for n in (8, 4, 2)]


@pytest.mark.parametrize("norm", [True, False])
def test_the_finest_flow_may_have_a_quarter_of_the_resolution(norm):
    model = make(replace(TINY, finest=1, norm=norm))
    with torch.inference_mode():
        scales, flow = model.scales(photos(2, 65, 98)), model(photos(2, 65, 98))
    assert [tuple(x.shape) for x in scales] == [(2, 2, 72 // n, 104 // n) for n in (8, 4)]
    assert flow.shape == (2, 2, 65, 98)
    # Its vectors are still in pixels of the photo, and each level has the weight of its resolution.
    truth = torch.full((2, 2, 72, 104), 3.0)
    loss = model.loss({"photo": photos(2, 72, 104), "flow": truth}, 0)["model"]
    wanted = double_angle(truth) if norm else truth
    scales = model.scales(photos(2, 72, 104))
    if not norm:
        errors = [(s - w).norm(dim=1).mean((1, 2)) for s in scales[-1:] for w in (3.0, -3.0)]
        wanted = torch.where((errors[0] < errors[1])[:, None, None, None], wanted, -wanted)
    weight = 8 / (8 + 18**0.5) if norm else 1.0
    torch.testing.assert_close(loss, weight * multiscale_epe(scales, wanted, (0.02, 0.01)))


def test_weights_saved_before_the_finest_level_was_a_choice_have_half_the_resolution(tmp_path):
    BlurFlowNet(TINY).save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    config = json.loads(path.read_text("utf-8"))
    assert config.pop("finest") == 0
    path.write_text(json.dumps(config), encoding="utf-8")
    assert BlurFlowNet.from_pretrained(tmp_path).config == TINY


def test_one_level_alone_is_refused():
    with pytest.raises(ValueError, match="finest 2 must leave two of the 3 levels"):
        replace(TINY, finest=2)


@pytest.mark.parametrize(("transformed", "refined"), ABLATIONS)
def test_ablations_leave_out_what_they_say(transformed, refined):
    model = make(tiny(transformed, refined))
    transformers = [m for m in model.modules() if isinstance(m, SpatialTransformer)]
    assert len(transformers) == (6 if transformed else 0)
    assert len(model.decoders) == (2 if transformed or refined else 0)
    assert all(len(decoder.refine) == (3 if refined else 0) for decoder in model.decoders)
    assert BlurFlowNet(tiny(transformed, refined)).config.refined == refined


def test_frames_have_decoders_of_their_own():
    model = make()
    with torch.inference_mode():
        encoded = model.encoder(local_contrast(photos(1, 64, 64)))
        first, last = (decode(encoded) for decode in model.decoders)
    for one, other, whole in zip(first, last, encoded, strict=True):
        assert one.shape == other.shape == whole.shape
        assert (one - other).abs().max() > 1e-3


def test_transformed_features_alone_stand_for_the_frames():
    torch.manual_seed(0)
    model = BlurFlowNet(tiny(refined=False))
    with torch.inference_mode():
        encoded = model.encoder(photos(1, 64, 64))
        for decode in model.decoders:  # at the start, the identity
            for one, whole in zip(decode(encoded), encoded, strict=True):
                torch.testing.assert_close(one, whole, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("config", [TINY, PAPER])
def test_levels_warp_by_the_flow_of_the_coarser_one(config):
    """In pixels of their own: 8 of the photo are 4 at half the resolution."""
    level = make(config).levels[0]
    torch.nn.init.zeros_(level.doubled_features.weight)
    torch.nn.init.zeros_(level.doubled_features.bias)
    features = torch.randn(1, 4, 20, 24)
    flow = torch.zeros(1, 2, 10, 12)
    flow[:, 1] = 8 / 20  # 20 pixels are the unit inside
    line = flow if config is PAPER else double_angle(flow)
    seen = []
    level.decode.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    with torch.inference_mode():
        level(features, features.roll(4, 2), (torch.zeros(1, 4, 10, 12), line))
    within = seen[0][:, :81, 6:-8, 4:-4]
    torch.testing.assert_close(
        within[:, 40], features.square().mean(1)[:, 6:-8, 4:-4], atol=1e-5, rtol=1e-5
    )


def test_the_papers_form_sees_colours_and_ours_contrast():
    """Flat photos have no contrast, whatever their colour."""
    dark, light = (torch.full((1, 3, 64, 64), level) for level in (0.3, 0.7))
    with torch.inference_mode():
        assert torch.allclose(make()(dark), make()(light), atol=1e-6)
        assert (make(PAPER)(dark) - make(PAPER)(light)).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("config", "expected"),
    # Of the line (-8, 6) the angle is twice that of (1, 3), which has 10 pixels here.
    [(PAPER, (-8.0, 6.0)), (TINY, (10 / 10**0.5, 30 / 10**0.5))],
)
def test_the_papers_form_gives_vectors_as_they_are(config, expected):
    model = make(config)
    torch.nn.init.zeros_(model.context.head.weight)
    torch.nn.init.zeros_(model.levels[0].predict.weight)
    with torch.inference_mode():
        model.levels[0].predict.bias.copy_(torch.tensor([-8.0, 6.0]) / 20)  # its unit inside
        found = model(photos(2, 65, 72))
    expected = torch.tensor(expected).view(1, 2, 1, 1).expand(2, 2, 65, 72)
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)


def test_the_papers_form_is_trained_on_vectors_of_the_nearer_sign():
    """Eq. 6 by hand, of flow that is the same everywhere and so at each scale."""
    objective, photo = FlowObjective(make(PAPER), find_recipe("blur-flow-paper")), photos(2, 64, 64)
    vectors = np.array([[6.0, 2.0], [-3.0, 4.0]])
    losses = []
    for sign in (1, -1):
        flow = torch.from_numpy(sign * vectors).float()[:, :, None, None].expand(2, 2, 64, 64)
        with torch.no_grad():
            losses.append(objective({"photo": photo, "flow": flow}, 0)["model"].item())
            scales = [scale.double().numpy() for scale in objective.model.scales(photo)]
        # The weights of levels 3, 2 and 1 of the paper's six.
        expected = 0.0
        for photo_number, vector in enumerate(vectors[:, :, None, None]):
            finest = scales[-1][photo_number]
            nearer = min((vector, -vector), key=lambda one: np.hypot(*(finest - one)).mean())
            for scale, weight in zip(scales, (0.02, 0.01, 0.005), strict=True):
                expected += weight * np.hypot(*(scale[photo_number] - nearer)).sum() / 2
        assert losses[-1] == pytest.approx(expected, rel=1e-5)
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_true_motion_has_no_error_where_it_is_judged():
    """As vectors of a half plane, of which users get none: their signs are made to agree."""
    config = SceneConfig(size=96, blur=(4.0, 12.0), kind="camera")
    for sample in scene_samples(None, None, config, 6, split="test", number=0):
        line = half_angle(double_angle(to_tensor(sample.known_flow)))
        method = methods._flow_alone("true", lambda photo, line=line: line, None)
        assert flow_epe_either_sign(method.motion(sample), sample.known_flow) < 0.05


def test_flow_points_to_the_right_or_down():
    with torch.inference_mode():
        across, down = make()(photos(2, 65, 72)).unbind(1)
    assert (torch.where(across.abs() > down.abs(), across, down) >= -1e-3).all()


@pytest.mark.parametrize("norm", [True, False], ids=["ours", "the paper's"])
def test_it_learns_a_batch_by_heart(norm):
    torch.manual_seed(0)
    config = BlurFlowNetConfig((8, 12, 16), (12, 12, 12, 8, 8), (8,) * 6, 8, finest=0, norm=norm)
    model = BlurFlowNet(config)
    photo = photos(2, 64, 64)
    truth = torch.tensor([[6.0, 2.0], [-3.0, 4.0]])[:, :, None, None].repeat(1, 1, 64, 64)
    truth[:, :, :, 40:] *= -0.5  # another surface
    wanted = double_angle(truth) if norm else truth

    def loss():
        return multiscale_epe(model.scales(photo), wanted, EPE_WEIGHTS[-3:])

    def learnt():
        found = model(photo)
        error = (found - truth).norm(dim=1)
        if norm:  # the sign is not learnt
            error = torch.minimum(error, (found + truth).norm(dim=1))
        return error.mean() < 0.2 * truth.norm(dim=1).mean()

    learn(model, loss, learnt, 60, 2e-3)
