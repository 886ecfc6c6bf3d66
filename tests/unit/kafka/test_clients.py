"""What a client leaves behind that finds no broker, or one that hangs: nothing."""

from __future__ import annotations

import gc
import logging
import os
import threading
from collections.abc import Callable
from functools import partial
from types import ModuleType, SimpleNamespace

import pytest
from kafka.errors import KafkaError, KafkaTimeoutError

from streams.errors import BrokerError
from streams.kafka import clients, whole_topic
from streams.kafka.connection import Connection
from streams.ports import free_port

ATTEMPTS = 5


def left_open() -> tuple[int, int]:
    """Threads and files of this process, without what Python's collector has not looked at yet."""
    gc.collect()
    return threading.active_count(), len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize(
    "open_client",
    [
        pytest.param(clients.open_reader, id="reader"),
        pytest.param(partial(clients.open_observer, group="group"), id="observer"),
        pytest.param(clients.open_admin, id="administrator"),
    ],
)
def test_attempts_while_no_broker_answers_leave_no_threads_and_no_files(
    open_client: Callable[[Connection], object], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An outage of Kafka may last for days, and each agent tries again every few seconds."""
    caplog.set_level(logging.CRITICAL, "kafka")  # pytest keeps what is logged, and with it each error and its socket
    monkeypatch.setattr(clients, "BOOTSTRAP_MS", 50)
    monkeypatch.setattr(clients, "OBSERVER_MS", 2000)
    nobody = Connection(f"127.0.0.1:{free_port('127.0.0.1')}")
    before = left_open()
    for _ in range(ATTEMPTS):
        with pytest.raises((BrokerError, KafkaError)):
            open_client(nobody)
    after = left_open()
    assert after[0] <= before[0], "threads"
    assert after[1] < before[1] + ATTEMPTS, "files"


def test_a_producer_is_closed_also_where_a_broker_does_not_take_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """kafka-python raises then, its thread goes on, and what the caller has given up may come after what it sends next."""
    calls: list[str] = []

    def close(*_: object) -> None:
        calls.append("close")
        if "forced" not in calls:
            raise KafkaTimeoutError

    monkeypatch.setattr("kafka.KafkaProducer.close", close)
    producer = object.__new__(clients.KafkaProducer)
    producer._sender = SimpleNamespace(force_close=lambda: calls.append("forced"))
    producer.close(timeout=1)
    assert calls == ["close", "forced", "close"]


@pytest.mark.parametrize(("module", "missing"), [(whole_topic, "partitions_of"), (clients, "open_producer")])
def test_a_topic_that_cannot_be_opened_leaves_no_reader_open(
    module: ModuleType, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[str] = []

    def client(name: str) -> SimpleNamespace:
        return SimpleNamespace(assign=lambda _: None, close=lambda **_: closed.append(name))

    def fail(*_: object) -> None:
        raise BrokerError("no Kafka broker answers")

    monkeypatch.setattr(clients, "open_reader", lambda _: client("reader"))
    monkeypatch.setattr(whole_topic, "partitions_of", lambda *_: [])
    monkeypatch.setattr(clients, "open_producer", lambda _: client("producer"))
    with whole_topic.WholeTopic(Connection("a:1"), "topic"):
        assert closed == []
    assert sorted(closed) == ["producer", "reader"]
    closed.clear()
    monkeypatch.setattr(module, missing, fail)
    with pytest.raises(BrokerError):
        whole_topic.WholeTopic(Connection("a:1"), "topic")
    assert closed == ["reader"]


def test_no_client_lets_a_broker_make_a_topic_that_is_missing() -> None:
    client = clients._made(lambda kafka_client, **options: kafka_client(**options), bootstrap_servers="127.0.0.1:1")
    try:
        assert client.cluster.metadata_request().allow_auto_topic_creation is False
    finally:
        client.close()
