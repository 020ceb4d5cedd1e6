"""How fast: a photo to a clip, beside one frame of NAFNet; import; training.

    python benchmarks/speed.py [--weights DIR] [--photos DIR --cutouts DIR]

Medians, written to benchmarks/results/speed.json and speed.md; `--only sizes`, which splits the
time of photos of up to 48 megapixels by stage, to stages.json and stages.md. Everything is timed in
one run, in turns, so that a machine that is busy for a while is so for all of it. Use an otherwise
idle one.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode
from tqdm.auto import tqdm

import b2m
from b2m.evaluate.report import command_line, write_report
from b2m.media.image import limit_side, read_image
from b2m.media.video import write_mp4
from b2m.models import (
    BlurDecomposer,
    BlurFlowNet,
    JinSequence,
    NAFNet,
    NAFNetConfig,
    VideoRestorer,
)

RESULTS = Path(__file__).parent / "results"


def medians(works: dict[str, Callable[[], object]], runs: int) -> dict[str, float]:
    """Seconds of each work, the median of so many runs, taken in turns after one to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for turn in tqdm(range(runs + 1), desc="timing", unit="turn"):
        for name, work in works.items():
            begun = time.perf_counter()
            work()
            if turn:
                seconds[name].append(time.perf_counter() - begun)
    return {name: statistics.median(values) for name, values in seconds.items()}


