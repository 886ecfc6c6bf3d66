"""What `fvq up` prints of streams whose names and reasons are odd."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from rich.console import Console

from streams.events import SCORES_TOPIC, QualityAlert, SegmentEvent
from streams.kafka.connection import Connection
from streams.local import view as view_module
from streams.local.live_view import LiveView
from streams.local.run import Run
from streams.local.view import View
from tests.support.queue import scored

NAMED = Connection("none:1").named
NAMES = {
    "old [/x]": "old [/x]",
    "[red]a[/red]": "[red]a[/red]",
    "a\nfailed b": r"a\nfailed b",
    "a\x1b[2Jb": r"a\x1b[2Jb",
    "a\u202eb": r"a\u202eb",
    "trailing \\": "trailing \\",
}


def run_of(name: str) -> Run:
    """A run of a stream with this name: a score, a skipped segment, a dead letter whose reason is the name, and an alert."""
    score = scored(1, stream=name)
    skipped = score.model_copy(
        update={"segment_id": f"{name}/2", "status": "skipped", "score": None, "faces": None, "reason": f"too late [{name}]"}
    )
    run = Run([SegmentEvent.model_validate(score.model_dump() | {"segment_id": f"{name}/{i}"}) for i in range(4)], NAMED)
    run.scores = {f"{name}/1": score, f"{name}/2": skipped}
    run.failed = {f"{name}/3": f"no picture in {name}"}
    alert = QualityAlert(
        alert_id="1", stream_id=name, kind="black", state="firing", started_at=datetime.now(UTC), value=1.0, segment_id="1"
    )
    run.alerts = {("1", "firing"): alert}
    return run


@pytest.mark.parametrize("name", NAMES)
def test_names_and_reasons_are_shown_as_they_are(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    view, run, shown = View(as_json=False), run_of(name), NAMES[name]
    view.problem("not played", f"{name}: it is a pipe")
    with view.shown(run) as refresh:
        refresh()
    view.summary(run)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"not played {shown}: it is a pipe"
    assert f"failed {shown}/3: no picture in {shown}" in lines
    assert any(line.startswith(f"alert firing {shown}: picture is black: 100%") for line in lines)
    assert any(line.startswith(f"{shown}: 1 segment,") for line in lines)
    assert any(line.endswith(f"skipped: too late [{shown}]") for line in lines)
    assert "\x1b" not in "".join(lines)


@pytest.mark.parametrize("name", NAMES)
def test_the_live_table_takes_every_name(name: str) -> None:
    console = Console(width=200)
    with console.capture() as captured:
        console.print(view_module._table(run_of(name)))
    assert captured.get().count(NAMES[name]) == 4


def test_a_line_for_scripts_is_ascii_and_the_same_json() -> None:
    score = scored(1, stream="晚间 🎬")
    run = Run([SegmentEvent.model_validate(score.model_dump())], NAMED)

    class Message:
        topic, partition, offset, value = SCORES_TOPIC, 2, 6, score.to_bytes()

    line = run.take(Message)
    assert line is not None
    assert line.isascii()
    assert json.loads(line) == json.loads(score.to_bytes())


@pytest.mark.parametrize("view", [View, LiveView])
def test_a_note_is_one_line_however_long(view: type[View] | type[LiveView], capsys: pytest.CaptureFixture[str]) -> None:
    """A path that is broken over two lines cannot be copied."""
    text = f"clips are stored in /srv/{'long-name/' * 20}clips"
    view(as_json=False).note(text)
    assert capsys.readouterr().out == f"{text}\n"
