"""One training loop for all models.

An objective says which losses there are and which group of parameters each is for; the loop steps
groups, keeps averaged weights, validates, draws, and writes checkpoints that a later run resumes
from exactly: batches are functions of the seed and the step, so nothing else has to be restored.
It runs on accelerate, so `accelerate launch -m b2m.cli train NAME` uses several GPUs or machines.
"""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

import torch
from tqdm.auto import tqdm

from b2m.assets import runs_folder
from b2m.data.clips import cut_crops
from b2m.data.datasets import BlurClipDataset, BuiltStream, open_mix, validation_samples
from b2m.data.sample import SampleBatch
from b2m.data.scenes import SceneConfig, render
from b2m.data.sensor import simulate_sensor
from b2m.data.storage import read_lines, write_lines
from b2m.data.stream import SceneStream
from b2m.data.textures import load_textures
from b2m.errors import InputError
from b2m.files import atomic_path, make_folder
from b2m.hub import HubModel
from b2m.media.image import write_png
from b2m.train.model_card import training_card
from b2m.train.objectives import Objective
from b2m.train.recipes import Recipe, find_recipe

if TYPE_CHECKING:
    from accelerate import Accelerator  # which takes seconds to import

RANDOM = "random"
"""In place of weights to begin with: none."""

CHECKPOINT = "checkpoint.pt"
"""In the folder of a run: all that it needs to go on."""
_LOG = "log.jsonl"
_DECAY_LOG = "decay.jsonl"
_RELEASED = "released"
_VALIDATION_SCENES = 48
_MUON_WIDTH = 16  # channels in and out, from which on a matrix is worth orthogonalising


def train(
    recipe: str,
    *,
    photos: str | Path | None = None,
    cutouts: str | Path | None = None,
    clips: str | Path | None = None,
    data: Sequence[str | Path] = (),
    keep_scenes: str | Path | None = None,
    output: str | Path | None = None,
    samples: int | None = None,
    hours: float | None = None,
    threads: int | None = None,
    resume: bool = True,
    init: str | Path | None = None,
    decay: int = 0,
    seed: int = 0,
    validate_every: int = 4096,
    save_minutes: float = 5.0,
    on_save: Callable[[Path], object] | None = None,
) -> Path:
    """Train a model, or go on with a training.

    Args:
        recipe: name, see `b2m.train.recipes.all_recipes`.
        photos, cutouts: folders with the splits train and val (see
            `b2m.data.textures.split_files`); None for procedural textures.
        clips: folder of sharp videos, or of a folder of them for each split, whose frames are
            averaged into further samples; None for scenes alone.
        data: folders that `b2m data build` has made, instead of all these: "DIR", or "DIR=WEIGHT"
            for their shares; without weights every sample counts alike. Their train splits train,
            cropped and augmented as the recipe says; their val splits validate, or
            scenes where none has one.
        keep_scenes: folder where rendered scenes are kept for other trainings that see the same,
            gigabytes of them; None renders anew each time.
        output: folder of the run; by default the recipe's name in `runs_folder()`.
        samples: stop when so many have been seen in all.
        hours: or after so long in this call.
        threads: of the CPU; None leaves them as they are.
        resume: go on from the checkpoint in `output`; False starts anew.
        init: weights to start from where there is no checkpoint; None takes those that ship with
            b2m where they are of the recipe's size; `RANDOM` takes none.
        decay: instead of going on, let the learning rate fall to zero over so many samples from
            the checkpoint, and write the result to `output`/released. The run itself is untouched
            and can go on.
        seed: of the initial weights and of all batches.
        validate_every: samples.
        save_minutes: between checkpoints and contact sheets.
        on_save: called with `output` after each of them, as `b2m.visualize.notebook.live_view()`.

    Returns:
        The folder of the averaged weights, laid out as a Hub repository.

    Raises:
        InputError: unknown recipe, bad folders, a damaged checkpoint or one of another model,
            weights of another model, decay without a checkpoint, or a GPU with too little memory.
        OutputError: `output` cannot be written.
    """
    if threads:
        torch.set_num_threads(threads)
    run = Run(find_recipe(recipe), Path(output or runs_folder() / recipe), seed)
    try:
        run.build(photos, cutouts, clips, keep_scenes, data=data, init=init, resume=resume)
        make_folder(run.folder)
        if decay and not run.step:
            raise InputError(f"'{run.folder}' holds no checkpoint to release; train first.")
        run.on_save = on_save
        return run.loop(samples, hours, decay, validate_every, save_minutes)
    except torch.OutOfMemoryError as error:
        raise InputError(
            f"the GPU's memory is too small for recipe '{recipe}', whose batch is "
            f"{run.recipe.batch} crops of {run.recipe.crop} pixels: end what else uses the GPU "
            "(in a notebook, restart the kernel), or take a recipe of smaller batches or crops."
        ) from error


