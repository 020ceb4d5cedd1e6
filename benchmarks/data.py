"""How fast data sets are made, by stage and end to end, and how good estimated flow is.

python benchmarks/data.py
python benchmarks/data.py --only flow --photos pack/photos --cutouts pack/cutouts
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image

from b2m.data.averaging import Averaging, expose
from b2m.data.build.generators import plan_sources, tasks_of
from b2m.data.build.run import build
from b2m.data.clips import flow_over
from b2m.data.datasets import BlurClipDataset
from b2m.data.footage import Reader, examine
from b2m.data.interpolate import along_flow, load_rife, rife_folder
from b2m.data.layouts import read_layout
from b2m.data.recipes import DATASET_RECIPES
from b2m.data.rotation import RotationConfig, render_rotation
from b2m.data.sample import Sample, SampleBatch
from b2m.data.scenes import SceneConfig, render
from b2m.data.storage import FOLDERS, Record, write_sample
from b2m.data.stream import SceneStream
from b2m.data.textures import load_textures
from b2m.evaluate.report import command_line, write_report
from b2m.files import atomic_path
from b2m.guidance.quantize import from_flow
from b2m.media.image import write_png
from b2m.media.video import write_mp4
from b2m.media.video_reader import decode as decoded
from b2m.media.video_reader import open_video, sample_aspect_ratio, to_upright_rgb

RESULTS = Path(__file__).parent / "results"
BINDS = 0.9  # of what disk or decoder alone would allow; from there on it is that which binds
COPIES = 8  # samples written at once, where it is the disk that is timed
SPEED = 4  # pixels a frame
WINDOW = 7


def footage(width: int, height: int, count: int) -> Iterator[np.ndarray]:
    """Frames of a camera that turns to the right before a textured wall."""
    random = np.random.default_rng(0)
    coarse = random.integers(
        0, 256, (height // 8 + 1, (width + SPEED * count) // 8 + 1, 3), np.uint8
    )
    wall = cv2.resize(coarse, None, fx=8, fy=8, interpolation=cv2.INTER_CUBIC)
    for number in range(count):
        yield np.ascontiguousarray(wall[:height, SPEED * number : SPEED * number + width])


def rates(works: dict[str, Callable[[], object]], runs: int) -> dict[str, float]:
    """Times a second, each the median of some runs after one to warm up.

    They take turns, so that what else the machine does meanwhile is shared among them.
    """
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(runs + 1):
        for name, work in works.items():
            begun = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - begun)
    return {name: 1 / statistics.median(some[1:]) for name, some in seconds.items()}


def rate(work: Callable[[], object], runs: int) -> float:
    """The same of one."""
    return rates({"": work}, runs)[""]


# Rows that the notes are computed from.
READ = {
    "images": "read the bytes of 7 PNG files from the disk",
    "videos": "read the bytes of 7 H.264 frames from the disk",
}
DECODE = {
    "images": "decode 7 PNG files, nothing but the decoder",
    "videos": "decode 7 H.264 frames, nothing but the decoder (all cores)",
}
TAKE = {
    "images": "decode 7 PNG files, as builds do",
    "videos": "decode 7 H.264 frames, as builds do (all cores)",
}
AVERAGE, FLOW = "average 7 frames", "flow and guidance"
ENCODE = "encode and write a sample"
STORE = "write the encoded files of a sample to the disk, nothing but that"
KEEP = "write the encoded files of a sample to the disk, as builds do"


def built(kind: str, workers: int) -> str:
    """The row of a build."""
    return f"build from {kind}, {workers} workers, starting them included"


def stages(folder: Path, runs: int) -> Iterator[dict]:
    """One core, sample after sample, each stage by itself: frames on disk, then in memory."""
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    images = read_layout("video", folder / "images")[0]
    film = read_layout("video", folder / "videos")[0]
    frames = Reader(images).read(0, WINDOW)
    height, width = frames[0].shape[:2]
    blur, sharp, _ = expose(frames, 0, Averaging(), None)
    flow = flow_over(sharp)
    record = Record(0, "a", "train", "video", width, height, WINDOW, WINDOW)
    out = folder / "out"
    for name in FOLDERS:
        (out / name).mkdir(parents=True, exist_ok=True)
    videos = sorted((folder / "videos").iterdir())
    windows = len(videos) * (examine(film).frames // WINDOW)
    files = [images.path / name for name in images.files[:WINDOW]]
    works = {
        READ["images"]: lambda: read_cold(files),
        READ["videos"]: lambda: read_cold(videos),
        DECODE["images"]: lambda: [np.asarray(Image.open(file).convert("RGB")) for file in files],
        TAKE["images"]: lambda: Reader(images, images_known).read(0, WINDOW),
        DECODE["videos"]: lambda: [decode(path) for path in videos],
        TAKE["videos"]: lambda: decode_planned(folder / "videos"),
    }
    images_known = examine(images)
    for name, found in rates(works, runs).items():
        whole_films = name in (READ["videos"], DECODE["videos"], TAKE["videos"])
        yield {"name": name, "rate": found * (windows if whole_films else 1)}
    sample = Sample(blur, sharp, flow)
    yield {
        "name": AVERAGE,
        "rate": rate(lambda: expose(frames, 0, Averaging(), None), runs),
    }
    between = {"by flow": along_flow}
    if (rife_folder() / "flownet.pkl").is_file():
        between["by RIFE"] = load_rife(device="cpu")
    for name, method in between.items():
        found = rate(lambda method=method: next(method(frames[0], frames[1], [0.5])), runs)
        yield {"name": f"interpolate one frame {name}", "rate": found}
    yield {"name": FLOW, "rate": rate(lambda: from_flow(flow_over(sharp)), runs)}
    yield {"name": ENCODE, "rate": rate(lambda: write_sample(out, record, sample), runs)}
    encoded = {out / path: (out / path).read_bytes() for path in record.files}
    works = {
        STORE: lambda: store(encoded, Path.write_bytes),
        KEEP: lambda: store(encoded, write_whole),
    }
    for name, found in rates(works, runs).items():
        yield {"name": name, "rate": COPIES * found}


def read_cold(paths: list[Path]) -> None:
    """The bytes of files, which the system is asked to forget before."""
    for path in paths:
        with path.open("rb") as stream:
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            while stream.read(1 << 20):
                pass


def store(contents: dict[Path, bytes], write: Callable[[Path, bytes], object]) -> None:
    """Write so many copies of some files, wait until the disk has them, and remove them.

    Names are new each time, as in builds: some disks wait where one file takes another's place.
    """
    copies = {
        path.with_name(f"{copy}-{path.name}"): data
        for copy in range(COPIES)
        for path, data in contents.items()
    }
    for path, data in copies.items():
        write(path, data)
    os.sync()
    for path in copies:
        path.unlink()


def write_whole(path: Path, data: bytes) -> None:
    """A file whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def decode(path: Path) -> None:
    """All frames of a video, by nothing but the decoder."""
    with open_video(path) as (container, stream):
        aspect = sample_aspect_ratio(stream)
        for frame in decoded(container, stream, path):
            to_upright_rgb(frame, aspect)


