"""What models minimise: the groups, the orders, and the scores."""

from dataclasses import replace

import pytest
import torch
from made_models import photos

from b2m.data.sample import SampleBatch
from b2m.guidance.quantize import quantize
from b2m.losses import (
    EPE_WEIGHTS,
    closest_sign,
    closest_temporal_order,
    multiscale_epe,
    staged_mse,
)
from b2m.models import (
    BlurDecomposer,
    BlurDecomposerConfig,
    BlurFlowNet,
    BlurFlowNetConfig,
    JinSequence,
    JinSequenceConfig,
    NAFNet,
    NAFNetConfig,
    VideoRestorer,
    VideoRestorerConfig,
)
from b2m.tensors import evenly_spaced
from b2m.train.objectives import OBJECTIVES, ClipObjective, FlowObjective
from b2m.train.recipes import find_recipe


def _begun(model):
    """A NAFNet whose blocks, which begin as the identity, have left it."""
    for name, parameter in model.named_parameters():
        if name.endswith(("beta", "gamma")):
            torch.nn.init.constant_(parameter, 0.1)
    return model


TINY = {
    "decomposer": lambda: BlurDecomposer(BlurDecomposerConfig.tiny()),
    "jin": lambda: JinSequence(JinSequenceConfig.tiny()),
    "video-restorer": lambda: VideoRestorer(VideoRestorerConfig.tiny()),
    "blur-flow": lambda: BlurFlowNet(BlurFlowNetConfig.tiny()),
    "nafnet": lambda: _begun(NAFNet(NAFNetConfig.tiny())),
}
objectives = pytest.mark.parametrize("kind", TINY)


def make(kind, model=None, **weights):
    torch.manual_seed(0)
    model = model or TINY[kind]()
    return OBJECTIVES[model.output_kind](model, replace(find_recipe("animator-tiny"), loss=weights))


def batch(count=2, size=64, seed=0):
    """Pictures that move as one: the first to the left, the others to the right."""
    wide = photos(count, size, size + 12, seed)
    frames = torch.stack([wide[..., 2 * n : 2 * n + size] for n in range(7)], 1)
    flow = torch.zeros(count, 2, size, size)
    flow[:, 0] = -12
    frames[1:], flow[1:] = frames[1:].flip(1), -flow[1:]
    return {
        "photo": frames.mean(1),
        "frames": frames,
        "flow": flow,
        "guidance": quantize(flow).float(),
    }


def as_scenes(given):
    return SampleBatch.of(given["photo"], given["frames"], given["flow"])


def test_truth_is_taken_in_the_nearer_order_and_sign():
    given = batch(3)
    frames, flow = given["frames"], given["flow"]
    found = torch.cat([frames[:1].flip(1), frames[1:]]) + 0.01
    assert torch.equal(closest_temporal_order(found, frames)[0], frames[0].flip(0))
    assert torch.equal(closest_temporal_order(found, frames)[1:], frames[1:])
    # Whichever way things go: upwards as to the right.
    upwards = frames.rot90(1, (-2, -1))
    assert torch.equal(closest_temporal_order(upwards.flip(1), upwards), upwards.flip(1))
    half = torch.nn.functional.avg_pool2d(flow, 2) * torch.tensor([-0.1, 1, 1]).view(3, 1, 1, 1)
    assert torch.equal(closest_sign(half, flow), flow * torch.tensor([-1, 1, 1]).view(3, 1, 1, 1))


def moving_restorer():
    """Untrained, but away from its start, at which nothing moves."""
    torch.manual_seed(0)
    model = VideoRestorer(VideoRestorerConfig.tiny())
    for name, parameter in model.named_parameters():
        if name.endswith(("predict.4.weight", "decide.3.weight")):
            torch.nn.init.normal_(parameter, std=0.1)
    return model


def test_what_the_restorer_minimises_does_not_depend_on_the_way_things_go():
    model = moving_restorer()
    training, given = make(None, model), batch(3)
    backwards = given | {"frames": given["frames"].flip(1), "flow": -given["flow"]}
    torch.testing.assert_close(
        training(given, step=0)["model"], training(backwards, step=0)["model"]
    )
    # A clip that reverses half-way through the batch is no mean of both orders.
    mixed = torch.cat([given["frames"][:1].flip(1), given["frames"][1:]])
    torch.testing.assert_close(
        training(given, step=0)["model"], training(given | {"frames": mixed}, step=0)["model"]
    )


