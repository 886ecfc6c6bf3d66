"""The run of all faults: what it shows, and what happens when its time is up."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from streams.starting_pages import StartingPages
from tests.chaos.__main__ import Progress, end
from tests.chaos.world import has_partitions

STUBBORN = "import signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); print('ready', flush=True); signal.pause()"
WILLING = "import signal; print('ready', flush=True); signal.pause()"


def test_a_lane_that_does_not_end_is_killed_and_the_others_end_by_themselves(capsys: pytest.CaptureFixture[str]) -> None:
    lanes = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        for code in (STUBBORN, WILLING)
    ]
    for lane in lanes:
        assert lane.stdout is not None
        lane.stdout.readline()
    end(lanes, 2.0)
    assert lanes[0].returncode == -9
    assert lanes[1].returncode != -9
    assert "lane 0 did not end within 2 s" in capsys.readouterr().out


def test_each_fault_is_named_once_when_it_is_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def said() -> list[str]:
        return [line.partition(" s  ")[2] for line in capsys.readouterr().out.splitlines()]

    first, second = tmp_path / "0.json", tmp_path / "1.json"
    progress = Progress([first, second])
    second.write_text('{"fault": "scorer hangs", "segments": 12, "lost": 0}\n{"fault": "half of a l')
    progress.look()
    progress.look()
    assert said() == ["scorer hangs: 12 segments, 0 lost"]
    first.write_text('{"fault": "broker killed", "segments": 3, "lost": 1}\n')
    progress.look()
    assert said() == ["broker killed: 3 segments, 1 lost"]
    assert [row["fault"] for row in progress.rows] == ["broker killed", "scorer hangs"]


def test_a_fault_waits_for_a_worker_that_still_loads() -> None:
    with StartingPages("127.0.0.1", 0) as pages:
        worker: Any = SimpleNamespace(name="a", running=True, environment={"FVQ_WEB_PORT": str(pages.port)})
        assert not has_partitions(worker)
