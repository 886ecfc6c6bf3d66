"""The sweep of a data folder: what goes after its time, by a clock that is moved, and what stays."""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from scorer.own_folder import OwnFolder
from scorer.sampling import probe
from streams.ingest.files import Source, cut, note_announcements
from streams.ingest.push.spool import SourceSpool
from streams.privacy.exports import exports, note_export
from streams.privacy.sweep import FolderLimits, sweep
from streams.sinks.sqlite import SqliteSink
from streams.sinks.sqlite_file import FILE
from streams.sinks.sqlite_sweep import count_stream
from tests.support.media import make_clip
from tests.support.sinks import make_score

HOUR, DAY = 3600.0, 86400.0
NOW = time.time()
DEAD = str(2**22 + 1)  # no process has such a number


def write(path: Path, age: float = 0.0) -> Path:
    """A file that was written so many seconds ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"a face")
    os.utime(path, (NOW - age, NOW - age))
    os.utime(path.parent, (NOW - age, NOW - age))
    return path


def left(folder: Path) -> set[str]:
    """The files that are left, as paths in the folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def clean(folder: Path, later: float = 0.0, **limits: float) -> dict[str, int]:
    return sweep(FolderLimits(folder, **limits), NOW + later)


def test_cut_segments_go_after_their_hours(tmp_path: Path) -> None:
    name = f"news-{'0' * 16}-{'1' * 16}"
    for place in ("ingest", "ingest/folder"):
        write(tmp_path / place / name / "000000.ts", 23 * HOUR)
    assert clean(tmp_path) == {}
    assert clean(tmp_path, later=2 * HOUR, ingest_hours=0) == {}, "0 is for ever"
    assert clean(tmp_path, later=2 * HOUR) == {"cut segments": 2}
    assert left(tmp_path) == set()
    assert not (tmp_path / "ingest" / name).exists()


def test_a_folder_that_is_being_filled_stays(tmp_path: Path) -> None:
    folder = tmp_path / "ingest" / f"news-{'0' * 16}-{'1' * 16}"
    folder.mkdir(parents=True)
    clean(tmp_path)
    assert folder.is_dir()


def test_what_no_program_of_ours_has_named_stays(tmp_path: Path) -> None:
    mine = [
        write(tmp_path / "ingest" / "my recordings" / "000000.ts", DAY * 99),
        write(tmp_path / "ingest" / f"news-{'0' * 16}" / "notes.txt", DAY * 99),
        write(tmp_path / "wall-clips" / "readme.mp4", DAY * 99),
        write(tmp_path / "inbox" / "mine" / "segment-1", DAY * 99),
        write(tmp_path / "elsewhere" / "segment-1", DAY * 99),
    ]
    (tmp_path / "wall-inbox").symlink_to(tmp_path / "elsewhere")
    assert clean(tmp_path, later=DAY * 999) == {}
    assert all(path.exists() for path in mine)


def test_segments_of_a_killed_process_go_and_those_of_a_running_one_stay(tmp_path: Path) -> None:
    write(tmp_path / "inbox" / DEAD / "segment-a", 0.5 * HOUR)
    write(tmp_path / "inbox" / DEAD / "harvest" / "segment-b", 0.5 * HOUR)
    write(tmp_path / "inbox" / str(os.getpid()) / "segment-c", 99 * HOUR)
    write(tmp_path / "wall-inbox" / "segment-d", 0.5 * HOUR)
    assert clean(tmp_path) == {}
    deleted = clean(tmp_path, later=DAY)
    assert deleted == {"fetched segments": 2, "fetched segments of the wall": 1}
    assert left(tmp_path) == {f"inbox/{os.getpid()}/segment-c"}


def test_the_folder_of_a_worker_in_another_container_stays_as_long_as_it_runs(tmp_path: Path) -> None:
    worker = OwnFolder(tmp_path / "inbox")
    # Its process number is one that this container does not have.
    elsewhere = worker.path.rename(worker.path.with_name(f"{DEAD}-01234567"))
    write(elsewhere / "segment-a", 0)
    assert clean(tmp_path, later=DAY) == {}
    os.close(worker._lock)  # type: ignore[arg-type]
    assert clean(tmp_path, later=DAY) == {"fetched segments": 1}


def test_playable_clips_go_with_the_days_of_the_clips(tmp_path: Path) -> None:
    for cache in ("rating", "wall-clips"):
        write(tmp_path / cache / f"{'a' * 64}.mp4", 29 * DAY)
        write(tmp_path / cache / "work-1" / "source", 29 * DAY)
    assert clean(tmp_path) == {}
    assert clean(tmp_path, later=2 * DAY, clip_days=0) == {}
    assert clean(tmp_path, later=2 * DAY) == {"playable clips": 4}
    assert left(tmp_path) == set()


def test_epochs_of_pushed_streams_go_when_nothing_is_written_any_more(tmp_path: Path) -> None:
    old, new = (SourceSpool(tmp_path / "ingest" / "push", name).new_epoch() for name in ("old", "new"))
    for epoch in (old, new):
        write(epoch / "1.ts", 30 * HOUR)
    os.utime(new)
    assert clean(tmp_path) == {"pushed streams": 1}
    assert not old.parent.exists()
    assert left(new) == {"1.ts"}


