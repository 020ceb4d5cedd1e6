"""What holds for all models together."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from b2m import models
from b2m.hub import HubModel

FRAMES = ["BlurDecomposer", "JinSequence", "MotionAnimator", "NAFNet", "VideoRestorer"]
COMPARED = [*FRAMES, "BlurFlowNet"]


def multiply_adds(model, side=160):  # which none of them pads
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model(torch.zeros(1, 3, side, side))
    return counter.get_total_flops() / 2


def test_models_and_configs_are_public():
    for name in models.__all__:
        assert getattr(models, name).__name__ == name
    kinds = [kind for kind in HubModel.__subclasses__() if kind.__module__.startswith("b2m.models")]
    assert {kind.__name__ for kind in kinds} <= set(models.__all__)


def test_compact_sizes_cost_alike():
    """Tables compare them: their arithmetic is within a factor of two, but for the animator."""
    costs = {}
    for name in set(COMPARED) - {"MotionAnimator"}:
        model = getattr(models, name)
        costs[name] = multiply_adds(model(model.config_class.compact()).eval())
    assert max(costs.values()) < 2 * min(costs.values()), costs


@pytest.mark.parametrize("name", FRAMES)
def test_frames_come_in_the_models_own_number(name):
    model = getattr(models, name)
    model = model(model.config_class.tiny()).eval()
    with torch.inference_mode():
        result = model(torch.rand(1, 3, 64, 64), torch.ones(1, 2, 64, 64))
    frames = getattr(result, "frames", result)
    assert frames.shape == (1, model.native_frames or 7, 3, 64, 64)


def test_each_has_weights_of_its_own_name():
    names = [getattr(models, name).weights_name for name in COMPARED]
    assert len(set(names)) == len(names)
