"""A short form of `make fuzz`; and the fuzzer notices what is wrong, which it does not see in a product without faults."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from scorer.errors import MediaError
from streams.letter import Message, dead_letter
from tests.fuzz import events, media
from tests.fuzz.events import fuzz_events, mutated_message, wrong_letter
from tests.fuzz.media import fuzz_media
from tests.fuzz.mutations import SEEDS, boxes_of
from tests.fuzz.units import fuzz_units
from tests.support.media import make_clip


async def test_each_mutated_event_is_answered(tmp_path: Path) -> None:
    report = await fuzz_events(1000, seed=1, folder=tmp_path)
    assert report.findings == []
    assert report.outcomes.total() == 1000
    assert {"scored", "skipped", "dead letter: event", "dead letter: refused"} < set(report.outcomes)
    # Only the few whose `start` was mutated: those that are skipped because there is too much to do try no address.
    assert report.outcomes["skipped"] < 30


@pytest.mark.slow
def test_each_mutated_unit_is_answered(tmp_path: Path) -> None:
    report = fuzz_units(500, seed=2, folder=tmp_path)
    assert report.findings == []
    assert {"quantisers", "none"} == set(report.outcomes)


@pytest.mark.slow
def test_each_mutated_file_is_answered(tmp_path: Path) -> None:
    report = fuzz_media(25, seed=2, folder=tmp_path, workers=1)
    assert report.findings == []
    assert report.outcomes.total() == 25
    assert {"clips", "error: undecodable"} < set(report.outcomes)


async def test_a_bug_of_the_worker_is_a_finding_with_the_events_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class BrokenPool:
        def submit(self, *_: object, **__: object) -> Future[Any]:
            raise KeyError("oops")

    monkeypatch.setattr(events, "FreePool", BrokenPool)
    report = await fuzz_events(50, seed=2, folder=tmp_path)
    assert report.findings
    assert len(report.findings) == report.outcomes["dead letter: internal"]
    report.save_findings(tmp_path / "findings")
    saved = {path.read_bytes() for path in (tmp_path / "findings").glob("*.bin")}
    assert saved == {finding.data for finding in report.findings}
    assert "oops" in report.text()


async def test_an_event_that_is_never_answered_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class StuckPool:
        def submit(self, *_: object, **__: object) -> Future[Any]:
            future: Future[Any] = Future()
            future.set_exception(MediaError("no child can start", kind="setup"))
            return future

    monkeypatch.setattr(events, "FreePool", StuckPool)
    monkeypatch.setattr(events, "BATCH_SECONDS", 0.05)
    report = await fuzz_events(10, seed=2, folder=tmp_path)
    assert report.findings
    assert all("TimeoutError" in finding.words for finding in report.findings)


class IdlePool:
    """In place of `SamplerPool`: it has no children."""

    workers = 1

    def __init__(self, *_: object) -> None:
        self.closed = threading.Event()

    def __enter__(self) -> IdlePool:
        return self

    def __exit__(self, *_: object) -> None:
        self.closed.set()

    def glance(self, *_: object, **__: object) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_exception(MediaError("the pool has no child", kind="undecodable"))
        return future

    def submit_task(self, *_: object) -> Future[int]:
        future: Future[int] = Future()
        future.set_result(os.getpid())
        return future

    def pids(self) -> list[int]:
        return []


def never_answered(_: Path, pool: IdlePool, *__: object) -> list[Any]:
    assert pool.closed.wait(30)
    raise MediaError("the pool was closed", kind="stopped")


def out_of_range(*_: object) -> list[Any]:
    raise ValueError("freeze is -0.02")


@pytest.mark.parametrize(
    ("score_file", "words", "count"), [(never_answered, "no answer after", 1), (out_of_range, "freeze is -0.02", 5)]
)
def test_a_file_that_hangs_or_raises_is_a_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, score_file: Callable[..., Any], words: str, count: int
) -> None:
    monkeypatch.setattr(media, "SamplerPool", IdlePool)
    monkeypatch.setattr(media, "make_seeds", lambda _: dict.fromkeys(SEEDS, b"media" * 100))
    monkeypatch.setattr(media, "score_file", score_file)
    monkeypatch.setattr(media, "FILE_SECONDS", 0.5)
    report = fuzz_media(5, seed=2, folder=tmp_path, workers=1)
    assert [words in finding.words for finding in report.findings] == [True] * count


def test_a_dead_letter_without_the_events_bytes_is_a_finding() -> None:
    message = Message(b"channel", b"not json", "video-segments", 0, 7)
    good = dead_letter(message, kind="event", reason="no JSON")
    record = ("video-segments.dead-letter", good.key, good.value, dict(good.header_bytes()))
    assert wrong_letter(message, record) is None
    assert wrong_letter(message, (*record[:2], b"other", record[3])) == "the dead letter has other bytes"
    assert wrong_letter(message, (*record[:3], record[3] | {"kind": b"internal"})) == "kind internal: no JSON"


def test_a_seed_makes_the_same_inputs_again(tmp_path: Path) -> None:
    first, second = (
        [mutated_message(random.Random(f"event 1 {number}"), tmp_path, number, 0.0) for number in range(50)] for _ in range(2)
    )
    assert first == second


def test_the_boxes_of_an_mp4_are_found(tmp_path: Path) -> None:
    data = make_clip(tmp_path / "clip.mp4", 64, 48, 0.2).read_bytes()
    names = {data[place + 4 : place + 8] for place, _ in boxes_of(data)}
    assert {b"ftyp", b"moov", b"trak", b"stts", b"mdat"} < names
