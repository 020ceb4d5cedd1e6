"""Untrained models of every form, and photos to try them on."""

from dataclasses import replace

import pytest
import torch
from scipy import ndimage

from b2m import models

_BARE = {"transformed": False, "warped": False, "pictured": False, "refined": False}
FORMS = {  # how each is built: compact or as in its paper, whole or without a part
    "MotionAnimator": [{}],
    "BlurDecomposer": [{}, {"stages": 1}, {"guided": False}, {"residual": False}],
    "BlurFlowNet": [
        {}, {"transformed": False}, {"refined": False},
        {"transformed": False, "refined": False}, {"norm": False},
    ],
    "JinSequence": [{}],
    # Of the rows of the paper's Table 5 some, among them nothing at all; and the paper's own.
    "VideoRestorer": [
        {}, _BARE, {**_BARE, "transformed": True, "pictured": True},
        {**_BARE, "warped": True, "frames": 7}, {"dense": 5, "norm": False},
    ],
    "GuidancePredictor": [{}, {"levels": 4, "blocks": ()}],
    "NAFNet": [{}],
}  # fmt: skip
forms = pytest.mark.parametrize(
    ("name", "form"), [(name, form) for name, some in FORMS.items() for form in some]
)


KINDS = {kind.config_class: kind for kind in (getattr(models, name) for name in FORMS)}


def configured(name, form=None):
    """The tiny config of a model, in one of its forms."""
    return replace(getattr(models, name).config_class.tiny(), **(form or {}))


def make(config, seed=0):
    """A model in evaluation mode, moved away from where it repeats the photo."""
    torch.manual_seed(seed)
    model = KINDS[type(config)](config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("beta", "gamma")) or (parameter.dim() > 1 and parameter.std() < 0.02):
                parameter.normal_(std=0.05)
    return model


def photos(batch, height, width, seed=0):
    """Smooth noise (B, 3, H, W) in [0, 1]."""
    noise = torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(seed))
    smooth = torch.from_numpy(ndimage.gaussian_filter(noise.numpy(), (0, 0, 2, 2)))
    return (0.5 + 0.2 * smooth / smooth.std()).clamp(0, 1)


def on_paper(config):
    """A model without its weights."""
    with torch.device("meta"):
        return KINDS[type(config)](config)


def parameters(model):
    """How many numbers are trained."""
    return sum(parameter.numel() for parameter in model.parameters())


def use_recipe(monkeypatch, recipe):
    """Register a recipe with its model, in place of the one of that name, for one test."""
    values = {key: value for key, value in vars(recipe).items() if key not in ("name", "model")}
    monkeypatch.setitem(recipe.model.recipes, recipe.name, values)


def learn(model, loss, learnt, steps, rate):
    """Train on one batch until it is learnt, which must not take more steps than these."""
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    for step in range(1, steps + 1):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
        if step % 10 == 0:
            model.eval()
            with torch.inference_mode():
                if learnt():
                    return
            model.train()
    raise AssertionError(f"not learnt in {steps} steps")
