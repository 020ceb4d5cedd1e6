"""Checkpoints: the base class of all models, reading and writing, where weights are looked for.

A checkpoint is a folder laid out as a Hugging Face Hub repository: ``config.json``
(``{"model": "MotionAnimator", …}``), ``model.safetensors`` and a model card, ``README.md``.
Loading is strict: a key or a tensor too many or too few is an error, never a silent default.
"""

from __future__ import annotations

import dataclasses
import json
import os
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from b2m.errors import InputError
from b2m.files import atomic_path, make_folder
from b2m.hub_client import (
    CARD_FILE,
    CONFIG_FILE,
    OWNER,
    WEIGHTS_FILE,
    Upload,
    check_hub_id,
    first_line,
    hub_errors,
    is_hub_id,
    send,
)

_NO_WEIGHTS = (  # what downloads and renamed files turn out to be, in lower case
    (b"<!doctype html", "a web page"),
    (b"<html", "a web page"),
    (b"version https://git-lfs", "a Git LFS pointer"),
    (b"pk\x03\x04", "a PyTorch pickle, which may run code and is never loaded"),
    (b"\x80\x02", "a Python pickle, which may run code and is never loaded"),
    (b"\x80\x04", "a Python pickle, which may run code and is never loaded"),
)
_PACKAGE_WEIGHTS = Path(__file__).parent / "weights"
_REPOSITORY_WEIGHTS = Path(__file__).parent.parent / "weights"


OutputKind = Literal["animation", "frames", "sharp frame", "flow", "guidance"]


