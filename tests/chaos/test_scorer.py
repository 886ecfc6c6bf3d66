"""The served scorer is killed, hangs, answers errors and garbage, is replaced: the workers wait, and no segment is lost."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from streams.ports import free_port
from tests.chaos.conftest import Report
from tests.chaos.world import SETTLE_SECONDS, TIERS, World, freeze, open_world, thaw
from tests.support.doubles import SPEC
from tests.support.processes import PYTHON, clean_environment
from tests.support.scripted_scorer import ScriptedScorer
from tests.support.servers import InfluxServer, KafkaServer
from tests.support.waiting import wait_for

pytestmark = pytest.mark.timeout(420)

TIMEOUT = "3"
"""Seconds after which a worker gives a request up, FVQ_SCORER_TIMEOUT."""


class Replica:
    """A served scorer that scores by brightness, as a process of its own on a port of its own."""

    def __init__(self) -> None:
        self.port = free_port("127.0.0.1")
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [PYTHON, "-m", "tests.support.scripted_scorer", str(self.port)]
        self.process = subprocess.Popen(command, env=clean_environment(), stdin=subprocess.DEVNULL)

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def end(self, how: signal.Signals = signal.SIGKILL) -> None:
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(10)


@contextmanager
def replicas(count: int) -> Iterator[list[Replica]]:
    """So many replicas, which are killed at the end; the test starts them."""
    started = [Replica() for _ in range(count)]
    try:
        yield started
    finally:
        for replica in started:
            replica.end()


def addresses(*scorers: Replica | ScriptedScorer) -> dict[str, str]:
    """The settings of workers that use these scorers."""
    return {"FVQ_SCORER_URL": ",".join(scorer.url for scorer in scorers), "FVQ_SCORER_TIMEOUT": TIMEOUT}


def assert_workers_wait(world: World, seconds: float) -> None:
    """During the fault only segments whose scores were on their way already are answered, and what needs no scorer: glances."""
    before: set[str] = set()

    def have_ended() -> bool:
        nonlocal before
        earlier, before = before, scored(world)
        return earlier == before

    wait_for("the end of the answers that were on their way", have_ended, 60, every=2)
    time.sleep(seconds)  # the length of the fault, not a wait for a result
    answers = scored(world) - before
    assert not answers, f"{len(answers)} answers without a scorer"


def scored(world: World) -> set[str]:
    """Ids of the segments that a scorer has answered."""
    return {score.segment_id for score in world.answers() if score.tier != "glance"}


def finish(world: World, report: Report, how: str) -> None:
    row = world.settle()
    report.add(row, how)
    assert row.dead == 0, "what a scorer does wrong is held against no segment"


def test_no_segment_is_lost_when_the_scorer_is_killed(
    kafka: KafkaServer, influxdb: InfluxServer, tmp_path: Path, report: Report
) -> None:
    kills = 3 if report.full else 1
    with replicas(1) as (scorer,), open_world("scorer killed -9", kafka, influxdb, tmp_path, **addresses(scorer)) as world:
        scorer.start()
        workers = world.start("a", "b")
        for number in range(kills):
            scorer.end()
            if number == 0:
                assert_workers_wait(world, 4)
                world.stop_worker(workers[0])
            scorer.start()
            world.recover()
            if number == 0:
                workers[0].start()
        finish(world, report, f"{kills} times")


@pytest.mark.long
def test_no_segment_is_lost_when_the_scorer_hangs(
    kafka: KafkaServer, influxdb: InfluxServer, tmp_path: Path, report: Report
) -> None:
    seconds = 10.0
    with replicas(1) as (scorer,), open_world("scorer hangs", kafka, influxdb, tmp_path, **addresses(scorer)) as world:
        scorer.start()
        workers = world.start("a", "b")
        freeze(scorer.pid)
        try:
            assert_workers_wait(world, seconds / 2)
            world.stop_worker(workers[0])
            assert_workers_wait(world, seconds / 2)
        finally:
            thaw(scorer.pid)
        world.recover()
        finish(world, report, f"{seconds:.0f} s")


@pytest.mark.long
def test_no_segment_is_lost_when_the_scorer_answers_errors_and_garbage(
    kafka: KafkaServer, influxdb: InfluxServer, tmp_path: Path, report: Report
) -> None:
    seconds = 4.0
    with ScriptedScorer() as scorer, open_world("scorer answers wrong", kafka, influxdb, tmp_path, **addresses(scorer)) as world:
        workers = world.start("a", "b")
        for fault, retry_after in (("500", ""), ("503", "2"), ("garbage", ""), ("nan", ""), ("reset", "")):
            scorer.behave(fault=fault, retry_after=retry_after)
            asked, start = scorer.asked, time.monotonic()
            assert_workers_wait(world, seconds)
            most = 8 * (time.monotonic() - start)
            assert 0 < scorer.asked - asked < most, "the workers ask now and then, and not all the time"
            if fault == "nan":
                world.stop_worker(workers[0])
            scorer.behave()
            world.recover()
        finish(world, report, f"500, 503, garbage, NaN and a cut answer, {seconds:.0f} s each")


@pytest.mark.long
def test_no_segment_is_lost_when_the_scorer_takes_another_specification(
    kafka: KafkaServer, influxdb: InfluxServer, tmp_path: Path, report: Report
) -> None:
    with ScriptedScorer() as first, ScriptedScorer() as second:
        settings = addresses(first, second)
        with open_world("scorer of another specification", kafka, influxdb, tmp_path, **settings) as world:
            world.start("a", "b")
            other = replace(SPEC, frames=6)
            first.behave(spec=other)
            world.recover()
            second.behave(spec=other)
            world.recover()
            third = replace(SPEC, clip_size=16)
            for scorer in (first, second):
                scorer.behave(spec=third)
            world.recover()
            if TIERS == "off":  # a glance asks nobody
                wait_for("both are asked", lambda: bool(first.batches and second.batches), SETTLE_SECONDS)
            finish(world, report, "two replicas, one after the other, then both at once")


def test_no_segment_is_lost_when_a_replica_is_replaced_under_load(
    kafka: KafkaServer, influxdb: InfluxServer, tmp_path: Path, report: Report
) -> None:
    rounds = 3 if report.full else 1
    with replicas(2) as scorers:
        for scorer in scorers:
            scorer.start()
        settings = addresses(*scorers)
        with open_world("scorer replaced", kafka, influxdb, tmp_path, rate=80.0, **settings) as world:
            world.start("a", "b")
            for number in range(rounds):
                replaced = scorers[number % 2]
                replaced.end(signal.SIGTERM)
                world.recover()  # the other replica answers meanwhile: this one is started only afterwards
                replaced.start()
                world.recover()
            finish(world, report, f"one of two replicas under load, {rounds} times")


@pytest.mark.long
def test_no_segment_is_lost_or_late_when_the_large_model_is_away(
    kafka: KafkaServer, influxdb: InfluxServer, tmp_path: Path, report: Report
) -> None:
    """It is killed and hangs: the segments keep the small model's score, and get deep ones again when it is back."""
    with replicas(2) as (scorer, deep):
        scorer.start()
        deep.start()
        # Every segment is low enough for a look, and half of them get one.
        cascade = {"FVQ_DEEP_URL": deep.url, "FVQ_DEEP_SHARE": "0.5", "FVQ_DEEP_LOW": "100", "FVQ_DEEP_TIMEOUT": "2"}
        with open_world("large model killed, hangs", kafka, influxdb, tmp_path, **addresses(scorer), **cascade) as world:

            def deep_scores() -> int:
                return sum(score.tier == "deep" for score in world.answers())

            workers = world.start("a", "b")
            wait_for("deep scores", lambda: deep_scores() > 0, SETTLE_SECONDS)
            deep.end()
            assert world.recover() < 15, "no segment waits for the large model longer than its time limit"
            world.stop_worker(workers[0])
            deep.start()
            workers[0].start()
            back = deep_scores()
            wait_for("deep scores after the kill", lambda: deep_scores() > back, SETTLE_SECONDS)
            freeze(deep.pid)
            try:
                assert world.recover() < 15, "no segment waits for the large model longer than its time limit"
            finally:
                thaw(deep.pid)
            back = deep_scores()
            wait_for("deep scores after the hang", lambda: deep_scores() > back, SETTLE_SECONDS)
            finish(world, report, "beside a small one that answers")
