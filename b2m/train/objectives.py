"""How models are trained, validated and drawn, by their `output_kind`.

What a model minimises is its own `loss`. `PredictorObjective` also holds the discriminators that
the guidance predictor is trained against, which are no part of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from b2m.data.sample import SampleBatch
from b2m.guidance.palette import to_color
from b2m.hub import HubModel
from b2m.media.image import Pixels
from b2m.models.animator import MotionAnimator
from b2m.models.guidance_predictor import GuidanceDiscriminator, GuidancePredictor
from b2m.motion.color import flow_to_color
from b2m.motion.fields import estimate_flow, to_middle_grid
from b2m.tensors import evenly_spaced, to_float_array, to_pixels
from b2m.visualize.contact_sheet import grid, training_sheet

if TYPE_CHECKING:
    from b2m.train.recipes import Recipe


class Objective(nn.Module):
    """How a model is trained: its loss, the scores of validation, the contact sheet.

    Args:
        model: trained in place. It is the part that is averaged and kept.
        recipe: weights of the losses.
    """

    panels: tuple[tuple[str, dict[str, str]], ...]
    """Of the training's curve: title, and from scores to their captions."""

    def __init__(self, model: HubModel, recipe: Recipe) -> None:
        super().__init__()
        self.model, self.loss_weights = model, recipe.loss

    def groups(self) -> dict[str, nn.Module]:
        """What is trained, by the names that `forward` gives to losses."""
        return self.model.groups()

    def forward(self, batch: Mapping[str, Tensor], step: int) -> dict[str, Tensor]:
        """Losses by the group that each is for; it gives no gradient to the other groups.

        Args:
            batch: the fields of a `SampleBatch` by name.
            step: of the training. What is random is drawn from torch's own stream, which the
                training seeds at each step.
        """
        return self.model.loss(batch, step, **self.loss_weights)

    @staticmethod
    def validate(model: HubModel, scenes: SampleBatch) -> dict[str, float]:
        """Scores of a model in evaluation mode.

        Args:
            model: of the recipe's class.
            scenes: photos as a camera saw them, and what is true.
        """
        raise NotImplementedError

    @staticmethod
    def draw(model: HubModel, scenes: SampleBatch) -> Pixels:
        """A contact sheet (H, W, 3) uint8 of a few scenes, arguments as for `validate`."""
        raise NotImplementedError


class AnimatorObjective(Objective):
    """How the animator is scored: with true guidance."""

    model: MotionAnimator
    panels = (
        ("clip PSNR (dB)", {"psnr": "animator, true guidance", "psnr_photo": "photo repeated"}),
        ("flow error (px)", {"epe": "animator", "epe_zero": "no motion"}),
    )

    @staticmethod
    def validate(model: HubModel, scenes: SampleBatch) -> dict[str, float]:
        """Quality with true guidance.

        Returns:
            Mean over scenes: psnr of the clip and psnr_photo of the photo repeated (dB), epe of
            the flow and epe_zero of no flow (pixels).
        """
        rows = []
        for some in _in_batches(scenes):
            with torch.inference_mode():
                animation = model(some.photo, some.guidance)
            clips = animation.frames, some.photo[:, None]
            quality = [batch_psnr(clip, some.frames).mean(1) for clip in clips]
            flows = animation.flow - some.flow, some.flow
            errors = [flow.norm(dim=1).mean((1, 2)) for flow in flows]
            rows.append(torch.stack(quality + errors, 1))
        means = torch.cat(rows).mean(0).tolist()
        return dict(zip(("psnr", "psnr_photo", "epe", "epe_zero"), means, strict=True))

    @staticmethod
    def draw(model: HubModel, scenes: SampleBatch) -> Pixels:
        """Photo, frames and motion, prediction above truth."""
        with torch.inference_mode():
            animation = model(scenes.photo, scenes.guidance)
        return training_sheet(
            to_pixels(scenes.photo),
            to_pixels(animation.frames),
            to_pixels(scenes.frames),
            to_float_array(animation.flow),
            to_float_array(scenes.flow),
        )


