"""The command line: ``b2m animate | flow | deblur | segment | video | data | train | …``.

Results go to standard output, everything else to standard error. Exit code 0 is success, 2 a
command that cannot be meant (an unknown format, one frame), 1 anything that went wrong.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from b2m import __version__
from b2m.cli import data as data_commands
from b2m.cli import demo as pages
from b2m.cli import push
from b2m.cli import train as train_commands
from b2m.cli import video as video_command
from b2m.cli.console import (
    Device,
    Ensemble,
    Model,
    Output,
    Row,
    Seed,
    Weights,
    check_device,
    numbered,
    output_target,
    print_error,
    print_table,
    process_photos,
    refuse_overwriting_photos,
    repeat_option,
    require_at_least,
    warn,
)
from b2m.cli.guidance_options import (
    Direction,
    Picture,
    Reversed,
    Scale,
    Strokes,
    guidance_from_options,
)
from b2m.errors import ArgumentError, InputError
from b2m.files import results_folder

# PyTorch takes a second to import: whatever needs it is imported inside the commands.
if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from b2m.inference.animator import BlurAnimator
    from b2m.inference.clip import Clip
    from b2m.motion.fields import Flow

FORMATS = {
    "mp4": "H.264 video",
    "gif": "animated GIF",
    "webp": "animated WebP",
    "png": "contact sheet",
    "flo": "motion field",
    "mp.jpg": "Motion Photo",
    "frames": "folder of full-size PNG frames",
}
_USUAL = "mp4,gif,png,flo"
_ENDINGS = {"mp.jpg": ".MP.jpg", "frames": "-frames"}  # others are those of their names
_FILES = {kind: _ENDINGS.get(kind, f".{kind}") for kind in FORMATS if kind != "frames"}

_STOPPED = 130  # the exit code after Ctrl-C

app = typer.Typer(
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Photos = Annotated[
    list[Path],
    # b2m reports unreadable files, as it does files that are no photos.
    typer.Argument(metavar="PHOTO", help="Blurred photos.", show_default=False, readable=False),
]
FlowModel = Annotated[str, typer.Option(metavar="NAME", help="As for animate, or blur-flow.")]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        arguments: without the program's name; None takes those of the process. Without any, the
            help is shown.
    """
    _stop_on_signals()
    for stream in (sys.stdout, sys.stderr):
        # File names need not be valid text, and a terminal need not know every sign.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    given = sys.argv[1:] if arguments is None else list(arguments)
    expanded = repeat_option("--data", given)
    # On Windows, where the shell does not, Typer itself expands *.jpg in the process's arguments.
    same = arguments is None and expanded == given
    handed = (None if same else expanded) if given else ["--help"]
    try:
        result = app(handed, prog_name="b2m", standalone_mode=False)
        if result == _STOPPED:  # Typer's own answer to Ctrl-C, in silence
            raise KeyboardInterrupt
        return result if isinstance(result, int) else 0
    except ArgumentError as error:
        return print_error(error, 2)
    except BrokenPipeError:
        # What is still buffered must go somewhere when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (InputError, OSError, MemoryError) as error:
        return print_error(error, 1)
    except (KeyboardInterrupt, typer.Abort):
        with contextlib.suppress(OSError):  # the terminal may be gone
            print("b2m: stopped", file=sys.stderr, flush=True)
        return _STOPPED
    except Exception as error:
        # Typer's own errors, whose class has moved from one version to the next.
        if hasattr(error, "format_message") and hasattr(error, "exit_code"):
            sentence = _with_value(" ".join(str(error.format_message()).split()), given)
            return print_error(f"{sentence.rstrip('.')} (b2m --help shows what there is)", 2)
        raise


def _with_value(sentence: str, given: Sequence[str]) -> str:
    """An error of Typer's about the value of an option, with that value, which it does not name."""
    found = re.match(r"Invalid value for .*?(--[\w-]+)'?: (.+)", sentence)
    for place, argument in enumerate(given if found else ()):
        name, _, value = argument.partition("=")
        if found and name == found[1]:
            value = value or given[min(place + 1, len(given) - 1)]
            reason = re.sub(r"Input should be a valid (\w+),.*", r"give a valid \1", found[2])
            return f"{name} is '{value}': {reason}"
    return sentence


