"""What holds for all models together."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from b2m import models
from b2m.errors import InputError
from b2m.hub import HubModel

FRAMES = ["BlurDecomposer", "JinSequence", "MotionAnimator", "NAFNet", "VideoRestorer"]
COMPARED = [*FRAMES, "BlurFlowNet"]

_BARE = {"transformed": False, "warped": False, "pictured": False, "refined": False}
FORMS = {  # how each is built: compact or as in its paper, whole or without a part
    "MotionAnimator": [{}],
    "BlurDecomposer": [{}, {"stages": 1}, {"guided": False}, {"residual": False}],
    "BlurFlowNet": [
        {}, {"transformed": False}, {"refined": False},
        {"transformed": False, "refined": False}, {"norm": False},
    ],
    "JinSequence": [{}],
    "VideoRestorer": [
        {}, {"frames": 7}, _BARE, {**_BARE, "warped": True}, {**_BARE, "pictured": True},
        {"refined": False}, {"dense": 5, "norm": False},
    ],
    "GuidancePredictor": [{}, {"levels": 4, "blocks": ()}],
    "NAFNet": [{}],
}  # fmt: skip
forms = pytest.mark.parametrize(
    ("name", "form"), [(name, form) for name, some in FORMS.items() for form in some]
)


def make(name, form=None):
    """An untrained model in evaluation mode, moved away from where it repeats the photo."""
    torch.manual_seed(0)
    kind = getattr(models, name)
    model = kind(replace(kind.config_class.tiny(), **(form or {}))).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1 and parameter.std() < 0.02:
                parameter.normal_(std=0.05)
    return model


def answer(model, photo, guidance=None):
    """The tensors that a model gives, in the order in which it gives them."""
    if isinstance(model, models.GuidancePredictor):
        generator = torch.Generator().manual_seed(1)
        result = model(
            photo, torch.randn(1, model.config.latent, generator=generator).expand(len(photo), -1)
        )
    elif isinstance(model, models.BlurFlowNet) or guidance is None:
        result = model(photo)
    else:
        result = model(photo, guidance)
    return [result] if isinstance(result, Tensor) else list(result)


def photo_and_guidance(batch, height, width):
    generator = torch.Generator().manual_seed(0)
    photo = torch.rand(batch, 3, height // 4, width // 4, generator=generator)
    photo = torch.nn.functional.interpolate(photo, size=(height, width), mode="bicubic")
    guidance = torch.ones(batch, 2, height, width)
    guidance[..., : height // 3, : width // 3] = 0
    return photo.clamp(0, 1), guidance


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


@forms
def test_a_photo_alone_is_treated_as_in_a_batch(name, form):
    model, (photo, guidance) = make(name, form), photo_and_guidance(3, 65, 72)
    with torch.inference_mode():
        together = answer(model, photo, guidance)
        for row in range(3):
            alone = answer(model, photo[row : row + 1], guidance[row : row + 1])
            for one, other in zip(alone, together, strict=True):
                torch.testing.assert_close(one[0], other[row], atol=1e-3, rtol=1e-3)


@forms
def test_saving_and_loading_changes_no_bit(name, form, tmp_path):
    model, (photo, guidance) = make(name, form), photo_and_guidance(1, 65, 70)
    model.save_pretrained(tmp_path)
    loaded = type(model).from_pretrained(tmp_path)
    assert isinstance(model, HubModel) and loaded.config == model.config and not loaded.training
    state = loaded.state_dict()
    assert list(state) == list(model.state_dict())
    assert all(torch.equal(tensor, state[key]) for key, tensor in model.state_dict().items())
    with torch.inference_mode():
        pairs = zip(answer(model, photo, guidance), answer(loaded, photo, guidance), strict=True)
        assert all(torch.equal(one, other) for one, other in pairs)


@pytest.mark.parametrize("name", FORMS)
def test_weights_of_another_size_are_refused(name, tmp_path):
    model = make(name)
    model.save_pretrained(tmp_path)
    other = type(model)(model.config_class.compact())
    other.save_pretrained(tmp_path / "other")
    (tmp_path / "config.json").write_bytes((tmp_path / "other" / "config.json").read_bytes())
    with pytest.raises(InputError, match=f"not of this {name}"):
        type(model).from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("name", "stride"),
    [("BlurDecomposer", 4), ("BlurFlowNet", 8), ("JinSequence", 16), ("VideoRestorer", 32)],
)
def test_padding_repeats_the_border(name, stride):
    model, (photo, guidance) = make(name), photo_and_guidance(1, 78, 71)
    right, bottom = -71 % stride, -78 % stride
    padded = [
        torch.nn.functional.pad(x, (0, right, 0, bottom), mode="replicate")
        for x in (photo, guidance)
    ]
    with torch.inference_mode():
        for one, other in zip(answer(model, photo, guidance), answer(model, *padded), strict=True):
            torch.testing.assert_close(one, other[..., :78, :71], atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        *(("BlurDecomposer", {name: value}) for name, value in
          [("width", 0), ("blocks", 0), ("kernel", 4), ("stages", 3), ("stages", 0), ("bits", 5)]),
        *(("BlurFlowNet", {name: value}) for name, value in
          [("widths", ()), ("widths", (4, 1)), ("decoder", (4, 4, 4, 4, 0)),
           ("context", (4, 4, 4, 4, 4, 0)), ("transformer", 0)]),
        *(("JinSequence", {name: value}) for name, value in
          [("middle", 0), ("pair", 6), ("pair", 0), ("colour", 0), ("far_blocks", 0)]),
        *(("VideoRestorer", {name: value}) for name, value in
          [("widths", (4, 4, 4, 4, 1)), ("finest", 1), ("context", (4, 4, 4, 4, 4, 0)),
           ("transformer", 0), ("frames", 4), ("frames", 1)]),
        *(("GuidancePredictor", sizes) for sizes in
          [{"width": 0}, {"latent": 0}, {"levels": 1, "blocks": ()}, {"blocks": (1, 1)}]),
        *(("NAFNet", {name: value}) for name, value in
          [("width", 0), ("middle", -1), ("encoder", (1, 1, -1, 1))]),
    ],
)  # fmt: skip
def test_impossible_sizes_are_refused(name, sizes):
    with pytest.raises(ValueError, match="must" if name == "NAFNet" else next(iter(sizes))):
        getattr(models, name).config_class(**sizes)
