"""Alerts reach their receivers: real HTTP servers that fail and recover, a real Alertmanager, a real Kafka."""

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
from streams.alerts.acknowledge import Acknowledgements, acknowledge
from streams.alerts.delivery import Courier
from streams.alerts.receiver_settings import Receiver
from streams.alerts.receivers import Poster, as_slack
from streams.alerts.request import RefusedError, UnavailableError
from streams.events import ALERTS_TOPIC, QualityAlert
from streams.kafka.agent import running
from streams.kafka.connection import Connection
from streams.kafka.consumer import Group
from streams.kafka.topics import create_topics
from tests.support.alerts import webhook
from tests.support.servers import KafkaServer, free_ports
from tests.support.waiting import wait_for

NOW = datetime.now(UTC)
GIVE_UP = 12 * 3600.0
"""Seconds. A run of all tests may come to this module an hour after it read `NOW`."""


def make_alert(number: int = 0, state: str = "firing", **fields: object) -> QualityAlert:
    """The alert `id-<number>` on `channel-<number>`. fields: replace its values."""
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


def make_receiver(url: str, kind: str = "json", **fields: object) -> Receiver:
    return Receiver.model_validate({"name": "hook", "type": kind, "url": url, "give_up": GIVE_UP} | fields)


@contextmanager
def courier(kafka: KafkaServer, receiver: Receiver, firing: list[QualityAlert] | None = None) -> Iterator[Courier]:
    """A running courier for the receiver. firing: the alerts that are open now."""
    create_topics(Connection(kafka.broker), 4, 1)
    courier = Courier(Connection(kafka.broker), Group("fvq", 30), receiver, lambda: firing or [])
    with running([courier.agent()], stop_seconds=10):
        yield courier


def announce(kafka: KafkaServer, *alerts: QualityAlert) -> None:
    """Send the alerts to partition 0 of their topic, so that their order is kept."""
    producer = KafkaProducer(bootstrap_servers=kafka.broker)
    for alert in alerts:
        producer.send(ALERTS_TOPIC, key=alert.stream_id.encode(), value=alert.to_bytes(), partition=0).get(timeout=60)
    producer.close()


def alert_ids(bodies: list[object]) -> list[str]:
    return [body["alert_id"] for body in bodies]  # type: ignore[index]


def test_a_webhook_receives_the_event_and_slack_a_text() -> None:
    with webhook() as hook:
        Poster(make_receiver(hook.url)).post([make_alert()])
        Poster(make_receiver(hook.url, "slack")).post([make_alert(stream_id="<!channel> & co", state="resolved")])
    event, slack = hook.bodies
    assert QualityAlert.from_bytes(json.dumps(event).encode()) == make_alert()
    assert isinstance(slack, dict)
    assert slack["text"].startswith(":white_check_mark: &lt;!channel&gt; &amp; co: quality-drop is over after 20 s")


