"""`fvq ingest folder` on the command line: what its options become, and what is said of wrong ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from streams.cli.app import app
from streams.ingest import run
from streams.ingest.base import Stream
from streams.ingest.folder.segmenter import Segmenter, SegmenterOptions
from streams.ingest.folder.source import FolderPlan
from streams.ingest.run import LiveOptions
from streams.media.read import Reader


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[LiveOptions]:
    """The options with which the process was started."""
    options: list[LiveOptions] = []

    async def take(given: LiveOptions, _: Reader) -> None:
        options.append(given)

    monkeypatch.setattr(run, "run_live", take)
    monkeypatch.setattr(Segmenter, "__enter__", lambda segmenter: segmenter)
    monkeypatch.setenv("FVQ_BROKER", "127.0.0.1:1")
    monkeypatch.setenv("FVQ_DATA_DIR", str(tmp_path / "data"))
    for name in ("cam", "b=c"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    return options


def ingest(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["ingest", "folder", *arguments])


def test_options_become_the_plan_of_each_folder(started: list[LiveOptions], tmp_path: Path) -> None:
    options = ["--from", "start", "--settle", "9", "--poll", "--label", "tier=a", "--cut-over", "20", "--keep-hours", "2"]
    result = ingest("cam", "door=cam", "yard=./b=c", *options)
    assert result.exit_code == 0, result.exception
    cam = str(tmp_path / "cam")
    assert started[0].sources == {"cam": cam, "door": cam, "yard": str(tmp_path / "b=c")}
    plan = started[0].plan("door", cam)
    assert isinstance(plan, FolderPlan)
    assert plan.stream == Stream("door", labels={"tier": "a"}, from_start=True)
    assert (plan.folder, plan.settle, plan.poll) == (tmp_path / "cam", 9.0, True)
    assert plan.segmenter._options == SegmenterOptions(Path(f"{tmp_path}/data/ingest/folder"), 2.0, 20.0, 2.0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["cam", "cam"], "two sources are named cam: give them names of their own, NAME=DIR"),
        (["none"], "none is not a folder"),
        (["=cam"], "'=cam' is not [NAME=]DIR"),
        (["a\nb=cam"], r"'a\\nb' cannot be a stream's name"),
        (["..=cam"], r"'..' cannot be a stream's name"),
        (["x" * 161 + "=cam"], "cannot be a stream's name"),
        (["cam", "--label", "x"], "is not NAME=VALUE"),
    ],
)
def test_wrong_arguments_start_nothing(arguments: list[str], words: str, started: list[LiveOptions]) -> None:
    result = ingest(*arguments)
    assert result.exit_code != 0
    assert words in str(result.exception)
    assert started == []
