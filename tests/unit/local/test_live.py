"""What `fvq up` knows and prints of live streams, without any server."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from streams.errors import SettingsError
from streams.events import ALERTS_TOPIC, DEAD_LETTER_TOPIC, SCORES_TOPIC, FaceSummary, QualityAlert, SegmentEvent, SegmentScore
from streams.kafka.connection import Connection
from streams.local import live, live_run
from streams.local.live import check_sources, find_live
from streams.local.live_run import LiveRun, source_line
from streams.local.live_view import LiveView, table_of
from streams.settings import load_settings
from tests.support import queue

NAMED = Connection("none:1").named
ODD = "a\n[red]\x1b[2Jb"


@dataclass
class Message:
    topic: str
    value: bytes
    headers: list[tuple[str, bytes]] = field(default_factory=list)
    partition: int = 2
    offset: int = 6


def scored(sequence: int, score: float = 90.0, **fields: Any) -> SegmentScore:
    return queue.scored(sequence, score, faces=FaceSummary(count=1, area=0.2), **fields)


def answer(score: SegmentScore) -> Message:
    return Message(SCORES_TOPIC, score.to_bytes())


def letter(score: SegmentScore, reason: str) -> Message:
    return Message(DEAD_LETTER_TOPIC, SegmentEvent.model_validate(score.model_dump()).to_bytes(), [("reason", reason.encode())])


def alert(stream: str, state: Any = "firing") -> Message:
    now = datetime.now(UTC)
    ended = now if state == "resolved" else None
    event = QualityAlert(
        alert_id="1", stream_id=stream, kind="black", state=state, started_at=now, ended_at=ended, value=1.0, segment_id="1"
    )
    return Message(ALERTS_TOPIC, event.to_bytes())


def row(stream: str, state: str = "live", reason: str = "", announced: int = 0) -> dict[str, Any]:
    return {"stream": stream, "rendition": None, "state": state, "reason": reason, "announced": announced, "counts": {}}


def skipped(score: SegmentScore) -> SegmentScore:
    return score.model_copy(update={"status": "skipped", "score": None, "faces": None, "reason": "too late"})


def test_answers_are_counted_once_and_those_of_other_streams_not_at_all() -> None:
    run = LiveRun(["cam"], NAMED)
    assert run.take(answer(scored(1, 90.0, stream="cam"))) is not None
    assert run.take(answer(scored(1, 90.0, stream="cam"))) is None, "answers may come twice"
    assert run.take(answer(scored(1, 90.0, stream="other"))) is None
    assert run.take(answer(skipped(scored(2, stream="cam")))) is not None
    assert json.loads(run.take(letter(scored(3, stream="cam"), "broken")) or "")["error"] == "broken"
    assert run.take(letter(scored(3, stream="other"), "broken")) is None
    assert run.take(Message(SCORES_TOPIC, b"nonsense")) is None
    assert run.take(Message(DEAD_LETTER_TOPIC, b"nonsense")) is None
    stream = run.streams["cam", None]
    assert (stream.scored, stream.skipped, stream.failed, stream.answered, run.scored) == (1, 1, 1, 3, 1)
    assert run.take(alert("cam")) is not None
    assert run.take(alert("cam")) is None
    assert run.take(alert("cam", "resolved")) is not None
    assert run.take(alert("other")) is None
    assert (run.fired, run.resolved) == (1, 1)


def test_a_run_ends_when_all_sources_have_and_every_segment_has_an_answer() -> None:
    run = LiveRun(["a", "b"], NAMED)
    assert not run.has_ended, "nothing is known yet"
    assert run.take_sources([row("a", "live"), row("b", "ended")]) == [row("a", "live"), row("b", "ended")]
    assert not run.has_ended
    assert run.take_sources([row("a", "ended", announced=1), row("b", "ended")]) == [row("a", "ended", announced=1)]
    assert not run.has_ended
    run.take(answer(scored(1, stream="a")))
    assert run.has_ended


def test_days_of_answers_fill_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_run, "RECENT", 10)
    run = LiveRun(["cam"], NAMED)
    for number in range(100):
        run.take(answer(scored(number, 50.0 + number % 2, stream="cam")))
        run.take(
            Message(
                ALERTS_TOPIC, QualityAlert.from_bytes(alert("cam").value).model_copy(update={"alert_id": str(number)}).to_bytes()
            )
        )
    stream = run.streams["cam", None]
    assert (stream.scored, stream.lowest, stream.total) == (100, 50.0, 5050.0)
    assert len(run.alerts) == 10
    assert len(run._ids) == 10
    assert run.fired == 100


def test_lines_of_odd_names_stay_lines(capsys: pytest.CaptureFixture[str]) -> None:
    view, run = LiveView(as_json=False), LiveRun([ODD], NAMED)
    view.states(run.take_sources([row(ODD, "failing", f"gone {ODD}")]))
    view.take(run, answer(scored(1, 91.0, stream=ODD)))
    view.take(run, letter(scored(2, stream=ODD), f"broken {ODD}"))
    view.take(run, alert(ODD))
    view.take(run, alert("other"))
    view.summary(run)
    shown = r"a\n[red]\x1b[2Jb"
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"source {shown} is failing: gone {shown}"
    assert lines[1].startswith(f"{shown} ")
    assert " 91.0 " in lines[1]
    assert lines[2].startswith("failed ")
    assert lines[2].endswith(f"broken {shown}")
    assert lines[3].startswith(f"alert firing {shown}: picture is black")
    assert lines[4] == (
        f"{shown}: 1 segment, mean 91.0, lowest 91.0, 1 failed, the last: broken {shown}; the source is failing: gone {shown}"
    )
    assert lines[5:] == ["1 alert fired (black), 0 resolved"]


def test_lines_for_scripts(capsys: pytest.CaptureFixture[str]) -> None:
    view, run = LiveView(as_json=True), LiveRun(["cam", "none"], NAMED)
    view.states(run.take_sources([row("cam"), row("none", "failing", "404")]))
    for number, score in enumerate([90.0, 90.0, 20.0, 90.0]):
        view.take(run, answer(scored(number, score, stream="cam")))
    view.take(run, alert("cam"))
    view.summary(run)
    states, scores, alerts, summaries = [], [], [], []
    for line in map(json.loads, capsys.readouterr().out.splitlines()):
        kind = states if "source" in line else alerts if "alert" in line else summaries if "summary" in line else scores
        kind.append(line)
    assert [(line["source"]["stream"], line["source"]["state"]) for line in states] == [("cam", "live"), ("none", "failing")]
    assert [line["score"] for line in scores] == [90.0, 90.0, 20.0, 90.0]
    assert alerts[0]["alert"]["kind"] == "black"
    assert [(line["summary"], line["segments"], line["state"]) for line in summaries] == [
        ("cam", 4, "live"),
        ("none", 0, "failing"),
    ]
    assert summaries[0]["drops"] == [{"first": 2, "usual": 90.0, "lowest": 20.0, "recovered": 3, "after": 90.0}]
    assert json.loads(source_line(row("cam"), datetime(2026, 1, 1, tzinfo=UTC)))["source"]["at"] == "2026-01-01T00:00:00+00:00"


def test_the_table_has_a_row_for_each_stream_worst_first() -> None:
    run = LiveRun(["good", "bad", "away", "late"], NAMED)
    run.take_sources([row("good"), row("bad"), row("away", "failing", "HTTP 404"), row("late")])
    now = datetime.now(UTC)
    run.take(answer(scored(1, 90.0, stream="good", begin=now - timedelta(seconds=5))))
    run.take(answer(scored(1, 20.0, stream="bad", begin=now - timedelta(seconds=5))))
    run.take(answer(skipped(scored(1, stream="late"))))
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(table_of(run, now))
    text = console.export_text()
    places = [text.index(word) for word in ("HTTP 404", "too late", "20.0", "90.0")]
    assert places == sorted(places)
    assert "2 segments scored" in text


@pytest.mark.parametrize(
    ("sources", "words"),
    [
        (["a.mp4", "http://o.example/x.m3u8"], "not both"),
        (["a.mp4", "b.mp4"], "of files, name one"),
    ],
)
def test_what_does_not_go_together(sources: list[str], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        check_sources(sources, watch=False)


@pytest.mark.parametrize("watch", [False, True])
def test_an_empty_source_is_not_the_folder_that_the_command_runs_in(watch: bool) -> None:
    with pytest.raises(SettingsError, match="--source: is empty"):
        check_sources([""], watch)


def test_files_are_played_addresses_followed_and_folders_watched(tmp_path: Path) -> None:
    assert not check_sources([str(tmp_path)], watch=False)
    assert check_sources([str(tmp_path)], watch=True)
    assert check_sources(["http://o.example/1.m3u8", "b=http://o.example/2.m3u8"], watch=False)
    settings = load_settings(data_dir=tmp_path / "data")
    following = find_live(settings, [f"cam={tmp_path}"], 4.0, watch=True)
    assert following.commands == (("folder", "--from", "start", "--segment-seconds", "4", f"cam={tmp_path}"),)
    assert following.names == ("cam",)
    assert following.folders == (tmp_path.resolve(), (tmp_path / "data/ingest/folder").resolve())


def test_what_is_no_folder_to_watch_is_told_by_the_option_that_named_it(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="--source: none is not a folder"):
        find_live(load_settings(data_dir=tmp_path / "data"), ["none"], 4.0, watch=True)


@pytest.mark.parametrize("source", ["=http://o.example/1.m3u8", "=rtmp://127.0.0.1:1935/live/s3cret-key?mode=listener"])
def test_an_address_without_a_name_is_told_by_the_option_that_named_it(source: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"^--source: "):
        find_live(load_settings(data_dir=tmp_path / "data"), [source], 4.0, watch=False)


def test_what_is_pushed_is_followed_beside_playlists_and_named_without_its_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def kinds(_settings: object, addresses: Sequence[str]) -> list[str]:
        return ["hls" for _ in addresses]

    monkeypatch.setattr(live, "_kinds", kinds)
    settings = load_settings(data_dir=tmp_path / "data")
    camera, news = "cam=rtmp://127.0.0.1:1935/live/s3cret-key?mode=listener", "news=http://o.example/x.m3u8"
    following = find_live(settings, [camera, news], 2.0, watch=False)
    assert set(following.commands) == {("push", camera), ("hls", news)}
    assert set(following.names) == {"cam", "news"}
    assert following.folders == ((tmp_path / "data/ingest/push").resolve(),)
    assert not following.recorded
    with pytest.raises(SettingsError, match="two sources are named cam"):
        find_live(settings, [camera, "cam=http://o.example/x.m3u8"], 2.0, watch=False)
    with pytest.raises(SettingsError, match="NAME=ADDRESS") as raised:
        find_live(settings, ["rtmp://127.0.0.1:1935/live/s3cret-key?mode=listener"], 2.0, watch=False)
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize("leaves", [False, True])
def test_an_output_that_is_closed_ends_the_run(leaves: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise BrokenPipeError

    reader: Any = SimpleNamespace(partitions_for_topic=lambda _: None, close=lambda: None)
    monkeypatch.setattr(live, "open_reader", lambda _: reader)
    monkeypatch.setattr(live, "assign_at_end", lambda *_: None)
    monkeypatch.setattr(live, "poll_until", lambda *_: [answer(scored(1, stream="cam"))])
    run, view = LiveRun(["cam"], NAMED), LiveView(as_json=True)
    monkeypatch.setattr(view, "take", fail)

    def follow() -> None:
        with live._Follower(Connection("none:1"), run, view) as follower:
            while not leaves:
                follower.check()

    with pytest.raises(BrokenPipeError):
        follow()


def test_ctrl_c_while_the_ingesters_stop_ends_the_run_with_its_summary(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def press_ctrl_c(*arguments: Any) -> None:
        run: LiveRun = arguments[4]
        run.take(answer(scored(1, stream="cam")))
        raise KeyboardInterrupt

    monkeypatch.setattr(live, "_follow", press_ctrl_c)
    monkeypatch.setattr(live, "own_kafka", lambda *_: Connection("none:1"))
    monkeypatch.setattr(live, "start_worker", lambda *_: None)
    following = live.Following((("hls", "cam=http://o.example/x.m3u8"),), ("cam",))
    assert live.run_live_up(load_settings(), following, seconds=None, as_json=True, keep=False) == 0
    assert json.loads(capsys.readouterr().out)["segments"] == 1
