"""`fvq ingest push` on the command line: what is said of wrong arguments, and that no secret is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from streams.cli.app import app
from streams.ingest import run
from streams.ingest.base import Stream
from streams.ingest.push.address import parse_address
from streams.ingest.push.source import PushPlan
from streams.ingest.push.spool import SpoolReader
from streams.ingest.run import LiveOptions

ONE = "rtmp://0.0.0.0/live/s3cret-key"


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[LiveOptions]:
    """The options with which the process was started."""
    options: list[LiveOptions] = []

    async def take(given: LiveOptions, reader: SpoolReader) -> None:
        assert isinstance(reader, SpoolReader)
        options.append(given)

    monkeypatch.setattr(run, "run_live", take)
    monkeypatch.setenv("FVQ_BROKER", "127.0.0.1:1")
    monkeypatch.setenv("FVQ_DATA_DIR", str(tmp_path / "data"))
    return options


def ingest(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["ingest", *arguments])


@pytest.mark.parametrize(("window", "keep"), [("60", 120.0), ("off", 3660.0)])
def test_options_become_the_plan_of_each_source(
    window: str, keep: float, started: list[LiveOptions], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FVQ_LIVE_WINDOW", window)
    listed = tmp_path / "sources"
    listed.write_text(f"two={ONE}-2\n")
    result = ingest("push", f"one={ONE}", "--list", str(listed), "--label", "tier=a")
    assert result.exit_code == 0, result.exception
    assert started[0].sources == {"one": ONE, "two": f"{ONE}-2"}
    plan, same = started[0].plan("one", ONE), started[0].plan("one", ONE)
    assert isinstance(plan, PushPlan)
    assert plan == same, "a source that has not changed goes on when the list is read again"
    assert (plan.stream, plan.address) == (Stream("one", labels={"tier": "a"}), parse_address(ONE))
    assert plan.means.limits.keep == keep
    assert plan.means.spool == tmp_path / "data" / "ingest" / "push"
    assert plan.means.spool.is_dir()
    assert started[0].read_list is not None
    assert started[0].read_list() is None
    listed.write_text("")
    assert started[0].read_list() == {"one": ONE}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["push"], "no source is given"),
        (["push", ONE], "a source is NAME=ADDRESS"),
        (["push", f"one={ONE}", f"two={ONE}"], "have the same stream key"),
        (["push", "one=http://o.example/s3cret-key"], "begins with none of"),
        (["push", f"one={ONE}", "--label", "x"], "is not NAME=VALUE"),
    ],
)
def test_wrong_arguments_start_nothing(arguments: list[str], words: str, started: list[LiveOptions]) -> None:
    result = ingest(*arguments)
    assert result.exit_code != 0
    assert words in str(result.exception)
    assert "s3cret" not in str(result.exception) + result.output
    assert started == []
