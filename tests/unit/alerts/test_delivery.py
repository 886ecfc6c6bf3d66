"""What a courier tells its receiver, and when, while the receiver is away or slow."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from streams.alerts.delivery import Courier
from streams.events import ALERTS_TOPIC
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
