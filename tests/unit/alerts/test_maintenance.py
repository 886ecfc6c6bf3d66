"""Maintenance: nothing fires of the streams at which somebody is at work, and what still lasts after it does."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka import TopicPartition

from streams.alerts.agent import AlertAgent
from streams.alerts.course import Courses
from streams.alerts.detector import step, tick
from streams.alerts.maintenance import PERIODS, Maintenance
from streams.alerts.policy import AlertPolicy, load_policy, parse_policy
from streams.alerts.replay import Replay
from streams.alerts.state import StreamState
from streams.errors import SettingsError
from streams.events import SCORES_TOPIC, QualityAlert, SegmentScore
from streams.kafka.connection import Connection
from streams.kafka.consumer import Group
from tests.support.alerts import BEGIN, MemoryAlertTopics, kinds_and_states, make_score, stream_of
from tests.support.processes import fvq

AFTER = AlertPolicy().of({}).no_segments.after
WEST = {"site": "west"}


def at(seconds: float) -> datetime:
    return BEGIN + timedelta(seconds=seconds)


def policy_of(start: float, end: float, **fields: object) -> AlertPolicy:
    """Maintenance between two times, seconds after `BEGIN`."""
    return parse_policy({"maintenance": [{"from": at(start), "to": at(end), **fields}]})


def judged(scores: Sequence[SegmentScore], policy: AlertPolicy) -> list[QualityAlert]:
    """The alerts of one stream as a worker raises them."""
    state, alerts = StreamState("channel"), []
    for score in scores:
        state, more = step(state, score, policy.of(score.labels, score.start))
        alerts += more
    return alerts


@given(
    st.sampled_from(sorted(PERIODS)),
    st.integers(1, 86400),
    st.integers(-(10**6), 10**7),
)
def test_what_comes_again_lasts_as_often_as_its_period_goes_into_the_time(every: str, length: int, seconds: int) -> None:
    work = policy_of(0, length, every=every).maintenance[0]
    period = PERIODS[every].total_seconds()
    assert work.lasts(at(seconds)) == (seconds >= 0 and seconds % period < length)
    begin, end = work.next(at(seconds)) or (BEGIN, BEGIN)
    assert end > at(seconds)
    assert (end - begin).total_seconds() == length
    assert (begin - BEGIN).total_seconds() % period == 0
    assert begin == BEGIN or (begin - at(seconds)).total_seconds() <= period - length, "no earlier one is left out"


def test_one_that_comes_once_is_over_with_its_end() -> None:
    work = policy_of(10, 20).maintenance[0]
    assert [work.lasts(at(seconds)) for seconds in (9.9, 10, 19.9, 20)] == [False, True, True, False]
    assert work.next(at(5)) == work.next(at(15)) == (at(10), at(20))
    assert work.next(at(20)) is None


def test_a_problem_that_ends_within_maintenance_is_not_told_and_one_that_lasts_fires_after_it() -> None:
    bad = stream_of((30, 75), (30, 20), (30, 75))  # bad from second 60 to 120
    assert kinds_and_states(judged(bad, policy_of(50, 130))) == []
    fired = judged(bad, policy_of(50, 100))
    assert ("low-quality", "firing") in kinds_and_states(fired)
    first = fired[0]
    assert at(60) <= first.started_at < at(70), "since when it is bad"
    assert int(first.segment_id.split("/")[1]) * 2 == 100, "told with the first segment after it"


def test_an_alert_that_was_open_before_maintenance_stays_open_and_resolves_in_it() -> None:
    without = judged(stream_of((30, 75), (30, 20), (30, 75)), AlertPolicy())
    assert len(without) >= 2
    assert judged(stream_of((30, 75), (30, 20), (30, 75)), policy_of(100, 1000)) == without


def test_only_streams_with_all_of_its_labels_are_meant() -> None:
    policy = policy_of(0, 1000, labels=WEST)
    for labels, count in ((WEST, 0), (WEST | {"tier": "x"}, 0), ({"site": "east"}, 1), ({}, 1)):
        black = [make_score(i, 75, black=float(i >= 10), labels=labels) for i in range(30)]
        assert len(judged(black, policy)) == count, labels


def test_a_silence_that_lasts_beyond_maintenance_fires_with_its_end() -> None:
    state = StreamState("channel")
    for score in stream_of((30, 75)):
        state, _ = step(state, score, AlertPolicy().of({}))
    policy = policy_of(50, 200)

    def silent_at(seconds: float) -> list[QualityAlert]:
        return tick(state, at(seconds), seconds - 60, policy.of({}, at(seconds)))[1]

    assert silent_at(60 + AFTER) == silent_at(199) == []
    (fired,) = silent_at(200)
    assert (fired.kind, fired.state, fired.started_at) == ("no-segments", "firing", at(60))


@given(
    st.lists(st.tuples(st.integers(1, 12), st.sampled_from([80.0, 45.0, 10.0])), max_size=12),
    st.integers(0, 100),
    st.integers(1, 100),
)
def test_nothing_fires_within_it_and_a_replay_raises_what_the_worker_raised(
    bursts: list[tuple[int, float]], start: int, length: int
) -> None:
    policy, scores = policy_of(start, start + length), stream_of(*bursts)
    alerts = judged(scores, policy)
    for alert in alerts:
        told = at(2 * int(alert.segment_id.split("/")[1]))
        assert alert.state == "resolved" or not policy.maintenance[0].lasts(told)
    replay = Replay("channel", policy, {})
    for score in scores:
        replay.add(score)
    until = scores[-1].start if scores else BEGIN
    assert {alert.alert_id for alert in replay.alerts(until)} == {alert.alert_id for alert in alerts}


@pytest.mark.parametrize(("start", "end", "count"), [(50, 200, 1), (50, 5000, 0), (300, 500, 1), (50, 60 + AFTER, 1)])
def test_a_replay_tells_of_a_silence_once_nobody_is_at_work_any_more(start: float, end: float, count: int) -> None:
    replay = Replay("channel", policy_of(start, end), {})
    for score in stream_of((30, 75)):
        replay.add(score)
    alerts = replay.alerts(at(1000))
    assert [(alert.kind, alert.started_at) for alert in alerts] == [("no-segments", at(60))] * count


def test_a_worker_takes_the_time_of_a_silence_from_the_clock() -> None:
    scores = [make_score(i, 75, begin=datetime.now(UTC)) for i in range(3)]
    topics = MemoryAlertTopics(scores)
    topics.messages_left = 1000
    soon = datetime.now(UTC) + timedelta(hours=1)
    policy = parse_policy({"maintenance": [{"from": datetime.now(UTC) - timedelta(hours=1), "to": soon}]})
    agent = AlertAgent(Connection("none:1"), Group("fvq", 10), policy)
    at_first = TopicPartition(SCORES_TOPIC, 0)
    agent._take_over(topics, at_first)  # type: ignore[arg-type]
    agent._judge_scores(topics, {at_first: topics.records})  # type: ignore[arg-type]
    (stream,) = agent._partitions[0].streams.values()
    assert stream.limits.in_maintenance
    agent._take_limits(parse_policy({}))
    assert not stream.limits.in_maintenance
    agent._take_limits(policy)
    assert stream.limits.in_maintenance
    assert agent.use(parse_policy({})), "its limits are others"


def test_glances_are_chosen_as_if_nobody_was_at_work() -> None:
    courses = Courses(policy_of(0, 1000))
    bad = stream_of((30, 75), (10, 20))
    assert [courses(score, score.start) for score in bad][-1] == "changing"
    assert courses.is_undecided(bad[-1])


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("- {from: 2026-12-05T01:00:00Z}", "maintenance[0].to: field required (policy.yaml, line 2)"),
        ("- {from: 2026-12-05T01:00:00, to: 2026-12-05T03:00:00Z}",
         "maintenance[0].from: write a time with its offset, as 2026-12-05T01:00:00Z (policy.yaml, line 2)"),
        ("- {from: 1, to: 3}", "maintenance[0].from: write a time with its offset"),
        ("- {from: 2026-12-05, to: 2026-12-06}", "maintenance[0].from: write a time with its offset"),
        ("- {from: '02:00', to: '03:00'}", "maintenance[0].from: write a time with its offset"),
        ("- {from: 2026-12-05T03:00:00Z, to: 2026-12-05T01:00:00Z}", "its end, `to`, must be after its start, `from`"),
        ("- {from: 2026-12-05T01:00:00Z, to: 2026-12-07T01:00:00Z, every: day}", "it lasts longer than a day"),
        ("- {from: 2026-12-05T01:00:00Z, to: 2026-12-05T03:00:00Z, evry: day}", "no such setting: did you mean every?"),
        ("- {from: 2026-12-05T01:00:00Z, to: 2026-12-05T03:00:00Z, every: month}", "'day' or 'week'"),
        ("- {from: 2026-12-05T01:00:00Z, too: 2026-12-05T03:00:00Z}", "maintenance[0].to: field required"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_what_to_write(tmp_path: Path, lines: str, message: str) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(f"maintenance:\n{lines}")
    with pytest.raises(SettingsError) as caught:
        load_policy(file)
    assert message in str(caught.value)


def test_times_are_read_with_any_offset(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text("maintenance:\n- {from: 2026-12-05T02:00:00+01:00, to: '2026-12-05T03:00:00Z', every: week}")
    (work,) = load_policy(file).maintenance
    assert (work.start, work.end) == (datetime(2026, 12, 5, 1, tzinfo=UTC), datetime(2026, 12, 5, 3, tzinfo=UTC))
    assert isinstance(work, Maintenance)


def test_the_check_says_when_nothing_is_told_of_a_stream(tmp_path: Path) -> None:
    begin = datetime.now(UTC).replace(microsecond=0)
    lines = [
        f"- {{from: {begin - timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}, to: {begin + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}}}",
        f"- {{labels: {{site: west}}, from: {begin - timedelta(days=8):%Y-%m-%dT%H:%M:%SZ}, every: week,"
        f" to: {begin - timedelta(days=8) + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}}}",
        "- {from: 2020-01-01T00:00:00Z, to: 2020-01-01T01:00:00Z}",
    ]
    file = tmp_path / "policy.yaml"
    file.write_text("maintenance:\n" + "\n".join(lines))
    done = fvq("alerts", "check", "--policy", str(file), "--label", "site=west", FVQ_DATA_DIR=str(tmp_path))
    assert done.returncode == 0, done.stderr
    told = done.stderr.splitlines()
    assert told == [
        f"maintenance[0]: now, until {begin + timedelta(hours=1):%Y-%m-%d %H:%M} UTC: nothing of such a stream fires",
        f"maintenance[1]: next {begin + timedelta(days=6):%Y-%m-%d %H:%M} UTC, until "
        f"{begin + timedelta(days=6, hours=1):%Y-%m-%d %H:%M} UTC",
        "maintenance[2]: over",
    ]
    others = fvq("alerts", "check", "--policy", str(file), FVQ_DATA_DIR=str(tmp_path))
    assert "maintenance[1]" not in others.stderr
    assert others.stdout == done.stdout
