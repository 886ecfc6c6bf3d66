"""The sink is away, slow or full: consumption pauses, nothing is lost, and the memory stays where it was (`Report.add`)."""

from __future__ import annotations

import resource
import sqlite3
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.chaos.conftest import Report
from tests.chaos.world import SETTLE_SECONDS, World, world
from tests.support.servers import InfluxServer, KafkaServer
from tests.support.waiting import wait_for

pytestmark = pytest.mark.timeout(420)


def stands_still(w: World, seconds: float) -> None:
    """Under the fault no more than what is in flight is answered: consumption pauses."""
    begin = len({one.segment_id for one in w.answers()})
    time.sleep(seconds)  # the fault's length, not a wait for a result
    taken = len({one.segment_id for one in w.answers()}) - begin
    assert taken <= 4 * int(w.settings["FVQ_BATCH_SIZE"]) + 8, f"{taken} answers while the sink was away"


@pytest.mark.long
def test_influxdb_is_down(kafka: KafkaServer, influxdb: InfluxServer, tmp_path: Path, report: Report) -> None:
    seconds = 120.0
    with world("InfluxDB down", kafka, influxdb, tmp_path) as w:
        workers = w.start("a", "b")
        influxdb.kill()
        try:
            stands_still(w, seconds / 2)
            w.stop_one(workers[0])
            stands_still(w, seconds / 2)
        finally:
            influxdb.start()
        w.recover()
        report.add(w.settle(), f"{seconds:.0f} s")


@pytest.mark.parametrize("status", [503, pytest.param(429, marks=pytest.mark.long), pytest.param(400, marks=pytest.mark.long)])
def test_influxdb_refuses(kafka: KafkaServer, influxdb: InfluxServer, tmp_path: Path, report: Report, status: int) -> None:
    with world(f"InfluxDB answers {status}", kafka, influxdb, tmp_path) as w:
        workers = w.start("a", "b")
        w.proxy.behave(status, **({"Retry_After": "3"} if status != 400 else {}))
        wait_for("a refused write", lambda: w.proxy.refused > 0, 30)
        stands_still(w, 6)
        # Two workers that wait 3 s at least between their attempts; without Retry-After they start at half a second.
        assert w.proxy.refused <= 8 or status == 400, f"{w.proxy.refused} attempts in 6 s"
        w.stop_one(workers[0])
        w.proxy.behave()
        w.recover()
        report.add(w.settle(), "Retry-After 3 s" if status != 400 else "to everything")
        assert w.row.dead == 0, "a server that refuses everything is no reason to give up a point"


@pytest.mark.long
def test_influxdb_is_slow(kafka: KafkaServer, influxdb: InfluxServer, tmp_path: Path, report: Report) -> None:
    with world("InfluxDB slow", kafka, influxdb, tmp_path, rate=20.0) as w:
        workers = w.start("a", "b")
        w.proxy.behave(delay=12.0)  # longer than the client waits: the write has happened, and is made again
        wait_for("a write that took too long", lambda: "cannot be reached" in workers[1].tail(200), 60)
        w.stop_one(workers[0])
        w.proxy.behave()
        w.recover()
        report.add(w.settle(), "12 s for an answer")


@pytest.mark.long
def test_the_disk_is_full(kafka: KafkaServer, influxdb: InfluxServer, tmp_path: Path, report: Report) -> None:
    with world("sink disk full", kafka, influxdb, tmp_path, FVQ_INFLUX_URL="") as w:
        (worker,) = w.start("a")
        assert worker.process is not None
        # No file of the process may grow: what SQLite then sees is a write that fails, as on a full disk.
        resource.prlimit(worker.process.pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
        stands_still(w, 6)
        resource.prlimit(worker.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        w.recover()
        resource.prlimit(worker.process.pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
        w.stop_one(worker)
        worker.start()
        w.recover()
        row = w.settle(influx=False)

        def stored() -> Counter[str]:
            with sqlite3.connect(tmp_path / "a" / "scores.sqlite") as store:
                return Counter(name for (name,) in store.execute("select segment_id from scores"))

        wait_for("SQLite has every score", lambda: len(stored()) == row.segments, SETTLE_SECONDS)
        assert set(stored().values()) == {1}
        report.add(row, "SQLite cannot write")