class HubModel(torch.nn.Module):
    """Base of all models: a network with a config that can be saved, loaded and published.

    A subclass names its frozen config dataclass and, when the project ships weights for it, the
    name of their folder::

        class MotionAnimator(HubModel):
            config_class = MotionAnimatorConfig
            weights_name = "animator"
            config: MotionAnimatorConfig
    """

    config_class: ClassVar[type[Any]]
    weights_name: ClassVar[str | None] = None

    earlier_config: ClassVar[Mapping[str, Any]] = {}
    """Values of config keys that weights saved before there were such keys lack."""

    output_kind: ClassVar[OutputKind] = "frames"
    """What `forward` returns, which decides how the model is trained, validated and used.

    "animation": a `b2m.models.animator.Animation`; "frames": (B, T, 3, H, W) sRGB; "sharp frame":
    (B, 1, 3, H, W) sRGB; "flow": (B, 2, H, W) pixels; "guidance": logits of the guidance predictor.
    """

    native_frames: int | None = None
    """How many frames there are; None for any number."""

    guidance_predictors: ClassVar[tuple[str, ...]] = ()
    """What may propose its motion hypotheses, the default first, of "regions" and "cvae-gan"."""

    uncertain_flow: ClassVar[bool] = False
    """Whether the flow by the weights that ship with b2m is so uncertain that a photo is best
    deconvolved along it with `cautious=True` (`b2m.deblur_with_flow`)."""

    shipped_limits: ClassVar[str] = ""
    """What the weights that ship with b2m cannot do yet, a sentence; empty where they can."""

    limits: str = ""
    """The same of the weights that it has, set where clips are made by those that ship."""

    recipes: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Trainings of this model by name, see `b2m.registry.register_model`."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        if not isinstance(config, self.config_class):
            raise InputError(
                f"{type(self).__name__} takes a {self.config_class.__name__}, "
                f"not a {type(config).__name__}"
            )
        self.config = config

    def loss(
        self, batch: Mapping[str, Tensor], step: int, *args: Any, **weights: Any
    ) -> dict[str, Tensor]:
        """What training minimises, by the group of parameters that each loss is for.

        Args:
            batch: the fields of a `b2m.data.sample.SampleBatch` by name.
            step: of the training.
            weights: of terms of the loss. Each model names its own, and a recipe's `loss` may set
                these alone.

        Returns:
            A scalar for each of `groups`, by its name.
        """
        raise NotImplementedError

    @property
    def guided(self) -> bool:
        """Whether frames depend on guidance, so that the model is run anew for each."""
        return False

    def true_guidance(self, guidance: Tensor, flow: Tensor) -> Tensor | None:
        """The model's input where it is scored with true guidance; None if it takes none.

        Args:
            guidance: (B, 2, H, W) float in {-1, 0, 1}.
            flow: (B, 2, H, W) pixels over the exposure.
        """
        return None

    def groups(self) -> dict[str, torch.nn.Module]:
        """What is trained, by the names that `loss` returns."""
        return {"model": self}

    @classmethod
    def from_pretrained(
        cls,
        path_or_repo_id: str | os.PathLike[str] | None = None,
        *,
        revision: str | None = None,
        device: str | torch.device = "cpu",
    ) -> Self:
        """Load a model with its weights, in float32 and in evaluation mode.

        Args:
            path_or_repo_id: a checkpoint folder, a folder of such folders, or a Hub id; None
                looks where `find_weights` says.
            revision: branch, tag or commit on the Hub.
            device: where the model goes.

        Raises:
            InputError: nothing found, or it is not a whole checkpoint of this very model.
        """
        if path_or_repo_id is None and cls.weights_name is None:
            raise InputError(
                f"there are no weights for {cls.__name__} in b2m: name a folder or a Hub id"
            )
        folder = find_weights(cls.weights_name, path_or_repo_id, revision=revision)
        config = read_config(folder, cls)
        # Random initial values are replaced at once: the caller's random stream stays as it was.
        with torch.random.fork_rng(devices=[]):
            model = cls(config)
        _load_tensors(model, folder / WEIGHTS_FILE)
        return model.to(device).eval()

    def save_pretrained(
        self,
        folder: str | os.PathLike[str],
        dtype: torch.dtype | None = None,
        card: str | None = None,
    ) -> None:
        """Write config, weights and, when given, the model card; each file appears whole or not.

        Args:
            folder: made when missing.
            dtype: type of the stored floating-point tensors, as ``torch.float16`` for a release;
                None stores them as they are, bit for bit.
            card: Markdown text of the model card.

        Raises:
            InputError: a value does not fit into ``dtype``.
            OutputError: the folder cannot be written.
        """
        tensors = {name: _stored(name, tensor, dtype) for name, tensor in self.state_dict().items()}
        config = {"model": type(self).__name__, **dataclasses.asdict(self.config)}
        contents = {
            WEIGHTS_FILE: safetensors.torch.save(tensors, {"format": "pt"}),
            CONFIG_FILE: (json.dumps(config, indent=2) + "\n").encode(),
        }
        if card is not None:
            contents[CARD_FILE] = card.encode()
        make_folder(Path(folder))
        for name, data in contents.items():
            with atomic_path(Path(folder) / name) as path:
                path.write_bytes(data)

    def push_to_hub(
        self,
        repo_id: str | None = None,
        *,
        dtype: torch.dtype | None = None,
        card: str | None = None,
        private: bool = False,
        token: str | None = None,
        commit_message: str = "Upload with b2m",
    ) -> str:
        """Publish the model on the Hugging Face Hub, making the repository when it is missing.

        Args:
            repo_id: ``"owner/name"``; None is ``OWNER/b2m-NAME`` once `OWNER` is set.
            dtype: as in `save_pretrained`.
            card: as in `save_pretrained`.
            private: of a new repository.
            token: None takes the one of ``hf auth login``.
            commit_message: for the Hub's history.

        Returns:
            Address of the model's page.

        Raises:
            InputError: the id is not one, there is no token, or the Hub refuses or cannot be
                reached.
        """
        import tempfile

        if repo_id is None:
            if OWNER == "OWNER" or self.weights_name is None:
                raise InputError("say where to publish: push_to_hub('owner/name')")
            repo_id = f"{OWNER}/b2m-{self.weights_name}"
        check_hub_id(repo_id)
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder, dtype=dtype, card=card)
            upload = Upload(repo_id, False, None, {p.name: p for p in Path(folder).iterdir()}, ())
            return send(upload, private=private, token=token, message=commit_message)


def find_weights(
    name: str | None = "animator",
    weights: str | os.PathLike[str] | None = None,
    *,
    revision: str | None = None,
) -> Path:
    """Find a checkpoint folder.

    Looked up in this order: ``weights``; the environment variable ``B2M_WEIGHTS``; the weights
    inside the installed package; the weights of the repository. The first two may each be a
    checkpoint folder, a folder that holds it as ``NAME/``, or a Hub id, which may pin a revision:
    ``owner/name@revision``.

    Args:
        name: which checkpoint; None takes what ``weights`` names as it is.
        weights: the caller's choice, which is never passed over.
        revision: branch, tag or commit, for a Hub id.

    Returns:
        A folder that holds ``config.json``.

    Raises:
        InputError: nothing found, with what was looked for and the remedy.
    """
    if weights is not None:
        return _resolve(os.fspath(weights), name, "weights", revision)
    variable = os.environ.get("B2M_WEIGHTS")
    # A folder of checkpoints in B2M_WEIGHTS need not hold them all: others come from the package.
    if variable:
        folder = Path(variable).expanduser()
        if _within(folder, name) or not any(folder.glob(f"*/{CONFIG_FILE}")):
            return _resolve(variable, name, "B2M_WEIGHTS", revision)
    if name is None:
        raise InputError("no weights named: give a folder or a Hub id")
    places = (_PACKAGE_WEIGHTS / name, _REPOSITORY_WEIGHTS / name)
    for place in places:
        if (place / CONFIG_FILE).is_file():
            return place
    raise InputError(
        f"there are no weights '{name}' (looked in {' and '.join(f'{str(p)!r}' for p in places)}):"
        f" reinstall b2m, or name a folder or Hub id with weights=… (--weights) or $B2M_WEIGHTS"
    )


