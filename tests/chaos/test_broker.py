"""Workers die, join and leave; the broker dies and hangs. Every segment is answered, in the topic and in InfluxDB."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.chaos.conftest import Report
from tests.chaos.world import freeze, thaw, world
from tests.support.servers import InfluxServer, KafkaServer

pytestmark = pytest.mark.timeout(420)


def test_workers_are_killed(kafka: KafkaServer, influxdb: InfluxServer, tmp_path: Path, report: Report) -> None:
    with world("workers killed -9", kafka, influxdb, tmp_path, FVQ_TEST_SCORE_MS="50") as w:
        workers = w.start("a", "b")
        kills = 20 if report.full else 3
        for number in range(kills):
            victim = workers[number % 2]
            victim.kill()
            victim.start()
            w.recover()
        w.stop_one(workers[0])
        report.add(w.settle(), f"{kills} times")


@pytest.mark.long
def test_a_rebalance_while_scoring(kafka: KafkaServer, influxdb: InfluxServer, tmp_path: Path, report: Report) -> None:
    with world("rebalance while scoring", kafka, influxdb, tmp_path, FVQ_TEST_SCORE_MS="300") as w:
        w.start("stays")
        for number in range(3):
            (joins,) = w.start(f"joins-{number}")
            w.stop_one(joins)
            w.recover()
        report.add(w.settle(), "a worker joins and leaves")


def test_the_broker_is_killed(kafka: KafkaServer, influxdb: InfluxServer, tmp_path: Path, report: Report) -> None:
    with world("broker killed", kafka, influxdb, tmp_path) as w:
        workers = w.start("a", "b")
        kafka.kill()
        w.stop_one(workers[0])
        kafka.start()
        w.recover()
        workers[0].start()
        report.add(w.settle(), "and restarted, data on disk")


@pytest.mark.long
def test_the_broker_hangs(kafka: KafkaServer, influxdb: InfluxServer, tmp_path: Path, report: Report) -> None:
    seconds = 30.0
    with world("broker frozen", kafka, influxdb, tmp_path) as w:
        workers = w.start("a", "b")
        begin = time.monotonic()
        freeze(kafka.pid)
        try:
            w.stop_one(workers[0])
            time.sleep(max(0.0, begin + seconds - time.monotonic()))  # the fault's length, not a wait for a result
        finally:
            thaw(kafka.pid)
        w.recover()
        report.add(w.settle(), f"{seconds:.0f} s")
