"""The command that serves the page where photos are uploaded: ``b2m demo``."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from b2m.cli.console import Weights
from b2m.errors import InputError

_PACKAGE = Path(__file__).parents[1]
_PLACES = (_PACKAGE / "demo", _PACKAGE.parent / "demo")  # in the wheel, and in a clone


def demo(
    port: Annotated[
        int | None,
        typer.Option(metavar="N", help="Where it listens; without it, 7860."),
    ] = None,
    host: Annotated[
        str, typer.Option(metavar="NAME", help="0.0.0.0 lets other machines in.")
    ] = "127.0.0.1",
    weights: Weights = None,
) -> None:
    """Serve the page where photos are uploaded and directed, http://127.0.0.1:7860.

    It is the same page as on a Hugging Face Space, on your own computer: nothing leaves it. It
    needs Gradio: pip install 'gradio[mcp]'.
    """
    app = next((found for p in _PLACES if (found := p / "gradio" / "app.py").is_file()), None)
    if app is None:
        raise InputError("this installation lacks the page: run make demo in a clone of b2m")
    if importlib.util.find_spec("gradio") is None:
        raise InputError("the page needs Gradio: run pip install 'gradio[mcp]'")
    chosen = {"GRADIO_SERVER_NAME": host}
    if port is not None:
        chosen["GRADIO_SERVER_PORT"] = str(port)
    if weights is not None:
        chosen["B2M_WEIGHTS"] = weights
    # In place of this process, so that whatever ends it ends the page.
    os.execve(sys.executable, [sys.executable, str(app)], os.environ | chosen)
