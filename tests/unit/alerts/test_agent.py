"""The alert agent against a Kafka in memory that dies at any moment: each alert is on its topic once, none is missing."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka import TopicPartition

from streams.alerts.agent import AlertAgent
from streams.alerts.detector import step
from streams.alerts.policy import parse_policy
from streams.alerts.state import StreamState, from_json
from streams.events import ALERT_STATE_TOPIC, ALERTS_TOPIC, SCORES_TOPIC, QualityAlert, SegmentScore
from streams.kafka.connection import Connection
from streams.kafka.consumer import Group
from tests.support.alerts import make_score

AT = TopicPartition(SCORES_TOPIC, 0)
POLICY = parse_policy({"alerts": {"black": {"cool_down": 0, "minimum": 2, "clear": 2}}})


class Killed(Exception):
    """The worker is dead."""


class MemoryKafka:
    """In place of `AlertTopics`: what is on the topics outlives the worker. life: messages that it may still send."""

    def __init__(self, scores: list[SegmentScore]) -> None:
        self.records = [SimpleNamespace(offset=i, value=score.to_bytes()) for i, score in enumerate(scores)]
        self.topics: dict[str, list[tuple[str, bytes | None]]] = {ALERTS_TOPIC: [], ALERT_STATE_TOPIC: []}
        self.committed = 0
        self.life = 0

    def commit(self, offsets: dict[Any, int]) -> None:
        self._spend()
        self.committed = offsets[AT]

    def _spend(self) -> None:
        self.life -= 1
        if self.life < 0:
            raise Killed

    def send(self, topic: str, partition: int, messages: list[tuple[str, bytes | None]]) -> None:
        for message in messages:
            self._spend()
            self.topics[topic].append(message)

    def go_on(self, _: object) -> None:
        pass  # `live` reads from the committed offset

    def states(self, _: int) -> Iterator[StreamState]:
        last = dict(self.topics[ALERT_STATE_TOPIC])
        return iter([from_json(value) for value in last.values() if value is not None])

    def last_alerts(self, _: int) -> set[tuple[str, str]]:
        return {(alert.alert_id, alert.state) for alert in self.alerts()}

    def alerts(self) -> list[QualityAlert]:
        return [QualityAlert.from_bytes(value) for _, value in self.topics[ALERTS_TOPIC]]


def live(kafka: MemoryKafka, batch: int, life: int) -> bool:
    """One life of a worker; whether it got through."""
    agent = AlertAgent(Connection("none:1"), Group("fvq", 10), POLICY)
    kafka.life = life
    try:
        agent._take_over(kafka, AT)  # type: ignore[arg-type]
        while records := kafka.records[kafka.committed : kafka.committed + batch]:
            agent._fold_all(kafka, {AT: records})  # type: ignore[arg-type]
    except Killed:
        return False
    return True


def wanted(scores: list[SegmentScore]) -> list[tuple[str, str]]:
    states: dict[str, StreamState] = {}
    found = []
    for score in scores:
        state = states.get(score.stream_id, StreamState(score.stream_id))
        states[score.stream_id], alerts = step(state, score, POLICY.of({}))
        found += [(alert.alert_id, alert.state) for alert in alerts]
    return found


bursts = st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 6), st.booleans()), max_size=25)


def expand(parts: list[tuple[str, int, bool]]) -> list[SegmentScore]:
    scores, at = [], dict.fromkeys("abc", 0)
    for stream, count, black in parts:
        for _ in range(count):
            scores.append(make_score(at[stream], 70, stream=stream, black=float(black)))
            at[stream] += 1
    return scores


@given(bursts, st.lists(st.tuples(st.integers(1, 20), st.integers(0, 30)), max_size=12))
@settings(deadline=None)
def test_killed_between_any_two_messages(parts: list[tuple[str, int, bool]], lives: list[tuple[int, int]]) -> None:
    scores = expand(parts)
    kafka = MemoryKafka(scores)
    for batch, life in lives:
        live(kafka, batch, life)
    assert live(kafka, 10, 10**6)
    found = [(alert.alert_id, alert.state) for alert in kafka.alerts()]
    assert sorted(found) == sorted(wanted(scores))


def test_a_message_that_is_no_score_holds_nobody_back() -> None:
    kafka = MemoryKafka([make_score(i, 70, black=1.0) for i in range(5)])
    kafka.records.insert(2, SimpleNamespace(offset=2, value=b"{}"))
    for offset, record in enumerate(kafka.records):
        record.offset = offset
    assert live(kafka, 3, 10**6)
    assert [alert.kind for alert in kafka.alerts()] == ["black"]


def test_what_fires_can_be_asked_for() -> None:
    kafka = MemoryKafka([make_score(i, 70, black=float(i < 5)) for i in range(10)])
    agent = AlertAgent(Connection("none:1"), Group("fvq", 10), POLICY)
    kafka.life = 10**6
    agent._take_over(kafka, AT)  # type: ignore[arg-type]
    agent._fold_all(kafka, {AT: kafka.records[:5]})  # type: ignore[arg-type]
    assert [alert.alert_id for alert in agent.open_alerts()] == [kafka.alerts()[0].alert_id]
    # A worker that takes the stream over knows it too.
    other = AlertAgent(Connection("none:1"), Group("fvq", 10), POLICY)
    other._take_over(kafka, AT)  # type: ignore[arg-type]
    assert other.open_alerts() == agent.open_alerts()
    agent._fold_all(kafka, {AT: kafka.records[5:]})  # type: ignore[arg-type]
    assert agent.open_alerts() == []


def test_a_state_that_is_too_large_is_begun_anew_and_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.alerts.agent.MOST_STATE_BYTES", 2000)
    labels = {f"label-{i}": "x" * 100 for i in range(20)}
    kafka = MemoryKafka([make_score(i, 70, black=1.0, labels=labels) for i in range(5)])
    assert live(kafka, 1, 10**6)
    assert not list(kafka.states(0))
    firing = {alert.alert_id for alert in kafka.alerts() if alert.state == "firing"}
    assert firing == {alert.alert_id for alert in kafka.alerts() if alert.state == "resolved"}