def test_a_token_is_sent_to_the_receiver_and_never_to_the_target_of_a_redirect(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t0ken\n")
    with webhook() as elsewhere, webhook(302) as hook:
        hook.answer_headers = {"Location": elsewhere.url}
        with pytest.raises(UnavailableError, match="status 302"):
            Poster(make_receiver(hook.url, token_file=str(tmp_path / "token"))).post([make_alert()])
        Poster(make_receiver(elsewhere.url, token_file=str(tmp_path / "token"))).post([make_alert()])
    assert [headers["Authorization"] for headers in elsewhere.headers] == ["Bearer t0ken"]


@pytest.mark.parametrize(("status", "error"), [(400, RefusedError), (401, UnavailableError), (503, UnavailableError)])
def test_a_refusal_of_the_alert_and_an_error_that_may_pass_are_different_errors(status: int, error: type[Exception]) -> None:
    with webhook(status) as hook, pytest.raises(error):
        Poster(make_receiver(hook.url)).post([make_alert()])


def test_the_error_for_an_unreachable_receiver_does_not_contain_its_address() -> None:
    with pytest.raises(UnavailableError) as caught:
        Poster(make_receiver(f"http://127.0.0.1:{free_ports(1)}/hooks/s3cret")).post([make_alert()])
    assert "s3cret" not in str(caught.value)
    assert "127.0.0.1" not in str(caught.value)


def test_a_receiver_that_failed_gets_all_alerts_in_order_when_it_recovers(
    kafka: KafkaServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "FIRST_WAIT", 0.2)
    caplog.set_level(logging.DEBUG, logger="streams")
    with webhook(503, 500, 200, 400, 200) as hook:
        hook.answer_headers = {"Retry-After": "1"}
        with courier(kafka, make_receiver(hook.url)):
            announce(kafka, *(make_alert(number) for number in range(5)))
            wait_for("delivery", lambda: len(hook.bodies) == 4, 90)
            # The first alert is sent again until the receiver accepts it. The second is refused (400) and delays no other.
            assert alert_ids(hook.bodies) == ["id-0", "id-2", "id-3", "id-4"]
        with courier(kafka, make_receiver(hook.url)):
            # Another worker continues after the last delivered alert.
            announce(kafka, make_alert(5))
            wait_for("the next alert", lambda: len(hook.bodies) == 5, 90)
    assert alert_ids(hook.bodies)[-1] == "id-5"
    assert "s3cret" not in caplog.text
    assert "refused an alert" in caplog.text


def test_alerts_that_are_too_old_or_of_another_kind_are_not_delivered(kafka: KafkaServer) -> None:
    old = make_alert(1, started_at=NOW - timedelta(days=3))
    over = make_alert(1, "resolved", started_at=NOW - timedelta(days=3), ended_at=NOW - timedelta(days=2))
    still = make_alert(2, started_at=NOW - timedelta(days=3))
    other = make_alert(3, kind="black")
    with webhook() as hook, courier(kafka, make_receiver(hook.url, kinds=["quality-drop"]), [still]):
        announce(kafka, old, over, other, still, make_alert(4))
        wait_for("delivery", lambda: len(hook.bodies) == 2, 90)
    assert alert_ids(hook.bodies) == ["id-2", "id-4"]


def test_the_end_of_an_alert_that_was_delivered_is_told_however_old_it_is(kafka: KafkaServer) -> None:
    old = {"started_at": NOW - timedelta(days=3), "ended_at": NOW - timedelta(days=2)}
    with webhook() as hook, courier(kafka, make_receiver(hook.url)):
        announce(kafka, make_alert(1))
        wait_for("its start", lambda: len(hook.bodies) == 1, 90)
        announce(kafka, make_alert(2, "resolved", **old), make_alert(1, "resolved", **old), make_alert(3))
        wait_for("its end", lambda: len(hook.bodies) == 3, 90)
    assert alert_ids(hook.bodies) == ["id-1", "id-1", "id-3"]


@pytest.fixture
def alertmanager(tmp_path: Path) -> Iterator[Any]:
    """A function that starts a real Alertmanager, or restarts it without its alerts, and returns its address."""
    binary = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
    if binary is None:
        pytest.skip("no alertmanager: apt-get install prometheus-alertmanager")
    port = free_ports(1)
    config = tmp_path / "alertmanager.yml"
    config.write_text("route: {receiver: none}\nreceivers: [{name: none}]\n")
    processes: list[subprocess.Popen[bytes]] = []

    def kill() -> None:
        for process in processes:
            process.kill()
            process.wait()
        processes.clear()

    def start() -> str:
        kill()
        options = [f"--config.file={config}", f"--storage.path={tmp_path / 'data'}", "--cluster.listen-address="]
        command = [binary, *options, f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"]
        processes.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))
        url = f"http://127.0.0.1:{port}"

        def ready() -> bool:
            try:
                return bool(urllib.request.urlopen(f"{url}/-/ready", timeout=1).status == 200)
            except OSError:
                return False

        wait_for("Alertmanager", ready, 90)
        return url

    yield start
    kill()


def active(url: str) -> list[dict[str, Any]]:
    """The alerts that an Alertmanager holds as firing."""
    with urllib.request.urlopen(f"{url}/api/v2/alerts?active=true", timeout=60) as answer:
        return list(json.load(answer))


