"""The link preview of this page on other sites: title and picture, in place of Gradio's."""

from __future__ import annotations

import html
import re
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

TITLE = "Blur to motion"
TEXT = "Turns one motion-blurred photo into a short sharp clip."
PICTURE = "/card.jpg"
_OLD = re.compile(rb'<meta\s+(?:property|name)="(?:og|twitter):[^>]*>\s*', re.DOTALL)

Scope = MutableMapping[str, Any]


class Card:
    """Serves the picture, and adds the link preview to the page.

    Args:
        app: that answers all else.
        picture: a JPEG of 1200 x 630.
    """

    def __init__(self, app: Callable[..., Awaitable[None]], picture: Path) -> None:
        self.app, self.picture = app, picture

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Answer a request."""
        path = scope.get("path", "")
        if scope["type"] != "http" or path not in ("/", PICTURE):
            await self.app(scope, receive, send)
            return
        if path == PICTURE:
            kind = [(b"content-type", b"image/jpeg"), (b"cache-control", b"max-age=86400")]
            await send({"type": "http.response.start", "status": 200, "headers": kind})
            await send({"type": "http.response.body", "body": self.picture.read_bytes()})
            return
        start: dict[str, Any] = {}
        body = bytearray()

        async def gathered(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
                return
            body.extend(message.get("body", b""))
            if message.get("more_body"):
                return
            page = _with_card(bytes(body), _site(scope))
            start["headers"] = [
                (name, str(len(page)).encode() if name == b"content-length" else value)
                for name, value in start.get("headers", ())
            ]
            await send(start)
            await send({"type": "http.response.body", "body": page})

        await self.app(scope, receive, gathered)


def _site(scope: Scope) -> str:
    """The page's URL as its visitor sees it."""
    headers = dict(scope["headers"])
    scheme = headers.get(b"x-forwarded-proto", scope.get("scheme", "http").encode())
    return f"{scheme.decode('latin-1')}://{headers.get(b'host', b'').decode('latin-1')}"


def _with_card(page: bytes, site: str) -> bytes:
    tags = {
        "og:type": "website",
        "og:title": TITLE,
        "og:description": TEXT,
        "og:url": f"{site}/",
        "og:image": f"{site}{PICTURE}",
        "twitter:card": "summary_large_image",
    }
    tags = "".join(
        f'<meta property="{name}" content="{html.escape(value)}" />' for name, value in tags.items()
    )
    return _OLD.sub(b"", page).replace(b"<head>", b"<head>" + tags.encode(), 1)
