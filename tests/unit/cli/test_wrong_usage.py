"""A command that is called wrongly ends with exit code 2 and says which option or argument is wrong, whatever the command."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from urllib.error import URLError

import pytest
from typer.testing import CliRunner

from scorer.model_check import check_model
from streams.cli.app import app
from streams.errors import ModelError, SettingsError, reason_of
from streams.user_errors import for_user
from tests.support.processes import ROOT

DEMO = ROOT / "examples/face.mp4"
NANO, ADAPTER = str(ROOT / "training/recipes/nano.yaml"), str(ROOT / "training/recipes/nano_adapter.yaml")
WHOLE, TUNE = ("train", "--recipe", NANO, "--out", "OUT"), ("train", "--recipe", ADAPTER, "--out", "OUT")
EVALUATE = ("evaluate", "nano")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("score", "--json", "--csv", str(DEMO)), "--json or --csv: "),
        (("score", "--plot", "x.unknown", str(DEMO)), "--plot: "),
        (("dead-letters", "rm"), "IDS: "),
        (("dead-letters", "replay"), "IDS: "),
        (("queue", "rm"), "EXAMPLES: "),
        (("queue", "rm", "1234", "--stream", "a"), "EXAMPLES: "),
        (("forget", "", "--yes"), "STREAM: "),
        (("rate", "add", ""), "NAME: "),
        (("topics", "acls", "fvq worker", "--user", ""), "--user: "),
        (("synth", "OUT", str(DEMO), "--kinds", "x264,blurr"), "--kinds: "),
        (("synth", "OUT", str(DEMO), "--plain", "1"), "--plain: "),
        (("synth", "OUT", str(DEMO), "--sheet", "x.png"), "--sheet: "),
        ((*WHOLE,), "--data: "),
        ((*WHOLE, "--data", "a.csv", "--rated", "b.csv"), "--rated: "),
        ((*WHOLE, "--data", "a.csv", "--unlabelled", "more"), "--unlabelled: "),
        ((*WHOLE, "--data", "a.csv"), "needs --dev"),
        ((*WHOLE, "--data", "a.csv", "--dev", "b.csv", "--scale", "1-5"), "leave --scale out"),
        ((*TUNE, "--data", "a.csv", "--scale", "five"), "--scale: "),
        ((*TUNE, "--data", "a.csv", "--dev", "b.csv"), "leave --dev out"),
        ((*TUNE, "--data", "a.csv", "--steady", "b.csv"), "leave --steady out"),
        ((*TUNE, "--from-queue", "--teacher", "nano"), "--teacher: "),
        ((*TUNE, "--from-queue", "--scale", "1-5"), "--scale: "),
        ((*TUNE, "--from-queue", "--dev", "b.csv"), "--dev: "),
        (EVALUATE, "fvq evaluate: "),
        ((*EVALUATE, "--data", "a.csv", "--benchmark", "OUT"), "fvq evaluate: "),
        ((*EVALUATE, "--data", "a.csv", "--scenes", "3"), "fvq evaluate: "),
        ((*EVALUATE, "--benchmark", "OUT", "--plot", "x.png"), "--plot: "),
        ((*EVALUATE, "--benchmark", "OUT", "--scenes", "3"), "fvq evaluate: "),
        ((*EVALUATE, "--benchmark", "OUT", "--people", str(DEMO), "--ladder", "blurr"), "--ladder: "),
        (("promote", "OUT", "--reference", "a.csv", "--scale", "1-5"), "--scale: "),
        (("promote", "OUT", "--reference", "a.csv", "--rated", "b.csv", "--scale", "five"), "--scale: "),
    ],
)
def test_wrong_usage_is_exit_code_2(words: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FVQ_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    error = CliRunner().invoke(app, [str(tmp_path / "out") if word == "OUT" else word for word in words]).exception
    assert isinstance(error, Exception)
    told = for_user(error)
    assert told is not None, error
    sentence, code = told
    assert said in sentence
    assert code == 2
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("synth", "", str(DEMO)), "OUT"),
        (("synth", "OUT", str(DEMO), ""), "SOURCES"),
        (("synth", "OUT", str(DEMO), "--scenes", "1", "--sheet="), "--sheet"),
        ((*WHOLE, "--data", ""), "--data"),
        (("train", "--recipe", NANO, "--out", ""), "--out"),
        ((*EVALUATE, "--benchmark", "OUT", "--people", str(DEMO), "--people", ""), "--people"),
        (("queue", "export", ""), "FOLDER"),
        (("alerts", "backtest", ""), "POLICY"),
        (("ingest", "--source", ""), "--source"),
        (("ingest", "files", "--source", ""), "--source"),
    ],
)
def test_an_empty_path_is_not_this_folder(
    words: tuple[str, ...], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a variable of the shell that is not set."""
    monkeypatch.setenv("FVQ_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    error = CliRunner().invoke(app, [str(tmp_path / "out") if word == "OUT" else word for word in words]).exception
    assert isinstance(error, SettingsError), error
    assert for_user(error) == (f"{name}: is empty: write a path, or . for this folder", 2)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("up", "--source", "x", "--segment-seconds", "abc"), "'abc' is no number: write a number, at least 0.5, at most 60"),
        (("plan", "--streams", "0"), "'0' is too small: write a whole number, at least 1, at most 10,000,000"),
        (("alerts", "evaluate", "--seed", "1.5"), "'1.5' is no whole number: write a whole number"),
        (("doctor", "--for", "wrker"), "'wrker' is none of the values: write one of worker, ingest, web, rate"),
        (("ingest", "hls", "a=http://x", "--from", "x\x1b"), "'x\\x1b' is none of the values: write one of edge, start"),
    ],
)
def test_a_wrong_value_is_told_in_the_same_words_as_a_settings(words: tuple[str, ...], said: str) -> None:
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2
    assert said in " ".join(result.output.replace("│", " ").split())  # whatever the width of the frame about it