def test_alertmanager_shows_firing_alerts_and_drops_resolved_ones(
    kafka: KafkaServer, alertmanager: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "REPEAT_SECONDS", 0.5)
    monkeypatch.setattr(delivery, "FIRST_WAIT", 0.2)
    url = alertmanager()
    firing: list[QualityAlert] = []

    def active_streams() -> list[str]:
        return [alert["labels"]["stream_id"] for alert in active(url)]

    with courier(kafka, make_receiver(url, "alertmanager"), firing):
        announce(kafka, make_alert(1), make_alert(2, rendition="720p"))
        wait_for("both fire", lambda: len(active(url)) == 2, 90)
        shown = {alert["labels"]["stream_id"]: alert for alert in active(url)}
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
        wait_for("the first resolves", lambda: active_streams() == ["channel-2"], 90)
        # Alertmanager loses its alerts at a restart. The courier sends those that still fire again.
        alertmanager()
        assert active(url) == []
        firing.append(make_alert(2, rendition="720p"))
        wait_for("the alert that still fires", lambda: active_streams() == ["channel-2"], 90)


def test_alertmanager_takes_alerts_of_a_packager_whose_clock_is_ahead(alertmanager: Any) -> None:
    url = alertmanager()
    ahead = datetime.now(UTC) + timedelta(minutes=10)
    poster = Poster(make_receiver(f"{url}/api/v2/alerts", "alertmanager"))
    poster.post([make_alert(1, started_at=ahead)])
    wait_for("it fires", lambda: len(active(url)) == 1, 90)
    poster.post([make_alert(1, "resolved", started_at=ahead, ended_at=ahead + timedelta(seconds=20))])
    wait_for("it resolves", lambda: active(url) == [], 90)


def test_the_body_for_slack_is_json() -> None:
    assert set(json.loads(as_slack(make_alert()))) == {"text"}


def silenced(url: str) -> list[str]:
    """The streams of the alerts that an Alertmanager holds as silenced."""
    with urllib.request.urlopen(f"{url}/api/v2/alerts?silenced=true&active=false", timeout=60) as answer:
        return [alert["labels"]["stream_id"] for alert in json.load(answer)]


def test_an_acknowledged_alert_is_silenced_in_alertmanager_until_it_is_taken_back(
    kafka: KafkaServer, alertmanager: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "REPEAT_SECONDS", 0.5)
    url, seen = alertmanager(), Acknowledgements()
    odd = make_alert(1, stream_id='a "b"/c\\d', rendition="720p", severity="warning")
    firing = [odd, make_alert(2)]
    receiver = make_receiver(url, "alertmanager", silence=True)
    create_topics(Connection(kafka.broker), 4, 1)
    courier = Courier(Connection(kafka.broker), Group("fvq", 30), receiver, lambda: list(firing), seen)
    with running([courier.agent()], stop_seconds=10):
        wait_for("both fire", lambda: len(active(url)) == 2, 90)
        seen.fold(b"id-1", acknowledge("id-1", odd.stream_id, "Kim", datetime.now(UTC)).to_bytes())
        wait_for("it is silenced, and the other is not", lambda: silenced(url) == [odd.stream_id], 90)
        # It is still there, with who has it: silenced is not hidden.
        wait_for("who has it", lambda: shown(url)[odd.stream_id].get("acknowledged_by") == "Kim", 90)
        seen.fold(b"id-1", None)
        wait_for("it is told again", lambda: silenced(url) == [], 90)
        seen.fold(b"id-1", acknowledge("id-1", odd.stream_id, "Lee", datetime.now(UTC)).to_bytes())
        wait_for("it is silenced again", lambda: silenced(url) == [odd.stream_id], 90)
        del firing[0]
        announce(kafka, odd.model_copy(update={"state": "resolved", "ended_at": NOW}))
        wait_for("the silence ends with the alert", lambda: ended(url), 90)


def shown(url: str) -> dict[str, dict[str, str]]:
    """The annotations of all alerts that an Alertmanager has, by stream."""
    with urllib.request.urlopen(f"{url}/api/v2/alerts", timeout=60) as answer:
        return {alert["labels"]["stream_id"]: alert["annotations"] for alert in json.load(answer)}


def ended(url: str) -> bool:
    """Whether an Alertmanager has no silence that has not ended."""
    with urllib.request.urlopen(f"{url}/api/v2/silences", timeout=60) as answer:
        return all(silence["status"]["state"] == "expired" for silence in json.load(answer))
