"""The sink is down, slow or full: consumption pauses, no segment is lost, memory does not grow (checked by `Report.add`)."""

from __future__ import annotations

import resource
import sqlite3
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.chaos.conftest import Report
from tests.chaos.world import SETTLE_SECONDS, World, open_world
from tests.support.servers import InfluxServer, KafkaServer
from tests.support.waiting import wait_for

pytestmark = pytest.mark.timeout(420)


def assert_consumption_pauses(world: World, seconds: float) -> None:
    """During the fault only segments that are in flight already are answered."""
    before = len({score.segment_id for score in world.answers()})
    time.sleep(seconds)  # the length of the fault, not a wait for a result
    answers = len({score.segment_id for score in world.answers()}) - before
    assert answers <= 4 * int(world.settings["FVQ_BATCH_SIZE"]) + 8, f"{answers} answers while the sink was down"


@pytest.mark.long
def test_consumption_pauses_while_influxdb_is_down(
    kafka: KafkaServer, influxdb: InfluxServer, tmp_path: Path, report: Report
) -> None:
    seconds = 120.0
    with open_world("InfluxDB down", kafka, influxdb, tmp_path) as world:
        workers = world.start("a", "b")
        influxdb.kill()
        try:
            assert_consumption_pauses(world, seconds / 2)
            world.stop_worker(workers[0])
            assert_consumption_pauses(world, seconds / 2)
        finally:
            influxdb.start()
        world.recover()
        report.add(world.settle(), f"{seconds:.0f} s")


@pytest.mark.parametrize("status", [503, pytest.param(429, marks=pytest.mark.long), pytest.param(400, marks=pytest.mark.long)])
def test_consumption_pauses_while_influxdb_answers_with_an_error(
    kafka: KafkaServer, influxdb: InfluxServer, tmp_path: Path, report: Report, status: int
) -> None:
    with open_world(f"InfluxDB answers {status}", kafka, influxdb, tmp_path) as world:
        workers = world.start("a", "b")
        start = time.monotonic()
        world.proxy.behave(status, **({"Retry_After": "3"} if status != 400 else {}))
        wait_for("a refused write", lambda: world.proxy.refused > 0, 60)
        assert_consumption_pauses(world, 6)
        # Two workers, and each waits 3 s or longer between two attempts. Without Retry-After the first wait is half a second.
        refused, lasted = world.proxy.refused, time.monotonic() - start
        assert refused <= 2 * (1 + lasted / 3) + 2 or status == 400, f"{refused} attempts in {lasted:.1f} s"
        world.stop_worker(workers[0])
        world.proxy.behave()
        world.recover()
        report.add(world.settle(), "Retry-After 3 s" if status != 400 else "to everything")
        assert world.row.dead == 0, "a server that refuses every write must not turn points into dead letters"


@pytest.mark.long
def test_no_segment_is_lost_when_influxdb_is_slow(
    kafka: KafkaServer, influxdb: InfluxServer, tmp_path: Path, report: Report
) -> None:
    with open_world("InfluxDB slow", kafka, influxdb, tmp_path, rate=20.0) as world:
        workers = world.start("a", "b")
        # Longer than the client's timeout: InfluxDB has the points already, and the worker sends them again.
        world.proxy.behave(delay=12.0)
        wait_for("a write that timed out", lambda: "cannot be reached" in workers[1].tail(200), 60)
        world.stop_worker(workers[0])
        world.proxy.behave()
        world.recover()
        report.add(world.settle(), "12 s for an answer")


@pytest.mark.long
def test_consumption_pauses_while_the_disk_is_full(
    kafka: KafkaServer, influxdb: InfluxServer, tmp_path: Path, report: Report
) -> None:
    with open_world("sink disk full", kafka, influxdb, tmp_path, FVQ_INFLUX_URL="") as world:
        (worker,) = world.start("a")
        assert worker.process is not None
        # With this limit no file of the process can grow, so that SQLite's writes fail as on a full disk.
        resource.prlimit(worker.process.pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
        assert_consumption_pauses(world, 6)
        resource.prlimit(worker.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        world.recover()
        resource.prlimit(worker.process.pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
        world.stop_worker(worker)
        worker.start()
        world.recover()
        row = world.settle(influx=False)

        def stored() -> Counter[str]:
            with sqlite3.connect(tmp_path / "a" / "scores.sqlite") as store:
                return Counter(name for (name,) in store.execute("select segment_id from scores"))

        wait_for("SQLite has every score", lambda: len(stored()) == row.segments, SETTLE_SECONDS)
        assert set(stored().values()) == {1}
        report.add(row, "SQLite cannot write")
