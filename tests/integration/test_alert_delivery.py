"""Alerts reach their receivers: real HTTP servers that fail and come back, a real Alertmanager, a real Kafka."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer

from streams.alerts import delivery
from streams.alerts.delivery import Courier
from streams.alerts.policy import Receiver
from streams.alerts.receivers import Poster, RefusedError, UnavailableError, as_slack
from streams.events import ALERTS_TOPIC, QualityAlert
from streams.kafka.agent import running
from streams.kafka.connection import Connection
from streams.kafka.consumer import Group
from streams.kafka.topics import create_topics
from tests.support.alerts import webhook
from tests.support.servers import KafkaServer, free_ports
from tests.support.waiting import wait_for

NOW = datetime.now(UTC)


def make_alert(number: int = 0, state: str = "firing", **fields: object) -> QualityAlert:
    values: dict[str, Any] = {
        "alert_id": f"id-{number}",
        "stream_id": f"channel-{number}",
        "kind": "quality-drop",
        "state": state,
        "started_at": NOW - timedelta(seconds=20),
        "ended_at": NOW if state == "resolved" else None,
        "value": 41.2,
        "baseline": 72.0,
        "segment_id": f"channel-{number}/9",
        "labels": {"tier": "premium", "odd name!": "x"},
    }
    return QualityAlert(**values | fields)


def receiver(url: str, kind: str = "json", **fields: object) -> Receiver:
    return Receiver.model_validate({"name": "hook", "type": kind, "url": url} | fields)


@contextmanager
def courier(kafka: KafkaServer, one: Receiver, firing: list[QualityAlert] | None = None) -> Iterator[Courier]:
    create_topics(Connection(kafka.broker), 4, 1)
    courier = Courier(Connection(kafka.broker), Group("fvq", 6), one, lambda: firing or [])
    with running([courier.agent()], stop_seconds=10):
        yield courier


def announce(kafka: KafkaServer, *alerts: QualityAlert) -> None:
    producer = KafkaProducer(bootstrap_servers=kafka.broker)
    for alert in alerts:
        producer.send(ALERTS_TOPIC, key=alert.stream_id.encode(), value=alert.to_bytes(), partition=0).get(timeout=10)
    producer.close()


def ids(bodies: list[object]) -> list[str]:
    return [body["alert_id"] for body in bodies]  # type: ignore[index]


def test_a_webhook_gets_the_event_and_slack_a_text() -> None:
    with webhook() as hook:
        Poster(receiver(hook.url)).post([make_alert()])
        Poster(receiver(hook.url, "slack")).post([make_alert(stream_id="<!channel> & co", state="resolved")])
    event, slack = hook.bodies
    assert QualityAlert.from_bytes(json.dumps(event).encode()) == make_alert()
    assert isinstance(slack, dict)
    assert slack["text"].startswith(":white_check_mark: &lt;!channel&gt; &amp; co: quality-drop is over after 20 s")


def test_a_token_is_sent_and_not_to_where_a_server_redirects(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t0ken\n")
    with webhook() as elsewhere, webhook(302) as hook:
        hook.answer_headers = {"Location": elsewhere.url}
        with pytest.raises(UnavailableError, match="status 302"):
            Poster(receiver(hook.url, token_file=str(tmp_path / "token"))).post([make_alert()])
        Poster(receiver(elsewhere.url, token_file=str(tmp_path / "token"))).post([make_alert()])
    assert [headers["Authorization"] for headers in elsewhere.headers] == ["Bearer t0ken"]


@pytest.mark.parametrize(("status", "error"), [(400, RefusedError), (401, UnavailableError), (503, UnavailableError)])
def test_what_is_the_alerts_fault_is_told_from_what_may_be_mended(status: int, error: type[Exception]) -> None:
    with webhook(status) as hook, pytest.raises(error):
        Poster(receiver(hook.url)).post([make_alert()])


def test_a_server_that_is_away_is_named_by_no_address() -> None:
    with pytest.raises(UnavailableError) as caught:
        Poster(receiver(f"http://127.0.0.1:{free_ports(1)}/hooks/s3cret")).post([make_alert()])
    assert "s3cret" not in str(caught.value)
    assert "127.0.0.1" not in str(caught.value)


def test_a_receiver_that_fails_gets_everything_in_order_once_it_is_back(
    kafka: KafkaServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "FIRST_WAIT", 0.2)
    caplog.set_level(logging.DEBUG, logger="streams")
    with webhook(503, 500, 200, 400, 200) as hook:
        hook.answer_headers = {"Retry-After": "1"}
        with courier(kafka, receiver(hook.url)):
            announce(kafka, *(make_alert(number) for number in range(5)))
            wait_for("delivery", lambda: len(hook.bodies) == 4, 30)
            # The first is tried until it works; the second is refused for its content, and holds nobody back.
            assert ids(hook.bodies) == ["id-0", "id-2", "id-3", "id-4"]
        with courier(kafka, receiver(hook.url)):
            # Another worker goes on where this one was.
            announce(kafka, make_alert(5))
            wait_for("the next", lambda: len(hook.bodies) == 5, 30)
    assert ids(hook.bodies)[-1] == "id-5"
    assert "s3cret" not in caplog.text
    assert "refused an alert" in caplog.text


def test_what_is_too_old_and_what_is_for_others_is_left_out(kafka: KafkaServer) -> None:
    old = make_alert(1, started_at=NOW - timedelta(hours=3))
    over = make_alert(1, "resolved", started_at=NOW - timedelta(hours=3), ended_at=NOW - timedelta(hours=2))
    still = make_alert(2, started_at=NOW - timedelta(hours=3))
    other = make_alert(3, kind="black")
    with webhook() as hook, courier(kafka, receiver(hook.url, kinds=["quality-drop"]), [still]):
        announce(kafka, old, over, other, still, make_alert(4))
        wait_for("delivery", lambda: len(hook.bodies) == 2, 30)
    assert ids(hook.bodies) == ["id-2", "id-4"]


@pytest.fixture
def alertmanager(tmp_path: Path) -> Iterator[Any]:
    """A real Alertmanager; the value starts it (again) and is its address."""
    binary = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
    if binary is None:
        pytest.skip("no alertmanager: apt-get install prometheus-alertmanager")
    port = free_ports(1)
    config = tmp_path / "alertmanager.yml"
    config.write_text("route: {receiver: none}\nreceivers: [{name: none}]\n")
    running: list[subprocess.Popen[bytes]] = []

    def start() -> str:
        for one in running:
            one.kill()
            one.wait()
        running.clear()
        options = [f"--config.file={config}", f"--storage.path={tmp_path / 'data'}", "--cluster.listen-address="]
        command = [binary, *options, f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"]
        running.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))
        url = f"http://127.0.0.1:{port}"

        def ready() -> bool:
            try:
                return bool(urllib.request.urlopen(f"{url}/-/ready", timeout=1).status == 200)
            except OSError:
                return False

        wait_for("Alertmanager", ready, 30)
        return url

    yield start
    for one in running:
        one.kill()
        one.wait()


def active(url: str) -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"{url}/api/v2/alerts?active=true", timeout=5) as answer:
        return list(json.load(answer))


def test_alertmanager_shows_what_fires_and_forgets_what_is_over(
    kafka: KafkaServer, alertmanager: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "REPEAT_SECONDS", 0.5)
    monkeypatch.setattr(delivery, "FIRST_WAIT", 0.2)
    url = alertmanager()
    firing: list[QualityAlert] = []
    with courier(kafka, receiver(url, "alertmanager"), firing):
        announce(kafka, make_alert(1), make_alert(2, rendition="720p"))
        wait_for("both fire", lambda: len(active(url)) == 2, 30)
        shown = {one["labels"]["stream_id"]: one for one in active(url)}
        assert shown["channel-2"]["labels"] == {
            "alertname": "quality-drop",
            "service": "fvq",
            "stream_id": "channel-2",
            "rendition": "720p",
            "tier": "premium",
            "odd_name_": "x",
        }
        assert shown["channel-1"]["annotations"]["summary"].startswith("channel-1: quality dropped to 41, usual 72")
        assert shown["channel-1"]["annotations"]["alert_id"] == "id-1"
        announce(kafka, make_alert(1, "resolved"))
        wait_for("one is over", lambda: [one["labels"]["stream_id"] for one in active(url)] == ["channel-2"], 30)
        # It keeps nothing over its restart; what still fires is told again.
        alertmanager()
        assert active(url) == []
        firing.append(make_alert(2, rendition="720p"))
        wait_for("it knows again", lambda: [one["labels"]["stream_id"] for one in active(url)] == ["channel-2"], 30)


def test_slacks_body_is_json() -> None:
    assert set(json.loads(as_slack(make_alert()))) == {"text"}
