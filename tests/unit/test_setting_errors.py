"""What is said of wrong settings, and of variables that are no settings."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.cli.options import load_settings
from streams.errors import SettingsError
from streams.setting_errors import checked_servers, unknown_variables
from streams.settings import Settings
from tests.support.processes import ROOT

pytestmark = pytest.mark.usefixtures("no_settings")


@pytest.mark.parametrize(
    ("variable", "offered"),
    [
        ("FVQ_BROKR", "FVQ_BROKER"),
        ("FVQ_BROKERS", "FVQ_BROKER"),
        ("FVQ_LIVEWINDOW", "FVQ_LIVE_WINDOW"),
        ("fvq_media_root", "FVQ_MEDIA_ROOTS"),
        ("FVQ_INFLUX_TOKENFILE", "FVQ_INFLUX_TOKEN_FILE"),
    ],
)
def test_an_unknown_variable_is_named_with_the_nearest_setting(
    variable: str, offered: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(variable, "s3cret")
    assert load_settings().broker is None
    assert capsys.readouterr().err == f"fvq: {variable} is no setting and is ignored: did you mean {offered}?\n"


def test_a_variable_that_resembles_no_setting_is_named_alone_and_others_are_left_alone() -> None:
    known = Settings.model_fields
    assert unknown_variables(["FVQ_XYZZY"], known) == ["FVQ_XYZZY is no setting and is ignored"]
    assert unknown_variables(["FVQ_CONFIG", "FVQ_BROKER", "fvq_broker", "FVQ_TEST_SINK", "PATH", "_FVQ_COMPLETE"], known) == []
    (sentence,) = unknown_variables(["FVQ_A\nB"], known)
    assert "\n" not in sentence


def test_a_warning_is_a_log_line_where_logs_are_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    import json

    monkeypatch.setenv("FVQ_BROKR", "a:1")
    monkeypatch.setenv("FVQ_LOG_FORMAT", "json")
    load_settings()
    line = json.loads(capsys.readouterr().err)
    assert line["level"] == "warning"
    assert "FVQ_BROKER" in line["message"]


def test_the_variables_of_scripts_are_not_taken_for_settings() -> None:
    """What developers' scripts and the tests set is theirs."""
    files = [path for folder in ("scripts", "tests/support") for path in sorted((ROOT / folder).rglob("*")) if path.is_file()]
    text = "\n".join(path.read_text() for path in files if path.suffix not in (".pyc", ".tflite"))
    names = set(re.findall(r"FVQ_[A-Z][A-Z_]*[A-Z]", text))
    assert unknown_variables(names, Settings.model_fields) == []


@pytest.mark.parametrize(
    "wrong", ["kafka-1", "kafka-1:", "kafka-1:port", "kafka-1:99999", "a:1,b", "kafka://a:1", "kim:s3cret@a", ","]
)
def test_a_broker_without_its_port_is_refused_with_an_example(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FVQ_BROKER", wrong)
    with pytest.raises(SettingsError, match=r"write host:port\[,host:port\]; for example FVQ_BROKER=kafka-1:9092") as caught:
        load_settings()
    assert "s3cret" not in str(caught.value)


def test_brokers_may_have_spaces_between_them() -> None:
    assert checked_servers("a:1, [::1]:9092 ,kafka-2.example:9092,") == "a:1,[::1]:9092,kafka-2.example:9092"


@settings(deadline=None)
@given(st.text(max_size=40))
def test_any_text_for_a_broker_is_taken_or_refused_in_one_sentence(text: str) -> None:
    reason = ""
    try:
        assert re.fullmatch(r"\S+:[0-9]+(,\S+:[0-9]+)*", checked_servers(text))
    except ValueError as error:
        reason = str(error)
    assert reason.isprintable()
    assert reason == "" or reason.endswith("write host:port[,host:port]")


def test_a_secret_of_the_wrong_kind_is_not_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = tmp_path / "fvq.toml"
    config.write_text("influx_token = 12345\n")
    monkeypatch.setenv("FVQ_CONFIG", str(config))
    with pytest.raises(SettingsError, match="influx_token: the value is refused") as caught:
        load_settings()
    assert "12345" not in str(caught.value)


@pytest.mark.parametrize("name", ["clip_days", "live_window", "web_port"])
def test_a_number_that_is_true_in_the_file_is_refused(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = tmp_path / "fvq.toml"
    config.write_text(f"{name} = true\n")
    monkeypatch.setenv("FVQ_CONFIG", str(config))
    with pytest.raises(SettingsError, match=rf"fvq.toml: {name}: True is no number: write .*; for example {name} = "):
        load_settings()


def test_a_section_of_the_file_is_refused_with_what_to_write(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = tmp_path / "fvq.toml"
    config.write_text('[kafka]\nbroker = "a:1"\n')
    monkeypatch.setenv("FVQ_CONFIG", str(config))
    with pytest.raises(SettingsError, match=r"fvq.toml: \[kafka\]: is a section, .* as in broker = "):
        load_settings()


@pytest.mark.parametrize(("line", "words"), [("media_roots = 3", "a list"), ("broker = 3", "a text"), ("data_dir = 3", "a path")])
def test_a_value_of_another_kind_comes_with_what_to_write(
    line: str, words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "fvq.toml"
    config.write_text(line)
    monkeypatch.setenv("FVQ_CONFIG", str(config))
    name = line.split()[0]
    with pytest.raises(SettingsError, match=rf"{name}: 3 is refused .*: write {words}.*; for example {name} = "):
        load_settings()
