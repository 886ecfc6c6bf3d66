"""An outage is two lines, however many attempts are made in it."""

from __future__ import annotations

import asyncio
import logging
import re
import threading
from typing import Any, ClassVar

import pytest
from kafka.errors import KafkaTimeoutError

from streams import retry
from streams.errors import SinkError
from streams.kafka.agent import Agent, Pauses, running
from streams.kafka.progress import LagWatch
from streams.outages import KAFKA, Outage, outage_of


class Clock:
    """Seconds that a test sets."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_an_outage_is_told_when_it_begins_and_when_it_is_over(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    outage = Outage("sink", clock)
    outage.works()
    assert not outage.lasts
    for second in range(50):
        clock.now = 100.0 + second
        outage.failed("connection refused")
        assert outage.lasts
    clock.now = 154.3
    outage.works()
    outage.works()
    assert warnings(caplog) == [
        "outage of sink begins, and is tried until it works: connection refused",
        "outage of sink is over after 54 s",
    ]
    over = caplog.records[-1]
    assert (over.outage, over.seconds, over.attempts) == ("sink", 54.3, 50)  # type: ignore[attr-defined]


def test_a_second_outage_is_told_again(caplog: pytest.LogCaptureFixture) -> None:
    outage = Outage("sink", Clock())
    for _ in range(2):
        outage.failed("timeout")
        outage.works()
    assert len(warnings(caplog)) == 4


def test_attempts_that_are_made_again_are_one_outage(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_WAIT", 0.0)
    failures = [SinkError(f"attempt {number}") for number in range(5)]

    async def flush() -> str:
        if failures:
            raise failures.pop(0)
        return "stored"

    assert asyncio.run(retry.retried("sink", flush)) == "stored"
    assert not outage_of("sink").lasts
    begins, over = warnings(caplog)
    assert begins.endswith("attempt 0")
    assert re.fullmatch(r"outage of sink is over after \d+ s", over)


def test_while_kafka_is_away_other_agents_are_silent(caplog: pytest.LogCaptureFixture) -> None:
    enough = threading.Event()
    failures: list[int] = []

    def run(_: threading.Event) -> None:
        failures.append(1)
        if len(failures) == 5:
            enough.set()
        raise OSError("no broker")

    KAFKA.failed("no broker answers")
    try:
        with running([Agent("alerts", run, Pauses(0.01, 0.01))]):
            assert enough.wait(10)
    finally:
        KAFKA.works()
    begins, over = warnings(caplog)
    assert begins == "outage of Kafka begins, and is tried until it works: no broker answers"
    assert re.fullmatch(r"outage of Kafka is over after \d+ s", over)


def test_an_agent_that_works_again_says_so(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.kafka.agent.HEALTHY_SECONDS", 0.05)
    failed, over = threading.Event(), threading.Event()

    def run(stop: threading.Event) -> None:
        if not failed.is_set():
            failed.set()
            raise OSError("the store is away")
        while not stop.wait(0.02):
            if "is over" in caplog.text:
                over.set()

    with running([Agent("sweep", run, Pauses(0.01, 0.01))]):
        assert over.wait(10)
    assert warnings(caplog)[0].endswith("OSError: the store is away")
    assert len(warnings(caplog)) == 2


def test_the_lag_watch_tells_when_kafka_goes_away_and_comes_back(caplog: pytest.LogCaptureFixture) -> None:
    kafka, stop = Outage("Kafka", Clock()), threading.Event()

    class Progress:
        answers: ClassVar[list[Any]] = [KafkaTimeoutError("5000 ms"), KafkaTimeoutError("5000 ms"), ({0: 3}, {0: 0})]

        def __enter__(self) -> Progress:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def ends_and_committed(self, partitions: set[int]) -> Any:
            assert partitions == {0}, "a worker without partitions asks too"
            answer = self.answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            stop.set()
            return answer

    watch = LagWatch(Progress, set, kafka)  # type: ignore[arg-type]
    for _ in range(2):
        with pytest.raises(KafkaTimeoutError):
            watch.run(stop)
    assert kafka.lasts
    watch.run(stop)
    assert [line.partition(":")[0] for line in warnings(caplog)] == [
        "outage of Kafka begins, and is tried until it works",
        "outage of Kafka is over after 0 s",
    ]