def test_the_restorer_learns_of_motion_across():
    """What moves up or down is transposed, but for one in four of a batch."""
    model = moving_restorer()
    training = make(None, model)
    given = {name: part[[0, 1, 2, 0]] for name, part in batch(3).items()}
    given["flow"] = torch.tensor([5.0, -1.0]).view(1, 2, 1, 1).expand_as(given["flow"])

    def transposed(places):
        changed = {name: part.clone() for name, part in given.items()}
        for place in places:
            for name in ("photo", "frames"):
                changed[name][place] = given[name][place].mT
            changed["flow"][place] = given["flow"][place].flip(0)
        return training(changed, step=0)["model"]

    torch.testing.assert_close(transposed([0, 1, 2]), transposed([]))
    assert (transposed([3]) - transposed([])).abs() > 1e-5


@pytest.mark.parametrize(("count", "picked"), [(1, [3]), (3, [0, 3, 6]), (7, list(range(7)))])
def test_frames_are_picked_evenly(count, picked):
    assert evenly_spaced(7, count) == picked


@pytest.mark.parametrize("kind", ["video-restorer", "blur-flow", "jin"])
def test_models_without_guidance_are_not_asked_for_an_order(kind):
    given = batch()
    back = given | {"frames": given["frames"].flip(1), "flow": -given["flow"]}
    one, other = (make(kind)(which, step=0) for which in (given, back))
    for name in one:
        torch.testing.assert_close(one[name], other[name])


def test_the_decomposer_is_told_the_order():
    given, training = batch(), make("decomposer")
    back = given | {"frames": given["frames"].flip(1)}
    with torch.no_grad():  # it begins as the photo, which has no order
        training.model.rough[-1].weight.mul_(1000)
    one, other = (training(which, step=0)["model"] for which in (given, back))
    assert abs(one - other) > 1e-5
    stages = training.model.stages(given["photo"], given["guidance"])
    torch.testing.assert_close(one, staged_mse(stages, given["frames"]))


def test_flow_is_compared_at_all_scales_and_short_motion_weighs_more():
    training, given = make("blur-flow"), batch()
    length, angle = given["flow"].norm(dim=1), torch.atan2(given["flow"][:, 1], given["flow"][:, 0])
    truth = torch.stack([length * torch.cos(2 * angle), length * torch.sin(2 * angle)], 1)
    scales = training.model.scales(given["photo"])
    expected = 0.0
    for n, mean in enumerate(length.mean((1, 2)).tolist()):
        alone = multiscale_epe([s[n : n + 1] for s in scales], truth[n : n + 1], EPE_WEIGHTS[-3:])
        expected = expected + 8 / (8 + mean) * alone / len(truth)
    torch.testing.assert_close(training(given, step=0)["model"], expected)


def test_clips_are_scored_in_the_better_order():
    given = batch()

    class Backwards(torch.nn.Module):
        """The truth in reverse, but for a grey level."""

        def true_guidance(self, guidance, flow):
            return None

        def forward(self, photo, guidance):
            assert guidance is None
            return given["frames"].flip(1) + 1e-3

    scores = ClipObjective.validate(Backwards(), as_scenes(given))
    assert scores["psnr"] > 55
    assert scores["psnr_middle"] > 55
    assert scores["psnr_given"] < 30
    repeated = (given["photo"] - given["frames"][:, 3]).square().mean((1, 2, 3))
    expected = float(-10 * repeated.log10().mean())
    assert scores["psnr_middle_photo"] == pytest.approx(expected, rel=1e-5)


def test_flow_is_scored_with_the_better_sign():
    given = batch()

    class Rightwards(torch.nn.Module):
        """To the right by ten, whichever way it went."""

        def forward(self, photo):
            flow = torch.zeros_like(photo[:, :2])
            flow[:, 0] = 10
            return flow

    scores = FlowObjective.validate(Rightwards(), as_scenes(given))
    assert scores["epe"] == pytest.approx(2)
    assert scores["epe_line"] == pytest.approx(2)
    assert scores["epe_zero"] == pytest.approx(12)
    # Half of each photo goes the other way: no sign for the whole is right.
    given["flow"][..., :5] *= -1
    width = given["flow"].shape[-1]
    scores = FlowObjective.validate(Rightwards(), as_scenes(given))
    assert scores["epe"] == pytest.approx(2 + 20 * 5 / width)
    assert scores["epe_line"] == pytest.approx(2)


@objectives
def test_half_precision_goes_through(kind):
    training, given = make(kind), batch()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = training(given, step=0)
    whole = training(given, step=0)
    for name, loss in losses.items():
        assert loss.dtype == torch.float32
        assert loss.item() == pytest.approx(whole[name].item(), rel=0.05)
    sum(losses.values()).backward()
    if kind != "video-restorer":  # whose untrained transformers rarely give an infinite one
        assert all(parameter.grad.isfinite().all() for parameter in training.parameters())
