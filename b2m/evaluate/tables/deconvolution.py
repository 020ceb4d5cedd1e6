"""The table "2021b-T2": photos sharpened along a flow (Argaw et al. 2021b, Table 2).

Two sets of photos blurred along a line per pixel, made as BSD-M and BSD-S were. Rows: the blurred
photo as it is, sharpened along the true flow, and along flows that are estimated from it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from tqdm.auto import tqdm

from b2m.data.line_blur import SETS, SIZE, line_samples
from b2m.deconvolution import deblur_with_flow
from b2m.evaluate.report import Row
from b2m.media.image import Pixels
from b2m.metrics import flow_epe_either_sign, psnr, ssim
from b2m.motion.fields import Flow

SAMPLES = 300
"""Photos of each set in the paper."""

BLURRED = "blurred"
TRUE = "true flow"
_THEIRS = "BlurFlowNet"

COLUMNS = {
    "samples": ("n", "d"),
    "psnr": ("PSNR", ".2f"),
    "gain": ("over blurred", "+.2f"),
    "ssim": ("SSIM", ".3f"),
    "epe": ("EPE", ".2f"),
    "paper": ("PSNR in the paper", ".2f"),
    "paper_ssim": ("SSIM in the paper", ".3f"),
}

PAPER = {"BSD-M": (25.23, 0.786), "BSD-S": (23.41, 0.714)}
"""PSNR in dB and SSIM of the paper's own flow on its own sets; of other photos than ours."""


def deconvolution_rows(
    photos: Sequence[Pixels],
    flows: Mapping[str, Callable[[Pixels], Flow]],
    *,
    samples: int = SAMPLES,
    size: tuple[int, int] = SIZE,
    seed: int = 0,
    device: str = "cpu",
) -> tuple[list[Row], list[str]]:
    """Rows and notes of the table.

    Args:
        photos: (H, W, 3) uint8 sRGB, sharp; those smaller than a sample are left out.
        flows: from the name of a row to what estimates flow from a blurred photo.
        samples: of each set.
        size: height and width of a sample, pixels.
        seed: of crops and motions.
        device: where photos are sharpened.

    Raises:
        InputError: no photo is large enough.
    """
    rows: list[Row] = []
    for name, longest in SETS.items():
        scores: dict[str, list[tuple[float, float, float]]] = {BLURRED: [], TRUE: []}
        scores |= {way: [] for way in flows}
        made = line_samples(photos, samples, longest, size=size, seed=seed)
        for sample in tqdm(made, name, total=samples, unit="photo"):
            for way, found in scores.items():
                if way == BLURRED:
                    result, flow = sample.photo, np.zeros_like(sample.flow)
                else:
                    flow = sample.flow if way == TRUE else flows[way](sample.photo)
                    result = deblur_with_flow(sample.photo, flow, device=device)
                found.append(
                    (
                        psnr(result, sample.sharp),
                        ssim(result, sample.sharp),
                        flow_epe_either_sign(flow, sample.flow),
                    )
                )
        blurred = float(np.mean([score[0] for score in scores[BLURRED]]))
        for way, found in scores.items():
            quality, likeness, error = (float(x) for x in np.mean(found, axis=0))
            row: Row = {"name": f"{name}: {way}", "samples": samples, "psnr": quality}
            row["gain"] = 0.0 if way == BLURRED else quality - blurred
            row |= {"ssim": likeness, "epe": error}
            if way == _THEIRS:
                row["paper"], row["paper_ssim"] = PAPER[name]
            rows.append(row)
    return rows, [
        f"{samples} photos of {size[1]}x{size[0]} in each set, blurred along the field of a moving "
        f"camera, in linear light; vectors up to {SETS['BSD-M']:g} and {SETS['BSD-S']:g} px. Made "
        "as the paper's sets were, of other photos: compare the order of rows, not their numbers.",
        "EPE: of the better sign, pixels; that of the blurred photo is of no flow.",
    ]
