"""What the papers' tables compare, and what the papers found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from b2m.evaluate.scoring import TRIES, BestOf, Label, method_of

_BUDGET = (
    "Trained alike, 30,000 samples of 96x96 in batches of 8 (24,000 at a constant rate, the first "
    "8,000 of them of camera motion, then 6,000 in which it falls to zero): Jin, VideoRestorer, "
    "decomposer, BlurFlowNet, NAFNet, and what says 'on the same budget'. As shipped, Jin, "
    "BlurFlowNet and VideoRestorer were trained further, and the animator for longer: see their "
    "cards."
)
_FEWER = (
    " The restorer trained on rotation has three frames to find, and with them a third of the "
    "arithmetic of Jin's seven."
)


@dataclass(frozen=True)
class PaperSpec:
    """What one table of a paper compares.

    Attributes:
        title: what is compared, a line.
        finding: the paper's result, a sentence.
        groups: of "movers", "camera", "rotation" and "video" (each real clip).
        methods: names in `b2m.evaluate.methods.NAMES`, each with the paper's own PSNR or EPE by
            group, on its own data; of several tries, as many as `b2m.evaluate.scoring.TRIES`.
        flow: whether motion is scored, not frames.
        instants: how many of a clip's frames are scored, evenly over the exposure; 1 is the middle.
        curves: recipes whose training is drawn, by label.
        budget: how its rows were trained, a sentence.
    """

    title: str
    finding: str
    groups: tuple[str, ...]
    methods: Mapping[str, Mapping[str, float | tuple[float, ...]]]
    flow: bool = False
    instants: int = 7
    curves: Mapping[str, str] = field(default_factory=dict)
    budget: str = _BUDGET

    def published(self, group: str, label: Label) -> float | None:
        """The paper's own number of a row; None where it has none."""
        number = self.methods.get(method_of(label), {}).get(group)
        if isinstance(label, BestOf):
            return number[TRIES.index(label.tries)] if isinstance(number, tuple) else None
        return None if isinstance(number, tuple) else number


