"""Workers are killed, join and leave; the broker is killed and hangs. Every segment is answered, on the topic and in InfluxDB."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.chaos.conftest import Report
from tests.chaos.world import STREAMS, TIERS, freeze, open_world, thaw
from tests.support.servers import InfluxServer, KafkaServer

pytestmark = pytest.mark.timeout(420)


def test_no_segment_is_lost_when_workers_are_killed(
    kafka: KafkaServer, influxdb: InfluxServer, tmp_path: Path, report: Report
) -> None:
    with open_world("workers killed -9", kafka, influxdb, tmp_path, FVQ_TEST_SCORE_MS="50") as world:
        workers = world.start("a", "b")
        kills = 20 if report.full else 3
        for number in range(kills):
            victim = workers[number % 2]
            victim.kill()
            victim.start()
            world.recover()
        # Not after each kill: a worker may know its streams still, of the moment before the other one had them.
        assert TIERS == "off" or world.first_looks() > STREAMS, "the next worker knows nothing of the streams"
        world.stop_worker(workers[0])
        report.add(world.settle(), f"{kills} times")


@pytest.mark.long
def test_no_segment_is_lost_in_a_rebalance_while_scoring(
    kafka: KafkaServer, influxdb: InfluxServer, tmp_path: Path, report: Report
) -> None:
    with open_world("rebalance while scoring", kafka, influxdb, tmp_path, FVQ_TEST_SCORE_MS="300") as world:
        world.start("stays")
        for number in range(3):
            (joining,) = world.start(f"joins-{number}")
            world.stop_worker(joining)
            world.recover()
        report.add(world.settle(), "a worker joins and leaves")


def test_no_segment_is_lost_when_the_broker_is_killed(
    kafka: KafkaServer, influxdb: InfluxServer, tmp_path: Path, report: Report
) -> None:
    with open_world("broker killed", kafka, influxdb, tmp_path) as world:
        workers = world.start("a", "b")
        kafka.kill()
        world.stop_worker(workers[0])
        kafka.start()
        world.recover()
        workers[0].start()
        report.add(world.settle(), "and restarted, data on disk")


@pytest.mark.long
def test_no_segment_is_lost_when_the_broker_hangs(
    kafka: KafkaServer, influxdb: InfluxServer, tmp_path: Path, report: Report
) -> None:
    seconds = 30.0
    with open_world("broker frozen", kafka, influxdb, tmp_path) as world:
        workers = world.start("a", "b")
        start = time.monotonic()
        freeze(kafka.pid)
        try:
            world.stop_worker(workers[0])
            time.sleep(max(0.0, start + seconds - time.monotonic()))  # the length of the fault, not a wait for a result
        finally:
            thaw(kafka.pid)
        world.recover()
        report.add(world.settle(), f"{seconds:.0f} s")
