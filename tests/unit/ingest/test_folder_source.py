"""A watched folder with real files and the real inotify: what is announced, when, and what a restart does."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from streams.events import SegmentEvent
from streams.ingest.base import SavedPosition, Services, Stream, Times
from streams.ingest.files import CutSegment
from streams.ingest.folder import source as source_module
from streams.ingest.folder.listing import is_video_name, list_folder
from streams.ingest.folder.segmenter import Segmenter, Segments
from streams.ingest.folder.source import FolderPlan, FolderSource, events_of
from streams.ingest.known import FileState

SETTLE = 0.3


class Measured:
    """Stands for the segmenter: a file lasts 2 s, or is cut into as many pieces as `pieces` says. meets: called with each."""

    def __init__(self) -> None:
        self.pieces: dict[str, int] = {}
        self.meets: Callable[[Path], None] = lambda _: None

    async def segments(self, _: str, path: Path) -> Segments:
        self.meets(path)
        return Segments([CutSegment(path, 2.0 * number, 2.0) for number in range(self.pieces.get(path.name, 1))])


class Followed:
    """A followed folder, and what was announced. It can be stopped and started again, with the position that was kept."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.segmenter = folder, Measured()
        self.events: list[SegmentEvent] = []
        self.saved: SavedPosition | None = None
        self.source: FolderSource | None = None
        self.times = Times()
        self.clock = time.monotonic
        """By which `until` gives up."""

    async def publish(self, _: Stream, events: Sequence[SegmentEvent], saved: SavedPosition) -> None:
        self.events += events
        self.saved = saved

    @property
    def names(self) -> list[str]:
        return [Path(event.uri).name for event in self.events]

    @asynccontextmanager
    async def running(self, poll: bool = False, start: bool = False, settle: float = SETTLE) -> AsyncIterator[None]:
        plan = FolderPlan(Stream("cam", from_start=start), self.folder, cast(Segmenter, self.segmenter), settle, poll)
        assert plan == FolderPlan(Stream("cam", from_start=start), self.folder, plan.segmenter, settle, poll)
        self.source = plan.source(Services(cast(Any, None), self.publish, lambda _: self.saved, self.times))
        task = asyncio.create_task(self.source.run())
        try:
            await self.until(lambda: self.source is not None and self.source.statuses()[0].state != "starting")
            yield
        finally:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    async def until(self, condition: Callable[[], bool], seconds: float = 20.0) -> None:
        deadline = self.clock() + seconds
        while not condition():
            assert self.clock() < deadline, self.names
            await asyncio.sleep(0.01)


@pytest.fixture
def followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Followed:
    monkeypatch.setattr(source_module, "WATCH_SECONDS", 0.2)
    monkeypatch.setattr(source_module, "POLL_SECONDS", 0.1)
    folder = tmp_path / "cam"
    folder.mkdir()
    return Followed(folder)


def write(path: Path, data: bytes = b"x" * 10) -> None:
    path.write_bytes(data)


async def test_a_file_is_announced_when_it_is_closed_and_not_before(followed: Followed) -> None:
    async with followed.running():
        with (followed.folder / "a.ts").open("wb") as file:
            file.write(b"x" * 1000)
            file.flush()
            await asyncio.sleep(4 * SETTLE)
            assert followed.names == [], "its writer only pauses"
            file.write(b"y")
        await followed.until(lambda: followed.names == ["a.ts"])
        write(followed.folder / "b.ts")
        (followed.folder / ".c.ts.part").write_bytes(b"x" * 10)
        (followed.folder / "d.ts.tmp").write_bytes(b"x" * 10)
        await followed.until(lambda: followed.names == ["a.ts", "b.ts"])
        await asyncio.sleep(2 * SETTLE)
        (followed.folder / "d.ts.tmp").rename(followed.folder / "d.ts")
        await followed.until(lambda: followed.names == ["a.ts", "b.ts", "d.ts"])
    assert [event.sequence for event in followed.events] == [0, 1, 2]
    assert all(event.stream_id == "cam" and event.duration == 2.0 for event in followed.events)


