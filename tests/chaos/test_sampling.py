"""The real model and real media: one sampling child hangs, another is killed, as the kernel's OOM killer does."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from scorer.sampling import probe
from streams.ingest.files import cut, find_sources
from tests.chaos.conftest import Report
from tests.chaos.world import children, freeze, open_world
from tests.support.processes import ROOT
from tests.support.servers import InfluxServer, KafkaServer
from tests.support.waiting import wait_for


@pytest.mark.long
@pytest.mark.timeout(420)
def test_no_segment_is_lost_when_a_sampling_child_hangs_or_is_killed(
    kafka: KafkaServer, influxdb: InfluxServer, tmp_path: Path, report: Report
) -> None:
    (source,) = find_sources(ROOT / "examples/face.mp4")
    media = [segment.path for segment in cut(source, tmp_path / "media", 2.0, probe)]
    settings = {"FVQ_SAMPLE_TIMEOUT": "8", "FVQ_BATCH_SIZE": "4", "FVQ_DEVICE": "cpu"}
    with open_world("sampling child hangs", kafka, influxdb, tmp_path, rate=1.0, media=media, command=None, **settings) as world:
        (worker,) = world.start("real")
        for kill in (False, True):
            wait_for("a child", lambda: bool(children(worker)), 60)
            (child,) = children(worker)
            if kill:
                os.kill(child, signal.SIGKILL)
            else:
                freeze(child)
            # A child that hangs is replaced after FVQ_SAMPLE_TIMEOUT, one that was killed is replaced at once.
            wait_for("another child", lambda child=child: child not in children(worker), 60)
            world.recover()
        (child,) = children(worker)
        freeze(child)
        start = time.monotonic()
        world.stop_worker(worker)
        assert time.monotonic() - start < 30
        wait_for("the end of the child that hangs", lambda: not Path(f"/proc/{child}").exists(), 10)
        worker.start()
        row = world.settle()
        assert row.dead <= 2, "a dead letter only for the segment in the child that hung"
        report.add(row, "another is killed; the real model")
