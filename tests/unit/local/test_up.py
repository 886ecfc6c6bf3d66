"""The end of a run of `fvq up` with files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from streams.errors import BrokerError
from streams.events import SegmentEvent
from streams.kafka.connection import Connection
from streams.local import up
from streams.local.run import Run
from streams.local.view import View
from streams.settings import Settings
from tests.support.queue import scored

KILLED = """
import os, sys
from streams.local import up
from streams.settings import Settings

def cut_and_die(sources, folder, *_):
    (folder / "segment.ts").touch()
    os.kill(os.getpid(), 9)

up.ffmpeg.program = up.find_sources = lambda *_: ["video"]
up.start_wall, up.cut_all = lambda *_: None, cut_and_die
up.own_kafka = lambda *_: type("Kafka", (), {"servers": "none:1"})
up.run_up(Settings(), None, fast=True, segment_seconds=2, as_json=True, keep=False)
"""

TOLD_TO_STOP = """
import os, signal, sys, time
from streams.cli.app import main
from streams.local import up

def run(*_, **__):
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)
    except KeyboardInterrupt:
        print("the summary")
        return 0

up.run_up = run
sys.argv = ["fvq", "up", "--source", "talk.mp4"]
main()
"""


def test_sigterm_ends_a_run_as_ctrl_c_does(tmp_path: Path) -> None:
    environment = os.environ | {"FVQ_DATA_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", TOLD_TO_STOP], env=environment, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "the summary\n"), done.stderr


def test_what_a_killed_run_has_cut_goes_with_the_next_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = os.environ | {"FVQ_DATA_DIR": str(tmp_path), "TMPDIR": str(tmp_path / "tmp")}
    subprocess.run([sys.executable, "-c", KILLED], env=environment, check=False, capture_output=True)
    assert len(list(tmp_path.glob("up/*/segment.ts"))) == 1

    def refuse(*_: object) -> None:
        raise BrokerError("no broker")

    monkeypatch.setenv("FVQ_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(up.ffmpeg, "program", lambda *_: "")
    monkeypatch.setattr(up, "find_sources", lambda *_: [])
    monkeypatch.setattr(up, "own_kafka", refuse)
    with pytest.raises(BrokerError):
        up.run_up(Settings(), tmp_path, fast=True, segment_seconds=2, as_json=True, keep=False)
    assert list((tmp_path / "up").iterdir()) == []


@pytest.mark.parametrize("place", ["wait_for_agents", "Background.join"])
def test_ctrl_c_while_the_last_scores_are_read_ends_the_run_with_its_summary(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def press_ctrl_c(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(up, "wait_for_agents", lambda *_: None)
    monkeypatch.setattr(f"streams.local.up.{place}", press_ctrl_c)
    monkeypatch.setattr(up, "_follow", lambda *_: None)
    monkeypatch.setattr(up, "announce", lambda *_: 0)
    run, nothing = Run([], Connection("none:1").named), SimpleNamespace()
    worker: Any = SimpleNamespace(poll=lambda: None)
    up._play(nothing, nothing, View(as_json=True), run, worker, None, fast=True)  # type: ignore[arg-type]
    assert run.interrupted


@pytest.mark.parametrize("thread", ["_follow", "announce"])
def test_a_run_whose_output_is_closed_or_whose_broker_is_gone_ends_and_does_not_wait_for_answers(
    thread: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(up, "_follow", lambda *_: None)
    monkeypatch.setattr(up, "announce", lambda *_: 0)
    monkeypatch.setattr(up, thread, fail)
    monkeypatch.setattr(up, "ANSWER_SECONDS", 2.0)
    event = SegmentEvent.model_validate(scored(1).model_dump())
    run, nothing = Run([event], Connection("none:1").named), SimpleNamespace()
    worker: Any = SimpleNamespace(poll=lambda: None)
    with pytest.raises(BrokenPipeError):
        up._play(nothing, nothing, View(as_json=True), run, worker, None, fast=True)  # type: ignore[arg-type]


def test_an_output_that_is_closed_before_the_last_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(up, "_follow", fail)
    monkeypatch.setattr(up, "announce", lambda *_: 0)
    monkeypatch.setattr(up, "_until_ended", lambda *_: [])
    monkeypatch.setattr(up, "wait_for_agents", lambda *_: None)
    run, nothing = Run([], Connection("none:1").named), SimpleNamespace()
    with pytest.raises(BrokenPipeError):
        up._play(nothing, nothing, View(as_json=True), run, nothing, None, fast=True)  # type: ignore[arg-type]