def decode_planned(folder: Path) -> None:
    """The windows of all videos of a folder, in the tasks of a build."""
    recipe = DATASET_RECIPES["video"]
    for offer in plan_sources(recipe, folder)[0]:
        for task in tasks_of(recipe, offer, 0, 0, len(offer.starts), lambda number: False):
            reader = Reader(task.source, task.footage)
            for start in task.starts:
                reader.read(int(start), int(start) + WINDOW)


def bounds(rows: list[dict], workers: int) -> Iterator[str]:
    """What binds the builds, computed from the rows: a sentence for each kind of source."""
    found = {row["name"]: row["rate"] for row in rows}
    for kind in ("images", "videos"):
        # Decoders of videos use all cores by themselves.
        decoder = found[DECODE[kind]] * (workers if kind == "images" else 1)
        limits = {
            "reading from the disk": found[READ[kind]],
            "the decoder": decoder,
            "writing to the disk": found[STORE],
        }
        name = min(limits, key=lambda one: limits[one])
        share = found[built(kind, workers)] / limits[name]
        seconds = {
            "decoding": 1 / found[TAKE[kind]],
            "averaging": 1 / found[AVERAGE],
            "flow and guidance": 1 / found[FLOW],
            "encoding and writing": 1 / found[ENCODE],
        }
        total = sum(seconds.values())
        spent = ", ".join(f"{one} {100 * some / total:.0f} %" for one, some in seconds.items())
        binds = (
            f"{name} binds"
            if share >= BINDS
            else f"neither disk nor decoder binds, the processor does ({spent})"
        )
        yield (
            f"Builds from {kind} make {100 * share:.0f} % of the samples that {name} alone, the "
            f"slowest of disk and decoder, would allow: {binds}."
        )
    paths = {
        "decoding of images": found[TAKE["images"]] / found[DECODE["images"]],
        "decoding of videos": found[TAKE["videos"]] / found[DECODE["videos"]],
        "writing": found[KEEP] / found[STORE],
    }
    reached = ", ".join(f"{one} {100 * share:.0f} %" for one, share in paths.items())
    yield f"Where one of these binds, builds reach of the bare speed: {reached}."


