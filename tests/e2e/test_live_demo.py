"""`make demo-live` as a user runs it. It is the one test in which an encoder, an origin, the ingester, the worker and the alerts
run together in real time and a break is timed from its first picture to the line that tells of it."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.support.processes import PYTHON, ROOT, clean_environment


@pytest.mark.timeout(400)
def test_three_breaks_are_seen() -> None:
    # A broker that does not exist: the demo must not use the shell's settings.
    environment = clean_environment() | {"FVQ_BROKER": "127.0.0.1:1"}
    command = [PYTHON, "examples/live_demo.py", "--json"]
    finished = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=390)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "the wall: http://127.0.0.1:" in finished.stderr
    bad, black, away = json.loads(finished.stdout)["breaks"]
    assert (bad["what"], black["what"], away["what"]) == ("bad", "black", "away")
    assert bad["seen"] in ("alert quality-drop", "alert low-quality")
    assert black["seen"] == "alert black"
    assert away["seen"].startswith("source ")
    assert all(0 <= each["after"] < 45 for each in (bad, black, away))