def photo_of(width: int, height: int) -> np.ndarray:
    """Noise of a coarse grain, dragged to the right."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), np.uint8)
    fine = coarse.repeat(8, 0).repeat(8, 1)[:height, :width].astype(np.float32)
    return np.mean([np.roll(fine, step, 1) for step in range(16)], axis=0).astype(np.uint8)


def animation(
    width: int, height: int, runs: int, threads: int, weights: str | None
) -> tuple[list[dict], list[str]]:
    """Rows about animating, and what they were checked against."""
    torch.set_num_threads(threads)
    animator = b2m.BlurAnimator.from_pretrained(weights, device="cpu")
    nafnet = NAFNet(NAFNetConfig.paper()).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        nafnet(torch.zeros(1, 3, 256, 256))
    parameters = sum(p.numel() for p in nafnet.parameters())
    gmacs = counter.get_total_flops() / 2e9
    if not (17.0e6 < parameters < 17.2e6 and 15.5 < gmacs < 16.5):
        raise SystemExit(f"not the paper's NAFNet: {parameters} parameters, {gmacs:.1f} GMAC")

    photo = photo_of(width, height)
    tensor = torch.from_numpy(photo).permute(2, 0, 1)[None].contiguous() / 255
    ways = [np.full((height, width, 2), sign, np.int8) for sign in (1, -1)]
    prepared = animator.prepare(photo)
    turns = iter(range(10**9))

    def whole() -> None:
        first = animator.prepare(photo)
        _ = animator.animate(first, guidance=ways[0], frames=7)[0].frames

    def again() -> None:
        guidance = ways[next(turns) % 2]
        _ = animator.animate(prepared, guidance=guidance, frames=7)[0].frames

    def other() -> None:
        with torch.inference_mode():
            nafnet(tensor)

    def network() -> None:
        with torch.inference_mode():
            animator.model.encode(tensor)

    times = medians({"whole": whole, "again": again, "network": network, "nafnet": other}, runs)
    size = f"{width}x{height}"
    rows = [
        {"name": f"{size} photo to 7 frames", "seconds": times["whole"]},
        {"name": "of which the network", "seconds": times["network"]},
        {"name": "a second guidance, same photo, 7 frames", "seconds": times["again"]},
        {"name": f"NAFNet width 32, one frame of {size}", "seconds": times["nafnet"]},
    ]
    for row in rows:
        row["ratio"] = row["seconds"] / times["whole"]
    notes = [
        f"Medians of {runs}, {threads} threads; ratio: to the first row. NAFNet has random weights "
        f"and was checked: {parameters / 1e6:.1f} M parameters, {gmacs:.1f} GMAC at 256x256."
    ]
    return rows, notes


SIZES = ("256x256", "1920x1080", "4000x3000", "8000x6000")
STAGES = ("decode", "network", "render", "project", "encode")


def stages(
    animator: b2m.BlurAnimator, width: int, height: int, frames: int = 7
) -> dict[str, float]:
    """Seconds of processor time from a JPEG to an MP4, by stage; others that compute do not count.

    Network: shrinking to the working size and all that is known of the photo. Render: frames at
    working size. Project: all the rest of what makes them frames of the photo, large ones tile by
    tile.
    """
    jpeg = cv2.imencode(".jpg", photo_of(width, height)[..., ::-1])[1].tobytes()
    seconds: dict[str, float] = {}
    begun = time.process_time()

    def took(stage: str) -> None:
        nonlocal begun
        seconds[stage] = time.process_time() - begun
        begun = time.process_time()

    photo = read_image(jpeg).pixels
    took("decode")
    prepared = animator.prepare(photo)
    took("network")
    clip = animator.animate(prepared, frames=frames)[0]
    for index in range(frames):
        clip._renderer.frame(2 * index / (frames - 1) - 1)
    took("render")
    with tempfile.TemporaryDirectory() as folder:
        shown = clip.frames
        took("project")
        write_mp4(Path(folder) / "clip.mp4", [limit_side(frame, 1920) for frame in shown], 7)
        took("encode")
    return seconds


def by_size(threads: int, weights: str | None) -> tuple[list[dict], list[str]]:
    """Rows of photos of several sizes, split by stage; and the papers' own networks."""
    torch.set_num_threads(threads)
    animator = b2m.BlurAnimator.from_pretrained(weights, device="cpu")
    stages(animator, 64, 64)  # to warm up
    rows: list[dict] = []
    for size in tqdm(SIZES, desc="sizes", unit="photo"):
        width, height = map(int, size.split("x"))
        found = stages(animator, width, height)
        rows.append({"name": f"{size}, 7 frames, one run", "cpu": sum(found.values()), **found})
    papers = (BlurDecomposer, JinSequence, VideoRestorer, BlurFlowNet)
    for kind in tqdm(papers, desc="papers", unit="network"):
        model = kind(kind.config_class.paper()).eval()
        begun = time.process_time()
        with torch.inference_mode():
            model(torch.rand(1, 3, 256, 256))
        name = f"{kind.__name__}, the paper's size, 256x256"
        spent = time.process_time() - begun
        rows.append({"name": name, "cpu": spent, "network": spent})
    return rows, ["CPU seconds and stages: processor time of one run, whatever else was running."]


def imports(runs: int) -> tuple[list[dict], list[str]]:
    """Rows about importing."""

    def fresh(code: str) -> Callable[[], object]:
        return lambda: subprocess.run([sys.executable, "-c", code], check=True)

    everything = "b2m.animate; b2m.InputError"  # names are loaded on first use
    times = medians(
        {
            "python": fresh("pass"),
            "torch": fresh("import torch"),
            "b2m": fresh("import b2m"),
            "all": fresh(f"import torch, b2m; {everything}"),
        },
        runs,
    )
    rows = [
        {"name": "import torch", "seconds": times["torch"] - times["python"]},
        {"name": "import b2m", "seconds": times["b2m"] - times["python"]},
        {
            "name": "import b2m and load b2m.animate, beyond torch",
            "seconds": times["all"] - times["torch"],
        },
    ]
    return rows, [f"Imports: new processes, medians of {runs}, less an empty one or torch's."]


