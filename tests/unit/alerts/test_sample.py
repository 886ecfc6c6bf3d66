"""`fvq alerts send-test`: a receiver is tried with a made-up alert."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from streams.alerts.policy import AlertPolicy, parse_policy
from streams.alerts.receiver_settings import Receiver
from streams.alerts.sample import made_up, send_test
from streams.alerts.summary import describe
from streams.errors import ReceiverError, SettingsError
from streams.events import AlertKind
from tests.support.alerts import BEGIN, webhook
from tests.support.processes import fvq


def policy_file(folder: Path, url: str) -> Path:
    file = folder / "policy.yaml"
    file.write_text(f"receivers: [{{name: hook, type: json, url: '{url}'}}]")
    return file


def policy(url: str) -> AlertPolicy:
    return parse_policy({"receivers": [{"name": "hook", "type": "json", "url": url}]})


def test_the_receiver_gets_the_alert_and_its_end(tmp_path: Path) -> None:
    with webhook() as hook:
        done = fvq(
            "alerts", "send-test", "hook", "--policy", str(policy_file(tmp_path, hook.url)), FVQ_WEB_URL="https://wall.example"
        )
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first.startswith("sent to hook: firing, warning: fvq-test: quality dropped to 40, limit 60, usual 75, since ")
    assert second.startswith("sent to hook: resolved, warning: fvq-test: quality-drop is over after 30 s, since ")
    assert all(line.endswith("; answered: 200 OK") for line in (first, second))
    firing, resolved = hook.bodies
    assert isinstance(firing, dict)
    assert isinstance(resolved, dict)
    assert (firing["state"], resolved["state"]) == ("firing", "resolved")
    assert firing["url"] == "https://wall.example/alerts/0000000000000000"
    assert "this is a test" in firing["cause"]["text"]
    assert "s3cret" not in done.stdout + done.stderr


def test_a_receiver_that_refuses_is_an_error_without_its_address() -> None:
    with webhook(401) as hook, pytest.raises(ReceiverError, match=r"^hook did not take the alert: status 401$"):
        list(send_test(policy(hook.url), "hook", "", BEGIN))


def test_an_unknown_receiver_is_named_with_those_that_there_are() -> None:
    with pytest.raises(SettingsError, match="no receiver 'hok'; the policy has hook"):
        list(send_test(policy("http://x"), "hok", "", BEGIN))


def test_who_has_named_no_policy_is_told_how() -> None:
    with pytest.raises(SettingsError, match=r"no receiver 'hook'; the policy has none: name a policy .* FVQ_ALERT_POLICY"):
        list(send_test(AlertPolicy(), "hook", "", BEGIN))


@pytest.mark.parametrize("kind", get_args(AlertKind))
def test_the_made_up_alert_is_one_that_the_receiver_is_told_of(kind: AlertKind) -> None:
    receiver = Receiver.model_validate(
        {
            "name": "hook",
            "type": "json",
            "url": "http://x",
            "kinds": [kind],
            "severity": "critical",
            "labels": {"tier": "premium"},
        }
    )
    for alert in made_up(receiver, BEGIN):
        assert receiver.accepts(alert)
        assert describe(alert).startswith("fvq-test: ")
        assert alert.threshold is not None
        assert (alert.value < alert.threshold) == (alert.baseline is not None), "beyond its limit"
