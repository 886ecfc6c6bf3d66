"""The alert agent against topics in memory, killed between any two messages: each alert is sent once, and none is missing."""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka import TopicPartition

from streams import metrics
from streams.alerts.agent import AlertAgent
from streams.alerts.detector import open_alerts, step
from streams.alerts.policy import parse_policy
from streams.alerts.state import StreamState, to_json
from streams.alerts.watermark import Watermark
from streams.events import ALERT_STATE_TOPIC, SCORES_TOPIC, AudioSummary, SegmentScore
from streams.kafka.connection import Connection
from streams.kafka.consumer import Group
from tests.support.alerts import Killed, MemoryAlertTopics, make_score

QUICK = {"cool_down": 0, "minimum": 2, "clear": 2}
POLICY = parse_policy({"alerts": {"black": QUICK, "silent": QUICK | {"warm_up": 2}}})
PARTITION = TopicPartition(SCORES_TOPIC, 0)
UNLIMITED = 10**6
"""More messages than any test sends."""


def run_worker(topics: MemoryAlertTopics, batch: int, messages: int) -> bool:
    """Run a worker until it has read all scores or is killed; returns whether it read all.

    batch: scores that it reads at a time. messages: number of messages that it can send before it is killed.
    """
    agent = AlertAgent(Connection("none:1"), Group("fvq", 10), POLICY)
    topics.messages_left = messages
    try:
        agent._take_over(topics, PARTITION)  # type: ignore[arg-type]
        while records := topics.records[topics.committed : topics.committed + batch]:
            agent._judge_scores(topics, {PARTITION: records})  # type: ignore[arg-type]
    except Killed:
        return False
    return True


def expected_alerts(scores: list[SegmentScore]) -> list[tuple[str, str]]:
    """Id and state of the alerts that a worker raises which is never killed."""
    states: dict[str, StreamState] = {}
    expected = []
    for score in scores:
        state = states.get(score.stream_id, StreamState(score.stream_id))
        states[score.stream_id], alerts = step(state, score, POLICY.of({}))
        expected += [(alert.alert_id, alert.state) for alert in alerts]
    return expected


bursts_of_scores = st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 6), st.booleans()), max_size=25)
"""Of each burst: the stream, the number of segments, and whether they are black and silent."""


def scores_of(bursts: list[tuple[str, int, bool]]) -> list[SegmentScore]:
    """The scores of bursts; what is black is silent as well."""
    scores, sequences = [], dict.fromkeys("abc", 0)
    for stream, count, black in bursts:
        sound = AudioSummary(present=True, silent=float(black))
        for _ in range(count):
            scores.append(make_score(sequences[stream], 70, stream=stream, black=float(black), audio=sound))
            sequences[stream] += 1
    return scores


@given(bursts_of_scores, st.lists(st.tuples(st.integers(1, 20), st.integers(0, 30)), max_size=12))
def test_workers_killed_between_any_two_messages_send_each_alert_once(
    bursts: list[tuple[str, int, bool]], killed_workers: list[tuple[int, int]]
) -> None:
    scores = scores_of(bursts)
    topics = MemoryAlertTopics(scores)
    for batch, messages in killed_workers:
        run_worker(topics, batch, messages)
    assert run_worker(topics, 10, UNLIMITED)
    sent = [(alert.alert_id, alert.state) for alert in topics.alerts()]
    assert sorted(sent) == sorted(expected_alerts(scores))


def forget_sound(topics: MemoryAlertTopics) -> None:
    """Write all states again as a worker of the version before writes them: without what it does not know."""
    for state in list(topics.states(0)):
        fields = json.loads(to_json(state))
        for rendition in fields["courses"].values():
            for name in ("silent", "sound", "signals_version"):
                rendition.pop(name, None)
        topics.topics[ALERT_STATE_TOPIC].append((state.stream_id, json.dumps(fields).encode()))


@pytest.mark.parametrize("sound_comes_back", [True, False])
def test_an_alert_that_an_older_worker_has_dropped_goes_on(*, sound_comes_back: bool) -> None:
    bursts = [("a", 5, False), ("a", 5, True), ("a", 3, not sound_comes_back)]
    topics = MemoryAlertTopics(scores_of(bursts))
    records, topics.records = topics.records, topics.records[:10]
    assert run_worker(topics, 4, UNLIMITED)
    fired = {alert.kind: alert.alert_id for alert in topics.alerts()}
    assert set(fired) == {"black", "silent"}
    forget_sound(topics)
    assert [alert.kind for state in topics.states(0) for alert in open_alerts(state)] == ["black"]
    topics.records = records
    assert run_worker(topics, 4, UNLIMITED)
    again = [(alert.kind, alert.state, alert.alert_id) for alert in topics.alerts()[2:]]
    expected = [(kind, "resolved", alert_id) for kind, alert_id in fired.items()] if sound_comes_back else []
    assert sorted(again) == sorted(expected)


def test_an_alert_whose_worker_was_killed_before_it_stored_the_state_does_not_end_by_what_is_read_again() -> None:
    topics = MemoryAlertTopics(scores_of([("a", 8, False), ("a", 5, True)]))
    records, topics.records = topics.records, topics.records[:4]
    assert run_worker(topics, 4, UNLIMITED)
    topics.records = records
    assert not run_worker(topics, 9, 2), "it sends two alerts, and is killed"
    assert [alert.state for alert in topics.alerts()] == ["firing", "firing"]
    assert run_worker(topics, 9, UNLIMITED)
    assert [alert.state for alert in topics.alerts()] == ["firing", "firing"]