def whole(folder: Path, workers: int) -> Iterator[dict]:
    """Builds, from source to index."""
    for kind in ("images", "videos"):
        begun = time.perf_counter()
        made = build(
            DATASET_RECIPES["video"], folder / kind, folder / f"set-{kind}", workers=workers
        )
        taken = time.perf_counter() - begun
        yield {"name": built(kind, workers), "rate": made.samples / taken}


def rendered(photos: Path | None, cutouts: Path | None, size: int, runs: int) -> Iterator[dict]:
    """Rendering, and what keeping samples and using each eight times makes of it."""
    stacks = load_textures(photos, "train"), load_textures(cutouts, "train", cutouts=True)
    scenes, turns = SceneConfig(size=size), RotationConfig(size=size)
    batch = 16
    works = rate(lambda: render(*stacks, scenes, batch, 0), runs)
    yield {"name": f"scenes of {size}x{size}, rendered", "rate": batch * works}
    works = rate(lambda: render_rotation(stacks[0], turns, batch, 0), runs)
    yield {"name": f"turning cameras of {size}x{size}, rendered", "rate": batch * works}
    for reuse in (1, 8):
        stream = SceneStream(
            *stacks,
            lambda *_: scenes,
            crop=size * 3 // 4,
            batch=batch,
            reuse=reuse,
            rotation_share=1 / 6,
        )
        steps = stream.chunk_steps
        begun = time.perf_counter()
        for step in range(steps):
            stream(step)
        taken = time.perf_counter() - begun
        used = "used once" if reuse == 1 else f"used {reuse} times"
        yield {"name": f"stream of both, each sample {used}", "rate": steps * batch / taken}