PAPER_TABLES: dict[str, PaperSpec] = {
    "2022-T1": PaperSpec(
        "Single samples and the best of several against Jin (Zhong 2022, Table 1).",
        "Zhong 2022, Table 1: a single sample beats Jin by 2.5 to 3 dB; more samples are better, "
        "by much where things move before a static camera (B-AIST++), by little where the camera "
        "moves (GenBlur). Rendered scenes run backwards as often as forwards, so that in the given "
        "order a single sample is a coin there; real clips have the order of the film.",
        ("movers", "camera", "video"),
        {
            "Jin": {"movers": 17.01, "camera": 20.88},
            "decomposer": {"movers": (19.97, 22.44, 23.49), "camera": (23.41, 23.56, 23.61)},
            "decomposer, true guidance": {},
            "animator on the same budget": {},
            "animator": {},
            "animator, true guidance": {},
        },
    ),
    "2022-T2": PaperSpec(
        "Guidance from neighbouring frames of a video (Zhong 2022, Table 2).",
        "Zhong 2022, Table 2: guidance from the neighbouring frames of a video, 24.03 dB on "
        "B-AIST++ and 27.04 on GenBlur, beats BIN, which is not built here.",
        ("video",),
        {
            "decomposer": {},
            "decomposer, guidance from video": {},
            "animator": {},
            "animator, guidance from video": {},
        },
    ),
    "2022-T3": PaperSpec(
        "Stages of the decomposer, and guidance that is wrong (Zhong 2022, Table 3).",
        "Zhong 2022, Table 3, Fig. 8 and 9: two stages are 1 dB better than one of equal size (the "
        "compact first stage gives a change of the photo, so that one stage has what the paper's "
        "second adds; direct rows predict frames, as the paper does); "
        "dilated guidance does no harm, eroded guidance does; with guidance training is faster.",
        ("movers", "camera"),
        {
            "decomposer of one stage, true guidance": {"movers": 24.47},
            "decomposer, true guidance": {"movers": 25.45},
            "decomposer of one stage, direct": {},
            "decomposer, direct": {},
            "decomposer, dilated guidance": {},
            "decomposer, eroded guidance": {},
            "decomposer, random guidance": {},
            "decomposer trained without guidance": {},
        },
        curves={"with guidance": "decomposer-compact", "without": "decomposer-unguided"},
        budget=_BUDGET + " Direct: 8,000 samples of 64x64, then 2,000 in which the rate "
        "falls; three seeds are in docs/experiments.md.",
    ),
    "2022-directions": PaperSpec(
        "Guidance of 2, 4, 8 or 16 directions (Zhong 2022, Fig. 10).",
        "Zhong 2022, appendix B, Fig. 10: guidance of 2 directions already helps, 4 are better, 8 "
        "or 16 hardly better still.",
        ("movers", "camera"),
        {
            "decomposer, 2 directions": {},
            "decomposer, true guidance": {},
            "decomposer, 8 directions": {},
            "decomposer, 16 directions": {},
        },
        curves={
            "4 directions": "decomposer-compact",
            **{f"{n} directions": f"decomposer-{n}-directions" for n in (2, 8, 16)},
        },
    ),
    "2021a-T1": PaperSpec(
        "The restorer against Jin on rotational blur (Argaw 2021a, Table 1).",
        "Argaw 2021a, Table 1 and Fig. 6: on rotational blur better than Jin by 1.65 dB, all "
        "frames alike; the longer the blur, the worse.",
        ("rotation",),
        {
            "Jin, trained on rotation": {"rotation": 22.22},
            "VideoRestorer, trained on rotation": {"rotation": 23.87},
            "animator, better order": {},
        },
        instants=3,
        budget=_BUDGET + _FEWER,
    ),
    "2021a-T2": PaperSpec(
        "The restorer against Jin on video (Argaw 2021a, Table 2).",
        "Argaw 2021a, Table 2, 3 and Fig. 7: on video better than Jin by 2.5 dB in the middle and "
        "by 3.7 dB at the ends; an error of the middle frame does not spread to the others.",
        ("movers", "camera", "video"),
        {
            "Jin": {"video": 25.62},
            "VideoRestorer": {"video": 28.92},
            "animator on the same budget, better order": {},
            "animator, better order": {},
        },
    ),
    "2021a-T3": PaperSpec(
        "The middle frame against networks for one sharp image (Argaw 2021a, Table 3).",
        "Argaw 2021a, Table 3: the middle frame, 29.84 dB, is within reach of networks made for "
        "one sharp image: Nah 29.08, Kupyn 28.70, Tao 30.26; Jin 26.98.",
        ("movers", "camera", "video"),
        {
            "Jin": {"video": 26.98},
            "VideoRestorer": {"video": 29.84},
            "NAFNet": {},
            "animator on the same budget, better order": {},
        },
        instants=1,
    ),
    "2021a-T4": PaperSpec(
        "Trained on rotation, measured on video (Argaw 2021a, Table 4).",
        "Argaw 2021a, Table 4: what was trained on rotation works on video, at the level of Jin "
        "trained on video.",
        ("video",),
        {
            "Jin": {"video": 25.62},
            "VideoRestorer": {"video": 28.92},
            "VideoRestorer, trained on rotation": {"video": 25.69},
        },
        instants=3,
        budget=_BUDGET + _FEWER,
    ),
    "2021a-T5": PaperSpec(
        "Parts and losses of the restorer (Argaw 2021a, Table 5).",
        "Argaw 2021a, Table 5: spatial transformers alone 25.86, 31.20, 25.78 dB (first, middle, "
        "last), with local warping 26.67, 32.02, 26.58, with image transformers 26.06, 31.78, "
        "26.05, with all 27.35, 31.98, 27.41; photometric loss alone 25.98, 30.77, 25.97, with "
        "consistency 27.08, 31.78, 27.12. The refining block adds 0.43 dB, the penalty 0.25 dB at "
        "3 frames and 0.6 dB at 7. Here all have 3 frames but the last two, which were trained "
        "further by 6,000 samples from earlier weights, with the penalty and without.",
        ("movers", "camera"),
        {
            "VideoRestorer of STN": {"camera": 27.61},
            "VideoRestorer of STN and LW": {"camera": 28.42},
            "VideoRestorer of STN and ITN": {"camera": 27.96},
            "VideoRestorer without refining block": {},
            "VideoRestorer by PML": {"camera": 27.57},
            "VideoRestorer by PML and TCL": {"camera": 28.66},
            "VideoRestorer of 3 frames": {"camera": 28.91},
            "VideoRestorer, trained further": {},
            "VideoRestorer, trained further without penalty": {},
        },
        instants=3,
    ),
    "2021b-T1": PaperSpec(
        "Motion fields from one blurred photo (Argaw 2021b, Table 1).",
        "Argaw 2021b, Table 1 and Analysis: flow from the photo itself has an error of 2.08 px on "
        "GoPro, flow between restored end frames one of 5.88.",
        ("movers", "camera", "rotation", "video"),
        {
            "BlurFlowNet": {"video": 2.077},
            "BlurFlowNet, fine-tuned on video": {"video": 2.038},
            "Jin": {"video": 5.875},
            "VideoRestorer": {},
            "animator": {},
        },
        flow=True,
        budget=_BUDGET + " Fine-tuned: 14,000 samples more, nine of ten crops of real clips, then "
        "6,000 in which the rate falls.",
    ),
    "2021b-T3": PaperSpec(
        "Parts of BlurFlowNet's decoder (Argaw 2021b, Table 3).",
        "Argaw 2021b, Table 3: on GoPro an error of 2.077 px with both parts of the feature "
        "decoder, 2.263 without spatial transformers, 2.383 without the refining block, 2.748 "
        "without both. Rows of earlier runs had the finest flow at half the resolution.",
        ("movers", "camera"),
        {
            "BlurFlowNet": {"camera": 2.077},
            "BlurFlowNet without transformers": {"camera": 2.263},
            "BlurFlowNet without refining block": {"camera": 2.383},
            "BlurFlowNet without both": {"camera": 2.748},
        },
        flow=True,
    ),
    "mix": PaperSpec(
        "What rotation and real clips add to training (animator-short-*).",
        "Of no paper: what turning cameras and crops of real clips add to scenes when the animator "
        "is trained further.",
        ("movers", "camera", "rotation", "video"),
        {
            "animator, better order": {},
            "animator of scenes": {},
            "animator of scenes and rotation": {},
            "animator of scenes and real clips": {},
            "animator of the mix": {},
        },
        budget="Trained alike, each from the animator as shipped (the first row): 4,000 samples of "
        "96x96 in batches of 4, then 4,000 in which the rate falls to zero.",
    ),
}