class Run:
    """State of a training.

    Args:
        recipe: what is trained.
        folder: where checkpoint, log, pictures and weights go.
        seed: of the initial weights and of all batches.
    """

    def __init__(self, recipe: Recipe, folder: Path, seed: int) -> None:
        self.recipe, self.folder, self.seed = recipe, folder, seed
        self.step, self.samples, self.seconds = 0, 0, 0.0
        self.on_save: Callable[[Path], object] | None = None

    def build(
        self,
        photos: str | Path | None,
        cutouts: str | Path | None,
        clips: str | Path | None,
        keep_scenes: str | Path | None = None,
        *,
        data: Sequence[str | Path] = (),
        init: str | Path | None,
        resume: bool,
    ) -> None:
        """Model, optimiser, averaged weights and data; the checkpoint where there is one."""
        from timm.utils import ModelEmaV3  # like accelerate, it takes seconds to import

        recipe = self.recipe
        if data and (photos or cutouts or clips or keep_scenes):
            raise InputError(
                "data sets that were built are trained on instead of photos, cut-outs, clips and "
                "kept scenes: name either, and build scenes or clips to mix them in"
            )
        mix = self._open_mix(data) if data else None  # refused before anything is computed
        self.accelerator = _accelerator()
        self.device = self.accelerator.device
        torch.manual_seed(self.seed)
        model = recipe.model(recipe.config)
        checkpoint = self._read_checkpoint() if resume else None
        start = None
        if checkpoint is None:
            with contextlib.suppress(FileNotFoundError):
                # The rows of a run that is not resumed would mix with those of this one.
                (self.folder / _LOG).rename(self.folder / "log-before.jsonl")
            if init != RANDOM and (start := self._warm_start(init)) is not None:
                model.load_state_dict(start.state_dict())
        model.to(self.device).to(memory_format=torch.channels_last)
        if recipe.frozen_norms:
            if checkpoint is None and start is None:
                raise InputError(
                    f"recipe '{recipe.name}' keeps the statistics of batch norms and needs weights "
                    "that have some: name them with init=… (--init)"
                )
            for module in model.modules():
                if isinstance(module, torch.nn.BatchNorm2d):
                    module.eval()  # for good: the loop does not call model.train()
        self.model = model
        self.ema = ModelEmaV3(model, decay=recipe.ema, use_warmup=True)
        objective = recipe.objective(model, recipe).to(self.device)
        self.groups = objective.groups()
        optimizer = _optimizer(objective, recipe)
        if checkpoint is not None:
            self._restore(checkpoint, optimizer)
        self.objective, self.optimizer = self.accelerator.prepare(objective, optimizer)
        options: dict[str, Any] = {
            "batch": recipe.batch,
            "seed": self.seed,
            "rank": self.accelerator.process_index,
            "ranks": self.accelerator.num_processes,
        }
        self.stream: SceneStream | BuiltStream
        if mix is not None:
            self.stream = BuiltStream(*mix, device=self.device, **options)
        else:
            self.stream = SceneStream(
                load_textures(photos, "train").to(self.device),
                load_textures(cutouts, "train", cutouts=True).to(self.device),
                recipe.scenes,
                crop=recipe.crop,
                reuse=recipe.reuse,
                centred=recipe.centred,
                rotation_share=recipe.rotation_share,
                real=None if clips is None else cut_crops(clips, recipe.scene),
                real_share=recipe.real_share,
                cache=None if keep_scenes is None else Path(keep_scenes),
                **options,
            )
        self.truth = self._validation_batch(data, photos, cutouts)

    def _open_mix(
        self, data: Sequence[str | Path]
    ) -> tuple[dict[str, BlurClipDataset], dict[str, float]]:
        """The train splits of data sets that were built, and their weights."""
        frames, motion = self._needs
        return open_mix(
            data,
            "train",
            size=self.recipe.crop,
            frames=frames,
            augment=self.recipe.augmentations,
            seed=self.seed,
            centred=self.recipe.centred,
            motion=motion,
        )

    def _restore(self, checkpoint: dict[str, Any], optimizer: torch.optim.Optimizer) -> None:
        """Go on from a checkpoint; what was logged after it will be seen again."""
        for name, group in self.groups.items():
            group.load_state_dict(checkpoint[name])
        self.ema.module.load_state_dict(checkpoint["ema"])
        optimizer.load_state_dict(checkpoint["optimizer"])
        self.step, self.seconds = checkpoint["step"], checkpoint["seconds"]
        self.samples = checkpoint["samples"]
        rows = self._rows(_LOG)  # without a last one that a kill has cut
        if rows and self.accelerator.is_main_process:
            kept = (row for row in rows if row["samples"] <= self.samples)
            write_lines(self.folder / _LOG, kept)

    def _validation_batch(
        self,
        data: Sequence[str | Path],
        photos: str | Path | None,
        cutouts: str | Path | None,
    ) -> SampleBatch:
        """Samples of the val split: of the data sets that have one, else rendered scenes."""
        recipe = self.recipe
        count = min(_VALIDATION_SCENES, 6 * recipe.batch)
        if data:
            truth = validation_samples(data, count, recipe.crop, *self._needs)
            if truth is not None:
                return truth.to(self.device)
        truth = render(
            load_textures(photos, "val").to(self.device),
            load_textures(cutouts, "val", cutouts=True).to(self.device),
            SceneConfig(size=recipe.scene, blur=(min(4.0, recipe.blur[1] / 2), 32.0)),
            count,
            seed=12345,
            device=self.device,
        )
        return truth._replace(photo=simulate_sensor(truth.photo, 12345))

    @property
    def _needs(self) -> tuple[int, bool]:
        """How many frames the model needs of a sample, and whether their motion."""
        count = self.recipe.model(self.recipe.config).native_frames
        sees_motion = self.recipe.model.output_kind in ("flow", "guidance")
        return (1, True) if sees_motion else (count or 7, count != 1)

    def _warm_start(self, init: str | Path | None) -> HubModel | None:
        """The model to begin with where there is no checkpoint; None where none fits."""
        try:
            start = self.recipe.model.from_pretrained(init)
        except InputError:
            if init is None:
                return None
            raise
        if start.config == self.recipe.config:
            return start
        if init is None:
            return None
        raise InputError(
            f"the weights '{init}' are of another size than recipe '{self.recipe.name}' trains; "
            "name others or leave them out."
        )

    def _read_checkpoint(self) -> dict[str, Any] | None:
        path = self.folder / CHECKPOINT
        if not path.exists():
            return None
        try:
            checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, EOFError, UnpicklingError) as error:
            raise InputError(
                f"{path} cannot be read; remove it or start anew without resuming."
            ) from error
        if json.loads(checkpoint["recipe"]) != json.loads(json.dumps(asdict(self.recipe.config))):
            raise InputError(
                f"{path} is of another model than recipe '{self.recipe.name}'; "
                "name another output folder or start anew without resuming."
            )
        seed = checkpoint.get("seed", self.seed)  # older ones do not say
        if seed != self.seed:
            raise InputError(
                f"{path} was begun with seed {seed}, not {self.seed}: go on with that, name "
                "another output folder or start anew without resuming."
            )
        return checkpoint

    def loop(
        self,
        samples: int | None,
        hours: float | None,
        decay: int,
        validate_every: int,
        save_minutes: float,
    ) -> Path:
        """Step until the samples or the hours are used up; returns the folder of the weights."""
        recipe = self.recipe
        per_step = recipe.batch * self.accelerator.num_processes
        first, started, start = self.step, time.monotonic(), recipe.rate(self.samples)
        if decay:
            samples = self.samples + decay
            if self.accelerator.is_main_process:
                (self.folder / _DECAY_LOG).unlink(missing_ok=True)  # of a decay before
        # Counted, not derived from the step: a run may go on with another number of processes.
        last = first + ((2**62 if samples is None else samples) - self.samples) // per_step
        deadline = math.inf if hours is None else started + 3600 * hours
        saved, earlier = started, self.seconds
        bar = tqdm(
            total=samples,
            initial=self.samples,
            unit="sample",
            desc=recipe.name,
            disable=not self.accelerator.is_main_process,
        )
        synthesis, running, scores = 0.0, 0.0, {}
        while self.step < last and time.monotonic() < deadline:
            if decay:
                rate = start * (1 - (self.step - first) / (last - first))
            else:
                rate = recipe.rate(self.samples) * min(1.0, (self.step + 1) / recipe.warmup)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            before = time.monotonic()
            batch = self.stream(self.step)
            synthesis += time.monotonic() - before
            loss = self._optimise(batch)
            running = loss if not running else 0.98 * running + 0.02 * loss
            self.step += 1
            self.samples += per_step
            bar.update(per_step)
            now = time.monotonic()
            self.seconds = earlier + now - started
            if self.samples % validate_every < per_step or self.step == last:
                scores = recipe.objective.validate(self.ema.module.eval(), self.truth)
                done = (self.step - first) * per_step
                self._log(
                    _DECAY_LOG if decay else _LOG,
                    loss=running,
                    samples_per_second=done / (now - started),
                    synthesis=synthesis / (now - started),
                    **scores,
                )
                shown = {name: f"{score:.2f}" for name, score in scores.items()}
                bar.set_postfix(loss=f"{running:.4f}", **shown)
            if not decay and now - saved > 60 * save_minutes:
                self.save()
                saved = now
        bar.close()
        if decay:
            return self._export(self.folder / _RELEASED)
        return self.save()

    def _optimise(self, batch: SampleBatch) -> float:
        # What an objective draws at random is a function of seed and step, as batches are.
        ranks, rank = self.accelerator.num_processes, self.accelerator.process_index
        torch.manual_seed(self.seed * 1_000_003 + self.step * ranks + rank)
        losses = self.objective(batch._asdict(), self.step)
        self.optimizer.zero_grad()
        # No loss has a gradient for another's group, so that one pass serves them all.
        self.accelerator.backward(torch.stack(list(losses.values())).sum())
        for name in losses:
            parameters = self.groups[name].parameters()
            self.accelerator.clip_grad_norm_(parameters, self.recipe.clip_norm)
        self.optimizer.step()
        self.ema.update(self.model, step=self.step)
        return float(sum(loss.detach() for loss in losses.values()))

    def _log(self, name: str, **values: float) -> None:
        if not self.accelerator.is_main_process:
            return
        row = {"samples": self.samples, "seconds": round(self.seconds, 1)}
        row |= {key: round(value, 5) for key, value in values.items()}
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / name).open("a", encoding="utf-8") as log:
            log.write(json.dumps(row) + "\n")

    def save(self) -> Path:
        """Write checkpoint, averaged weights, contact sheet and curve; returns the weights."""
        weights = self.folder / "weights"
        if not self.accelerator.is_main_process:
            return weights
        self.folder.mkdir(parents=True, exist_ok=True)
        state = {
            "recipe": json.dumps(asdict(self.recipe.config)),
            **{name: group.state_dict() for name, group in self.groups.items()},
            "ema": self.ema.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "samples": self.samples,
            "seconds": self.seconds,
            "seed": self.seed,
        }
        with atomic_path(self.folder / CHECKPOINT) as path:
            torch.save(state, path)
        self._draw()
        self._export(weights)
        if self.on_save is not None:
            self.on_save(self.folder)
        return weights

    def _export(self, folder: Path) -> Path:
        if self.accelerator.is_main_process:
            rows = self._rows(_DECAY_LOG if folder.name == _RELEASED else _LOG)
            card = training_card(self.recipe, self.samples, self.seconds, rows[-1:])
            self.ema.module.save_pretrained(folder, dtype=torch.float16, card=card)
        return folder

    def _rows(self, log: str) -> list[dict[str, float]]:
        """Rows of a log; none where it has not begun."""
        path = self.folder / log
        return list(read_lines(path, torn=True)) if path.exists() else []

    def _draw(self) -> None:
        from b2m.visualize.plots import training_curve

        objective = self.recipe.objective
        some = SampleBatch(*(part[:6] for part in self.truth))
        sheet = objective.draw(self.ema.module.eval(), some)
        write_png(self.folder / "sheet.png", sheet)
        if rows := self._rows(_LOG):
            training_curve(rows, self.folder / "curve.png", objective.panels)


