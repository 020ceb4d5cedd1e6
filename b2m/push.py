"""Publish on the Hugging Face Hub: ``b2m push FOLDER owner/name``, weights or a Space.

Without ``--yes`` nothing is sent and no network is needed: one sees what would be. And keep a
training there, in a private repository, from which an emptied machine goes on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from b2m.errors import InputError

# PyTorch, which the models of the Hub are made of, takes a second to import.
if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd

_CARD = "README.md"
_WEIGHTS_FILES = ("config.json", "model.safetensors", _CARD)
_ENTRY = {"gradio": "app.py", "streamlit": "app.py", "docker": "Dockerfile", "static": "index.html"}
_LEFT_OUT = re.compile(r"(^|/)(\.(?!gitattributes$)[^/]*|__pycache__)(/|$)")
_REMEDY = "check the network, and try again"
_NAMING = (_CARD, "requirements.txt")  # files that name the account of the source code


@dataclass(frozen=True)
class Upload:
    """What would be sent where.

    Attributes:
        repo_id: "owner/name".
        space: whether it is a Space, else a model.
        sdk: what a Space runs on, as its card says.
        files: contents, or where they are, by their names in the repository.
        nameless: files that still name the account of the source code `b2m.hub.OWNER`.
    """

    repo_id: str
    space: bool
    sdk: str | None
    files: dict[str, bytes | Path]
    nameless: tuple[str, ...]

    @property
    def page(self) -> str:
        """Address on the Hub."""
        from huggingface_hub import constants

        return f"{constants.ENDPOINT}/{'spaces/' if self.space else ''}{self.repo_id}"


def plan(folder: Path, repo_id: str, *, space: bool = False, owner: str | None = None) -> Upload:
    """Look at a folder that is to be published; nothing is sent.

    Args:
        folder: a checkpoint (config.json, model.safetensors, README.md) or a Space. Hidden files,
            links and caches are left out.
        repo_id: "owner/name".
        space: whether it is a Space.
        owner: account on GitHub of the source code, which cards and requirements name; None takes
            `b2m.hub.OWNER`.

    Raises:
        InputError: not an id, or not a whole checkpoint or Space.
    """
    from b2m.hub import OWNER, check_hub_id

    check_hub_id(repo_id)
    if not folder.is_dir():
        raise InputError(f"'{folder}' is no folder: name one that holds a checkpoint or a Space")
    paths = [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and not path.is_symlink()
        and not _LEFT_OUT.search(path.relative_to(folder).as_posix())
    ]
    files: dict[str, bytes | Path] = {p.relative_to(folder).as_posix(): p for p in paths}
    sdk = None
    if space:
        sdk = _checked_space(folder, files)
    else:
        _check_weights(folder, files)
    nameless = []
    account = (owner or OWNER).encode()
    for name in _NAMING:
        path = files.get(name)
        if isinstance(path, Path) and (text := path.read_bytes()).count(_source(b"OWNER")):
            files[name] = text.replace(_source(b"OWNER"), _source(account))
            if account == b"OWNER":
                nameless.append(name)
    return Upload(repo_id, space, sdk, files, tuple(nameless))


def _source(account: bytes) -> bytes:
    return b"github.com/" + account + b"/"


def _check_weights(folder: Path, files: dict[str, bytes | Path]) -> None:
    if missing := [name for name in _WEIGHTS_FILES if name not in files]:
        hint = "; for a Space give --space" if "app.py" in files else ""
        raise InputError(
            f"'{folder}' is no whole checkpoint: it lacks {' and '.join(missing)}{hint}"
        )


def _checked_space(folder: Path, files: dict[str, bytes | Path]) -> str:
    """What a Space runs on."""
    from huggingface_hub import metadata_load

    try:
        card = (metadata_load(folder / _CARD) if _CARD in files else None) or {}
    except Exception as error:  # of the YAML parser, which b2m does not know
        raise InputError(f"the front matter of '{folder / _CARD}' is not valid YAML") from error
    sdk = card.get("sdk")
    if sdk not in _ENTRY:
        raise InputError(
            f"'{folder}' is no Space: the front matter of its {_CARD} must say sdk: "
            f"{', '.join(_ENTRY)}"
        )
    entry = _ENTRY[sdk] if sdk == "docker" else card.get("app_file", _ENTRY[sdk])
    if entry not in files:
        raise InputError(f"the Space '{folder}' lacks {entry}, with which it starts")
    return str(sdk)


def send(
    upload: Upload,
    *,
    private: bool = False,
    token: str | None = None,
    message: str = "Upload with b2m",
) -> str:
    """Publish, in one commit, making the repository when it is missing.

    Args:
        upload: of `plan`.
        private: of a new repository.
        token: None takes the one of ``hf auth login`` or of the variable HF_TOKEN.
        message: for the Hub's history.

    Returns:
        Address of the page.

    Raises:
        InputError: there is no token, the Hub refuses or cannot be reached, or a Space's
            requirements do not say where b2m comes from.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    from b2m.hub import hub_errors

    if "requirements.txt" in upload.nameless:
        raise InputError(
            "the Space could not install b2m: say with --owner under whose account on GitHub it is"
        )
    api = HfApi(token=_checked_token(token))
    kind = "space" if upload.space else "model"
    operations: list[CommitOperationAdd] = [
        CommitOperationAdd(name, str(content) if isinstance(content, Path) else content)
        for name, content in upload.files.items()
    ]
    with hub_errors(upload.repo_id, remedy=_REMEDY):
        api.create_repo(
            upload.repo_id, repo_type=kind, private=private, exist_ok=True, space_sdk=upload.sdk
        )
        api.create_commit(upload.repo_id, operations, repo_type=kind, commit_message=message)
    return upload.page


