"""What the papers' models minimise, and how their training is seen; see `b2m.train.objectives`.

A photo has no order. The decomposer is told one by guidance, and Jin's pairs have a loss that asks
for none; the other two papers compare with the order in which the video was filmed. In scenes each
order is as frequent as its reverse, and what could not be told would be learnt as a mean of both.
So the restorer's truth is put into one order here, `rightwards`, and flow is learnt without one
where the network predicts lines; in the paper's form it is learnt with the order given. Which way
round a clip is scored is the better of both, as in the papers.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from b2m.data.scenes import Scenes
from b2m.guidance.quantize import quantise_finer
from b2m.hub import HubModel
from b2m.losses import (
    EPE_WEIGHTS,
    multiscale_epe,
    sequence_losses,
    staged_mse,
    video_restoration_loss,
)
from b2m.media.image import Pixels
from b2m.models.blur_flow import BlurFlowNet
from b2m.models.decomposer import BlurDecomposer
from b2m.models.jin import JinSequence
from b2m.models.layers import pad_to_multiple
from b2m.models.video_restorer import STRIDE, VideoRestorer
from b2m.motion.color import flow_to_color
from b2m.motion.fields import Flow, double_angle, estimate_flow, to_middle_grid
from b2m.train.objectives import Objective, pixels, psnrs
from b2m.visualize.contact_sheet import grid, training_sheet


def rightwards(frames: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
    """Reverse each clip that goes to the left on the whole, so that all go to the right.

    Args:
        frames: (B, T, 3, H, W).
        flow: (B, 2, H, W) pixels, on the middle frame's grid.

    Returns:
        Both, of the same shapes.
    """
    leftwards = (flow[:, 0].mean((1, 2)) < 0).view(-1, 1, 1, 1)
    return (
        torch.where(leftwards[..., None], frames.flip(1), frames),
        torch.where(leftwards, -flow, flow),
    )


def frames_of(frames: Tensor, count: int) -> Tensor:
    """Evenly spaced ones of (B, T, 3, H, W), first, middle and last among them: (B, count, …).

    One alone is the middle one.
    """
    last = frames.shape[1] - 1
    if count == 1:
        return frames[:, last // 2, None]
    return frames[:, [round(index * last / (count - 1)) for index in range(count)]]


def told(model: HubModel, guidance: Tensor, flow: Tensor) -> Tensor:
    """True guidance in as many bits as a model takes: (B, 2, H, W) quadrants, or more or fewer."""
    bits = getattr(model.config, "bits", 2)
    return guidance if bits == 2 else quantise_finer(flow, bits)


class ClipObjective(Objective):
    """What models of frames have in common: how their clips are scored and drawn."""

    guided = False
    """Whether the model is given the true guidance when it is scored."""

    panels = (
        (
            "clip PSNR (dB)",
            {"psnr": "better order", "psnr_given": "given order", "psnr_photo": "photo repeated"},
        ),
        ("middle frame PSNR (dB)", {"psnr_middle": "model", "psnr_middle_photo": "photo"}),
    )

    @classmethod
    def _frames(cls, model: HubModel, scenes: Scenes, photo: Tensor) -> tuple[Tensor, Tensor]:
        """Frames found and true ones, (B, N, 3, H, W) both."""
        rows = []
        for start in range(0, len(photo), 8):
            some = slice(start, start + 8)
            guidance = None
            if cls.guided:
                guidance = told(model, scenes.guidance[some].float(), scenes.flow[some])
            with torch.inference_mode():
                rows.append(model(photo[some], guidance))
        found = torch.cat(rows)
        return found, frames_of(scenes.frames, found.shape[1])

    @classmethod
    def validate(cls, model: HubModel, scenes: Scenes, photo: Tensor) -> dict[str, float]:
        """Quality of frames.

        Returns:
            Mean over scenes, dB: psnr of the clip in the better of both orders and psnr_given in
            the true one, psnr_photo of the photo repeated, and of the middle frame alone
            psnr_middle and psnr_middle_photo.
        """
        found, truth = cls._frames(model, scenes, photo)
        given, turned = psnrs(found, truth), psnrs(found, truth.flip(1))
        repeated = psnrs(photo[:, None], truth)
        middle = truth.shape[1] // 2
        return {
            "psnr": float(torch.maximum(given.mean(1), turned.mean(1)).mean()),
            "psnr_given": float(given.mean()),
            "psnr_photo": float(repeated.mean()),
            "psnr_middle": float(given[:, middle].mean()),
            "psnr_middle_photo": float(repeated[:, middle].mean()),
        }

    @classmethod
    def draw(cls, model: HubModel, scenes: Scenes, photo: Tensor) -> Pixels:
        """Photo, frames and the motion from the first frame found to the last."""
        found, truth = (pixels(frames) for frames in cls._frames(model, scenes, photo))
        flows = [to_middle_grid(estimate_flow(frames[0], frames[-1])) for frames in found]
        return training_sheet(pixels(photo), found, truth, np.stack(flows), _flows(scenes.flow))


class DecomposerObjective(ClipObjective):
    """Zhong 2022, Eq. 8: squared error after each stage, given the true guidance."""

    model: BlurDecomposer
    guided = True

    def forward(self, batch: dict[str, Tensor], step: int) -> dict[str, Tensor]:
        """One group."""
        stages = self.model.stages(
            batch["photo"], told(self.model, batch["guidance"], batch["flow"])
        )
        return {"model": staged_mse(stages, batch["frames"])}


class DeblurObjective(ClipObjective):
    """The middle frame alone, by its PSNR (Chen et al. 2022)."""

    def forward(self, batch: dict[str, Tensor], step: int) -> dict[str, Tensor]:
        """One group."""
        truth = frames_of(batch["frames"], 1)
        error = (self.model(batch["photo"]) - truth).square().mean((1, 2, 3, 4))
        return {"model": 10 * (error + 1e-8).log10().mean()}


class SequenceObjective(ClipObjective):
    """Jin et al. 2018: each of four networks by its own loss, all at the same time.

    The authors train one after the other. No network has a gradient from the losses of those after
    it, so that only what is seen early in training differs.
    """

    model: JinSequence

    def groups(self) -> dict[str, nn.Module]:
        """The four networks."""
        return self.model.networks()

    def forward(self, batch: dict[str, Tensor], step: int) -> dict[str, Tensor]:
        """A loss for each network."""
        middle, *pairs = self.model.pieces(batch["photo"])
        losses = sequence_losses(middle, pairs, batch["frames"])
        return dict(zip(self.groups(), losses, strict=True))


class RestorerObjective(ClipObjective):
    """Argaw 2021a, Eq. 6: photometric loss at all scales, consistency, and the penalty term."""

    model: VideoRestorer

    consistency = 1.0
    """lambda_1 of Eq. 6; 0 leaves the transformation consistency loss out."""

    penalty = 0.1
    """lambda_2; 0 leaves the penalty term out."""

    def forward(self, batch: dict[str, Tensor], step: int) -> dict[str, Tensor]:
        """One group; the truth is put into one order."""
        frames, _ = rightwards(batch["frames"], batch["flow"])
        frames = frames_of(frames, self.model.native_frames)
        truth = pad_to_multiple(frames.flatten(0, 1), STRIDE).unflatten(0, frames.shape[:2])
        images, transforms = self.model.scales(batch["photo"])
        loss = video_restoration_loss(
            images, truth, transforms, consistency=self.consistency, penalty=self.penalty
        )
        return {"model": loss}


class PhotometricObjective(RestorerObjective):
    """Argaw 2021a, Eq. 3 alone: the row PML of its Table 5."""

    consistency, penalty = 0.0, 0.0


class ConsistentObjective(RestorerObjective):
    """Argaw 2021a, Eq. 3 and 4, without the penalty term: the row PML + TCL of its Table 5."""

    penalty = 0.0


class FlowObjective(Objective):
    """Argaw 2021b, Eq. 6: endpoint error at all scales.

    Its truth is on the middle frame's grid, as is all flow of b2m; the paper's is on the first's.
    In the paper's form (`BlurFlowNetConfig.paper`) it is that of vectors, with the sign that the
    order of the film gives. Ours, where the network predicts lines: it is that of lines of motion,
    vectors of doubled angle. No photo tells the two ways of what moved apart, and where both are
    as frequent, the order of the film taught the compact size no motion: the mean of both.
    """

    model: BlurFlowNet
    panels = (
        (
            "flow error (px)",
            {"epe": "better sign", "epe_line": "of each vector", "epe_zero": "none"},
        ),
    )

    def forward(self, batch: dict[str, Tensor], step: int) -> dict[str, Tensor]:
        """One group."""
        flow = batch["flow"]
        truth = double_angle(flow) if self.model.config.lines else flow
        found = self.model.scales(batch["photo"])
        # A model of fewer levels leaves out the coarsest.
        weights = EPE_WEIGHTS[-len(found) :]
        truth = pad_to_multiple(truth, self.model.stride)
        return {"model": multiscale_epe(found, truth, weights)}

    @staticmethod
    def validate(model: HubModel, scenes: Scenes, photo: Tensor) -> dict[str, float]:
        """Quality of the flow.

        Returns:
            Mean over scenes, pixels: epe in the better of both signs, one for the whole scene,
            epe_line in that of each vector, and epe_zero of no flow.
        """
        rows = []
        for start in range(0, len(photo), 8):
            some = slice(start, start + 8)
            with torch.inference_mode():
                found = model(photo[some])
            truth = scenes.flow[some]
            given, turned, zero = (
                (flow - truth).norm(dim=1) for flow in (found, -found, 0 * found)
            )  # (B, H, W) each
            whole = torch.minimum(given.mean((1, 2)), turned.mean((1, 2)))
            line = torch.minimum(given, turned).mean((1, 2))
            rows.append(torch.stack([whole, line, zero.mean((1, 2))], 1))
        means = torch.cat(rows).mean(0).tolist()
        return dict(zip(("epe", "epe_line", "epe_zero"), means, strict=True))

    @staticmethod
    def draw(model: HubModel, scenes: Scenes, photo: Tensor) -> Pixels:
        """Photo, flow found and true flow, in one scale of colours."""
        with torch.inference_mode():
            found = _flows(model(photo))
        tiles: list[Pixels] = []
        labels: list[str] = []
        for picture, ours, truth in zip(pixels(photo), found, _flows(scenes.flow), strict=True):
            longest = max(1.0, float(np.linalg.norm(truth, axis=2).max()))
            tiles += [picture, flow_to_color(ours, longest), flow_to_color(truth, longest)]
            labels += ["photo", "ours", f"true, up to {longest:.0f} px"]
        return grid(tiles, labels, columns=6, gap=6, font_size=12)


def _flows(flows: Tensor) -> Flow:
    """(B, 2, H, W) to (B, H, W, 2)."""
    return np.ascontiguousarray(flows.permute(0, 2, 3, 1).cpu().numpy())
