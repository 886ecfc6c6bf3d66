"""The run of all faults: what happens when its time is up."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.chaos.__main__ import end

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