def kept(folder: Path, size: int, runs: int) -> dict:
    """Samples a second from a data set on disk, cropped and augmented."""
    recipe = replace(DATASET_RECIPES["scenes"], count=16, scenes=SceneConfig(size=size))
    build(recipe, None, folder / "scenes")
    data = BlurClipDataset(folder / "scenes", "train", size * 3 // 4)
    works = rate(lambda: [data[number] for number in range(len(data))], runs)
    return {"name": f"scenes of {size}x{size}, read from disk", "rate": len(data) * works}


def flow_quality(photos: Path | None, cutouts: Path | None, count: int) -> Iterator[dict]:
    """Flow by DIS between sharp frames, as real clips get it, where the true flow is known."""
    stacks = load_textures(photos, "test"), load_textures(cutouts, "test", cutouts=True)
    kinds: dict[str, Callable[[int, tuple[float, float]], SampleBatch]] = {
        "several things move": lambda seed, blur: render(
            *stacks, SceneConfig(size=256, blur=blur, kind="movers", saturation=0.0), 4, seed
        ),
        "the camera moves": lambda seed, blur: render(
            *stacks, SceneConfig(size=256, blur=blur, kind="camera", saturation=0.0), 4, seed
        ),
        "the camera turns": lambda seed, blur: render_rotation(
            stacks[0], RotationConfig(size=256, blur=blur, saturation=0.0), 4, seed
        ),
    }
    for name, draw in kinds.items():
        for blur in ((4.0, 12.0), (12.0, 32.0)):
            off, zero, agree = [], [], []
            for seed in range(count // 4):
                scenes = draw(seed, blur)
                frames = (scenes.frames * 255).round().byte().permute(0, 1, 3, 4, 2).numpy()
                truth = scenes.flow.permute(0, 2, 3, 1).numpy()
                for clip, exact in zip(frames, truth, strict=True):
                    found = flow_over(clip)
                    off.append(np.linalg.norm(found - exact, axis=-1).mean())
                    zero.append(np.linalg.norm(exact, axis=-1).mean())
                    agree.append((from_flow(found) == from_flow(exact)).all(-1).mean())
            yield {
                "name": f"{name}, up to {blur[0]:.0f}–{blur[1]:.0f} px",
                "epe": float(np.mean(off)),
                "zero": float(np.mean(zero)),
                "agree": 100 * float(np.mean(agree)),
            }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--photos", type=Path, help="sharp photos; without them, procedural ones")
    parser.add_argument("--cutouts", type=Path, help="cut-outs; without them, shapes")
    parser.add_argument("--size", default="1280x720", help="of footage (default: %(default)s)")
    parser.add_argument("--frames", type=int, default=224, help="of footage (default: %(default)s)")
    parser.add_argument("--side", type=int, default=128, help="of scenes (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=5, help="timed (default: %(default)s)")
    parser.add_argument("--samples", type=int, default=40, help="for flow (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--only", choices=["speed", "flow"])
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the results")
    options = parser.parse_args()
    changed = {
        name: value
        for name, value in vars(options).items()
        if value != parser.get_default(name) and name != "output"
    }
    command = command_line(["python", "benchmarks/data.py"], changed)
    options.output.mkdir(parents=True, exist_ok=True)
    if options.only in (None, "speed"):
        width, height = map(int, options.size.split("x"))
        rows: list[dict] = []
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for number in range(4):
                inside = folder / "images" / f"clip{number}"
                inside.mkdir(parents=True)
                for index, frame in enumerate(footage(width, height, options.frames // 4)):
                    write_png(inside / f"{index:06d}.png", frame)
                (folder / "videos").mkdir(exist_ok=True)
                film = footage(width, height, options.frames // 4)
                write_mp4(folder / "videos" / f"clip{number}.mp4", film, 240)
            rows += stages(folder, options.runs)
            rows += whole(folder, options.workers)
            rows.append(kept(folder, options.side, options.runs))
        rows += rendered(options.photos, options.cutouts, options.side, options.runs)
        notes = [
            f"Footage is {options.size}, samples are windows of {WINDOW} frames of it. Stages and "
            "rendering are of one core each where nothing else is said.",
            *bounds(rows, options.workers),
        ]
        columns = {"rate": ("per second", ".2f")}
        print(write_report(options.output, "data-speed", command, rows, columns, notes)[1])
    if options.only in (None, "flow"):
        rows = list(flow_quality(options.photos, options.cutouts, options.samples))
        notes = [
            "Of 256x256; mean end-point error in pixels over the exposure of DIS between the sharp "
            "middle, first and last frames against the exact flow, and of no motion; pixels at "
            "which guidance agrees, in percent."
        ]
        columns = {
            "epe": ("EPE", ".2f"),
            "zero": ("no motion", ".2f"),
            "agree": ("guidance %", ".1f"),
        }
        print(write_report(options.output, "data-flow", command, rows, columns, notes)[1])


if __name__ == "__main__":
    main()
