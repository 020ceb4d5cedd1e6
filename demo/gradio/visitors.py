"""An animator that stops when its visitor has left."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import gradio as gr
from gradio.context import LocalContext

import b2m
from b2m import Prepared
from b2m.media import ImageLike


class VisitorAnimator(b2m.BlurAnimator):
    """An animator that encodes no further frames of a video once its visitor has left."""

    def __init__(self, animator: b2m.BlurAnimator) -> None:
        super().__init__(animator.model, animator.predictor)

    def prepare(self, image: ImageLike) -> Prepared:
        """Encode a photo, as `BlurAnimator.prepare` does.

        Raises:
            gr.Error: whoever asked has gone.
        """
        if not visitor_is_there():
            raise gr.Error("whoever asked for this has gone", print_exception=False)
        return super().prepare(image)


def visitor_is_there() -> bool:
    """Whether the visitor of the current request is still there; True outside of requests.

    Gradio marks a request when its connection breaks, but goes on: it knows no other way to tell
    the function, unless that gives a result after every frame, under which progress cannot be seen.
    """
    event = _event()
    return event is None or event.alive


_MAX_PAGES = 1000  # whose photos are remembered
_shown: OrderedDict[str, tuple[str | None, bool]] = OrderedDict()


def show(page: str, photo: str | None, *, clip: bool = False) -> None:
    """Record which photo a page shows, and whether with its clip; API clients have no page."""
    if not page:
        return
    _shown[page] = photo, clip
    _shown.move_to_end(page)
    while len(_shown) > _MAX_PAGES:
        _shown.popitem(last=False)


def leave(page: str) -> bool:
    """Mark what a page waits for as superseded; whether it waits for the first clip of a photo."""
    waits = page in _shown and not _shown[page][1]
    if waits:
        show(page, None)
    return waits


def shown(photo: str | None, *, clip: bool = False) -> bool:
    """Whether the page of the current request still shows this photo with its clip."""
    what, made = _shown.get(visitor(), (photo, True))
    return what == photo and (made or not clip)


def visitor() -> str:
    """The page of the current request; empty outside of requests."""
    event = _event()
    return "" if event is None else str(event.session_hash)


def _event() -> Any:
    """Gradio's event of the current request."""
    page, event_id = LocalContext.blocks.get(None), LocalContext.event_id.get(None)
    if page is None or event_id is None:
        return None
    return page._queue.event_ids_to_events.get(event_id)
