"""What each model costs, in the papers' sizes and in those for CPUs: parameters, products, time.

    python benchmarks/sizes.py

Written to benchmarks/results/sizes.json and sizes.md. Use an otherwise idle machine; the whole
takes minutes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tqdm.auto import tqdm

from b2m import models
from b2m.evaluate.methods import COST_SIZE, COST_THREADS, measure_cost
from b2m.evaluate.report import command_line, write_report

RESULTS = Path(__file__).parent / "results"

MODELS = (
    models.BlurDecomposer,
    models.JinSequence,
    models.VideoRestorer,
    models.BlurFlowNet,
    models.NAFNet,
)


RUNS = {"compact": 3, "paper": 1}


def main() -> None:
    """Measure every model and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.parse_args()
    sizes = [(model, size) for size in ("compact", "paper") for model in MODELS]
    rows = []
    for kind, size in tqdm(sizes, "models", unit="model"):
        model = kind(getattr(kind.config_class, size)()).eval()
        gmacs, seconds = measure_cost(model, runs=RUNS[size])
        parameters = sum(parameter.numel() for parameter in model.parameters())
        rows.append(
            {
                "name": f"{kind.__name__}, {size}",
                "parameters": parameters / 1e6,
                "gmacs": gmacs,
                "seconds": seconds,
            }
        )
    columns = {
        "parameters": ("million parameters", ".1f"),
        "gmacs": ("GMAC", ".1f"),
        "seconds": ("seconds", ".2f"),
    }
    notes = [
        f"A photo of {COST_SIZE[1]}x{COST_SIZE[0]}, random weights, {COST_THREADS} threads; GMAC: "
        "products of convolutions and matrices; seconds: after one run to warm up, the median of "
        f"{RUNS['compact']}, of the papers' sizes {RUNS['paper']}."
    ]
    _, text = write_report(
        RESULTS, "sizes", command_line(["python", "benchmarks/sizes.py"], {}), rows, columns, notes
    )
    print(text)


if __name__ == "__main__":
    main()
