"""Starting the worker of `fvq up`."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from streams.errors import MediaError, SettingsError
from streams.local import processes
from streams.settings import Settings


class _NotReady(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b'{"problems": ["the scorer: it asks for a token\x1b"]}'
        self.send_response(503)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def port() -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), _NotReady) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_a_worker_that_does_not_become_ready_is_named_with_its_reason(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "READY_SECONDS", 0.5)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as worker:
        with pytest.raises(
            MediaError, match=r"not ready within 0 s: /readyz says .*the scorer: it asks for a token\\x1b"
        ) as raised:
            processes.wait_ready(worker, port)
        worker.kill()
    assert raised.value.kind == "worker"


def test_a_data_folder_that_cannot_be_made_is_told_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(processes, "EmbeddedBroker", lambda: pytest.fail("a broker was started"))
    tmp_path.joinpath("file").touch()
    with (
        ExitStack() as stack,
        pytest.raises(SettingsError, match=r"FVQ_DATA_DIR: .*file/data cannot be created: Not a directory"),
    ):
        processes.own_kafka(stack, Settings(data_dir=tmp_path / "file" / "data"))
