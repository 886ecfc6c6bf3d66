"""`fvq alerts`: what its commands say of a policy that is not there, and to scripts."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from streams.alerts import acks_topic
from streams.alerts.acknowledge import Acknowledgements
from streams.cli.app import app
from streams.errors import BrokerError, SettingsError
from streams.events import AlertAcknowledgement, QualityAlert
from tests.support.alerts import BEGIN

run = CliRunner().invoke


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["check", "--policy", "none.yaml"], "--policy"),
        (["check", "--policy", "none.yaml", "--diff"], "--policy"),
        (["evaluate", "--policy", "none.yaml"], "--policy"),
        (["send-test", "hook", "--policy", "none.yaml"], "--policy"),
        (["backtest", "none.yaml"], "POLICY"),
        (["backtest", "none.yaml", "--against", "other.yaml"], "--against"),
        (["check"], "FVQ_ALERT_POLICY"),
    ],
)
def test_an_error_names_what_named_the_policy(monkeypatch: pytest.MonkeyPatch, arguments: list[str], named: str) -> None:
    if "--policy" not in arguments and "backtest" not in arguments:
        monkeypatch.setenv("FVQ_ALERT_POLICY", "none.yaml")
    error = run(app, ["alerts", *arguments]).exception
    assert isinstance(error, SettingsError)
    assert error.path == named
    assert "cannot be read: No such file or directory" in error.reason


class Topic:
    """`alert-acks` on which Kim has acknowledged the alert `a1`; Kafka is away for the alert `away`."""

    def __init__(self, _: object) -> None:
        pass

    def __enter__(self) -> Topic:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def refresh(self) -> Acknowledgements:
        known = Acknowledgements()
        for alert_id in ("a1", "away"):
            acknowledgement = AlertAcknowledgement(alert_id=alert_id, stream_id="studio", by="Kim", at=BEGIN)
            known.fold(alert_id.encode(), acknowledgement.to_bytes())
        return known

    def send(self, _: AlertAcknowledgement) -> None:
        pass

    def take_back(self, alert_id: str) -> None:
        if alert_id == "away":
            raise BrokerError("Kafka is away")


@pytest.fixture
def topic(monkeypatch: pytest.MonkeyPatch) -> None:
    firing = {
        alert_id: QualityAlert(
            alert_id=alert_id, stream_id="studio", kind="black", state="firing", started_at=BEGIN, value=1, segment_id="1"
        )
        for alert_id in ("a1", "a2")
    }
    monkeypatch.setenv("FVQ_BROKER", "nowhere:9092")
    monkeypatch.setattr(acks_topic, "AcksTopic", Topic)
    monkeypatch.setattr(acks_topic, "find_alerts", lambda *_: firing)


@pytest.mark.usefixtures("topic")
def test_acknowledgements_are_told_to_scripts() -> None:
    done = run(app, ["alerts", "ack", "a2", "a1", "none", "a2", "--by", "Lee", "--json"])
    told = json.loads(done.stdout)
    assert (done.exit_code, done.stderr) == (1, "")
    assert (told["acknowledged"], list(told["cannot"])) == (["a2"], ["a1", "none"])
    assert "Kim has acknowledged it already" in told["cannot"]["a1"]
    done = run(app, ["alerts", "ack", "a1", "--by", "Kim", "--json"])
    assert (done.exit_code, json.loads(done.stdout)) == (0, {"acknowledged": ["a1"], "cannot": {}})


@pytest.mark.usefixtures("topic")
def test_what_was_taken_back_is_told_also_where_kafka_goes_away() -> None:
    done = run(app, ["alerts", "unack", "a2", "a1", "away", "--json"])
    assert isinstance(done.exception, BrokerError)
    told = json.loads(done.stdout)
    assert (told["taken_back"], list(told["cannot"])) == (["a1"], ["a2"])