def _accelerator() -> Accelerator:
    """In bfloat16 where a GPU computes in it."""
    from accelerate import Accelerator

    gpu = torch.cuda.is_available()
    # Cards before Ampere, as Colab's T4, only emulate bfloat16, which is slower than float32.
    # On CPUs it is asked for by ACCELERATE_MIXED_PRECISION=bf16: see docs/experiments.md.
    precision = None
    if gpu:
        half = torch.cuda.is_bf16_supported(including_emulation=False)
        precision = "bf16" if half else "no"
    return Accelerator(cpu=not gpu, mixed_precision=precision)


def _optimizer(objective: Objective, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's, for all parameters of an objective."""
    from timm.optim import Muon, create_optimizer_v2

    if recipe.optimizer == "muon":
        return Muon(
            _muon_groups(objective, recipe.weight_decay),
            lr=recipe.learning_rate,
            nesterov=True,
            ns_coefficients="original",
            betas=recipe.betas,
        )
    return create_optimizer_v2(
        objective,
        opt=recipe.optimizer,
        lr=recipe.learning_rate,
        betas=recipe.betas,
        weight_decay=recipe.weight_decay,
        filter_bias_and_bn=recipe.optimizer == "adamw",
        fused=True,
    )


def _muon_groups(objective: Objective, weight_decay: float) -> list[dict[str, Any]]:
    """Parameters for Muon, and those for its AdamW: first and last layers, narrow ones, biases."""
    groups: list[dict[str, Any]] = [
        {"params": [], "weight_decay": weight_decay},
        {"params": [], "weight_decay": weight_decay, "use_fallback": True},
        {"params": [], "weight_decay": 0.0, "use_fallback": True},
    ]
    for name, parameter in objective.named_parameters():
        inner = not any(part in name for part in ("stem", "head"))
        wide = parameter.ndim > 1 and min(parameter.shape[:2]) >= _MUON_WIDTH
        place = 2 if parameter.ndim <= 1 else 0 if inner and wide else 1
        groups[place]["params"].append(parameter)
    return [group for group in groups if group["params"]]