class PredictorObjective(Objective):
    """The guidance predictor with its discriminators, and how often it is right."""

    model: GuidancePredictor
    panels = (
        (
            "moving pixels with the right quadrant",
            {"moving": "best of 5", "moving_first": "first", "moving_chance": "one in four"},
        ),
        ("still pixels", {"still": "called still", "moving_or_still": "all: moving or still"}),
    )

    def __init__(self, model: HubModel, recipe: Recipe) -> None:
        super().__init__(model, recipe)
        self.discriminator = GuidanceDiscriminator(self.model.config.width)

    def groups(self) -> dict[str, nn.Module]:
        """Generator and encoder, and the discriminators."""
        return {"model": self.model, "discriminator": self.discriminator}

    def forward(self, batch: Mapping[str, Tensor], step: int) -> dict[str, Tensor]:
        """Losses of both groups."""
        return self.model.loss(batch, step, discriminator=self.discriminator, **self.loss_weights)

    @staticmethod
    def validate(model: HubModel, scenes: SampleBatch) -> dict[str, float]:
        """How close five samples of guidance come to the truth.

        Returns:
            Mean over scenes. moving: share of the moving pixels with the right quadrant, in the
            one of five guidances where it is greatest; moving_first: in the first of them, and
            moving_chance by chance. In that best one, still: share of the still pixels that are
            called so; moving_or_still: share of all pixels at which that is right.
        """
        assert isinstance(model, GuidancePredictor)
        latents = model.sample_latents(5, seed=0)
        rows: dict[str, list[float]] = {"moving": [], "moving_first": []}
        rows |= {"still": [], "moving_or_still": []}
        for index, truth in enumerate(scenes.guidance):
            with torch.inference_mode():
                predicted = model.predict(scenes.photo[index : index + 1], latents)
            moving, moved = truth.any(0), predicted.any(1)
            right = (predicted == truth).all(1)
            best = 0
            if moving.any():
                shares = right[:, moving].float().mean(1)
                best = int(shares.argmax())
                rows["moving"].append(float(shares[best]))
                rows["moving_first"].append(float(shares[0]))
            if not moving.all():
                rows["still"].append(1 - float(moved[best][~moving].float().mean()))
            rows["moving_or_still"].append(float((moved[best] == moving).float().mean()))
        means = {name: float(np.mean(values)) for name, values in rows.items()}
        return means | {"moving_chance": 0.25}

    @staticmethod
    def draw(model: HubModel, scenes: SampleBatch) -> Pixels:
        """Photo, true guidance and five samples."""
        assert isinstance(model, GuidancePredictor)
        latents = model.sample_latents(5, seed=0)
        tiles: list[Pixels] = []
        for index, truth in enumerate(scenes.guidance.to(torch.int8)):
            with torch.inference_mode():
                predicted = model.predict(scenes.photo[index : index + 1], latents)
            tiles.append(to_pixels(scenes.photo[index]))
            tiles += [to_color(g.permute(1, 2, 0).cpu().numpy()) for g in (truth, *predicted)]
        labels = ["photo", "true", *(f"drawn {number}" for number in range(1, 6))]
        return grid(tiles, labels * len(scenes.photo), columns=len(labels), gap=6, font_size=12)


