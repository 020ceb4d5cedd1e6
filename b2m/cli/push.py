"""Publish weights or a Space on the Hugging Face Hub: ``b2m push FOLDER owner/name``.

Without ``--yes`` nothing is sent and no network is needed: what would be sent is listed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from b2m.hub_client import plan, send


def push(
    folder: Annotated[
        Path,
        typer.Argument(metavar="FOLDER", help="Weights or a Space."),
    ],
    repo_id: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="Where to, on the Hub.")],
    space: Annotated[bool, typer.Option("--space", help="It is a Space.")] = False,
    owner: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Account on GitHub that holds b2m's source."),
    ] = None,
    private: Annotated[
        bool, typer.Option("--private", help="A new repository is private.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Upload; without it, list what would be.")
    ] = False,
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
