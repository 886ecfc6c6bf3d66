"""What a courier tells its receiver, and when, while the receiver is away or slow."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from streams.alerts.delivery import Courier
from streams.events import ALERTS_TOPIC, QualityAlert
from streams.kafka.connection import Connection
from streams.kafka.consumer import Batch, Group, TopicPartition
from tests.support.alerts import webhook
from tests.unit.alerts.test_receivers import make_alert, make_receiver

MEMBER: Any = SimpleNamespace(commit=lambda offsets: None)


def test_an_alert_that_waits_for_a_receiver_is_told_once_when_it_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("streams.alerts.delivery.time.monotonic", lambda: now[0])
    alert = make_alert().model_copy(update={"started_at": datetime.now(UTC)})
    record = SimpleNamespace(offset=0, value=alert.to_bytes())
    with webhook(503, 503, 200) as hook:
        courier = Courier(Connection("none:1"), Group("fvq", 10), make_receiver(hook.url, "json", repeat=60), lambda: [alert])
        courier._enqueue(
            SimpleNamespace(paused=set), Batch({TopicPartition(ALERTS_TOPIC, 0): [record]}, reassigned=False, settled=True)
        )

        def told_after(seconds: float) -> int:
            now[0] += seconds
            courier._repeat()
            courier._deliver(MEMBER, threading.Event())
            return len(hook.bodies)

        assert [told_after(0), told_after(30), told_after(40)] == [0, 0, 1]
        assert [told_after(59), told_after(1)] == [1, 2], "it is told again so long after it was told"


def test_a_slow_receiver_of_many_repetitions_is_told_of_a_new_alert_before_them(monkeypatch: pytest.MonkeyPatch) -> None:
    now, told = [1000.0], list[str]()
    monkeypatch.setattr("streams.alerts.delivery.time.monotonic", lambda: now[0])
    alerts = [make_alert(number=number).model_copy(update={"started_at": datetime.now(UTC)}) for number in range(201)]
    record = SimpleNamespace(offset=0, value=alerts.pop().to_bytes())
    receiver = make_receiver("http://127.0.0.1:1", "json", repeat=60)
    courier = Courier(Connection("none:1"), Group("fvq", 10), receiver, lambda: alerts)

    def post(posted: list[QualityAlert], _: object = None) -> None:
        now[0] += 4
        told.extend(alert.alert_id for alert in posted)

    monkeypatch.setattr(courier._poster, "post", post)

    def turn() -> float:
        began = now[0]
        courier._repeat()
        courier._deliver(MEMBER, threading.Event())
        return now[0] - began

    turn()
    now[0] += 60
    assert turn() < 15, "a member of a group that does not poll for minutes loses its partitions"
    courier._enqueue(
        SimpleNamespace(paused=set), Batch({TopicPartition(ALERTS_TOPIC, 0): [record]}, reassigned=False, settled=True)
    )
    repeated = len(told)
    turn()
    assert told[repeated:] == ["id-200"]
    while len(told) < 201:
        turn()
    assert sorted(told) == sorted(f"id-{number}" for number in range(201)), "each is repeated before one is twice"


def test_a_slow_alertmanager_of_many_alerts_is_told_of_all_turn_by_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    now, told = [1000.0], list[str]()
    monkeypatch.setattr("streams.alerts.delivery.time.monotonic", lambda: now[0])
    alerts = [make_alert(number=number) for number in range(500)]
    courier = Courier(Connection("none:1"), Group("fvq", 10), make_receiver("http://127.0.0.1:1"), lambda: alerts)

    def post(posted: list[QualityAlert], _: object = None) -> None:
        now[0] += 4
        told.extend(alert.alert_id for alert in posted)

    monkeypatch.setattr(courier._poster, "post", post)
    for _ in range(2):
        told.clear()
        while len(told) < 500:
            began = now[0]
            courier._repeat()
            assert now[0] - began < 15, "a member of a group that does not poll for minutes loses its partitions"
            now[0] += 1
        assert len(set(told)) == 500, "each is told before one is told twice"
        told.clear()
        courier._repeat()
        assert not told
        now[0] += 60


def test_messages_that_are_not_for_a_receiver_do_not_keep_it_from_repetitions(monkeypatch: pytest.MonkeyPatch) -> None:
    now, told = [1000.0], list[str]()
    monkeypatch.setattr("streams.alerts.delivery.time.monotonic", lambda: now[0])
    alert = make_alert().model_copy(update={"started_at": datetime.now(UTC)})
    receiver = make_receiver("http://127.0.0.1:1", "json", repeat=60, kinds=["black"])
    courier = Courier(Connection("none:1"), Group("fvq", 10), receiver, lambda: [alert])
    monkeypatch.setattr(courier._poster, "post", lambda posted, _=None: told.extend(alert.alert_id for alert in posted))
    other = alert.model_copy(update={"kind": "frozen"})
    courier._repeat()
    for offset in range(2):
        now[0] += 60
        record = SimpleNamespace(offset=offset, value=other.to_bytes())
        courier._enqueue(
            SimpleNamespace(paused=set), Batch({TopicPartition(ALERTS_TOPIC, 0): [record]}, reassigned=False, settled=True)
        )
        courier._repeat()
        courier._deliver(MEMBER, threading.Event())
    assert told == ["id-0", "id-0"]