def test_the_open_alerts_are_counted_where_the_worker_before_was_killed_before_it_stored_the_state() -> None:
    def counted() -> float:
        return metrics.ALERTS_OPEN.labels("black")._value.get()

    topics = MemoryAlertTopics([make_score(i, 70, black=float(2 <= i < 6)) for i in range(12)])
    records = topics.records
    for read, state, expected in ((6, "firing", 1), (12, "resolved", 0)):
        topics.records = records[:read]
        assert not run_worker(topics, read, 1), "it sends the alert, and is killed"
        assert topics.alerts()[-1].state == state
        assert run_worker(topics, read, UNLIMITED)
        assert counted() == expected
    assert len(topics.alerts()) == 2


def test_a_message_that_is_no_score_is_skipped_and_the_others_are_judged() -> None:
    topics = MemoryAlertTopics([make_score(i, 70, black=1.0) for i in range(5)])
    topics.records.insert(2, SimpleNamespace(offset=2, value=b"{}", timestamp=-1))
    for offset, record in enumerate(topics.records):
        record.offset = offset
    assert run_worker(topics, 3, UNLIMITED)
    assert [alert.kind for alert in topics.alerts()] == ["black"]


def test_open_alerts_lists_a_firing_alert_until_it_resolves_also_on_the_worker_that_takes_over() -> None:
    topics = MemoryAlertTopics([make_score(i, 70, black=float(i < 5)) for i in range(10)])
    agent = AlertAgent(Connection("none:1"), Group("fvq", 10), POLICY)
    topics.messages_left = UNLIMITED
    agent._take_over(topics, PARTITION)  # type: ignore[arg-type]
    agent._judge_scores(topics, {PARTITION: topics.records[:5]})  # type: ignore[arg-type]
    assert [alert.alert_id for alert in agent.open_alerts()] == [topics.alerts()[0].alert_id]
    other = AlertAgent(Connection("none:1"), Group("fvq", 10), POLICY)
    other._take_over(topics, PARTITION)  # type: ignore[arg-type]
    assert other.open_alerts() == agent.open_alerts()
    agent._judge_scores(topics, {PARTITION: topics.records[5:]})  # type: ignore[arg-type]
    assert agent.open_alerts() == []


def test_a_state_that_is_too_large_is_dropped_and_its_alerts_resolve(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.alerts.agent.MAX_STATE_BYTES", 2000)
    labels = {f"label-{i}": "x" * 100 for i in range(20)}
    topics = MemoryAlertTopics([make_score(i, 70, black=1.0, labels=labels) for i in range(5)])
    assert run_worker(topics, 1, UNLIMITED)
    assert not list(topics.states(0))
    firing = {alert.alert_id for alert in topics.alerts() if alert.state == "firing"}
    assert firing == {alert.alert_id for alert in topics.alerts() if alert.state == "resolved"}


def test_alerts_leave_the_worker_with_their_sentence_their_page_and_their_cause() -> None:
    topics = MemoryAlertTopics(scores_of([("a", 6, True), ("a", 6, False)]))
    agent = AlertAgent(Connection("none:1"), Group("fvq", 10), POLICY, "https://wall.example")
    topics.messages_left = UNLIMITED
    agent._take_over(topics, PARTITION)  # type: ignore[arg-type]
    agent._judge_scores(topics, {PARTITION: topics.records[:6]})  # type: ignore[arg-type]
    (listed,) = agent.open_alerts()
    assert agent.knows("a")
    assert not agent.knows("b")
    agent._judge_scores(topics, {PARTITION: topics.records[6:]})  # type: ignore[arg-type]
    firing, resolved = topics.alerts()
    assert firing.summary == "a: picture is black: 100%, limit 95%, since 12:00:00 UTC"
    assert resolved.summary.startswith("a: black is over after")
    assert firing.url == resolved.url == listed.url == f"https://wall.example/alerts/{firing.alert_id}"
    assert firing.cause is not None
    assert [(move.name, move.usual) for move in firing.cause.signals] == [("black", None)], "it has never been otherwise"


class AskedTopics(MemoryAlertTopics):
    """Counts how often the brokers are asked for progress; everything announced is answered and read."""

    asked = 0

    def scorers_progress(self) -> tuple[dict[int, int], dict[int, int]]:
        self.asked += 1
        return {0: len(self.records)}, {0: len(self.records)}

    def own_progress(self, _: Collection[int]) -> tuple[dict[int, int], dict[int, int]]:
        return {0: len(self.records)}, {0: len(self.records)}


def test_the_brokers_are_asked_about_silence_only_while_a_stream_may_be_silent() -> None:
    begin = datetime.now(UTC)
    topics = AskedTopics([make_score(i, 70, stream=stream, begin=begin) for stream in "ab" for i in range(3)])
    agent, watermark = AlertAgent(Connection("none:1"), Group("fvq", 10), POLICY), Watermark()
    topics.messages_left = UNLIMITED
    agent._take_over(topics, PARTITION)  # type: ignore[arg-type]
    agent._judge_scores(topics, {PARTITION: topics.records})  # type: ignore[arg-type]
    after = POLICY.of({}).no_segments.after
    read = 1000.0
    agent._restart_silence(read)  # as if both were read then: the clock goes on while this test waits
    for second in range(int(after) - 1):
        agent._judge_silence(topics, watermark, read + second)  # type: ignore[arg-type]
    assert (topics.asked, topics.alerts()) == (0, [])
    agent._judge_silence(topics, watermark, read + after)  # type: ignore[arg-type]
    assert [alert.kind for alert in topics.alerts()] == ["no-segments", "no-segments"], "as soon as before"
    asked = topics.asked
    agent._judge_silence(topics, watermark, read + after + 60)  # type: ignore[arg-type]
    assert topics.asked == asked, "both have their alert: nothing can change before they are forgotten"