def available_models(models: Mapping[str, type[HubModel]]) -> dict[str, Path]:
    """Those models whose weights `find_weights` finds, and the folders they are in.

    Args:
        models: classes by the names they are asked for, such as `b2m.api.animators()`.
    """
    found = {}
    for name, model in models.items():
        try:
            folder = find_weights(model.weights_name)
            config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        except (InputError, OSError, ValueError):
            continue
        if config.get("model") == model.__name__:
            found[name] = folder
    return found


def source_of(folder: Path) -> str:
    """Where the weights of `find_weights` are from, without a path of this machine.

    Args:
        folder: that it found.

    Returns:
        "bundled", "folder NAME", or "owner/name at REVISION" for those of the Hub.
    """
    given = os.environ.get("B2M_WEIGHTS", "")
    if "snapshots" in folder.parts:  # as the Hub's cache is laid out
        revision = folder.parts[folder.parts.index("snapshots") + 1]
        return f"{given.partition('@')[0]} at {revision[:7]}"
    bundled = (_PACKAGE_WEIGHTS.resolve(), _REPOSITORY_WEIGHTS.resolve())
    return "bundled" if folder.resolve().parent in bundled else f"folder {folder.name}"


def read_config(folder: Path, model_class: type[HubModel]) -> Any:
    """Read ``config.json`` of a checkpoint as the model's config, every key checked.

    Raises:
        InputError: the file is missing or broken, is another model's, or a key is unknown,
            missing or of the wrong type.
    """
    path = folder / CONFIG_FILE
    values = _read_json(path)
    if not isinstance(values, dict) or not isinstance(values.get("model"), str):
        raise InputError(f"'{path}' does not say which model it is of: not a b2m checkpoint")
    model = values.pop("model")
    if model != model_class.__name__:
        raise InputError(f"the weights in '{folder}' are of {model}, not of {model_class.__name__}")
    values = {**model_class.earlier_config, **values}
    return _decode_dataclass(model_class.config_class, values, str(path))


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read '{path}': {error.strerror or error}") from error
    except ValueError as error:
        raise InputError(f"'{path}' is not valid JSON: fetch the weights anew") from error


def _decode_dataclass(kind: type[Any], values: dict[str, Any], where: str) -> Any:
    names = {field.name for field in dataclasses.fields(kind) if field.init}
    unknown, missing = sorted(values.keys() - names), sorted(names - values.keys())
    if unknown or missing:
        parts = [f"unknown {', '.join(unknown)}"] if unknown else []
        parts += [f"missing {', '.join(missing)}"] if missing else []
        raise InputError(f"'{where}' does not fit {kind.__name__}: {'; '.join(parts)}")
    hints = typing.get_type_hints(kind)
    decoded = {name: _decode(hints[name], value, name, where) for name, value in values.items()}
    try:
        return kind(**decoded)
    except (TypeError, ValueError) as error:
        raise InputError(f"'{where}' is not a possible {kind.__name__}: {error}") from error


