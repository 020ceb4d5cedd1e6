"""Hugging Face Hub: ids, tokens, errors in one sentence, and what is published.

Nothing here needs PyTorch: weights are files.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from b2m.errors import InputError

OWNER = "OWNER"
"""The Hugging Face account under which the project publishes; put yours here before pushing.

It is named in this one place only; until it is set, `push_to_hub` asks for a full id.
"""

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
CARD_FILE = "README.md"

_WEIGHTS_FILES = (CONFIG_FILE, WEIGHTS_FILE, CARD_FILE)
_ENTRY = {"gradio": "app.py", "streamlit": "app.py", "docker": "Dockerfile", "static": "index.html"}
_LEFT_OUT = re.compile(r"(^|/)(\.(?!gitattributes$)[^/]*|__pycache__)(/|$)")
_REFERENCE = re.compile(r"<(?:link|script)\b[^>]*\b(?:href|src)=\"(?![a-z]+:|//|#)([^\"?#]+)")
RETRY_REMEDY = "check the network, and try again"
_NAMING = (CARD_FILE, "requirements.txt")  # files that name the account of the source code
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def is_hub_id(text: str) -> bool:
    """Whether a text is "owner/name"."""
    return _HUB_ID.fullmatch(text) is not None


def check_hub_id(repo_id: str) -> None:
    """Refuse what is not "owner/name".

    Raises:
        InputError: it is not.
    """
    if not is_hub_id(repo_id):
        raise InputError(f"'{repo_id}' is not a Hub id: give 'owner/name'")


def first_line(error: BaseException) -> str:
    """First line of an error's message, or the name of its class."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


@contextmanager
def hub_errors(
    repo_id: str, start: str = "", remedy: str = "check the network, or name a folder"
) -> Iterator[None]:
    """Turn what the Hub client raises into one sentence.

    Args:
        repo_id: the repository that is read or written.
        start: of the sentence.
        remedy: its end, where the Hub cannot be reached.

    Raises:
        InputError: whatever was raised inside.
    """
    from huggingface_hub import errors

    try:
        yield
    except errors.RepositoryNotFoundError as error:
        raise InputError(
            f"{start}the Hugging Face Hub has no '{repo_id}' that you may read: check the name, "
            "or log in with 'hf auth login'"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise InputError(f"{start}'{repo_id}' on the Hub has no such revision") from error
    except (errors.HfHubHTTPError, errors.HFValidationError) as error:
        response = getattr(error, "response", None)
        if getattr(response, "status_code", None) in (401, 403):
            reason = "your token is not known there, or may not write: log in with 'hf auth login'"
        else:
            reason = first_line(error)
        raise InputError(f"{start}the Hugging Face Hub refused '{repo_id}': {reason}") from error
    except Exception as error:
        # Without a network the client raises LocalEntryNotFoundError, an httpx error or an
        # OSError, by version and by stage.
        raise InputError(
            f"{start}the Hugging Face Hub cannot be reached for '{repo_id}': {remedy}"
        ) from error


@dataclasses.dataclass(frozen=True)
class Upload:
    """What would be sent where.

    Attributes:
        repo_id: "owner/name".
        space: whether it is a Space, else a model.
        sdk: what a Space runs on, as its card says.
        files: contents, or where they are, by their names in the repository.
        nameless: files that still name the account of the source code `OWNER`.
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
            `OWNER`.

    Raises:
        InputError: not an id, or not a whole checkpoint or Space.
    """
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
    sdk = _checked_space(folder, files) if space else None
    if not space and (missing := [name for name in _WEIGHTS_FILES if name not in files]):
        hint = "; for a Space give --space" if "app.py" in files else ""
        raise InputError(
            f"'{folder}' is no whole checkpoint: it lacks {' and '.join(missing)}{hint}"
        )
    nameless = []
    account = (owner or OWNER).encode()
    for name in _NAMING:
        path = files.get(name)
        if isinstance(path, Path) and (text := path.read_bytes()).count(_source(b"OWNER")):
            files[name] = text.replace(_source(b"OWNER"), _source(account))
            if account == b"OWNER":
                nameless.append(name)
    if space:  # the front matter names its own id, and its account's models
        card = files[CARD_FILE]
        before = card if isinstance(card, bytes) else card.read_bytes()
        head, fence, rest = before.partition(b"\n---\n")
        head = head.replace(b"/spaces/OWNER/b2m/", f"/spaces/{repo_id}/".encode())
        head = head.replace(b"- OWNER/", f"- {repo_id.split('/')[0]}/".encode())
        if head + fence + rest != before:
            files[CARD_FILE] = head + fence + rest
    return Upload(repo_id, space, sdk, files, tuple(nameless))


def _source(account: bytes) -> bytes:
    return b"github.com/" + account + b"/"


def _checked_space(folder: Path, files: dict[str, bytes | Path]) -> str:
    """What a Space runs on."""
    from huggingface_hub import metadata_load

    try:
        card = (metadata_load(folder / CARD_FILE) if CARD_FILE in files else None) or {}
    except Exception as error:  # of the YAML parser, which b2m does not know
        raise InputError(f"the front matter of '{folder / CARD_FILE}' is not valid YAML") from error
    sdk = card.get("sdk")
    if sdk not in _ENTRY:
        raise InputError(
            f"'{folder}' is no Space: the front matter of its {CARD_FILE} must say sdk: "
            f"{', '.join(_ENTRY)}"
        )
    entry = _ENTRY[sdk] if sdk == "docker" else card.get("app_file", _ENTRY[sdk])
    if entry not in files:
        raise InputError(f"the Space '{folder}' lacks {entry}, with which it starts")
    if sdk == "static":
        text = (folder / entry).read_text("utf-8", errors="replace")
        for name in _REFERENCE.findall(text):
            if name not in files:
                raise InputError(
                    f"the Space '{folder}' lacks {name}, which its {entry} needs: make web makes "
                    "that of demo/web"
                )
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

    if "requirements.txt" in upload.nameless:
        raise InputError(
            "the Space could not install b2m: say with --owner under whose account on GitHub it is"
        )
    api = HfApi(token=checked_token(token))
    kind = "space" if upload.space else "model"
    operations: list[CommitOperationAdd] = [
        CommitOperationAdd(name, str(content) if isinstance(content, Path) else content)
        for name, content in upload.files.items()
    ]
    with hub_errors(upload.repo_id, remedy=RETRY_REMEDY):
        api.create_repo(
            upload.repo_id, repo_type=kind, private=private, exist_ok=True, space_sdk=upload.sdk
        )
        api.create_commit(upload.repo_id, operations, repo_type=kind, commit_message=message)
    return upload.page


def checked_token(token: str | None) -> str:
    """The token that is given, or the one of ``hf auth login`` or of the variable HF_TOKEN.

    Raises:
        InputError: there is none.
    """
    from huggingface_hub import get_token

    if not (token := token or get_token()):
        raise InputError(
            "you are not logged in to the Hugging Face Hub: run 'hf auth login', or put a token "
            "that may write into HF_TOKEN"
        )
    return token