@pytest.mark.parametrize(
    "words",
    [
        (*WHOLE, "--data", "gone.csv", "--dev", "here.csv"),
        (*WHOLE, "--data", "here.csv", "--dev", "gone.csv"),
        (*WHOLE, "--data", "here.csv", "--dev", "here.csv", "--steady", "gone.csv"),
        (*WHOLE, "--data", "here.csv", "--dev", "here.csv", "--teacher", "nano", "--unlabelled", "gone.csv"),
        (*TUNE, "--data", "gone.csv"),
        (*TUNE, "--from-queue", "--rated", "gone.csv"),
        (*TUNE, "--from-queue", "--rated", "here.csv", "--data", "gone.csv"),
        (*EVALUATE, "--data", "gone.csv"),
        (*EVALUATE, "--data", "here.csv", "--train-data", "gone.csv"),
        ("ablate", "--recipe", NANO, "--data", "here.csv", "--dev", "gone.csv", "--work", "here.csv"),
        ("crossvalidate", "--recipe", NANO, "--data", "gone.csv", "--work", "here.csv"),
    ],
)
def test_a_file_that_is_not_there_is_told_before_libraries_are_loaded_that_take_seconds(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = ("nano.train", "nano.start", "nano.teacher", "nano.ablate", "nano.crossvalidate", "adapter.tune", "evaluation.report")
    for module in ("scorer.load", *(f"training.{name}" for name in slow)):
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setenv("FVQ_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here.csv").write_text("path,mos\n" + "".join(f"{number}.mp4,{number}\n" for number in range(100)))
    error = CliRunner().invoke(app, [str(tmp_path / "out") if word == "OUT" else word for word in words]).exception
    assert isinstance(error, FileNotFoundError), error
    assert for_user(error) == ("gone.csv: No such file or directory", 1)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_no_model_is_told_so_whatever_is_in_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with open(tmp_path / "talk.mp4", "wb") as recording:
        recording.truncate(1 << 30)
    with pytest.raises(ModelError, match=r"it has no sampler\.json: name a folder that `fvq train` made"):
        check_model(tmp_path, "cpu")


def test_why_a_request_failed_is_told_without_the_errors_number() -> None:
    refused = ConnectionRefusedError(111, "Connection refused")
    assert reason_of(refused) == reason_of(URLError(refused)) == "Connection refused"
