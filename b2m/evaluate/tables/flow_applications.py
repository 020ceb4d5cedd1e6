"""What flow is used for: the tables "segmentation" and "2021b-T2", which share their methods."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from b2m.data.line_blur import SETS, SIZE, line_samples
from b2m.data.sample import Sample
from b2m.data.scenes import Kind, SceneConfig
from b2m.data.textures import split_files
from b2m.deconvolution import deblur_with_flow
from b2m.evaluate import methods
from b2m.evaluate.methods import Cost
from b2m.evaluate.report import NOT_RUN, Row
from b2m.evaluate.scoring import Scores, Tally
from b2m.evaluate.table import Group, Options, Table
from b2m.media.image import Pixels, read_image
from b2m.metrics import flow_epe_either_sign, psnr, ssim
from b2m.motion.fields import Flow
from b2m.motion.segmentation import segment
from b2m.registry import register_table
from b2m.visualize.plots import draw_table

TRUE = "true flow"
BLURRED = "blurred"

_METHODS = ("BlurFlowNet", "animator")

Flows = Mapping[str, Callable[[Sample], Flow]]


class FlowApplicationTable(Table):
    """A table of what flow is used for: along the true flow, and along estimated ones.

    Args:
        options: what it is computed from.
        flows: from the name of a row to what estimates flow; None for the methods whose weights
            are there.
    """

    always: ClassVar[tuple[str, ...]] = ()
    many_models = True
    pictured: ClassVar[tuple[str, str]]
    """Key and label of the score that is drawn."""

    first: ClassVar[tuple[str, ...]] = (TRUE,)
    """Rows before those of estimated flow."""

    def __init__(self, options: Options, flows: Flows | None = None) -> None:
        super().__init__(options)
        self.missing: list[str] = []
        self.costs: dict[str, Cost] = {}
        self.flows: Flows = flows if flows is not None else self.find()
        self.names = (*self.first, *self.flows)

    def find(self) -> Flows:
        """The flow of the methods whose weights are there, and what they cost."""
        there, self.missing, self.costs = methods.find_methods(_METHODS, self.options.weights)
        return {one.name: one.motion for one in there}

    def compute(self) -> list[Row]:
        """The loop, and a row for each method that could not be run."""
        return super().compute() + [{"name": f"all: {name}{NOT_RUN}"} for name in self.missing]

    def finish(self, group: Group, rows: list[Row], tally: Tally) -> list[Row]:
        """Add costs."""
        for row in rows:
            name = row["name"].split(": ", 1)[1]
            row["gmacs"], row["seconds"] = self.costs.get(name, (None, None))
        return rows

    def notes(self) -> list[str]:
        """How costs were measured."""
        height, width = methods.COST_SIZE
        return [
            f"GMAC (convolutions and products) and seconds ({methods.COST_THREADS} threads): the "
            f"network that finds the flow, alone, a photo of {width}x{height}. How "
            "BlurFlowNet and the animator were trained is in their cards."
        ]

    def draw(self, folder: Path, rows: Sequence[Row]) -> list[Path]:
        """The score as bars."""
        path = folder / f"{self.name}.png"
        draw_table(path, self.name, rows, *self.pictured)
        return [path]


_COST_COLUMNS = {"gmacs": ("GMAC", ".1f"), "seconds": ("seconds", ".2f")}


@register_table("segmentation")
class SegmentationTable(FlowApplicationTable):
    """What moves against the camera, on scenes of which that is known.

    The use of Argaw et al. 2021b, Fig. 7, of which the paper gives pictures and no numbers.
    """

    columns = {  # noqa: RUF012
        "samples": ("n", "d"),
        "iou": ("IoU", ".3f"),
        "precision": ("precision", ".3f"),
        "recall": ("recall", ".3f"),
        **_COST_COLUMNS,
    }
    samples = 100
    uses = ("photos", "weights", "cutouts")
    pictured = ("iou", "IoU")
    size = 192
    blur = (8.0, 32.0)
    least_moving = 0.01  # of the pixels, for there to be something to find
    always = ("iou", "precision", "recall")

    def groups(self) -> Iterator[Group]:
        """Scenes before a static camera, and of any motion."""
        count = self.asked or 0
        kinds: dict[str, Kind] = {"static camera": "movers", "any motion": "mixed"}
        for place, (group, kind) in enumerate(kinds.items()):
            config = SceneConfig(size=self.size, blur=self.blur, kind=kind)
            found = self.scenes(config, count, 2 * self.options.seed + place)
            yield Group(group, found, count, "scene")

    def judge(self, sample: Sample) -> Iterator[tuple[str, Scores]]:
        """The overlap of what is found along each flow with the truth."""
        if sample.moving is None or sample.moving.mean() < self.least_moving:
            return
        for name in self.names:
            flow = sample.known_flow if name == TRUE else self.flows[name](sample)
            iou, precision, recall = overlap(segment(sample.photo, flow), sample.moving)
            yield name, {"iou": iou, "precision": precision, "recall": recall}

    def notes(self) -> list[str]:
        """What was measured, and how."""
        return [
            f"Up to {self.asked} scenes of {self.size}x{self.size} of each kind from the "
            f"{self.options.split} split{self.made_up}, longest blur {self.blur[0]:g} to "
            f"{self.blur[1]:g} px; left out are those in which under {self.least_moving:.0%} of "
            "the pixels move by themselves. The truth is what moves by 1 px or more against the "
            "background, at the middle instant. Means over scenes.",
            "The camera's motion is fitted to the flow (MAGSAC); what disagrees moves, if it shows "
            "in the photo. The paper's network for segmentation is not built.",
            *super().notes(),
        ]


def overlap(found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> tuple[float, float, float]:
    """Intersection over union, precision and recall of a mask; nothing found has a precision of 0.

    Args:
        found, truth: (H, W) bool; the truth is not empty.
    """
    both = float((found & truth).sum())
    return both / float((found | truth).sum()), both / max(1.0, found.sum()), both / truth.sum()


@register_table("2021b-T2")
class DeconvolutionTable(FlowApplicationTable):
    """Photos sharpened along a flow (Argaw et al. 2021b, Table 2).

    Two sets of photos blurred along a line per pixel, made as BSD-M and BSD-S were. Rows: the
    blurred photo as it is, sharpened along the true flow, and along flows estimated from it.
    """

    columns = {  # noqa: RUF012
        "samples": ("n", "d"),
        "psnr": ("PSNR", ".2f"),
        "gain": ("over blurred", "+.2f"),
        "ssim": ("SSIM", ".3f"),
        "epe": ("EPE", ".2f"),
        "paper": ("PSNR in the paper", ".2f"),
        "paper_ssim": ("SSIM in the paper", ".3f"),
        **_COST_COLUMNS,
    }
    samples = 300  # of each set in the paper
    needs = ("photos",)
    uses = ("photos", "weights")
    pictured = ("gain", "PSNR over the blurred photo (dB)")
    first = (BLURRED, TRUE)
    size = SIZE
    device = "cpu"
    paper: ClassVar = {"BSD-M": (25.23, 0.786), "BSD-S": (23.41, 0.714)}
    """PSNR in dB and SSIM of the paper's own flow on its own sets; of other photos than ours."""

    def photos(self) -> list[Pixels]:
        """Sharp photos of the split."""
        assert self.options.photos is not None
        paths = split_files(self.options.photos, self.options.split)
        return [read_image(path).pixels for path in paths]

    def groups(self) -> Iterator[Group]:
        """The two sets."""
        photos, count = self.photos(), self.asked or 0
        for name, longest in SETS.items():
            made = line_samples(photos, count, longest, size=self.size, seed=self.options.seed)
            yield Group(name, made, count)

    def judge(self, sample: Sample) -> Iterator[tuple[str, Scores]]:
        """The photo as it is, and sharpened along each flow."""
        for name in self.names:
            if name == BLURRED:
                result, flow = sample.photo, np.zeros_like(sample.known_flow)
            else:
                flow = sample.known_flow if name == TRUE else self.flows[name](sample)
                result = deblur_with_flow(sample.photo, flow, device=self.device)
            scores: dict[str, Any] = {"psnr": psnr(result, sample.frames[0])}
            scores["ssim"] = ssim(result, sample.frames[0])
            scores["epe"] = flow_epe_either_sign(flow, sample.known_flow)
            yield name, scores

    def finish(self, group: Group, rows: list[Row], tally: Tally) -> list[Row]:
        """Add gains and the paper's numbers."""
        for row in super().finish(group, rows, tally):
            row["gain"] = row["psnr"] - rows[0]["psnr"]
            if row["name"].endswith(": BlurFlowNet"):
                row["paper"], row["paper_ssim"] = self.paper[group.name]
        return rows

    def notes(self) -> list[str]:
        """What was measured, and how."""
        height, width = self.size
        return [
            f"{self.asked} photos of {width}x{height} in each set, blurred along the field of a "
            f"moving camera, in linear light; vectors up to {SETS['BSD-M']:g} and "
            f"{SETS['BSD-S']:g} px. Made as the paper's sets were, of other photos: compare the "
            "order of rows, not their numbers.",
            "EPE: of the better sign, pixels; that of the blurred photo is of no flow.",
            *super().notes(),
        ]
