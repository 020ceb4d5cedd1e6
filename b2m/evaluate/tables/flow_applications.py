"""What flow is used for: the tables "segmentation" and "2021b-T2", which share their methods."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from b2m.data.line_blur import SETS, SIZE, line_samples
from b2m.data.sample import Sample
from b2m.data.textures import split_files
from b2m.deconvolution import deblur_with_flow
from b2m.evaluate.methods import Method, no_motion
from b2m.evaluate.report import Row
from b2m.evaluate.scoring import MIN_INDEPENDENT, Label, Scores, ScoresOfRows
from b2m.evaluate.table import COST_COLUMNS, Group, Options, Rows, Table
from b2m.media.image import Pixels, read_image
from b2m.metrics import flow_epe_either_sign, overlap, psnr, ssim
from b2m.motion.segmentation import segment
from b2m.registry import register_table
from b2m.visualize.plots import draw_table

TRUE = "true flow"
BLURRED = "blurred"

_TRUE = Method(TRUE, flow=lambda sample: sample.known_flow)
_BLURRED = no_motion(BLURRED)


class FlowApplicationTable(Table):
    """A table of what flow is used for: along the true flow, and along estimated ones.

    Args:
        options: what it is computed from.
        methods: what estimates flow; None for the methods whose weights are there.
    """

    required_keys: ClassVar[tuple[str, ...]] = ()
    compares_models = True
    measures_costs = True
    pictured: ClassVar[tuple[str, str]]
    """Key and label of the score that is drawn."""

    references: ClassVar[tuple[Method, ...]] = (_TRUE,)
    """Rows before those of estimated flow."""

    def __init__(self, options: Options, methods: Sequence[Method] | None = None) -> None:
        super().__init__(options, methods)
        self.methods = [*self.references, *self.methods]
        self.row_labels = tuple(method.name for method in self.methods)

    def load_methods(self) -> Sequence[Method]:
        """The methods whose weights are there."""
        return self.find_methods(("BlurFlowNet", "animator"))

    def compute(self) -> list[Row]:
        """The loop, and a row for each method that could not be run."""
        return [*super().compute(), *self.not_run("all").values()]

    def notes(self) -> list[str]:
        """How costs were measured."""
        return [
            self.cost_note("the network that finds the flow, alone")
            + " How BlurFlowNet and the animator were trained is in their cards."
        ]

    def draw(self, folder: Path, rows: Sequence[Row]) -> list[Path]:
        """The score as bars."""
        path = folder / f"{self.name}.png"
        draw_table(path, self.name, rows, *self.pictured)
        return [path]


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
        **COST_COLUMNS,
    }
    default_samples = 100
    command_options = ("photos", "weights", "cutouts")
    pictured = ("iou", "IoU")
    blur = (8.0, 32.0)
    required_keys = ("iou", "precision", "recall")

    def groups(self) -> Iterator[Group]:
        """Scenes before a static camera, and of any motion."""
        count, number = self.sample_count or 0, 2 * self.options.seed
        yield self.scene_group("static camera", "movers", count, number)
        yield self.scene_group("any motion", "mixed", count, number + 1)

    def score(self, sample: Sample) -> Iterator[tuple[Label, Scores]]:
        """The overlap of what is found along each flow with the truth."""
        if sample.moving is None or sample.moving.mean() < MIN_INDEPENDENT:
            return
        for method in self.methods:
            found = segment(sample.photo, method.motion(sample))
            yield method.name, overlap(found, sample.moving)

    def notes(self) -> list[str]:
        """What was measured, and how."""
        return [
            f"Up to {self.sample_count} scenes of {self.size}x{self.size} of each kind from the "
            f"{self.options.split} split{self.texture_remark}, longest blur {self.blur[0]:g} to "
            f"{self.blur[1]:g} px; left out are those in which under {MIN_INDEPENDENT:.0%} of "
            "the pixels move by themselves. The truth is what moves by 1 px or more against the "
            "background, at the middle instant. Means over scenes.",
            "The camera's motion is fitted to the flow (MAGSAC); what disagrees moves, if it shows "
            "in the photo. The paper's network for segmentation is not built.",
            *super().notes(),
        ]


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
        **COST_COLUMNS,
    }
    default_samples = 300  # of each set in the paper
    required_inputs = ("photos",)
    command_options = ("photos", "weights")
    pictured = ("gain", "PSNR over the blurred photo (dB)")
    references = (_BLURRED, _TRUE)
    photo_size = SIZE
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
        photos, count, seed = self.photos(), self.sample_count or 0, self.options.seed
        for name, longest in SETS.items():
            made = line_samples(photos, count, longest, size=self.photo_size, seed=seed)
            yield Group(name, made, count)

    def score(self, sample: Sample) -> Iterator[tuple[Label, Scores]]:
        """The photo as it is, and sharpened along each flow."""
        for method in self.methods:
            flow, result = method.motion(sample), sample.photo
            if method is not _BLURRED:
                result = deblur_with_flow(
                    sample.photo, flow, cautious=self.cautious(method), device=self.device
                )
            yield (
                method.name,
                {
                    "psnr": psnr(result, sample.frames[0]),
                    "ssim": ssim(result, sample.frames[0]),
                    "epe": flow_epe_either_sign(flow, sample.known_flow),
                },
            )

    def cautious(self, method: Method) -> bool:
        """Whether the flow is that of a model whose shipped weights are uncertain."""
        if method.model is None or self.options.weights is not None:
            return False
        return method.model.uncertain_flow

    def finish(self, group: Group, rows: Rows, scores: ScoresOfRows) -> Iterable[Row]:
        """Add gains and the paper's numbers."""
        for label, row in rows.items():
            row["gain"] = row["psnr"] - rows[BLURRED]["psnr"]
            if label == "BlurFlowNet":
                row["paper"], row["paper_ssim"] = self.paper[group.name]
        return rows.values()

    def notes(self) -> list[str]:
        """What was measured, and how."""
        height, width = self.photo_size
        return [
            f"{self.sample_count} photos of {width}x{height} in each set, blurred along the field "
            "of a moving camera, in linear light; vectors up to "
            f"{SETS['BSD-M']:g} and {SETS['BSD-S']:g} px. Made as the paper's sets were, of other "
            "photos: compare the order of rows, not their numbers.",
            "EPE: of the better sign, pixels; that of the blurred photo is of no flow.",
            *(
                f"{method.name}: its flow is uncertain, so the photo is kept where ripples begin "
                "(`cautious=True`)."
                for method in self.methods
                if self.cautious(method)
            ),
            *super().notes(),
        ]
