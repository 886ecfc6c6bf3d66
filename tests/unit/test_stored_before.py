"""What earlier versions have stored is read as they read it themselves: events, states, scores, ratings, models, policies.

Each folder of tests/old_version/files was written by the version of that commit (tests/old_version/make.py).
"""

from __future__ import annotations

import json
import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from streams.alerts.detector import open_alerts, step
from streams.alerts.policy import AlertPolicy
from streams.alerts.state import from_json
from streams.events import EVENTS
from streams.history.sqlite import SqliteHistory
from streams.sinks.sqlite import SqliteSink
from tests.old_version.make import FILES
from tests.old_version.stores import BEGIN, STORED, differences, read, scores_of
from tests.support.old_version import COMMIT_FILE

FOLDERS = sorted(path for path in FILES.iterdir() if path.is_dir())


@pytest.fixture(params=FOLDERS, ids=[folder.name for folder in FOLDERS])
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of what a version has stored."""
    return Path(shutil.copytree(request.param, tmp_path / "stored"))


def test_all_of_it_is_read_as_before(stored: Path) -> None:
    before = json.loads((stored / "read.json").read_text())
    assert differences(before, read(stored)) == []


def test_the_version_before_has_stored_something() -> None:
    assert COMMIT_FILE.read_text().strip()[:10] in {folder.name for folder in FOLDERS}, "run python -m tests.old_version.make"


def test_every_kind_of_event_is_among_what_is_stored(stored: Path) -> None:
    assert set(STORED) == {kind.__name__ for kind in EVENTS}
    for name, events in STORED.items():
        lines = [json.loads(line) for line in (stored / f"{name}.jsonl").read_text().splitlines()]
        assert len(lines) == len(events)


def test_a_stream_goes_on_from_the_state_of_an_older_worker(stored: Path) -> None:
    before = [from_json(line) for line in (stored / "alert-state.jsonl").read_bytes().splitlines()]
    good, bad = before
    fired = {alert.kind: alert.alert_id for alert in open_alerts(bad)}
    assert set(fired) == {"quality-drop", "low-quality"}
    # The older worker's scores once more, by this one: the same alerts, by the usual score that the older one has learned.
    state, again = good, []
    for score in scores_of({"signals_version": 2})[12:]:
        state, alerts = step(state, score, AlertPolicy().of({}), score.start + timedelta(seconds=3))
        again += alerts
    assert {alert.kind: alert.alert_id for alert in again} == fired
    assert state.renditions["720p"].baseline == pytest.approx(bad.renditions["720p"].baseline)


async def test_new_scores_go_into_the_file_of_an_older_worker(stored: Path) -> None:
    sink = SqliteSink(stored)
    new = scores_of({"signals_version": 2})[-1].model_copy(update={"segment_id": "studio-7/720p/18", "sequence": 18})
    sink.add(new)
    await sink.flush()
    await sink.close()
    history = SqliteHistory(stored / "scores.sqlite")
    scores = await history.segments("studio-7", "720p", BEGIN, BEGIN + timedelta(hours=1), 100)
    assert len(scores) == 19
    assert new in scores
