"""SIGTERM ends a worker within the promised time, whatever it waits for and however busy the machine is."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from streams.events import SCORES_TOPIC, SEGMENTS_TOPIC, SegmentEvent
from streams.kafka.connection import Connection
from streams.kafka.topics import create_topics
from streams.worker import STOP_SECONDS
from tests.support.pages import read_page
from tests.support.processes import FREE_WORKER, ROOT, Worker
from tests.support.servers import KafkaServer, free_ports
from tests.support.topics import Follower, produce
from tests.support.waiting import lost_time, wait_for

MARGIN_SECONDS = 3.0
"""Beyond the promise: what a busy machine needs to end a process of some hundred MB."""

HOGS = 3


@contextmanager
def busy(cores: Iterable[int]) -> Iterator[None]:
    """Processes that take these cores."""
    hogs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(HOGS)]
    try:
        for hog in hogs:
            os.sched_setaffinity(hog.pid, cores)
        yield
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()


@contextmanager
def silent_server() -> Iterator[str]:
    """The address of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def segment(uri: str, number: int) -> SegmentEvent:
    return SegmentEvent(
        stream_id=f"channel-{number}",
        segment_id=f"channel-{number}/1",
        sequence=1,
        uri=uri,
        start=datetime.now(UTC),
        duration=2.0,
    )


def is_ready(port: int) -> bool:
    return read_page(port, "/readyz")[0] == 200


@pytest.mark.timeout(400)
@pytest.mark.parametrize("situation", ["scoring", "fetching", "broker hangs", "sampling and scoring"])
def test_sigterm_ends_a_worker_in_time_on_a_busy_machine(kafka: KafkaServer, tmp_path: Path, situation: str) -> None:
    create_topics(Connection(kafka.broker), partitions=4, replication=1)
    port = free_ports(1)
    media = tmp_path / "segment.mp4"
    media.write_bytes((ROOT / "examples/face.mp4").read_bytes())
    settings = {
        "FVQ_BROKER": kafka.broker,
        "FVQ_GROUP": situation.replace(" ", "-"),
        "FVQ_MODEL": "nano" if situation == "sampling and scoring" else "free",
        "FVQ_DEVICE": "cpu",
        "FVQ_REGISTRY": str(tmp_path / "registry"),
        "FVQ_MEDIA_ROOTS": str(tmp_path),
        "FVQ_FETCH_PRIVATE": "true",
        "FVQ_FETCH_TIMEOUT": "120",
        "FVQ_LIVE_WINDOW": "off",
        "FVQ_WEB_PORT": str(port),
        "FVQ_TEST_SCORE_MS": "120000" if situation == "scoring" else "0",
    }
    command = None if situation == "sampling and scoring" else FREE_WORKER
    # One core, which alone is made busy: tests that run beside this one, and their limits of time, have the others.
    worker = Worker("worker", tmp_path, core=0, command=command, **settings)
    with ExitStack() as stack:
        stack.callback(worker.kill)
        address = stack.enter_context(silent_server())
        follower = Follower(kafka.broker, SCORES_TOPIC)
        stack.callback(follower.close)
        worker.start()
        wait_for("the worker is ready", lambda: is_ready(port), 90)
        uri = f"{address}/segment.ts" if situation == "fetching" else media.as_uri()
        produce(kafka.broker, SEGMENTS_TOPIC, [segment(uri, number) for number in range(40)])
        if situation in ("sampling and scoring", "broker hangs"):
            wait_for("a score", lambda: bool(follower.read()), 90)
        else:
            wait_for("segments are taken", lambda: "fvq_segments_in_flight 0" not in read_page(port, "/metrics")[1], 60)
        if situation == "broker hangs":
            os.kill(kafka.pid, signal.SIGSTOP)
            stack.callback(os.kill, kafka.pid, signal.SIGCONT)
        stack.enter_context(busy(worker.cores))
        lost = stack.enter_context(lost_time(worker.cores))
        began = time.monotonic()
        worker.terminate(STOP_SECONDS + 60)
        seconds = time.monotonic() - began
        print(f"{situation}: the worker ended {seconds:.1f} s after SIGTERM; the machine stood still for {lost():.1f} s")
        assert seconds <= STOP_SECONDS + MARGIN_SECONDS + lost(), worker.tail()
