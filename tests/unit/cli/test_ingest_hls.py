"""`fvq ingest hls` and `dash` on the command line: what is said of wrong arguments, before anything is announced."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from streams.cli.app import app
from streams.ingest import run
from streams.ingest.base import Stream
from streams.ingest.dash.source import SourcePlan as DashPlan
from streams.ingest.hls.source import SourcePlan as HlsPlan
from streams.ingest.run import LiveOptions
from streams.media.read import Reader


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[LiveOptions]:
    """The options with which the process was started."""
    options: list[LiveOptions] = []

    async def take(given: LiveOptions, _: Reader) -> None:
        options.append(given)

    monkeypatch.setattr(run, "run_live", take)
    monkeypatch.setenv("FVQ_BROKER", "127.0.0.1:1")
    return options


def ingest(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["ingest", *arguments])


@pytest.mark.parametrize(("command", "plan_type"), [("hls", HlsPlan), ("dash", DashPlan)])
def test_options_become_the_plan_of_each_source(
    started: list[LiveOptions], tmp_path: Path, command: str, plan_type: type
) -> None:
    listed = tmp_path / "sources"
    listed.write_text("sport=http://o.example/s.m3u8\n")
    options = ["--list", str(listed), "--renditions", "all", "--from", "start", "--clock", "arrival", "--label", "tier=a"]
    result = ingest(command, "news=http://o.example/n.m3u8", *options)
    assert result.exit_code == 0, result.exception
    assert started[0].sources == {"news": "http://o.example/n.m3u8", "sport": "http://o.example/s.m3u8"}
    plan = started[0].plan("news", "http://o.example/n.m3u8")
    assert plan.stream == Stream("news", labels={"tier": "a"}, clock="arrival", from_start=True)
    assert isinstance(plan, plan_type)
    assert (plan.renditions, plan.once) == ("all", False)
    assert started[0].read_list is not None
    assert started[0].read_list() is None
    listed.write_text("")
    assert started[0].read_list() == {"news": "http://o.example/n.m3u8"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["hls", "a=http://o.example/1", "a=http://o.example/2"], "two sources are named a"),
        (["hls"], "no source is given"),
        (["dash"], "no source is given"),
        (["dash", "http://o.example/x", "--once", "--list", "README.md"], "does not go with --list"),
        (["hls", "rtmp://o.example/x"], "is not [NAME=]URL"),
        (["hls", "http://o.example/x", "--once", "--list", "README.md"], "does not go with --list"),
        (["hls", "http://o.example/x", "--label", "x"], "is not NAME=VALUE"),
        (["--fast", "hls", "http://o.example/x"], "options of a command follow its name"),
        ([], "--source: is missing"),
    ],
)
def test_wrong_arguments_start_nothing(arguments: list[str], words: str, started: list[LiveOptions]) -> None:
    result = ingest(*arguments)
    assert result.exit_code != 0
    assert words in str(result.exception)
    assert started == []
