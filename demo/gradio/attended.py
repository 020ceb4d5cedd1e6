"""An animator that stops when the visitor has gone, so that others need not wait for nobody."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import gradio as gr
from gradio.context import LocalContext

import b2m
from b2m import Prepared
from b2m.media import ImageLike


class Attended(b2m.BlurAnimator):
    """Another animator, that encodes no more frames of a video once nobody waits for it."""

    def __init__(self, animator: b2m.BlurAnimator) -> None:
        super().__init__(animator.model, animator.predictor)

    def prepare(self, image: ImageLike) -> Prepared:
        """Encode a photo, as `BlurAnimator.prepare` does.

        Raises:
            gr.Error: whoever asked has gone.
        """
        if not attended():
            raise gr.Error("whoever asked for this has gone", print_exception=False)
        return super().prepare(image)


def attended() -> bool:
    """Whether anyone still waits for what is being made; outside of requests, always.

    Gradio marks a request when its connection breaks, but goes on: it knows no other way to tell
    the function, unless that gives a result after every frame, under which progress cannot be seen.
    """
    event = _event()
    return event is None or event.alive


_MOST_PAGES = 1000  # whose photos are remembered
_shown: OrderedDict[str, tuple[str | None, bool]] = OrderedDict()


def show(page: str, photo: str | None, *, clip: bool = False) -> None:
    """Remember which photo a page shows, and whether its clip, too; programs have no page."""
    if not page:
        return
    _shown[page] = photo, clip
    _shown.move_to_end(page)
    while len(_shown) > _MOST_PAGES:
        _shown.popitem(last=False)


def leave(page: str) -> bool:
    """Take what a page waits for as of no use; whether it waits for the first clip of a photo."""
    waits = page in _shown and not _shown[page][1]
    if waits:
        show(page, None)
    return waits


def shown(photo: str | None, *, clip: bool = False) -> bool:
    """Whether the page that asked shows this photo still, with its clip, as far as is known."""
    what, made = _shown.get(visitor(), (photo, True))
    return what == photo and (made or not clip)


def visitor() -> str:
    """The page for which something is being made; empty outside of requests."""
    event = _event()
    return "" if event is None else str(event.session_hash)


def _event() -> Any:
    """What Gradio knows of the request."""
    page, event_id = LocalContext.blocks.get(None), LocalContext.event_id.get(None)
    if page is None or event_id is None:
        return None
    return page._queue.event_ids_to_events.get(event_id)
