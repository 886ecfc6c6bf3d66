"""The wall of `fvq up`: where it listens, what it may read, and what is said when it ends."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from streams.local import wall
from streams.local.wall import Wall, start_wall
from streams.settings import load_settings

Started = list[tuple[list[str], dict[str, str]]]


@contextmanager
def child(code: str) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Started:
    """The commands that would be started, with the settings that their processes get."""
    commands: Started = []

    @contextmanager
    def running(command: Sequence[str], changes: dict[str, str]) -> Iterator[Any]:
        commands.append((list(command), changes))
        with child("input()") as process:
            yield process

    monkeypatch.setattr(wall, "running", running)
    return commands


def said() -> tuple[list[str], Callable[[str], None]]:
    lines: list[str] = []
    return lines, lines.append


def test_it_listens_on_loopback_at_a_free_port_and_reads_the_workers_folder(started: Started, tmp_path: Path) -> None:
    lines, tell = said()
    settings = load_settings(data_dir=tmp_path / "data", media_roots=[tmp_path / "own"])
    with ExitStack() as stack:
        first = start_wall(stack, settings, "127.0.0.1:9092", [tmp_path / "media"], tell)
        second = start_wall(stack, settings, "127.0.0.1:9092", [], tell)
    (command, changes), _ = started
    assert command[0] == "web"
    assert lines == [f"the wall: {first.address}", f"the wall: {second.address}"]
    assert first.address == f"http://127.0.0.1:{changes['FVQ_WALL_PORT']}" != second.address
    assert {changes[name] for name in ("FVQ_WEB_HOST", "FVQ_WALL_HOST", "FVQ_INGEST_HOST")} == {"127.0.0.1"}
    assert changes["FVQ_BROKER"] == "127.0.0.1:9092"
    assert changes["FVQ_DATA_DIR"] == str(tmp_path / "data")
    # A segment that somebody rates on the wall is read from the folder in which it was cut.
    assert changes["FVQ_MEDIA_ROOTS"] == f"{tmp_path / 'media'}:{tmp_path / 'own'}"


def test_a_port_that_the_user_has_set_is_used(started: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FVQ_WALL_PORT", "8123")
    with ExitStack() as stack:
        assert start_wall(stack, load_settings(), "127.0.0.1:9092", [], lambda _: None).address == "http://127.0.0.1:8123"
    assert started[0][1]["FVQ_WALL_PORT"] == "8123"


def test_the_alerts_link_to_it_unless_the_user_has_a_wall_elsewhere(started: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    with ExitStack() as stack:
        own = start_wall(stack, load_settings(), "127.0.0.1:9092", [], lambda _: None)
        monkeypatch.setenv("FVQ_WEB_URL", "https://wall.example")
        other = start_wall(stack, load_settings(), "127.0.0.1:9092", [], lambda _: None)
    assert own.links == {"FVQ_WEB_URL": own.address}
    assert other.links == {"FVQ_WEB_URL": "https://wall.example"}
    assert [changes["FVQ_WEB_URL"] for _, changes in started] == [own.address, "https://wall.example"]


def test_a_wall_that_has_ended_is_told_once_and_not_waited_for() -> None:
    lines, tell = said()
    with child("raise SystemExit(3)") as process, child("input()") as worker:
        process.wait(30)
        ended = Wall(process, "http://127.0.0.1:1", {}, tell)
        assert not ended.check()
        assert not ended.check()
        assert ended.keep(worker) == 1
        ended.end()
    assert lines == ["the wall ended with code 3 (its lines are above); scores go on without it"]


def test_what_ends_while_it_is_kept_is_told_and_is_a_failure() -> None:
    for falls, message in (("wall", "the wall ended with code 4"), ("worker", "the worker ended with code 4")):
        lines: list[str] = []
        codes = {"wall": "input()", "worker": "input()"} | {falls: "import sys; sys.stdin.read(); sys.exit(4)"}
        with child(codes["wall"]) as process, child(codes["worker"]) as worker:
            falling = process if falls == "wall" else worker

            def told(line: str, lines: list[str] = lines, falling: subprocess.Popen[bytes] = falling) -> None:
                lines.append(line)
                if "stays" in line:
                    falling.communicate(timeout=30)

            kept = Wall(process, "http://127.0.0.1:1", {}, told)
            assert kept.keep(worker) == 1
        assert lines[0].startswith("the wall stays at")
        assert lines[1].startswith(message)
        assert len(lines) == 2


def test_ctrl_c_ends_the_keeping(monkeypatch: pytest.MonkeyPatch) -> None:
    lines, tell = said()
    with child("input()") as process, child("input()") as worker:

        def interrupted(_: float) -> None:
            raise KeyboardInterrupt

        kept = Wall(process, "http://127.0.0.1:1", {}, tell)
        monkeypatch.setattr(wall.time, "sleep", interrupted)
        assert kept.keep(worker) == 0
        assert process.poll() is None
    assert lines == ["the wall stays at http://127.0.0.1:1: Ctrl-C ends it"]
