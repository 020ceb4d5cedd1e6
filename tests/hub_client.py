"""The client of the Hub, which speaks with a server of the tests."""

import hashlib
import json
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from huggingface_hub import constants


def connect(monkeypatch, endpoint, **settings):
    """Let the client speak with another server, and not wait between its tries."""
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    settings |= {"ENDPOINT": endpoint, "HUGGINGFACE_CO_URL_TEMPLATE": template}
    settings |= {"HF_HUB_DISABLE_XET": True}
    for name, value in settings.items():
        monkeypatch.setattr(constants, name, value)


class Handler(BaseHTTPRequestHandler):
    """Answers all requests by `answer`, of a method, a path and a body: a status, bytes or an
    object for JSON, and further headers."""

    def log_message(self, *_):
        pass

    def respond(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, content, *more = self.answer(self.command, self.path.split("?")[0], body)
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        headers = {"Content-Type": "application/json", "Content-Length": len(data)}
        headers |= {"X-Repo-Commit": "0" * 40, "ETag": f'"{hashlib.sha256(data).hexdigest()}"'}
        for name, value in {**headers, **dict(*more)}.items():
            self.send_header(name, str(value))
        self.end_headers()
        if self.command != "HEAD":
            with suppress(OSError):  # who asked has gone
                self.wfile.write(self.sent(data))

    do_GET = do_HEAD = do_POST = do_PUT = respond

    def sent(self, data):
        """What of the contents is sent."""
        return data


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
