"""Past scores through two policies: the alerts' own code, and what differs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.alerts.past import backtest, report, stored_scores, table
from streams.alerts.policy import AlertPolicy, parse_policy
from streams.alerts.replay import Replay, difference
from streams.errors import HistoryError
from streams.events import QualityAlert, SegmentScore
from streams.history.base import MOST_SEGMENTS
from streams.history.sqlite import SqliteHistory
from streams.sinks.sqlite import SqliteSink
from tests.support.alerts import BEGIN, fold, make_score
from tests.support.processes import fvq

TODAY = AlertPolicy()
SEGMENTS = 1200
bursts = st.lists(st.tuples(st.integers(1, 12), st.sampled_from([80.0, 45.0, 10.0]), st.integers(0, 20)), max_size=12)
"""Of each burst: how many segments, their score, and the segments that are missing after it."""


def scores_of(bursts: Sequence[tuple[int, float, int]]) -> list[SegmentScore]:
    scores, sequence = [], 0
    for count, value, missing in bursts:
        scores += [make_score(sequence + place, value) for place in range(count)]
        sequence += count + missing
    return scores


def alerts_of(scores: Sequence[SegmentScore], policy: AlertPolicy, until: datetime | None = None, **labels: str) -> list[Any]:
    replay = Replay("channel", policy, labels)
    for score in scores:
        replay.add(score)
    return replay.alerts(until or BEGIN)


def kinds(alerts: Sequence[QualityAlert]) -> list[str]:
    return [alert.kind for alert in alerts]


@settings(max_examples=40)
@given(bursts)
def test_a_replay_raises_what_the_worker_raised(bursts: list[tuple[int, float, int]]) -> None:
    scores = scores_of(bursts)
    expected = {alert.alert_id for alert in fold(scores)[1] if alert.kind != "no-segments"}
    replayed = alerts_of(scores, TODAY)
    assert {alert.alert_id for alert in replayed if alert.kind != "no-segments"} == expected
    assert len(replayed) == len({alert.alert_id for alert in replayed})


@settings(max_examples=40)
@given(bursts)
def test_a_policy_does_not_differ_from_itself(bursts: list[tuple[int, float, int]]) -> None:
    alerts = alerts_of(scores_of(bursts), TODAY)
    same = difference(alerts, alerts)
    assert (same.gained, same.lost, same.changed_severity) == ([], [], [])


@settings(max_examples=40)
@given(bursts, st.sampled_from([20, 30, 60, 80]))
def test_the_difference_is_the_same_from_both_sides(bursts: list[tuple[int, float, int]], threshold: int) -> None:
    scores = scores_of(bursts)
    one, other = (
        alerts_of(scores, policy) for policy in (TODAY, parse_policy({"alerts": {"low_quality": {"threshold": threshold}}}))
    )
    there, back = difference(one, other), difference(other, one)
    assert (there.gained, there.lost) == (back.lost, back.gained)
    assert len(there.changed_severity) <= len(other)


def test_a_silence_fires_in_its_time_and_ends_with_the_stream() -> None:
    scores = [make_score(number) for number in (*range(20), *range(60, 70))]
    silence, last = alerts_of(scores, TODAY, until=BEGIN + timedelta(seconds=181))
    assert (silence.kind, silence.started_at) == ("no-segments", BEGIN + timedelta(seconds=40))
    assert silence.ended_at == BEGIN + timedelta(seconds=120)
    assert (last.kind, last.state, last.value) == ("no-segments", "firing", 20)
    assert alerts_of(scores, TODAY, until=BEGIN + timedelta(seconds=179)) == [silence]


def test_a_stream_that_comes_back_after_days_starts_anew() -> None:
    later = 3 * 24 * 3600 // 2
    (silence,) = alerts_of([make_score(number) for number in (0, 1, later, later + 1)], TODAY)
    assert (silence.state, silence.kind) == ("resolved", "no-segments")


def test_an_alert_is_told_with_what_fired() -> None:
    (alert,) = alerts_of(scores_of([(10, 20.0, 0), (20, 90.0, 0)]), TODAY)
    assert alert.state == "resolved"
    assert alert.value < 40, "not the value at its end"
    assert alert.summary.startswith("channel: quality is low: 20")


def test_labels_choose_the_override() -> None:
    policy = parse_policy({"overrides": [{"labels": {"tier": "premium"}, "alerts": {"low_quality": {"threshold": 90}}}]})
    scores = scores_of([(20, 70.0, 0)])
    assert kinds(alerts_of(scores, policy)) == []
    assert kinds(alerts_of(scores, policy, tier="premium")) == ["low-quality"]
    labelled = [score.model_copy(update={"labels": {"tier": "premium"}}) for score in scores]
    assert kinds(alerts_of(labelled, policy)) == ["low-quality"]


def test_another_limit_moves_an_alerts_start_and_it_stays_the_same_alert() -> None:
    scores = scores_of([(10, 80.0, 0), (10, 45.0, 0), (10, 20.0, 0), (20, 90.0, 0)])
    strict = parse_policy(
        {"alerts": {"low_quality": {"threshold": 60, "severity": "critical"}, "quality_drop": {"enabled": False}}}
    )
    usual = parse_policy({"alerts": {"quality_drop": {"enabled": False}}})
    before, after = alerts_of(scores, usual), alerts_of(scores, strict)
    assert before[0].alert_id != after[0].alert_id
    change = difference(before, after)
    assert (change.gained, change.lost) == ([], [])
    assert change.changed_severity == after


async def fill(folder: Path, begin: datetime, streams: Sequence[str] = ("a", "b")) -> None:
    """A store with streams that are bad for a minute, half an hour after `begin`."""
    sink = SqliteSink(folder)
    for stream in streams:
        for number in range(SEGMENTS):
            bad = 900 <= number < 930
            sink.add(make_score(number, 25.0 if bad else 75.0, stream=stream, begin=begin))
    await sink.flush()
    await sink.close()


async def test_the_stored_scores_come_in_order_and_none_is_missing(tmp_path: Path) -> None:
    await fill(tmp_path, BEGIN, ["a"])
    history = SqliteHistory(tmp_path / "scores.sqlite")
    portions = [portion async for portion in stored_scores(history, "a", BEGIN - timedelta(days=9), BEGIN + timedelta(days=1))]
    assert len(portions) > 1
    assert max(map(len, portions)) < MOST_SEGMENTS
    assert [score.sequence for portion in portions for score in portion] == list(range(SEGMENTS))


async def test_a_backtest_compares_two_policies(tmp_path: Path) -> None:
    await fill(tmp_path, BEGIN)
    history = SqliteHistory(tmp_path / "scores.sqlite")
    new = parse_policy(
        {
            "alerts": {"low_quality": {"enabled": False}, "quality_drop": {"severity": "critical"}},
            "receivers": [{"name": "on-call", "type": "json", "url": "http://x", "severity": "critical"}],
        }
    )
    start, end = BEGIN + timedelta(minutes=10), BEGIN + timedelta(days=1)
    result = await backtest(history, (TODAY, new), start, end)
    found = report(result)
    assert (found["streams"], found["segments"]) == (2, 2 * SEGMENTS)
    assert found["kinds"]["low-quality"] == {"before": 2, "after": 0, "gained": 0, "lost": 2, "changed_severity": 0}
    assert found["kinds"]["quality-drop"] == {"before": 2, "after": 2, "gained": 0, "lost": 0, "changed_severity": 2}
    assert found["receivers"] == {"on-call": {"before": 0, "after": 2}}
    assert "no-segments" not in found["kinds"], "nobody knows who was silent after the last score of all"
    text = table(result)
    assert "| low-quality | 2 | 0 | 0 | 2 | 0 |" in text
    assert "| on-call | 0 | 2 |" in text
    unchanged = await backtest(history, (TODAY, TODAY), start, end, ["a"])
    assert "changes no alert" in table(unchanged)
    with pytest.raises(HistoryError, match="no scores of 'c'"):
        await backtest(history, (TODAY, new), start, end, ["a", "c"])
    with pytest.raises(HistoryError, match="no scores between"):
        await backtest(history, (TODAY, new), start - timedelta(days=9), end - timedelta(days=9))


async def test_the_command_prints_what_differs(tmp_path: Path) -> None:
    await fill(tmp_path, datetime.now(UTC) - timedelta(hours=2), ["a"])
    policy = tmp_path / "new.yaml"
    policy.write_text("alerts: {low_quality: {enabled: false}}")
    done = fvq("alerts", "backtest", str(policy), "--json", FVQ_DATA_DIR=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["by_stream"] == {"a": {"before": 2, "after": 1, "gained": 0, "lost": 1, "changed_severity": 0}}
    done = fvq("alerts", "check", "--policy", str(policy), "--diff", FVQ_DATA_DIR=str(tmp_path))
    assert "| low-quality | 1 | 0 | 0 | 1 | 0 |" in done.stdout
    done = fvq("alerts", "check", "--diff", FVQ_DATA_DIR=str(tmp_path))
    assert done.returncode == 2
    assert "name the new one with --policy" in done.stderr
    done = fvq("alerts", "backtest", str(policy), FVQ_DATA_DIR=str(tmp_path / "empty"))
    assert done.returncode == 1
    assert "the store has no scores between" in done.stderr
