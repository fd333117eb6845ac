# SPDX-License-Identifier: Apache-2.0
"""A hub of our own on this machine, which answers, refuses or is not there."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from lightning_monocon.encoders import TextEncoder
from lightning_monocon.encoders.hub import is_local

constants = pytest.importorskip("huggingface_hub.constants")


class Hub(BaseHTTPRequestHandler):
    dumb = False
    asked = 0

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        Hub.asked += 1
        if self.dumb:  # the connection is closed without an answer
            return
        known = self.path.endswith("/known/model")
        body = b'{"id": "known/model", "siblings": []}' if known else b"{}"
        self.send_response(200 if known else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HTTPServer]:
    server = HTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever).start()
    monkeypatch.setattr(Hub, "asked", 0)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.usefixtures("hub")
def test_a_hub_that_answers_is_asked_for_the_model(tmp_path: Path) -> None:
    assert not is_local("known/model")
    assert not is_local("unknown/model")  # refused: the loader says why
    assert not is_local("no name!")
    assert is_local(str(tmp_path))


@pytest.mark.usefixtures("hub")
def test_a_hub_that_does_not_answer_is_asked_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Hub, "dumb", True)
    with pytest.raises(RuntimeError, match=r"'known/model' could not be loaded \(.*"):
        TextEncoder("known/model")
    assert Hub.asked == 1
    assert "thrown while requesting" not in caplog.text  # nor did the client go on to ask elsewhere


@pytest.mark.usefixtures("hub")
def test_offline_by_the_hubs_own_switch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert is_local("known/model")
    assert not Hub.asked
