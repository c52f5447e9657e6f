from __future__ import annotations

from collections.abc import Iterator

import pytest
from mock_runs import reply_by_word, start_server

from chat_server import JudgeServer


@pytest.fixture
def server(monkeypatch) -> Iterator[JudgeServer]:
    """A judge behind a real HTTP server, which calls every answer safe."""
    yield from start_server(monkeypatch, reply_by_word({}))