def test_exports_go_with_their_clips_and_nothing_else(tmp_path: Path) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    note_export(data, "queue", out, NOW)
    write(out / "queue.csv")
    write(out / "clips" / f"{'a' * 64}-{'b' * 8}.ts")
    table = tmp_path / "rated.csv"
    note_export(data, "ratings", table, NOW)
    write(table)
    write(tmp_path / "rated.csv.clips" / f"{'c' * 64}.mp4")
    mine = write(out / "clips" / "holiday.mp4")
    assert clean(data, later=364 * DAY) == {}
    assert clean(data, later=366 * DAY, export_days=0) == {}
    assert clean(data, later=366 * DAY) == {"exported files": 4}
    assert left(tmp_path) == {str(mine.relative_to(tmp_path))}
    assert list(exports(data)) == []


def test_an_export_that_cannot_be_deleted_keeps_no_other(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = tmp_path / "data"
    for name in ("a", "b", "c"):
        note_export(data, "queue", tmp_path / name, NOW)
        write(tmp_path / name / "queue.csv")
    stuck, *others = [export.path for export in exports(data)]
    (stuck / "clips" / f"{'a' * 64}-{'b' * 8}.ts").mkdir(parents=True)  # no file: it cannot be deleted, as root too
    assert clean(data, later=366 * DAY) == {"exported files": 2}
    assert not any(path.exists() for path in others)
    assert [export.path for export in exports(data)] == [stuck], "it is tried again"
    assert f"export {stuck} cannot be deleted" in caplog.text


async def test_scores_go_also_where_no_new_ones_come(tmp_path: Path) -> None:
    sink = SqliteSink(tmp_path, days=30)
    sink.add(make_score(stream_id="channel"))
    await sink.flush()
    await sink.close()
    assert clean(tmp_path, later=29 * DAY) == {}
    assert clean(tmp_path, later=31 * DAY, store_days=0) == {}, "only who knows for how long deletes scores"
    assert clean(tmp_path, later=30 * DAY) == {}
    assert clean(tmp_path, later=31 * DAY) == {"scores": 1}
    assert count_stream(tmp_path / FILE, "channel") == 0
    assert b"channel" not in (tmp_path / FILE).read_bytes()


def test_a_store_that_cannot_be_swept_keeps_no_other_from_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / FILE).write_bytes(b"no database at all" * 999)
    write(tmp_path / "wall-inbox" / "segment-d", 9 * HOUR)
    assert clean(tmp_path) == {"fetched segments of the wall": 1}
    assert "scores in" in caplog.text


def test_what_cannot_be_deleted_keeps_nothing_else_of_its_store(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "0" * 16
    old = [
        *(write(tmp_path / "inbox" / f"{int(DEAD) + number}" / "segment-a", DAY) for number in range(3)),
        *(write(tmp_path / "wall-inbox" / f"segment-{number}", DAY) for number in range(3)),
        *(write(tmp_path / "ingest" / f"news-{name}" / f"00000{number}.ts", 99 * DAY) for number in range(3)),
        *(write(tmp_path / "ingest" / f"cutting-{number}" / "0.ts", 99 * DAY) for number in range(3)),
        *(write(tmp_path / "wall-clips" / f"work-{number}" / "source", 99 * DAY) for number in range(3)),
    ]
    for folder in (*(path.parent for path in old), tmp_path / "ingest" / f"news-{name}"):
        os.utime(folder, (NOW - 99 * DAY, NOW - 99 * DAY))
    kinds = ("inbox/", "wall-inbox/", f"news-{name}/", "cutting-", "work-")
    stuck: set[str] = set()
    unlink, rmtree = os.unlink, shutil.rmtree

    def of_another_user(path: str, delete: Callable[[str], None]) -> None:
        """Refuses the first of each kind, whichever the folder lists first."""
        kind = next(kind for kind in kinds if f"/{kind}" in path)
        if not any(f"/{kind}" in other for other in stuck):
            stuck.add(path)
        if path in stuck:
            raise PermissionError(errno.EACCES, "Permission denied", path)
        delete(path)

    def unlink_one(path: str, **of_rmtree: int) -> None:
        unlink(path, **of_rmtree) if of_rmtree else of_another_user(path, unlink)

    monkeypatch.setattr("os.unlink", unlink_one)
    monkeypatch.setattr("shutil.rmtree", lambda path: of_another_user(path, rmtree))
    sweep(FolderLimits(tmp_path), NOW)
    assert len(stuck) == len(kinds)
    assert all(f"{path} cannot be deleted" in caplog.text for path in stuck)
    assert len(left(tmp_path)) == len(stuck)


def test_segments_that_play_for_long_are_kept_from_their_announcement_on(tmp_path: Path) -> None:
    file = make_clip(tmp_path / "long.mp4", 64, 48, 4)
    segments = cut(Source("news", file), tmp_path / "ingest", 2.0, probe)
    note_announcements(segments, NOW + 30 * HOUR)
    assert clean(tmp_path, later=timedelta(hours=53).total_seconds()) == {}
    assert clean(tmp_path, later=timedelta(hours=55).total_seconds()) == {"cut segments": len(segments)}
