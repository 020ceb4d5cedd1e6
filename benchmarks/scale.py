"""How time grows with pixels and with frames: processor time, and the exponent that fits.

    python benchmarks/scale.py [--weights DIR]

Written to benchmarks/results/scale.json and scale.md. Time of the processor does not depend on what
else a machine does; with one thread it is what one core needs.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from tqdm.auto import tqdm

import b2m
from b2m.evaluate.report import command_line, write_report

sys.path.insert(0, str(Path(__file__).parent))
from speed import RESULTS, STAGES, stages

SIDES = (128, 256, 512, 1024)  # up to here a photo is encoded in its own size
FRAMES = (3, 7, 15, 31, 63)
SIDE = 256

COLUMNS = {
    "cpu": ("CPU seconds", ".3f"),
    **{stage: (stage, ".3f") for stage in STAGES},
}


def exponents(amounts: list[float], rows: list[dict[str, float]]) -> dict[str, float]:
    """The slope of the line through logarithms of time against those of amounts, by stage."""
    names = ("cpu", *STAGES)
    logs = np.log([[max(row[name], 1e-6) for name in names] for row in rows])
    return dict(zip(names, np.polyfit(np.log(amounts), logs, 1)[0].tolist(), strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", help="folder or Hub id")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the results")
    options = parser.parse_args()
    torch.set_num_threads(1)
    animator = b2m.BlurAnimator.from_pretrained(options.weights, device="cpu")
    stages(animator, 64, 64)  # to warm up
    works = [(f"{side}x{side}, 7 frames", side**2, side, 7) for side in SIDES]
    works += [(f"{SIDE}x{SIDE}, {count} frames", count, SIDE, count) for count in FRAMES]
    rows: list[dict] = []
    for name, _, side, count in tqdm(works, unit="photo"):
        found = stages(animator, side, side, count)
        rows.append({"name": name, "cpu": sum(found.values()), **found})
    parts = (("pixels", slice(0, len(SIDES))), ("frames", slice(len(SIDES), None)))
    rows = rows + [
        {
            "name": f"exponent of {what}",
            **exponents([amount for _, amount, *_ in works[part]], rows[part]),
        }
        for what, part in parts
    ]
    options.output.mkdir(parents=True, exist_ok=True)
    changed = {"weights": options.weights} if options.weights else {}
    command = command_line(["python", "benchmarks/scale.py"], changed)
    note = (
        "Processor time of one thread, one run each. Exponents: slopes of log time over log "
        "amount; 1 is in proportion. Stages as in benchmarks/speed.py."
    )
    print(write_report(options.output, "scale", command, rows, COLUMNS, [note])[1])


if __name__ == "__main__":
    main()