@app.callback(invoke_without_command=True)
def _program(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Blur to motion: one motion-blurred photo in, a short sharp clip and its motion field out.

    While the shutter was open, things moved; the blur has kept the trace. b2m
    plays it back, on your own computer and without a network:

    \b
      b2m animate photo.jpg                     clip, contact sheet, motion field
      b2m animate photo.jpg --direction left    the same, moving left
      b2m animate photo.jpg --motions 4         and other motion hypotheses
      b2m animate *.jpg -o clips --format mp4   many photos, only the videos
      b2m flow photo.jpg                        only the motion field
      b2m deblur photo.jpg                      only the sharp middle instant
      b2m segment photo.jpg                     a mask of moving objects
      b2m video blurry.mp4 -o sharp.mp4         a whole video, in slow motion
      b2m demo                                  a page to do all this by hand

    "b2m COMMAND --help" explains each command.
    """
    if version:
        print(f"b2m {__version__}")
        raise typer.Exit


@app.command()
def animate(
    photos: Photos,
    output: Output = Path("out"),
    frames: Annotated[
        int,
        typer.Option(metavar="N", help="Number of frames, from shutter open to shutter closed."),
    ] = 7,
    formats: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="LIST",
            help="Any of " + ", ".join(FORMATS) + f", with commas; {_USUAL} or that of -o.",
        ),
    ] = None,
    direction: Direction = None,
    guidance: Picture = None,
    scale_guidance: Scale = False,
    stroke: Strokes = None,
    reverse: Reversed = None,
    motions: Annotated[
        int, typer.Option(metavar="N", help="Number of motion hypotheses, at most.")
    ] = 1,
    fps: Annotated[
        float | None,
        typer.Option(metavar="N", help="Frames per second of the clip."),
    ] = None,
    max_side: Annotated[
        int, typer.Option(metavar="PIXELS", help="Longest side of mp4, gif, webp and sheet.")
    ] = 1920,
    seed: Seed = 0,
    model: Model = "animator",
    guidance_predictor: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Source of motion hypotheses: regions or cvae-gan; by default as suits the model.",
        ),
    ] = None,
    weights: Weights = None,
    device: Device = "auto",
    ensemble: Ensemble = 1,
) -> None:
    """Turn blurred photos into sharp clips.

    For each photo NAME.jpg, the folder of -o gets NAME.mp4 (H.264), NAME.gif, NAME.png (a
    contact sheet: photo, frames, motion) and NAME.flo (the motion field), as --format asks; it
    may also ask for NAME.webp, for "frames", the full-size frames in NAME-frames/, and for
    "mp.jpg", NAME.MP.jpg, a Motion Photo: the photo itself with the clip inside, which
    galleries on Android play. For one photo, -o may also name a file, as in -o clip.mp4.

    Blur does not tell a motion from its reverse. By default objects move to the right, or down;
    --motions 4 writes further hypotheses that differ clearly, ranked by plausibility, to
    NAME-2.mp4, NAME-3.mp4 and so on. --direction sets the direction of all that moves, a
    --guidance image that of each pixel: black still, red right and up, green left and up, yellow
    left and down, blue right and down. --stroke and --reverse edit the object at their place, in
    pixels of the photo from its upper left corner; they apply after the other two, --reverse
    last.

    The closing table gives, for each clip, the length of the fastest motion over the exposure
    in pixels (and its speed, where its EXIF has the exposure time) and how closely the clip,
    blurred again, agrees with the photo, in dB: higher is closer.
    """
    outputs = output_target(output, photos, _FILES)
    wanted = _formats((outputs.kind or _USUAL) if formats is None else formats)
    if outputs.kind and wanted != [outputs.kind]:
        raise ArgumentError(
            f"-o {output} names one {outputs.kind}: name a folder for --format {formats}"
        )
    require_at_least(frames, 2, "--frames", "a clip needs both ends of the exposure")
    require_at_least(max_side, 16, "--max-side", "smaller clips show nothing")
    if fps is not None and not 0 < fps <= 1000:
        raise ArgumentError(f"--fps is {fps:g}: give a number above 0 and up to 1000")
    require_at_least(motions, 1, "--motions", "there is nothing else to make")
    direct = guidance_from_options(direction, guidance, scale_guidance, stroke, reverse)
    check_device(device)
    animator = _animator(weights, device, model, guidance_predictor, ensemble)

    def work(photo: Path, name: str) -> Iterator[Row]:
        prepared = animator.prepare(photo)
        hint = direct(animator, prepared, photo)
        clips = animator.animate(prepared, guidance=hint, frames=frames, motions=motions, seed=seed)
        warn(photo, clips[0].summary)
        if len(clips) < motions:
            ways = f"{len(clips)} way{'s' if len(clips) > 1 else ''}"
            warn(photo, [f"no more than {ways} in which it may have gone clearly differ"])
        for number in range(1, len(clips) + 1):
            clip = clips.pop(0)  # its frames need not outlive it
            stem = numbered(name, number)
            for kind in wanted:
                target = outputs.folder / (stem + _ENDINGS.get(kind, f".{kind}"))
                target = outputs.file if outputs.file and number == 1 else target
                refuse_overwriting_photos(target, photos)
                _save(clip, kind, target, fps, max_side)
                print(f"{target}{os.sep if kind == 'frames' else ''}", flush=True)
            yield _row(photo, clip, number)

    with results_folder(outputs.folder):
        rows, code = process_photos(photos, work, motions, outputs.name)
    print_table(rows)
    raise typer.Exit(code)


@app.command(short_help="Find only the motion.")
def flow(
    photos: Photos,
    output: Output = Path("out"),
    seed: Seed = 0,
    model: FlowModel = "animator",
    weights: Weights = None,
    device: Device = "auto",
    ensemble: Ensemble = 1,
) -> None:
    """Find only the motion: NAME.flo and a picture of it, NAME-flow.png.

    The motion field says for each pixel how far it went while the shutter was open, in pixels,
    x to the right and y down. In the picture the hue is the direction, white is still.
    """
    check_device(device)
    outputs = output_target(output, photos, {"flo": ".flo", "png": ".png"})
    find = _flow_finder(weights, device, model, ensemble, seed)

    def work(photo: Path, name: str) -> None:
        from b2m import motion
        from b2m.media import image as media

        _, found = find(photo)
        field, picture = outputs.folder / f"{name}.flo", outputs.folder / f"{name}-flow.png"
        if outputs.file is not None:
            field = picture = outputs.file
        if outputs.kind != "png":
            refuse_overwriting_photos(field, photos)
            motion.write_flow(field, found)
            print(field, flush=True)
        if outputs.kind != "flo":
            refuse_overwriting_photos(picture, photos)
            media.write_png(picture, motion.flow_to_color(found))
            print(picture, flush=True)

    with results_folder(outputs.folder):
        code = process_photos(photos, work, name=outputs.name)[1]
    raise typer.Exit(code)


@app.command(short_help="Make only the sharp photo of the middle instant.")
def deblur(
    photos: Photos,
    output: Output = Path("out"),
    deconvolve: Annotated[
        bool,
        typer.Option("--deconvolve", help="Deconvolve the photo along its estimated motion field."),
    ] = False,
    model: Annotated[
        str,
        typer.Option(metavar="NAME", help="As for animate; with --deconvolve also blur-flow."),
    ] = "animator",
    weights: Weights = None,
    device: Device = "auto",
    ensemble: Ensemble = 1,
) -> None:
    """Make only the sharp photo of the middle instant, full size: NAME-sharp.png.

    It is the frame that the model gives. With --deconvolve the photo itself is sharpened, along
    the motion that the model finds: slower, and only as good as that motion. Nothing is made up,
    but where the motion is wrong there are ripples.
    """
    check_device(device)
    if deconvolve:
        find = _flow_finder(weights, device, model, ensemble)

        def sharp(photo: Path) -> NDArray[np.uint8]:
            from b2m import deblur_with_flow
            from b2m.registry import MODELS

            cautious = not weights and MODELS[model].uncertain_flow
            return deblur_with_flow(*find(photo), cautious=cautious)

    else:
        if _finds_flow(model):
            raise ArgumentError(
                f"--model {model} finds the motion and no sharp frame: add --deconvolve to "
                "sharpen the photo along it, or choose another model"
            )
        animator = _animator(weights, device, model, ensemble=ensemble)

        def sharp(photo: Path) -> NDArray[np.uint8]:
            clip = animator.animate(photo)[0]
            warn(photo, clip.warnings)
            return clip.middle

    _pictures(photos, output, "sharp", sharp)


@app.command(short_help="Segment moving objects.")
def segment(
    photos: Photos,
    output: Output = Path("out"),
    model: FlowModel = "animator",
    weights: Weights = None,
    device: Device = "auto",
    ensemble: Ensemble = 1,
) -> None:
    """Segment moving objects: NAME-moving.png, white where they move.

    The camera's motion is what most of the motion field agrees on. What disagrees with it is white,
    all else is black, and so is what is too plain for its motion to show, as skies are.
    """
    check_device(device)
    find = _flow_finder(weights, device, model, ensemble)

    def mask(photo: Path) -> NDArray[np.uint8]:
        from b2m.motion import segmentation

        moving = segmentation.segment(*find(photo))
        return (255 * moving[..., None].astype("uint8")).repeat(3, axis=2)

    _pictures(photos, output, "moving", mask)


app.command(short_help="Turn a blurred video into a sharp one.")(video_command.video)
app.add_typer(data_commands.app, name="data")
app.command(short_help="Train a model.")(train_commands.train)
app.command()(train_commands.evaluate)
app.command(short_help="Serve the page where photos are uploaded.")(pages.demo)
app.command(short_help="Publish weights or a Space on the Hugging Face Hub.")(push.push)


def _pictures(
    photos: list[Path],
    output: Path,
    suffix: str,
    picture: Callable[[Path], NDArray[np.uint8]],
) -> None:
    """Write NAME-suffix.png for each photo: what a function makes of it."""
    outputs = output_target(output, photos, {"png": ".png"})

    def work(photo: Path, name: str) -> None:
        from b2m.media import image as media

        target = outputs.file or outputs.folder / f"{name}-{suffix}.png"
        refuse_overwriting_photos(target, photos)
        media.write_png(target, picture(photo))
        print(target, flush=True)

    with results_folder(outputs.folder):
        code = process_photos(photos, work, name=outputs.name)[1]
    raise typer.Exit(code)


# --- stopping ------------------------------------------------------------------------------------


def _stop_on_signals() -> None:
    """Let signals end a command as Ctrl-C does, so that no half-written file stays.

    What is ignored (under nohup) or handled by others is left as it is.
    """
    if threading.current_thread() is not threading.main_thread():
        return  # where Python sets no handlers

    def stop(*_: object) -> None:
        # A terminal that closes may say so twice; the second time must not cut short the clearing.
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    named = (getattr(signal, name, None) for name in ("SIGTERM", "SIGHUP"))  # Windows has no SIGHUP
    numbers = [n for n in named if n is not None and signal.getsignal(n) is signal.SIG_DFL]
    for number in numbers:
        signal.signal(number, stop)


# --- checks --------------------------------------------------------------------------------------


def _formats(given: str) -> list[str]:
    wanted = list(dict.fromkeys(part.strip().lower().lstrip(".") for part in given.split(",")))
    if unknown := [kind for kind in wanted if kind not in FORMATS]:
        raise ArgumentError(
            f"--format has '{unknown[0]}', which b2m does not write: "
            f"choose from {', '.join(FORMATS)}"
        )
    return wanted


def _animator(
    weights: str | None,
    device: str,
    model: str,
    predictor: str | None = None,
    ensemble: int = 1,
) -> BlurAnimator:
    from b2m.inference.animator import GUIDANCE_PREDICTORS, BlurAnimator, animators

    _one_of("--model", model, animators())
    if predictor is not None:
        _one_of("--guidance-predictor", predictor, GUIDANCE_PREDICTORS)
    return BlurAnimator.from_pretrained(
        weights, model=model, guidance_predictor=predictor, device=device, ensemble=ensemble
    )


def _flow_finder(
    weights: str | None, device: str, model: str, ensemble: int, seed: int = 0
) -> Callable[[Path], tuple[NDArray[np.uint8], Flow]]:
    """Reads a photo and finds its motion field; warnings are printed."""
    from b2m import api
    from b2m.media import image as media
    from b2m.registry import MODELS

    _one_of("--model", model, api.flow_models())
    if _finds_flow(model):
        if ensemble > 1:
            raise ArgumentError(f"--ensemble {ensemble} is of the animator, not of {model}")
        limits = "" if weights else MODELS[model].shipped_limits

        def find(photo: Path) -> tuple[NDArray[np.uint8], Flow]:
            read = media.read_image(photo)
            warn(photo, [*read.warnings, *filter(None, [limits])])
            return read.pixels, api.flow(read.pixels, model=model, weights=weights, device=device)

        return find
    animator = _animator(weights, device, model, ensemble=ensemble)

    def animated(photo: Path) -> tuple[NDArray[np.uint8], Flow]:
        clip = animator.animate(photo, seed=seed)[0]
        warn(photo, clip.warnings)
        return clip.photo, clip.flow

    return animated


def _finds_flow(model: str) -> bool:
    """Whether a model gives motion fields and no frames."""
    import b2m.models  # noqa: F401  registers them
    from b2m.registry import MODELS

    return model in MODELS and MODELS[model].output_kind == "flow"


def _one_of(option: str, given: str, names: Collection[str]) -> None:
    if given not in names:
        raise ArgumentError(f"{option} is '{given}': choose from {', '.join(names)}")


# --- results -------------------------------------------------------------------------------------


def _save(clip: Clip, kind: str, target: Path, fps: float | None, max_side: int) -> None:
    if kind == "png":
        clip.save_sheet(target)
    elif kind == "flo":
        from b2m.motion.io import write_flow

        write_flow(target, clip.flow)
    elif kind == "frames":
        clip.save(f"{target}{os.sep}")
    else:
        clip.save(target, fps=fps, max_side=max_side)


def _row(photo: Path, clip: Clip, number: int) -> Row:
    height, width = clip.photo.shape[:2]
    name = photo.name if number == 1 else f"{photo.name} ({number})"
    return Row(name, (width, height), clip.fastest, clip.reblur_psnr, clip.exposure_time)