def training(
    photos: str | None, cutouts: str | None, steps: int, scenes: int | None
) -> tuple[list[dict], list[str]]:
    """Rows about training, of one thread.

    Args:
        photos, cutouts: folders, or None for procedural textures.
        steps: timed.
        scenes: rendered at a time, fewer than in a training; None for as many.
    """
    from b2m.train.loop import RANDOM, Run
    from b2m.train.recipes import find_recipe

    torch.set_num_threads(1)
    recipe = find_recipe("animator")
    with tempfile.TemporaryDirectory() as folder:
        run = Run(recipe, Path(folder), 0)
        run.build(photos, cutouts, None, init=RANDOM, resume=False)
        stream = run.stream
        if scenes is not None:
            stream.chunk_scenes = scenes
            stream.chunk_steps = scenes * stream.reuse // stream.batch
        # Blur is longest, and dearest to render, once the curriculum has ended.
        chunk = -(-recipe.blur_samples // (stream.chunk_scenes * recipe.reuse))
        first = chunk * stream.chunk_steps
        begun = time.perf_counter()
        batch = stream(first)
        rendering = time.perf_counter() - begun
        last = min(steps, stream.chunk_steps - 1)
        network, batches = [], []
        for number in tqdm(range(last + 1), desc="training", unit="step"):
            begun = time.perf_counter()
            batch = stream(first + number)
            loaded = time.perf_counter()
            run._optimise(batch)
            run.step += 1
            if number:
                batches.append(loaded - begun)
                network.append(time.perf_counter() - loaded)
    step, load = statistics.median(network), statistics.median(batches)
    per_step = step + load + rendering / stream.chunk_steps
    rows = [
        {"name": "training, network step alone", "samples_per_second": recipe.batch / step},
        {"name": "training, with data", "samples_per_second": recipe.batch / per_step},
    ]
    notes = [
        f"Training: recipe animator, {recipe.crop}x{recipe.crop}, batch {recipe.batch}, one "
        f"thread, medians of {last} steps (forward, backward, optimiser, averaged weights). With "
        f"data: {stream.chunk_scenes} scenes of {recipe.scene}x{recipe.scene} with the longest "
        f"blur rendered in {rendering:.1f} s, each used {recipe.reuse} times, "
        f"and {1000 * load:.0f} ms for cropping, turning and noise of each batch."
    ]
    return rows, notes


COLUMNS = {
    "cpu": ("CPU seconds", ".2f"),
    **{stage: (stage, ".2f") for stage in STAGES},
    "seconds": ("seconds", ".3f"),
    "ratio": ("ratio", ".2f"),
    "samples_per_second": ("samples/s", ".1f"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--weights", help="folder or Hub id")
    parser.add_argument("--photos", help="folder of sharp photos, for training")
    parser.add_argument("--cutouts", help="folder of cut-outs, for training")
    parser.add_argument("--size", default="960x540", help="of the photo (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=7, help="timed (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="default: %(default)s")
    parser.add_argument("--steps", type=int, default=20, help="of training (default: %(default)s)")
    parser.add_argument("--scenes", type=int, help="rendered at a time; fewer for a quick look")
    parser.add_argument("--only", choices=["animation", "sizes", "imports", "training"])
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the results")
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    parts = {
        "animation": lambda: animation(
            width, height, options.runs, options.threads, options.weights
        ),
        "sizes": lambda: by_size(options.threads, options.weights),
        "imports": lambda: imports(options.runs),
        "training": lambda: training(
            options.photos, options.cutouts, options.steps, options.scenes
        ),
    }
    rows: list[dict] = []
    notes: list[str] = []
    for name, part in parts.items():
        if options.only in (None, name):
            more, said = part()
            rows += more
            notes += said
    changed = {
        name: value
        for name, value in vars(options).items()
        if value != parser.get_default(name) and name != "output"
    }
    options.output.mkdir(parents=True, exist_ok=True)
    command = command_line(["python", "benchmarks/speed.py"], changed)
    name = "stages" if options.only == "sizes" else "speed"
    print(write_report(options.output, name, command, rows, COLUMNS, notes)[1])


if __name__ == "__main__":
    main()
