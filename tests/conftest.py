"""What several test files share."""

import pytest


@pytest.fixture(scope="session")
def page_server():
    """The Gradio page, served; it takes seconds to start."""
    pytest.importorskip("gradio")
    from demo_server import serve

    with serve() as server:
        yield server
