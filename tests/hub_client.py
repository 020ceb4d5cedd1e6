"""The client of the Hub, which speaks with a server of the tests."""

import threading
from contextlib import contextmanager
from http.server import ThreadingHTTPServer

from huggingface_hub import constants


def connect(monkeypatch, endpoint, **settings):
    """Let the client speak with another server, and not wait between its tries."""
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    settings |= {"ENDPOINT": endpoint, "HUGGINGFACE_CO_URL_TEMPLATE": template}
    settings |= {"HF_HUB_DISABLE_XET": True}
    for name, value in settings.items():
        monkeypatch.setattr(constants, name, value)


@contextmanager
def serving(handler, **state):
    """A server with such a handler, at its `address`, and with further attributes."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    vars(server).update(state, address=f"http://127.0.0.1:{server.server_port}")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
