"""`FVQ_LOG_FORMAT=json`: every line of each process is JSON, from its start to its stop, and where it cannot start."""

from __future__ import annotations

import json
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from streams.kafka.connection import Connection
from streams.kafka.topics import create_topics
from tests.support.pages import read_page
from tests.support.processes import ROOT, with_two_streams
from tests.support.servers import KafkaServer, free_ports
from tests.support.waiting import wait_for

pytestmark = pytest.mark.timeout(600)
DEMO = ROOT / "examples/face.mp4"
SLOW = 240.0
"""Seconds: libraries load slowly on a machine that is taken."""


def process(folder: Path, *command: str, **settings: str) -> AbstractContextManager[subprocess.Popen[bytes]]:
    """A process of `fvq` whose log is JSON, and whose streams are the files `out` and `err`."""
    return with_two_streams(folder, *command, **({"FVQ_LOG_FORMAT": "json"} | settings))


def records(folder: Path) -> list[dict[str, Any]]:
    """All lines of both streams."""
    assert (folder / "out").read_bytes() == b""
    lines = (folder / "err").read_text().splitlines()
    parsed = [json.loads(line) for line in lines]
    assert all({"time", "level", "logger", "message"} <= set(record) for record in parsed), lines
    return parsed


def post(port: int, path: str, body: bytes) -> int:
    """The status of an answer to a request."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data=body, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def lives(
    folder: Path, name: str, command: list[str], settings: dict[str, str], work: Callable[[], None]
) -> list[dict[str, Any]]:
    """Start a process, work with it, stop it by SIGTERM; returns its lines, of which three tell its life."""
    with process(folder, *command, **settings) as started:
        try:
            work()
        finally:
            tail = (folder / "err").read_text()[-3000:]
        assert started.poll() is None, tail
        started.send_signal(signal.SIGTERM)
        assert started.wait(60) == 0, (folder / "err").read_text()[-3000:]
    lines = records(folder)
    messages = [line["message"] for line in lines]
    assert messages[0].startswith(f"{name} starts"), messages
    assert {"version", "pid"} <= set(lines[0])
    assert messages[-1].startswith(f"{name} has stopped after "), messages
    for once in (f"{name} starts", f"{name} stops (SIGTERM): it finishes what it has, within ", f"{name} has stopped after "):
        assert sum(message.startswith(once) for message in messages) == 1, once
    assert not [line for line in lines if line["logger"] in ("stdout", "stderr")], "nothing is printed past the log here"
    return lines


def answers(port: int, path: str, status: int = 200) -> Callable[[], bool]:
    return lambda: read_page(port, path)[0] == status


def test_the_wall(kafka: KafkaServer, tmp_path: Path) -> None:
    create_topics(Connection(kafka.broker), partitions=1, replication=1)
    port = free_ports(1)

    def work() -> None:
        wait_for("the wall", answers(port, "/readyz"), SLOW)
        assert read_page(port, "/")[0] == 200
        assert read_page(port, "/api/v1/streams?limit=no")[0] == 400
        assert post(port, "/api/v1/streams", b"{") in (404, 405)

    lines = lives(tmp_path, "wall", ["web", "--port", str(port)], {"FVQ_BROKER": kafka.broker}, work)
    assert f"Running on http://127.0.0.1:{port}" in [line["message"] for line in lines]


def test_an_ingester(kafka: KafkaServer, tmp_path: Path) -> None:
    create_topics(Connection(kafka.broker), partitions=1, replication=1)
    port, recorder = free_ports(1), tmp_path / "recorder"
    recorder.mkdir()

    def put(name: str, content: bytes) -> None:
        (tmp_path / name).write_bytes(content)
        (tmp_path / name).rename(recorder / name)

    def announced() -> bool:
        status, text = read_page(port, "/status")
        return status == 200 and any(source["announced"] for source in json.loads(text)["sources"])

    def work() -> None:
        wait_for("the folder is watched", answers(port, "/status"), SLOW)
        put("broken.mp4", b"no video")  # PyAV and ffmpeg have words of their own about it
        put("good.mp4", DEMO.read_bytes())
        wait_for("the file is announced", announced, SLOW)

    settings = {"FVQ_BROKER": kafka.broker, "FVQ_INGEST_PORT": str(port)}
    lives(tmp_path, "ingester", ["ingest", "folder", f"door={recorder}"], settings, work)


def test_the_rating_page(tmp_path: Path) -> None:
    port = free_ports(1)

    def work() -> None:
        wait_for("the page", answers(port, "/"), SLOW)
        assert post(port, "/api/votes", b"no vote") in (400, 401, 403, 404, 405, 415)

    lines = lives(tmp_path, "rating page", ["rate", "serve", "--port", str(port)], {}, work)
    assert "0 clips on the queue" in [line["message"] for line in lines]


def test_the_scorer(tmp_path: Path) -> None:
    port = free_ports(1)

    def work() -> None:
        wait_for("the scorer", answers(port, "/healthz"), SLOW)
        assert post(port, "/v1/score", b"no clips") in (400, 415)

    lives(tmp_path, "scorer", ["serve"], {"FVQ_SERVE_PORT": str(port)}, work)


COMMANDS = {
    "worker": ["worker"],
    "wall": ["web", "--port", "0"],
    "ingester": ["ingest", "folder", "a=."],
    "rating page": ["rate"],
    "scorer": ["serve"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_wrong_setting_is_one_line(tmp_path: Path, name: str) -> None:
    with process(tmp_path, *COMMANDS[name], FVQ_BATCH_SIZE="many") as started:
        assert started.wait(SLOW) == 2
    (line,) = records(tmp_path)
    assert line["message"].startswith(f"the {name} cannot start: FVQ_BATCH_SIZE")


@pytest.mark.parametrize("name", ["ingester", "rating page"])
def test_a_file_that_is_missing_or_no_folder_is_one_line_without_a_traceback(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    command, data, said = {
        "ingester": (["ingest", "hls", "--list", "/nosuch/list"], "data", "/nosuch/list: No such file or directory"),
        "rating page": (["rate"], "file", f"{tmp_path / 'file'}"),
    }[name]
    with process(tmp_path, *command, FVQ_DATA_DIR=str(tmp_path / data), FVQ_BROKER="127.0.0.1:1") as started:
        assert started.wait(SLOW) == 1
    last = records(tmp_path)[-1]
    assert last["message"].startswith(f"the {name} cannot start: {said}")
    assert "exception" not in last


@pytest.mark.parametrize("name", ["wall", "ingester", "rating page"])
def test_a_broker_that_is_away_is_the_last_line(tmp_path: Path, name: str) -> None:
    with process(tmp_path, *COMMANDS[name], FVQ_BROKER="127.0.0.1:1", FVQ_INGEST_PORT="0") as started:
        assert started.wait(SLOW) == 1
    last = records(tmp_path)[-1]
    assert last["level"] == "critical"
    assert last["message"].startswith(f"the {name} cannot start: no Kafka broker answers at 127.0.0.1:1")
