"""Starting the worker of `fvq up`."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from streams.errors import MediaError, SettingsError
from streams.local import processes
from streams.settings import Settings
from tests.support.waiting import wait_for


class _NotReady(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b'{"problems": ["the scorer: it asks for a token\x1b"]}'
        self.send_response(503)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""


class _Ready(_NotReady):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()


@contextmanager
def served(handler: type[BaseHTTPRequestHandler]) -> Iterator[int]:
    """A page of this machine; the port."""
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_a_worker_that_does_not_become_ready_is_named_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "READY_SECONDS", 0.5)
    with served(_NotReady) as port, subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as worker:
        with pytest.raises(
            MediaError, match=r"not ready within 0 s: /readyz says .*the scorer: it asks for a token\\x1b"
        ) as raised:
            processes.wait_ready(worker, port)
        worker.kill()
    assert raised.value.kind == "worker"


class _Ready(_NotReady):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()


def test_a_proxy_is_not_asked_for_a_page_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "READY_SECONDS", 30)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with served(_Ready) as port, subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as worker:
        processes.wait_ready(worker, port)
        worker.kill()


def test_those_that_run_are_told_to_stop_before_one_is_waited_for() -> None:
    started = [subprocess.Popen([sys.executable, "-c", program]) for program in ("import time; time.sleep(600)", "")]
    started[1].wait()
    processes.tell_to_stop(started)
    assert [process.wait(60) for process in started] == [-signal.SIGTERM, 0]


def test_a_process_that_does_not_stop_is_killed_and_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    deaf, listens = tmp_path / "deaf", tmp_path / "listens"
    deaf.write_text(f"#!/bin/sh\ntrap '' TERM\ntouch {listens}\nexec sleep 600\n")
    deaf.chmod(0o755)
    monkeypatch.setattr(processes, "STOP_SECONDS", 0.2)
    monkeypatch.setattr(sys, "executable", str(deaf))
    with processes.running(["worker"], {}) as process:
        wait_for("the process", listens.exists, 60)
    assert process.returncode == -signal.SIGKILL
    assert "`fvq worker` has not stopped within 0.2 s of SIGTERM, and is killed" in caplog.text


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
