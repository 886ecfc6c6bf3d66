"""The alert policy: defaults, overrides by label, receivers, and errors that name the setting."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from streams.alerts.detector import tick
from streams.alerts.policy import check_policy, load_policy, parse_policy, reference
from streams.errors import SettingsError
from streams.events import QualityAlert
from tests.support.alerts import BEGIN, fold, kinds_and_states, make_score, stream_of
from tests.support.processes import ROOT

PREMIUM = {
    "alerts": {"low_quality": {"threshold": 40}},
    "overrides": [
        {"labels": {"tier": "premium"}, "alerts": {"low_quality": {"threshold": 55}}},
        {"labels": {"tier": "premium", "region": "eu"}, "alerts": {"low_quality": {"minimum": 20}, "smoothing": 4}},
    ],
}


def test_overrides_replace_limits_in_the_order_of_the_file() -> None:
    policy = parse_policy(PREMIUM)
    assert policy.of({}).low_quality.threshold == 40
    assert policy.of({"tier": "free", "region": "eu"}) == policy.of({})
    premium = policy.of({"tier": "premium", "other": "x"})
    assert (premium.low_quality.threshold, premium.low_quality.minimum, premium.smoothing) == (55, 10, 2)
    both = policy.of({"tier": "premium", "region": "eu"})
    assert (both.low_quality.threshold, both.low_quality.minimum, both.smoothing) == (55, 20, 4)
    assert both.black == policy.of({}).black


def test_a_stream_with_stricter_limits_raises_an_alert_where_another_does_not() -> None:
    policy = parse_policy(PREMIUM)

    def kinds(labels: dict[str, str]) -> list[str]:
        return [alert.kind for alert in fold((make_score(i, 50, labels=labels) for i in range(30)), policy.of(labels))[1]]

    assert kinds({}) == []
    assert kinds({"tier": "premium"}) == ["low-quality"]


def test_no_file_and_an_empty_file_give_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text("")
    assert load_policy(tmp_path / "empty.yaml") == load_policy(None)


@pytest.mark.parametrize(
    ("text", "path", "reason"),
    [
        ("alerts: {low_quality: {threshold: 130}}", "alerts.low_quality.threshold", "130 is over 100; for example threshold: 40"),
        ("alerts: {quality_drop: {limit: 0}}", "alerts.quality_drop.limit", "0 is not over 0"),
        ("alerts: {low_quality: {treshold: 30}}", "alerts.low_quality.treshold", "no such setting: did you mean threshold?"),
        ("allerts: {}", "allerts", "no such setting: did you mean alerts?"),
        ("receivers: [{name: a, type: json, uri: x}]", "receivers[0].uri", "no such setting: did you mean url?"),
        (
            "alerts: {low_quality: {threshold: high}}",
            "alerts.low_quality.threshold",
            "is no number: write the number alone, without a unit; for example threshold: 40",
        ),
        ("alerts: {low_quality: {minimum: yes}}", "alerts.low_quality.minimum", "True is no number: write the number alone"),
        ("overrides: [{labels: {a: b}, alerts: {smoothing: on}}]", "overrides[0].alerts.smoothing", "True is no number"),
        ("receivers: [{name: a, type: json, url: 'http://x', repeat: true}]", "receivers[0].repeat", "the value is no number"),
        ("alerts: {low_quality: {threshold: .nan}}", "alerts.low_quality.threshold", "finite"),
        ("alerts: {low_quality: 30}", "alerts.low_quality", "30 is not a group of settings"),
        ("- alerts", "the policy", "not a group of settings"),
        ("overrides: [{alerts: {}}]", "overrides[0].labels", "field required"),
        ("overrides: [{labels: {}, alerts: {}}]", "overrides[0].labels", "at least 1 item"),
        (
            "overrides: [{labels: {a: b}, alerts: {frozen: {threshold: 2}}}]",
            "overrides[0].alerts.frozen.threshold",
            "2 is over 1",
        ),
        (
            "overrides: [{labels: {a: b}, alerts: {froze: 1}}]",
            "overrides[0].alerts.froze",
            "no such setting: did you mean frozen?",
        ),
        ("receivers: [{name: a, type: json}]", "receivers[0]", "one of url, url_env and url_file must be set"),
        ("receivers: [{name: a, type: mail, url: x}]", "receivers[0].type", "'alertmanager', 'json' or 'slack'"),
        (
            "receivers: [{name: a, type: json, url: 'http://x'}, {name: a, type: json, url: 'http://y'}]",
            "receivers",
            "two receivers have the same name",
        ),
        ("alerts: {low_quality: {threshold: 40", "FVQ_ALERT_POLICY", "is not YAML"),
    ],
)
def test_a_wrong_setting_is_named_by_its_path(tmp_path: Path, text: str, path: str, reason: str) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load_policy(file)
    assert caught.value.path == path
    assert reason in caught.value.reason


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("receivers:", "receivers: is empty: write what belongs below it, or leave the line out (policy.yaml, line 1)"),
        ("alerts:\n  black: off", "alerts.black: False is not a group of settings: write {enabled: false} (policy.yaml, line 2)"),
        ("alerts:\n  black: {enabled: never}", "'never' is neither true nor false: write one of them (policy.yaml, line 2)"),
        ("# limits\nlow_quality: {threshold: 30}",
         "low_quality: no such setting here: it belongs under alerts (policy.yaml, line 2)"),
        ("overrides:\n- labels: {a: b}\n  alerts: {}\n- labels: {room: 7}\n  alerts: {}",
         "overrides[1].labels.room: 7 is no text: write it in quotes (policy.yaml, line 4)"),
        ("overrides:\n- labels: [tier]\n  alerts: {}", "is not a group of settings: write NAME: VALUE (policy.yaml, line 2)"),
        ("receivers: {ops: {type: slack}}", "receivers: is no list: each entry begins with `- ` (policy.yaml, line 1)"),
        ("receivers:\n- name: ops\n  type: json\n  url: http://x\n  kinds: black",
         "receivers[0].kinds: is no list: write [black, frozen] (policy.yaml, line 5)"),
        ("receivers:\n- name: Ops Room\n  type: json\n  url: http://x", "is no name: write small letters, digits and -"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_line_and_what_to_write(tmp_path: Path, lines: str, message: str) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(lines)
    with pytest.raises(SettingsError) as caught:
        load_policy(file)
    assert message in str(caught.value)


def test_a_missing_file_is_named_in_the_error() -> None:
    with pytest.raises(SettingsError, match=r"FVQ_ALERT_POLICY: nowhere\.yaml cannot be read"):
        load_policy(Path("nowhere.yaml"))


@pytest.mark.parametrize(
    "receiver",
    [
        "{name: a, type: json, url: 'https://hooks.example/s3cret', token_env: A, token_file: B}",
        "{name: a, type: json, url: 'https://hooks.example/s3cret', url_file: B}",
        "{name: a, type: json, url: {s3cret: 1}}",
        "{name: a, type: json, url: 'ftp://hooks.example/s3cret'}",
        "{name: a, type: json, url: 's3cret'}",
    ],
)
def test_no_error_shows_a_receivers_address(tmp_path: Path, receiver: str) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(f"receivers: [{receiver}]")
    with pytest.raises(SettingsError) as caught:
        check_policy(file)
    assert "s3cret" not in str(caught.value)
    assert "s3cret" not in repr(caught.value.__cause__)


def test_address_and_token_are_read_from_a_file_and_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "url").write_text("https://hooks.example/x/\n")
    monkeypatch.setenv("HOOK_TOKEN", "t0ken")
    fields = {"name": "a", "type": "slack", "url_file": str(tmp_path / "url"), "token_env": "HOOK_TOKEN"}
    (receiver,) = parse_policy({"receivers": [fields]}).receivers
    assert (receiver.address(), receiver.token()) == ("https://hooks.example/x", "t0ken")
    monkeypatch.delenv("HOOK_TOKEN")
    with pytest.raises(SettingsError, match=r"receivers.a.token_env: the environment has no HOOK_TOKEN"):
        receiver.token()


def test_a_receiver_accepts_only_its_kinds_and_labels() -> None:
    fields = {"name": "a", "type": "json", "url": "http://x", "kinds": ["black"], "labels": {"tier": "premium"}}
    (receiver,) = parse_policy({"receivers": [fields]}).receivers
    alert = QualityAlert(
        alert_id="1",
        stream_id="s",
        kind="black",
        state="firing",
        started_at=BEGIN,
        value=1,
        segment_id="s/1",
        labels={"tier": "premium"},
    )
    assert receiver.accepts(alert)
    assert not receiver.accepts(alert.model_copy(update={"kind": "frozen"}))
    assert not receiver.accepts(alert.model_copy(update={"labels": {}}))


def alert_of(kind: str, severity: str | None) -> QualityAlert:
    values = {
        "alert_id": "1",
        "stream_id": "s",
        "kind": kind,
        "state": "firing",
        "started_at": BEGIN,
        "value": 1,
        "segment_id": "s/1",
    }
    return QualityAlert.model_validate(values | {"severity": severity})


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({}, {"black", "low-quality"}),
        ({"kinds": ["no-face"]}, {"no-face"}),
        ({"kinds": ["no-face", "low-quality"], "severity": "warning"}, {"low-quality"}),
        ({"severity": "critical"}, {"black"}),
        ({"severity": "info"}, {"black", "low-quality", "no-face"}),
    ],
)
def test_a_receiver_is_told_what_is_urgent_enough_for_it(fields: dict[str, object], told: set[str]) -> None:
    (receiver,) = parse_policy({"receivers": [{"name": "a", "type": "json", "url": "http://x"} | fields]}).receivers
    limits = parse_policy({}).of({})
    alerts = [alert_of(kind, getattr(limits, kind.replace("-", "_")).severity) for kind in ("black", "low-quality", "no-face")]
    assert {alert.kind for alert in alerts if receiver.accepts(alert)} == told


def test_an_alert_of_a_worker_that_knew_no_severity_is_told_as_ever() -> None:
    (receiver,) = parse_policy(
        {"receivers": [{"name": "a", "type": "json", "url": "http://x", "severity": "critical"}]}
    ).receivers
    assert receiver.accepts(alert_of("low-quality", None))


def test_the_severity_of_a_kind_is_in_its_alerts() -> None:
    policy = parse_policy({"alerts": {"black": {"severity": "warning"}}})
    alerts = fold((make_score(i, 70, black=1.0) for i in range(10)), policy.of({}))[1]
    assert [(alert.kind, alert.severity, alert.threshold) for alert in alerts] == [("black", "warning", 0.95)]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"type": "slack", "signing_env": "S"}, "only receivers of type json"),
        ({"type": "json", "signing_env": "S", "signing_file": "f"}, "signing_env or signing_file, not both"),
        ({"type": "alertmanager", "repeat": 600}, "repeat is not for Alertmanager"),
        ({"type": "json", "silence": True}, "silence is for Alertmanager only"),
        ({"type": "json", "severity": "loud"}, "'info', 'warning' or 'critical'"),
    ],
)
def test_options_that_a_receiver_cannot_have_are_refused(fields: dict[str, object], reason: str) -> None:
    with pytest.raises(SettingsError, match=reason):
        parse_policy({"receivers": [{"name": "a", "url": "http://x"} | fields]})


def test_an_empty_signing_secret_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("\n")
    (tmp_path / "policy.yaml").write_text(
        f"receivers: [{{name: a, type: json, url: 'http://x', signing_file: {tmp_path / 'secret'}}}]"
    )
    with pytest.raises(SettingsError, match=r"receivers\.a\.signing_file: .* is empty"):
        check_policy(tmp_path / "policy.yaml")


def test_the_reference_tables_in_the_docs_are_up_to_date() -> None:
    assert reference() in (ROOT / "docs/alerts.md").read_text()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_key_that_is_there_twice_is_refused_with_the_file_and_both_lines(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text("alerts:\n  low_quality: {threshold: 60}\n  low_quality: {minimum: 3}\n", encoding=encoding)
    with pytest.raises(SettingsError, match=r"FVQ_ALERT_POLICY: .*policy\.yaml: .*low_quality is there twice.* line 2 .* line 3"):
        load_policy(file)


def test_a_number_with_a_unit_is_refused_with_what_to_write() -> None:
    with pytest.raises(SettingsError, match=r"alerts\.black\.minimum: '5s'.*write the number alone, without a unit"):
        parse_policy({"alerts": {"black": {"minimum": "5s"}}})


@pytest.mark.parametrize(("after", "forget_after"), [(86400, 86400), (300, 120)])
def test_a_stream_is_not_given_up_before_its_silence_is_told(after: float, forget_after: float) -> None:
    limits = parse_policy({"alerts": {"no_segments": {"after": after, "forget_after": forget_after}}}).of({})
    state, _ = fold(stream_of((10, 70)), limits)
    assert state.until is not None
    silent, alerts = tick(state, state.until + timedelta(seconds=after), after, limits)
    assert kinds_and_states(alerts) == [("no-segments", "firing")]
    assert silent is not None
    gone, alerts = tick(silent, state.until + timedelta(seconds=2 * after), 2 * after, limits)
    assert (gone, kinds_and_states(alerts)) == (None, [("no-segments", "resolved")])