async def test_without_the_kernel_a_file_is_announced_when_it_rests(followed: Followed) -> None:
    now = [1000.0]
    followed.times = Times(monotonic=lambda: now[0])

    def rests() -> bool:
        now[0] += 0.1
        return followed.names == ["a.ts"]

    async with followed.running(poll=True, settle=3.0):
        for size in range(1, 12):
            (followed.folder / "a.ts").write_bytes(b"x" * size)
            await asyncio.sleep(0.15)
            assert followed.names == [], "it grows"
            now[0] += 1.0
        await followed.until(rests)


async def test_a_kernel_that_cannot_watch_is_replaced_by_lists(followed: Followed, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")  # the limit of watches

    monkeypatch.setattr("asyncinotify.Inotify.add_watch", refuse)
    async with followed.running():
        write(followed.folder / "a.ts")
        await followed.until(lambda: followed.names == ["a.ts"])


async def test_from_now_on_or_from_the_start(followed: Followed) -> None:
    write(followed.folder / "old.ts")
    async with followed.running():
        write(followed.folder / "new.ts")
        await followed.until(lambda: followed.names == ["new.ts"])
        await asyncio.sleep(2 * SETTLE)
    assert followed.names == ["new.ts"]
    whole = Followed(followed.folder)
    async with whole.running(start=True):
        await whole.until(lambda: whole.names == ["old.ts", "new.ts"])


@pytest.mark.parametrize("poll", [False, True], ids=["inotify", "poll"])
async def test_a_restart_announces_what_came_meanwhile_and_nothing_twice(followed: Followed, poll: bool) -> None:
    async with followed.running(poll=poll):
        write(followed.folder / "a.ts")
        await followed.until(lambda: followed.names == ["a.ts"])
    elsewhere = followed.folder.parent / "old.ts"
    write(elsewhere)
    os.utime(elsewhere, (1e9, 1e9))
    write(followed.folder / "b.ts")
    elsewhere.rename(followed.folder / "0.ts")  # an old time, but new here
    (followed.folder / "a.ts").chmod(0o600)
    async with followed.running(poll=poll):
        await followed.until(lambda: sorted(followed.names) == ["0.ts", "a.ts", "b.ts"])
        write(followed.folder / "c.ts")
        await followed.until(lambda: "c.ts" in followed.names)
        await asyncio.sleep(2 * SETTLE)
    assert sorted(followed.names) == ["0.ts", "a.ts", "b.ts", "c.ts"]
    assert [event.sequence for event in followed.events] == [0, 1, 2, 3]
    assert len({event.segment_id for event in followed.events}) == 4


async def test_a_file_of_before_that_gets_a_link_or_other_rights_is_not_new_after_a_restart(followed: Followed) -> None:
    for name in ("a.ts", "b.ts"):
        write(followed.folder / name)
    async with followed.running():
        pass
    (followed.folder / "a.ts").chmod(0o600)
    os.link(followed.folder / "b.ts", followed.folder / "b.bak")
    write(followed.folder / "c.ts")
    async with followed.running():
        await followed.until(lambda: followed.names != [])
        await asyncio.sleep(2 * SETTLE)
    assert followed.names == ["c.ts"]


async def test_a_recorder_that_uses_its_names_again_is_followed(followed: Followed) -> None:
    async with followed.running():
        for turn in range(3):
            write(followed.folder / "000.ts", b"x" * (10 + turn))
            await followed.until(lambda turn=turn: len(followed.events) == turn + 1)
    assert len({event.segment_id for event in followed.events}) == 3


async def test_links_pipes_and_folders_are_left_out(followed: Followed, tmp_path: Path) -> None:
    write(tmp_path / "secret.ts")
    (followed.folder / "link.ts").symlink_to(tmp_path / "secret.ts")
    (followed.folder / "gone.ts").symlink_to(tmp_path / "none")
    os.mkfifo(followed.folder / "pipe.ts")
    (followed.folder / "sub.ts").mkdir()
    write(followed.folder / "sub.ts" / "deep.ts")
    async with followed.running(start=True):
        write(followed.folder / "good\n\x1b[2J é.ts")
        (followed.folder / "late.ts").symlink_to(tmp_path / "secret.ts")
        await followed.until(lambda: len(followed.events) == 1)
        assert followed.source is not None
        counts = followed.source.statuses()[0].counts
        await followed.until(lambda: counts["left-out"] == 5)
        await asyncio.sleep(2 * SETTLE)
    (event,) = followed.events
    assert event.uri.endswith("/good%0A%1B%5B2J%20%C3%A9.ts")
    assert event.segment_id.isprintable()


async def test_a_file_that_is_deleted_or_changed_before_it_is_read(followed: Followed) -> None:
    def meets(path: Path) -> None:
        if path.name == "gone.ts":
            path.unlink()
        if path.name == "shrinks.ts" and path.stat().st_size == 10:
            write(path, b"x")

    followed.segmenter.meets = meets
    async with followed.running():
        for name in ("gone.ts", "shrinks.ts", "z.ts"):
            write(followed.folder / name)
        await followed.until(lambda: sorted(followed.names) == ["shrinks.ts", "z.ts"])
        assert followed.source is not None
        assert followed.source.statuses()[0].counts["lost"] == 1


async def test_a_folder_that_is_away_and_comes_back(followed: Followed) -> None:
    async with followed.running():
        write(followed.folder / "a.ts")
        await followed.until(lambda: followed.names == ["a.ts"])
        assert followed.source is not None
        status = followed.source.statuses()[0]
        moved = followed.folder.rename(followed.folder.parent / "away")
        await followed.until(lambda: status.state == "failing")
        assert "No such file" in status.reason
        followed.folder.mkdir()  # as an empty mount point
        await followed.until(lambda: status.state == "live")
        followed.folder.rmdir()
        moved.rename(followed.folder)
        write(followed.folder / "b.ts")
        await followed.until(lambda: len(followed.names) > 1)
        await asyncio.sleep(2 * SETTLE)
    assert followed.names == ["a.ts", "b.ts"]


@pytest.mark.slow
async def test_100_000_files_that_are_known_cost_no_announcement(followed: Followed) -> None:
    for number in range(100_000):
        os.close(os.open(followed.folder / f"{number:06}.ts", os.O_CREAT | os.O_WRONLY))
    opened: list[str] = []
    followed.segmenter.meets = lambda path: opened.append(path.name)
    followed.clock = time.process_time  # of this process: what others take of a busy machine is no cost of these files
    async with followed.running():
        write(followed.folder / "new.ts")
        await followed.until(lambda: followed.names == ["new.ts"])
    assert opened == ["new.ts"], "no other file is measured"


def test_the_events_of_a_cut_recording_follow_each_other() -> None:
    now = datetime.now(UTC)
    ended = now - timedelta(hours=1)
    file = FileState(1, "day.mp4", int(ended.timestamp() * 1e9), 10)
    pieces = Segments([CutSegment(Path(f"/{number}.ts"), 2.0 * number, 2.0) for number in range(3)])
    events = events_of(Stream("cam"), 7, file, pieces, now)
    assert [event.sequence for event in events] == [7, 8, 9]
    assert abs((events[-1].start + timedelta(seconds=2) - ended).total_seconds()) < 0.001
    assert [round((event.start - events[0].start).total_seconds(), 3) for event in events] == [0, 2, 4]
    assert len({event.segment_id for event in events}) == 3


@pytest.mark.parametrize("modified", [2**62, int(4e18), -(10**18), 10**22, -(10**22)])
def test_a_time_that_cannot_be_is_the_time_of_arrival(modified: int) -> None:
    now = datetime.now(UTC)
    (event,) = events_of(Stream("cam"), 0, FileState(1, "a.ts", modified, 1), Segments([CutSegment(Path("/a.ts"), 0, 2)]), now)
    assert (now - event.start).total_seconds() == 2
    assert event.labels == {"clock": "arrival"}


@pytest.mark.parametrize("name", ["a.ts", "A.MP4", "x y.mkv", "é\n.ts"])
def test_names_of_videos(name: str) -> None:
    assert is_video_name(name)


@pytest.mark.parametrize("name", [".a.ts", "a.ts.part", "a.tmp.ts", "a.part.mp4", "a.txt", "live.m3u8", "a", "~a.ts", "a.ts.tmp"])
def test_names_of_what_is_no_finished_video(name: str) -> None:
    assert not is_video_name(name)


def test_a_list_tells_of_a_playlist(tmp_path: Path) -> None:
    write(tmp_path / "live.m3u8")
    assert list_folder(tmp_path).has_playlist