def _checked_token(token: str | None) -> str:
    from huggingface_hub import get_token

    if not (token := token or get_token()):
        raise InputError(
            "you are not logged in to the Hugging Face Hub: run 'hf auth login', or put a token "
            "that may write into HF_TOKEN"
        )
    return token


# --- a training -----------------------------------------------------------------------------------


def open_run(repo_id: str, folder: str | Path, *, token: str | None = None) -> None:
    """Fetch a training kept on the Hub, for `b2m.train.train` to go on with; or make its place.

    Args:
        repo_id: "owner/name" of a repository of its own, which is made, private, where it is
            missing.
        folder: of the run. One that holds a checkpoint is left as it is.
        token: None takes the one of ``hf auth login`` or of the variable HF_TOKEN.

    Raises:
        InputError: not an id, there is no token, or the Hub refuses or cannot be reached.
    """
    from huggingface_hub import HfApi

    from b2m.hub import check_hub_id, hub_errors
    from b2m.train import CHECKPOINT

    check_hub_id(repo_id)
    api = HfApi(token=_checked_token(token))
    with hub_errors(repo_id, remedy=_REMEDY):
        api.create_repo(repo_id, private=True, exist_ok=True)
        if not Path(folder, CHECKPOINT).exists():
            api.snapshot_download(repo_id, local_dir=folder)


def keep_run(folder: str | Path, repo_id: str, *, token: str | None = None) -> None:
    """Send a training as it is now to its place on the Hub, which `open_run` makes.

    Args:
        folder: of the run, which `b2m.train.train` gives to `on_save`.
        repo_id: "owner/name".
        token: as `open_run` takes it.

    Raises:
        InputError: there is no token, or the Hub refuses or cannot be reached.
    """
    from huggingface_hub import HfApi

    from b2m.hub import hub_errors

    api = HfApi(token=_checked_token(token))
    with hub_errors(repo_id, remedy="the next checkpoint is sent again"):
        api.upload_folder(repo_id=repo_id, folder_path=folder, commit_message="Keep the training")


# --- the command ---------------------------------------------------------------------------------


def push(
    folder: Annotated[
        Path,
        typer.Argument(metavar="FOLDER", help="Weights or a Space.", show_default=False),
    ],
    repo_id: Annotated[
        str, typer.Argument(metavar="OWNER/NAME", help="Where to, on the Hub.", show_default=False)
    ],
    space: Annotated[bool, typer.Option("--space", help="It is a Space.")] = False,
    owner: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Account on GitHub that holds b2m's source.", show_default=False
        ),
    ] = None,
    private: Annotated[
        bool, typer.Option("--private", help="A new repository is private.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without it, only say what.")] = False,
) -> None:
    """Publish weights or a Space on the Hugging Face Hub.

    \b
      b2m push weights/animator user/b2m-animator
      b2m push demo/gradio user/b2m --space --owner user

    Both only say what would be sent, and need no network; --yes sends it, in one commit. Log in
    with "hf auth login" before, or put a token that may write into HF_TOKEN.
    """
    upload = plan(folder, repo_id, space=space, owner=owner)
    sizes = {
        name: content.stat().st_size if isinstance(content, Path) else len(content)
        for name, content in upload.files.items()
    }
    width = max(map(len, sizes))
    for name, size in sizes.items():
        print(f"{name:{width}}  {_readable(size):>9}")
    kind = f"Space ({upload.sdk})" if upload.space else "model"
    print(f"{len(sizes)} files, {_readable(sum(sizes.values()))}, to the {kind} {upload.page}")
    for name in upload.nameless:
        print(f"{name} does not say where b2m's source is: give --owner")
    if yes:
        print(f"sent: {send(upload, private=private)}")
    else:
        print("nothing was sent; --yes sends it")


def _readable(size: int) -> str:
    if size < 1000:
        return f"{size} B"
    return f"{size / 1e3:.1f} kB" if size < 1e6 else f"{size / 1e6:.1f} MB"


def add_to(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command(short_help="Publish weights or a Space on the Hugging Face Hub.")(push)