class ClipObjective(Objective):
    """Models of frames: scored in the better of both orders, as in the papers.

    A photo has no order. A model that takes guidance is scored with the true one.
    """

    panels = (
        (
            "clip PSNR (dB)",
            {"psnr": "better order", "psnr_given": "given order", "psnr_photo": "photo repeated"},
        ),
        ("middle frame PSNR (dB)", {"psnr_middle": "model", "psnr_middle_photo": "photo"}),
    )

    @staticmethod
    def _frames(model: HubModel, scenes: SampleBatch) -> tuple[Tensor, Tensor]:
        """Predicted and true frames, (B, N, 3, H, W) both."""
        rows = []
        for some in _in_batches(scenes):
            guidance = model.true_guidance(some.guidance, some.flow)
            with torch.inference_mode():
                rows.append(model(some.photo, guidance))
        predicted = torch.cat(rows)
        numbers = evenly_spaced(scenes.frames.shape[1], predicted.shape[1])
        return predicted, scenes.frames[:, numbers]

    @classmethod
    def validate(cls, model: HubModel, scenes: SampleBatch) -> dict[str, float]:
        """Quality of frames.

        Returns:
            Mean over scenes, dB: psnr of the clip in the better of both orders and psnr_given in
            the true one, psnr_photo of the photo repeated, and of the middle frame alone
            psnr_middle and psnr_middle_photo.
        """
        predicted, truth = cls._frames(model, scenes)
        given, turned = batch_psnr(predicted, truth), batch_psnr(predicted, truth.flip(1))
        repeated = batch_psnr(scenes.photo[:, None], truth)
        middle = truth.shape[1] // 2
        return {
            "psnr": float(torch.maximum(given.mean(1), turned.mean(1)).mean()),
            "psnr_given": float(given.mean()),
            "psnr_photo": float(repeated.mean()),
            "psnr_middle": float(given[:, middle].mean()),
            "psnr_middle_photo": float(repeated[:, middle].mean()),
        }

    @classmethod
    def draw(cls, model: HubModel, scenes: SampleBatch) -> Pixels:
        """Photo, frames and the motion from the first frame found to the last."""
        predicted, truth = (to_pixels(frames) for frames in cls._frames(model, scenes))
        flows = [to_middle_grid(estimate_flow(frames[0], frames[-1])) for frames in predicted]
        return training_sheet(
            to_pixels(scenes.photo), predicted, truth, np.stack(flows), to_float_array(scenes.flow)
        )


class FlowObjective(Objective):
    """Models of flow: scored with the better of both signs."""

    panels = (
        (
            "flow error (px)",
            {"epe": "better sign", "epe_line": "of each vector", "epe_zero": "none"},
        ),
    )

    @staticmethod
    def validate(model: HubModel, scenes: SampleBatch) -> dict[str, float]:
        """Quality of the flow.

        Returns:
            Mean over scenes, pixels: epe in the better of both signs, one for the whole scene,
            epe_line in that of each vector, and epe_zero of no flow.
        """
        rows = []
        for some in _in_batches(scenes):
            with torch.inference_mode():
                predicted = model(some.photo)
            # (B, H, W) each
            given, turned, zero = (
                (flow - some.flow).norm(dim=1) for flow in (predicted, -predicted, 0 * predicted)
            )
            whole = torch.minimum(given.mean((1, 2)), turned.mean((1, 2)))
            line = torch.minimum(given, turned).mean((1, 2))
            rows.append(torch.stack([whole, line, zero.mean((1, 2))], 1))
        means = torch.cat(rows).mean(0).tolist()
        return dict(zip(("epe", "epe_line", "epe_zero"), means, strict=True))

    @staticmethod
    def draw(model: HubModel, scenes: SampleBatch) -> Pixels:
        """Photo, flow found and true flow, in one scale of colours."""
        with torch.inference_mode():
            predicted = to_float_array(model(scenes.photo))
        tiles: list[Pixels] = []
        labels: list[str] = []
        for picture, ours, truth in zip(
            to_pixels(scenes.photo), predicted, to_float_array(scenes.flow), strict=True
        ):
            longest = max(1.0, float(np.linalg.norm(truth, axis=2).max()))
            tiles += [picture, flow_to_color(ours, longest), flow_to_color(truth, longest)]
            labels += ["photo", "ours", f"true, up to {longest:.0f} px"]
        return grid(tiles, labels, columns=6, gap=6, font_size=12)


def _in_batches(scenes: SampleBatch) -> Iterator[SampleBatch]:
    """Eight at a time: of many, the frames of all models would not fit into memory."""
    yield from map(SampleBatch._make, zip(*(part.split(8) for part in scenes), strict=True))


def batch_psnr(frames: Tensor, truth: Tensor) -> Tensor:
    """PSNR of each frame of a batch, dB, at most 100.

    Args:
        frames: (B, N, 3, H, W), clipped to [0, 1] here.
        truth: the same shape in [0, 1].

    Returns:
        (B, N).
    """
    error = (frames.clamp(0, 1) - truth).square().mean((2, 3, 4))
    return -10 * error.clamp_min(1e-10).log10()


OBJECTIVES: dict[str, type[Objective]] = {
    "animation": AnimatorObjective,
    "flow": FlowObjective,
    "frames": ClipObjective,
    "guidance": PredictorObjective,
    "sharp frame": ClipObjective,
}
"""By `b2m.hub.HubModel.output_kind`."""
