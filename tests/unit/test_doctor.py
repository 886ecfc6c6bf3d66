"""`fvq doctor`: what it says of the settings. The checks themselves are in the end-to-end tests."""

from __future__ import annotations

import json
import logging
import os
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import SecretStr

from streams.doctor import run as doctor
from streams.doctor.check import Check
from streams.doctor.rights import check_rights, check_rights_of
from streams.doctor.run import run_doctor
from streams.doctor.setup import check_access, check_data_folder, check_media, check_policy, check_variables
from streams.doctor.uri import walk
from streams.doctor.view import as_written
from streams.errors import BrokerError
from streams.kafka import allowed
from streams.kafka.allowed import Allowed
from streams.kafka.rights import Right
from streams.ports import free_port
from streams.settings import Settings, load_settings
from streams.web.access.tokens import add_token
from tests.support.media import make_clip
from tests.support.scripted_scorer import ScriptedScorer


def test_a_value_is_shown_as_it_is_written() -> None:
    hosts = ["a.example", "b.example"]
    assert [as_written(value) for value in (True, 2.0, hosts, [Path("/a"), Path("/b")], None, SecretStr("s3cret"))] == [
        "true", "2", "a.example,b.example", "/a:/b", "", "set, not shown",
    ]  # fmt: skip


@pytest.fixture(autouse=True)
def settings_of_three_sources(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A broker and a secret in the environment, a port in the file; no check but one that fails. Returns the file."""
    for name in [name for name in os.environ if name.startswith("FVQ_")]:
        monkeypatch.delenv(name)
    config = tmp_path / "fvq.toml"
    config.write_text('web_port = 1234\nkafka_password = "s3cret-in-file"\n')
    monkeypatch.setenv("FVQ_CONFIG", str(config))
    monkeypatch.setenv("FVQ_BROKER", "b:2")
    monkeypatch.setenv("FVQ_INFLUX_TOKEN", "s3cret-in-environment")
    monkeypatch.setattr(doctor, "CHECKS", (lambda _: Check("model", False, "torch [cpu] is missing", "install fvq[serve]"),))
    return config


def test_json_says_where_each_setting_was_set(settings_of_three_sources: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_doctor(load_settings(device="cpu"), as_json=True) == 1
    output = capsys.readouterr().out
    report = json.loads(output)
    assert set(report["settings"]) == set(report["sources"]) == set(Settings.model_fields)
    assert {name: source for name, source in report["sources"].items() if source != "default"} == {
        "broker": "environment FVQ_BROKER",
        "influx_token": "environment FVQ_INFLUX_TOKEN",
        "web_port": f"file {settings_of_three_sources}",
        "kafka_password": f"file {settings_of_three_sources}",
        "device": "command line --device",
    }
    assert report["settings"]["web_port"] == "1234"
    assert report["settings"]["influx_token"] == report["settings"]["kafka_password"] == "set, not shown"
    assert "s3cret" not in output


def test_the_table_says_it_too(
    settings_of_three_sources: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    assert run_doctor(load_settings(), as_json=False) == 1
    output = capsys.readouterr().out
    rows = {line.split()[0]: " ".join(line.split()[1:]) for line in output.splitlines() if line.strip().startswith("FVQ_")}
    assert rows["FVQ_BROKER"] == "b:2 set by environment FVQ_BROKER"
    assert rows["FVQ_WEB_PORT"] == f"1234 set by file {settings_of_three_sources}"
    assert set(rows) == {"FVQ_BROKER", "FVQ_WEB_PORT", "FVQ_INFLUX_TOKEN", "FVQ_KAFKA_PASSWORD"}, "only what is no default"
    assert output.index("FAIL model") < output.index("FVQ_BROKER"), "what is wrong stands first"
    assert "FAIL model: torch [cpu] is missing" in output
    assert "install fvq[serve]" in output, "brackets are text, not colours"
    assert "s3cret" not in output


def test_passwords_in_addresses_of_stores_are_not_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "CHECKS", (doctor._clip_store,))
    for store in ("memory://key:s3cret@bucket/clips", "nofs://key:s3cret@bucket/clips"):
        monkeypatch.setenv("FVQ_CLIP_STORE", store)
        monkeypatch.setenv("FVQ_REGISTRY", store)
        for as_json in (False, True):
            run_doctor(load_settings(), as_json)
            output = capsys.readouterr().out
            assert "://bucket/clips" in output
            assert "s3cret" not in output


def test_what_is_off_is_shown_as_off(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(doctor, "CHECKS", ())
    monkeypatch.setenv("FVQ_LIVE_WINDOW", "off")
    run_doctor(load_settings(), as_json=False)
    assert "FVQ_LIVE_WINDOW off set by environment" in " ".join(capsys.readouterr().out.split())
    run_doctor(load_settings(), as_json=True)
    report = json.loads(capsys.readouterr().out)["settings"]
    assert (report["live_window"], report["pictures"], report["second_model"]) == ("off", "10.0", "")


def test_scripts_get_values_as_they_are_written(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(doctor, "CHECKS", ())
    written = {"fetch_private": "true", "alerts": "false", "fetch_hosts": "a.example,b.example", "media_roots": "/media:/more"}
    for name, value in written.items():
        monkeypatch.setenv(f"FVQ_{name.upper()}", value)
    run_doctor(load_settings(), as_json=True)
    report = json.loads(capsys.readouterr().out)["settings"]
    assert {name: report[name] for name in written} == written


def test_checks_are_timed_and_libraries_are_quiet(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = [1000.0]

    def noisy(_: Settings) -> Check:
        logging.getLogger("library").error("noise")
        warnings.warn("noise", stacklevel=1)
        now[0] += 0.06
        return Check("noisy", True, "works")

    monkeypatch.setattr("streams.doctor.check.time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(doctor, "CHECKS", (noisy,))
    assert run_doctor(load_settings(), as_json=True) == 0
    printed = capsys.readouterr()
    (check,) = json.loads(printed.out)["checks"]
    assert check["seconds"] == 0.06
    assert "noise" not in printed.out + printed.err + caplog.text
    run_doctor(load_settings(), as_json=False)
    assert "ok   noisy: works  (0.1 s)" in capsys.readouterr().out
    logging.getLogger("library").error("afterwards")
    assert "afterwards" in caplog.text


@pytest.mark.parametrize("role", ["worker", "ingest", "web"])
def test_what_needs_a_broker_fails_without_one(role: doctor.Role, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FVQ_BROKER")
    checks = [check(load_settings()) for check in doctor.ROLES[role] if check is doctor._needed_broker]
    assert [(check.name, check.ok) for check in checks] == [("broker", False)]
    assert "FVQ_BROKER=" in checks[0].fix
    assert doctor._broker not in doctor.ROLES[role]
    assert doctor._needed_broker not in doctor.ROLES["rate"]


@pytest.mark.parametrize(("prefix", "detail"), [("", "kafka:9092"), ("staging.", "kafka:9092; topics as staging.video-segments")])
def test_the_brokers_line_says_what_topics_are_called_there(prefix: str, detail: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "check_broker", lambda _: None)
    assert doctor._broker(load_settings(broker="kafka:9092", topic_prefix=prefix)).detail == detail


@pytest.mark.parametrize("role", ["worker", "ingest", "web", "rate"])
def test_topics_that_are_not_there_fail_what_needs_them(role: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        allowed, "look", lambda _, rights: Allowed(absent=tuple({right.name: 0 for right in rights if right.resource == "topic"}))
    )
    check = check_rights_of(role)(load_settings(topic_prefix="stagign."))
    assert not check.ok
    assert "stagign." in check.detail
    assert "`fvq topics create`" in check.fix
    assert "FVQ_TOPIC_PREFIX" in check.fix
    assert check_rights(load_settings()).ok, "without a role, whoever makes the topics asks too"


def test_a_missing_right_is_named_beside_missing_topics(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Right("topic", "training-queue", "Read")
    monkeypatch.setattr(allowed, "look", lambda *_: Allowed(missing=(right,), absent=("alert-acks",)))
    check = check_rights_of("web")(load_settings())
    assert not check.ok
    assert "Read on topic training-queue" in check.detail
    assert "alert-acks" in check.detail
    assert "ACLs" in check.fix
    assert "`fvq topics create`" in check.fix


@pytest.mark.parametrize("role", ["worker", "ingest", "web"])
def test_rights_are_not_asked_of_brokers_that_do_not_answer(
    role: doctor.Role, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def asked(*_: object) -> Allowed:
        raise AssertionError("rights are asked")

    def silent(_: object) -> None:
        raise BrokerError("no Kafka broker answers")

    of_kafka = tuple(
        check for check in doctor.ROLES[role] if check in (doctor._broker, doctor._needed_broker, *doctor.RIGHTS.values())
    )
    monkeypatch.setattr(doctor, "ROLES", {role: of_kafka})
    monkeypatch.setattr(doctor, "check_broker", silent)
    monkeypatch.setattr(allowed, "look", asked)
    assert len(of_kafka) == 2
    assert run_doctor(load_settings(), as_json=True, role=role) == 1
    assert [check["name"] for check in json.loads(capsys.readouterr().out)["checks"]] == ["broker"]


def test_a_variable_that_resembles_a_setting_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_variables(load_settings()).ok
    monkeypatch.setenv("FVQ_XYZZY", "1")
    other = check_variables(load_settings())
    assert (other.ok, other.detail) == (True, "FVQ_XYZZY is no setting and is ignored")
    monkeypatch.setenv("FVQ_HARVST", "false")
    wrong = check_variables(load_settings())
    assert not wrong.ok
    assert "FVQ_HARVEST?" in wrong.detail


def test_folders_and_files_that_are_not_there_are_named(tmp_path: Path) -> None:
    missing = check_media(Settings(media_roots=[tmp_path / "none"]))
    assert (missing.ok, "FVQ_MEDIA_ROOTS" in missing.detail, str(tmp_path) in missing.detail) == (False, True, True)
    assert check_media(Settings(media_roots=[tmp_path])).ok
    file = tmp_path / "file"
    file.touch()
    assert not check_data_folder(Settings(data_dir=file / "data")).ok
    assert check_data_folder(Settings(data_dir=tmp_path / "new")).ok
    assert not check_policy(Settings(alert_policy=tmp_path / "none.yaml")).ok
    assert not check_access(Settings(web_host="0.0.0.0", web_tokens_file=tmp_path / "none" / "tokens.json")).ok


@pytest.mark.parametrize(
    ("access", "ok", "detail"),
    [
        ({}, True, "FVQ_WEB_TOKENS_FILE is not set: the wall at 127.0.0.1 serves this machine alone"),
        ({"wall_host": "0.0.0.0"}, False, "FVQ_WEB_TOKENS_FILE: is not set, and 0.0.0.0 can be reached from other machines"),
        ({"web_user_header": "X-User"}, False, "name the proxies that set it in FVQ_WEB_TRUSTED_PROXIES"),
        (
            {"wall_host": "0.0.0.0", "web_user_header": "X-User", "web_trusted_proxies": ["10.0.0.1/32", "10.1.0.0/16"]},
            True,
            "the wall at 0.0.0.0 asks for a name in X-User from a proxy of 10.0.0.1/32, 10.1.0.0/16",
        ),
    ],
)
def test_access_is_what_the_wall_itself_makes_of_the_settings(access: dict[str, Any], ok: bool, detail: str) -> None:
    check = check_access(Settings(**access))
    assert check.ok == ok
    assert detail in check.detail


def test_access_by_a_token_or_by_a_proxy(tmp_path: Path) -> None:
    file = tmp_path / "tokens.json"
    add_token(file, "tv", ["read"], {})
    proxy = {"web_user_header": "X-User", "web_trusted_proxies": ["10.0.0.1/32"]}
    by_token = check_access(Settings(wall_host="0.0.0.0", web_tokens_file=file))
    assert by_token.detail == f"the wall at 0.0.0.0 asks for a token of {file}"
    by_both = check_access(Settings(wall_host="0.0.0.0", web_tokens_file=file, **proxy))
    assert by_both.detail == f"{by_token.detail}, or for a name in X-User from a proxy of 10.0.0.1/32"


@pytest.mark.slow
def test_a_segment_is_walked_step_by_step(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4", 320, 240, 1, kind="face")
    settings = Settings(media_roots=[tmp_path], data_dir=tmp_path / "data")
    steps = list(walk(settings, clip.as_uri()))
    assert [(step.name, step.ok) for step in steps] == [("fetch", True), ("model", True), ("decode", True), ("score", True)]
    assert "320x240 h264, 1.00 s, 25 pictures; 1 face" in steps[2].detail
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    steps = list(walk(settings, broken.as_uri()))
    assert [(step.name, step.ok) for step in steps] == [("fetch", True), ("model", True), ("decode", False)]
    assert steps[-1].fix


def test_a_segment_that_may_not_be_fetched_ends_the_walk(tmp_path: Path) -> None:
    for uri in ((tmp_path / "a.mp4").as_uri(), "http://127.0.0.1:1/a.ts?signature=s3cret"):
        (step,) = walk(Settings(), uri)
        assert (step.name, step.ok) == ("fetch", False)
        assert "FVQ_" in step.detail + step.fix
        assert "s3cret" not in step.detail


def test_the_large_model_is_asked_where_it_is_served_and_loaded_where_it_is_not() -> None:
    with ScriptedScorer() as served:
        check = doctor._large_model(Settings(deep_url=served.url))
        assert check.ok, check
        assert "scripted@1" in check.detail
        served.behave(fault="nan")
        assert not doctor._large_model(Settings(deep_url=served.url)).ok
    away = doctor._large_model(Settings(deep_url=f"http://127.0.0.1:{free_port('127.0.0.1')}"))
    assert (away.ok, "FVQ_DEEP_URL" in away.fix) == (False, True)
    missing = doctor._large_model(Settings(deep_model="no-such-model"))
    assert (missing.ok, "FVQ_DEEP_MODEL" in missing.fix) == (False, True)
    assert doctor._large_model(Settings()).ok


@pytest.mark.parametrize("address", ["FOLDER/a-file", "nosuch://models"])
def test_a_registry_that_cannot_be_read_fails_the_checks_of_models_and_ends_nothing(address: str, tmp_path: Path) -> None:
    (tmp_path / "a-file").touch()
    settings = Settings(
        registry=address.replace("FOLDER", str(tmp_path)), model="face@1", second_model="face@1", deep_model="face@1",
        media_roots=[tmp_path],
    )  # fmt: skip
    for check in (doctor._model(settings), doctor._second_model(settings), doctor._large_model(settings)):
        assert (check.ok, "FVQ_REGISTRY" in check.fix) == (False, True), check.name
    clip = make_clip(tmp_path / "face.mp4", seconds=1)
    assert [(step.name, step.ok) for step in walk(settings, clip.as_uri())] == [("fetch", True), ("model", False)]


def test_a_second_model_is_loaded_as_by_a_worker() -> None:
    assert doctor._second_model(Settings()).ok
    check = doctor._second_model(Settings(second_model="nano"))
    assert (check.ok, check.detail.partition("@")[0]) == (True, "nano")
    missing = doctor._second_model(Settings(second_model="no-such-model"))
    assert (missing.ok, "FVQ_SECOND_MODEL" in missing.fix) == (False, True)
    assert doctor._second_model in doctor.ROLES["worker"]