def _decode(hint: Any, value: Any, name: str, where: str) -> Any:
    """Give a JSON value the type the config asks for, or say that it has another."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        for choice in arguments:
            try:
                return _decode(choice, value, name, where)
            except InputError:
                continue
    elif origin is tuple and isinstance(value, list):
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return tuple(_decode(arguments[0], item, name, where) for item in value)
        if len(arguments) == len(value):
            pairs = zip(arguments, value, strict=True)
            return tuple(_decode(kind, item, name, where) for kind, item in pairs)
    elif origin is typing.Literal:
        if value in arguments:
            return value
    elif dataclasses.is_dataclass(hint) and isinstance(hint, type) and isinstance(value, dict):
        return _decode_dataclass(hint, value, where)
    elif hint is float and type(value) in (int, float):
        return float(value)
    elif hint is Any or type(value) is hint:
        return value
    expected = hint.__name__ if isinstance(hint, type) else str(hint)
    raise InputError(f"'{where}': {name} is {value!r}, which is not of type {expected}")


def _stored(name: str, tensor: torch.Tensor, dtype: torch.dtype | None) -> torch.Tensor:
    # A clone each: safetensors refuses tensors that share memory.
    kept = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
    if dtype is None or not kept.is_floating_point():
        return kept
    converted = kept.to(dtype)
    if not torch.isfinite(converted).all() and torch.isfinite(kept).all():
        raise InputError(f"values of '{name}' are too large for {dtype}: store a wider type")
    return converted


def _read_tensors(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise InputError(f"'{path.parent}' has no {WEIGHTS_FILE}: fetch the weights anew")
    with path.open("rb") as file:
        start = file.read(64)
    for begin, kind in _NO_WEIGHTS:
        if start.lstrip().lower().startswith(begin):
            raise InputError(f"'{path}' is {kind}, not a safetensors file: fetch the weights anew")
    try:
        return safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise InputError(
            f"'{path}' is broken or cut short ({first_line(error)}): fetch the weights anew"
        ) from error


def _load_tensors(model: torch.nn.Module, path: Path) -> None:
    tensors, expected = _read_tensors(path), model.state_dict()
    problems = []
    if missing := sorted(expected.keys() - tensors.keys()):
        problems.append(f"missing {_some(missing)}")
    if unexpected := sorted(tensors.keys() - expected.keys()):
        problems.append(f"unexpected {_some(unexpected)}")
    for name in sorted(expected.keys() & tensors.keys()):
        found, wanted = tensors[name], expected[name]
        if found.shape != wanted.shape:
            problems.append(f"{name} is {tuple(found.shape)}, not {tuple(wanted.shape)}")
        elif found.is_floating_point() != wanted.is_floating_point():
            problems.append(f"{name} is {found.dtype}, not {wanted.dtype}")
        elif found.is_floating_point() and not found.isfinite().all():
            problems.append(f"{name} holds values that are no numbers")
    if problems:
        raise InputError(
            f"the weights in '{path.parent}' are not of this {type(model).__name__}: "
            f"{_some(problems, '; ')}"
        )
    model.load_state_dict(tensors)


def _some(items: list[str], separator: str = ", ", limit: int = 5) -> str:
    rest = len(items) - limit
    return separator.join(items[:limit]) + (f" and {rest} more" if rest > 0 else "")


def _within(folder: Path, name: str | None) -> Path | None:
    """Say where a folder holds a checkpoint: itself, or as NAME/ inside."""
    candidates = [folder] if name is None else [folder, folder / name]
    return next((place for place in candidates if (place / CONFIG_FILE).is_file()), None)


def _resolve(given: str, name: str | None, what: str, revision: str | None) -> Path:
    folder = Path(given).expanduser()
    if folder.is_dir():
        if found := _within(folder, name):
            return found
        inside = "" if name is None else f", and no folder '{name}' with one"
        raise InputError(
            f"{what} '{given}' has no {CONFIG_FILE}{inside}: name a folder that b2m saved"
        )
    if folder.exists():
        raise InputError(f"{what} '{given}' is a file: name the folder that holds it")
    repo_id, _, pinned = given.partition("@")
    if not is_hub_id(repo_id):
        raise InputError(
            f"{what} '{given}' does not exist: name a folder, or a Hub id as 'owner/name'"
        )
    return _download(repo_id, name, what, revision or pinned or None)


def _download(repo_id: str, name: str | None, what: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download

    files = [CONFIG_FILE, WEIGHTS_FILE]
    if name is not None:
        files += [f"{name}/{file}" for file in files]
    with hub_errors(repo_id, f"{what} '{repo_id}' is no folder here, and "):
        folder = Path(snapshot_download(repo_id, revision=revision, allow_patterns=files))
    if (found := _within(folder, name)) is None:
        raise InputError(f"{what} '{repo_id}' on the Hugging Face Hub is not a b2m checkpoint")
    damage = []
    for file, read in ((CONFIG_FILE, _read_json), (WEIGHTS_FILE, _read_tensors)):
        try:
            read(found / file)
        except InputError as error:  # the client would take it from its cache from now on
            damage.append(error)
            for place in ((found / file).resolve(), found / file):
                place.unlink(missing_ok=True)
    if damage:
        raise damage[0]
    return found
