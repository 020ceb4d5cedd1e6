"""The command that turns blurred videos into sharp ones: ``b2m video``."""

from __future__ import annotations

import contextlib
import warnings
from pathlib import Path
from typing import Annotated

import typer

from b2m.cli.console import Device, Ensemble, Model, Weights, check_device, warn
from b2m.errors import InputWarning
from b2m.files import results_folder


def video(
    source: Annotated[Path, typer.Argument(metavar="VIDEO", help="A blurred video.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="MP4", help="The new video; without it, out/VIDEO.mp4."
        ),
    ] = None,
    frames: Annotated[
        int,
        typer.Option(metavar="N", help="Sharp frames per input frame: N times slow motion."),
    ] = 7,
    fps: Annotated[
        float | None,
        typer.Option(
            metavar="N", help="Output frame rate; the duration stays, --frames is ignored."
        ),
    ] = None,
    shutter: Annotated[
        float,
        typer.Option(
            metavar="FRACTION",
            help="Shutter time as a fraction of the frame interval, above 0 up to 1 (180° = 0.5).",
        ),
    ] = 1.0,
    max_side: Annotated[
        int | None,
        typer.Option(metavar="PIXELS", help="Longest side of the new video."),
    ] = None,
    model: Model = "animator",
    weights: Weights = None,
    device: Device = "auto",
    ensemble: Ensemble = 1,
) -> None:
    """Turn a blurred video into a sharp one, in slow motion or in real time.

    Each frame becomes several sharp ones, and its neighbours tell which way things moved. They
    are played at the video's own frame rate, so 7 frames make everything 7 times slower. With
    --fps the video lasts as long as it did, but has as many frames per second as you like.

    In dim light phones keep the shutter open nearly all the time, film cameras for half of it (a
    180 degree shutter: --shutter 0.5). The nearer to the truth, the more evenly things move.

    The result is an H.264 video without sound. It appears once it is complete: a run that you
    interrupt leaves nothing behind. A truncated video is refused before the work begins.
    """
    target = Path("out") / f"{source.stem}.mp4" if output is None else output

    # PyTorch takes a second to import.
    from b2m.inference.video import check_arguments

    check_arguments(target, frames, fps, shutter, max_side)
    check_device(device)

    from b2m.inference.animator import BlurAnimator
    from b2m.media.video import read_video

    warn(source, read_video(source).warnings)
    animator = BlurAnimator.from_pretrained(weights, model=model, device=device, ensemble=ensemble)
    folder = results_folder(target.parent) if output is None else contextlib.nullcontext()
    with folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", InputWarning)  # printed already
        animator.animate_video(
            source, target, frames=frames, fps=fps, shutter=shutter, max_side=max_side
        )
    print(target)
