"""The life of a process in its log: start, stop and end, and what is said where it cannot start."""

from __future__ import annotations

import json
import logging
import signal

import pytest
import typer

from streams.cli.options import live, settings_of_process
from streams.errors import BrokerError, SettingsError
from streams.life import Life, lived

pytestmark = pytest.mark.usefixtures("log_as_before")


def test_start_stop_and_end_are_one_line_each(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.life.configure_logging", lambda *_: None)
    caplog.set_level(logging.INFO)

    def run(life: Life) -> None:
        life.starts("pages at http://127.0.0.1:1", group="fvq")
        life.stops(signal.SIGTERM, 20)
        life.stops(signal.SIGINT, 20)

    assert lived("worker", "info", "text", run) == 0
    starts, stops, ended = caplog.messages
    assert starts == "worker starts; pages at http://127.0.0.1:1"
    assert {"version", "pid", "group"} <= set(vars(caplog.records[0]))
    assert stops == "worker stops (SIGTERM): it finishes what it has, within 20 s"
    assert ended.startswith("worker has stopped after ")


def test_a_process_that_nobody_stopped_has_no_last_line(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(BrokerError, match="away"):
        lived("wall", "info", "text", failing(BrokerError("away")))
    assert not caplog.messages


def failing(error: Exception):
    def run(_: Life) -> int:
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (SettingsError("FVQ_X", "is wrong"), 2, "the wall cannot start: FVQ_X: is wrong"),
        (BrokerError("away"), 1, "the wall cannot start: away"),
        (ValueError("--label: no"), 1, "the wall cannot start: --label: no"),
        (
            FileNotFoundError(2, "No such file or directory", "/no/such"),
            1,
            "the wall cannot start: /no/such: No such file or directory",
        ),
        (
            ModuleNotFoundError("no torch", name="torch"),
            1,
            "the wall cannot start: `fvq web` needs the package torch, which is not installed: pip install 'fvq-monitor[serve]'",
        ),
        (OSError(28, "No space left on device"), 1, "the wall ends by an error that nobody expected"),
        (RuntimeError("a bug"), 1, "the wall ends by an error that nobody expected"),
    ],
)
def test_in_json_an_error_is_the_last_line(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: Exception, code: int, message: str
) -> None:
    monkeypatch.setattr("sys.argv", ["fvq", "web"])
    assert lived("wall", "info", "json", failing(error)) == code
    out, err = capfd.readouterr()
    assert out == ""
    (record,) = [json.loads(line) for line in err.splitlines()]
    assert (record["level"], record["message"]) == ("critical", message)
    assert (str(error) in record.get("exception", "")) is ("nobody expected" in message)


@pytest.mark.parametrize("line_format", ["text", "json"])
def test_a_sentence_for_people_is_a_log_line_in_json(capfd: pytest.CaptureFixture[str], line_format: str) -> None:
    assert lived("wall", "info", line_format, lambda life: life.tell("Running on\x1b http://x")) == 0
    out, err = capfd.readouterr()
    assert out == ""
    if line_format == "text":
        assert err == "Running on\\x1b http://x\n"
    else:
        assert json.loads(err)["level"] == "info"


def test_a_wrong_setting_is_told_in_json_where_the_environment_says_so(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def load() -> None:
        raise SettingsError("FVQ_X", "is wrong")

    monkeypatch.delenv("FVQ_LOG_FORMAT", raising=False)
    with pytest.raises(SettingsError):
        settings_of_process("wall", load)  # type: ignore[arg-type]
    monkeypatch.setenv("FVQ_LOG_FORMAT", "json")
    with pytest.raises(typer.Exit) as ended:
        live("wall", lambda *_: 0, load)  # type: ignore[arg-type]
    assert ended.value.exit_code == 2
    assert json.loads(capfd.readouterr().err)["message"] == "the wall cannot start: FVQ_X: is wrong"
