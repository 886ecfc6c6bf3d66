"""The sweep of a data folder: what may show people leaves it after its time, whether or not anything else happens there.

Every process that runs for long and has a data folder sweeps it: workers, the wall, the ingesters of live sources. It deletes
only files and folders with the names that this program gives, and follows no link.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from scorer.own_folder import FOLDER, is_used
from streams.errors import FvqError
from streams.ingest.push.spool import sweep_all
from streams.kafka.agent import Agent
from streams.privacy.exports import delete_expired
from streams.sinks.sqlite_file import FILE
from streams.sinks.sqlite_sweep import prune_all

log = logging.getLogger(__name__)

SWEEP_SECONDS = 3600.0
HOUR, DAY = 3600.0, 86400.0

CUT_FOLDER = re.compile(r".{0,60}-[0-9a-f]{16}(-[0-9a-f]{16})?", re.DOTALL)
CUT_SEGMENT = re.compile(r"[0-9]{6,}\.(ts|mkv)")
CUTTING = re.compile(r"cutting-.+")
FETCHED = re.compile(r"segment-.+")
PLAYABLE = re.compile(r"[0-9a-f]{64}\.mp4")
MAKING = re.compile(r"work-.+")

CACHES = ("rating", "wall-clips")
"""Folders of clips that were made playable, for the rating page and for the wall."""


@dataclass(frozen=True)
class FolderLimits:
    """A data folder, and how long what is in it stays. 0 means for ever, but for the inbox.

    ingest_hours: cut segments, after they were announced. inbox_hours: segments that a killed worker or `fvq up` has left.
    clip_days: playable copies of clips. export_days: exports. store_days: scores in SQLite.
    """

    folder: Path
    ingest_hours: float = 24.0
    inbox_hours: float = 1.0
    clip_days: float = 30.0
    export_days: float = 365.0
    store_days: float = 30.0


def sweep_agent(limits: FolderLimits) -> Agent:
    """The agent that sweeps when it starts, and then every hour."""

    def run(stop: threading.Event) -> None:
        while not stop.is_set():
            sweep(limits, time.time())
            stop.wait(SWEEP_SECONDS)

    return Agent("folder sweep", run)


def sweep(limits: FolderLimits, now: float) -> dict[str, int]:
    """Delete what is too old; returns how many files, scores or folders of each store, without those that lost none.

    now: seconds since 1970. A store that cannot be swept is logged, and keeps no other from being swept.
    """
    deleted = {}
    for store, delete in _stores(limits, now):
        try:
            count = delete()
        except (OSError, sqlite3.Error, FvqError) as error:
            log.warning("%s in %s cannot be swept: %s", store, limits.folder, error)
            continue
        if count:
            deleted[store] = count
    if deleted:
        log.info("deleted after their time: %s", ", ".join(f"{count} {store}" for store, count in deleted.items()))
    return deleted


def _stores(limits: FolderLimits, now: float) -> Iterator[tuple[str, Callable[[], int]]]:
    """Each store that is kept for a limited time, and what deletes its old contents."""
    folder = limits.folder
    yield "fetched segments", lambda: _sweep_inbox(folder / "inbox", now - limits.inbox_hours * HOUR)
    yield "segments of fvq up", lambda: _sweep_inbox(folder / "up", now - limits.inbox_hours * HOUR)
    yield "fetched segments of the wall", lambda: _old(folder / "wall-inbox", FETCHED, now - limits.inbox_hours * HOUR)
    if limits.ingest_hours:
        cut = now - limits.ingest_hours * HOUR
        yield "cut segments", lambda: sum(_sweep_cut(place, cut) for place in (folder / "ingest", folder / "ingest" / "folder"))
        yield "pushed streams", lambda: sweep_all(folder / "ingest" / "push", limits.ingest_hours * HOUR, now)
    if limits.clip_days:
        made = now - limits.clip_days * DAY
        yield "playable clips", lambda: sum(_sweep_cache(folder / name, made) for name in CACHES)
    if limits.export_days:
        yield "exported files", lambda: delete_expired(folder, limits.export_days, now)
    if limits.store_days:
        yield "scores", lambda: prune_all(folder / FILE, now - limits.store_days * DAY, now)


def _sweep_inbox(inbox: Path, before: float) -> int:
    """Delete the folders of processes that no longer run and wrote nothing since `before`."""
    count = 0
    for process in _entries(inbox):
        if process.is_dir(follow_symlinks=False) and FOLDER.fullmatch(process.name) and not is_used(Path(process.path)):
            with _kept_if_stuck(process.path):
                files = [path for path in Path(process.path).rglob("*") if not path.is_dir()]
                if max((_changed(path) for path in (Path(process.path), *files)), default=0.0) < before:
                    shutil.rmtree(process.path)
                    count += len(files)
    return count


def _sweep_cut(place: Path, before: float) -> int:
    """Delete cut segments that are older, folders that have none left, and what a killed process was cutting."""
    count = 0
    for entry in _entries(place):
        if not entry.is_dir(follow_symlinks=False):
            continue
        if CUTTING.fullmatch(entry.name):
            if _changed(Path(entry.path)) < before:
                with _kept_if_stuck(entry.path):
                    shutil.rmtree(entry.path)
                    count += 1
        elif CUT_FOLDER.fullmatch(entry.name):
            was_used = _changed(Path(entry.path)) >= before  # somebody may be about to put segments in
            with _kept_if_stuck(entry.path):
                count += _old(Path(entry.path), CUT_SEGMENT, before)
            if not was_used:
                with suppress(OSError):  # it has segments that are not old
                    Path(entry.path).rmdir()
    return count


def _sweep_cache(cache: Path, before: float) -> int:
    """Delete playable clips that are older, and the folder of one that a killed process was making."""
    count = _old(cache, PLAYABLE, before)
    for entry in _entries(cache):
        if MAKING.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False) and _changed(Path(entry.path)) < before:
            with _kept_if_stuck(entry.path):
                shutil.rmtree(entry.path)
                count += 1
    return count


def _old(folder: Path, names: re.Pattern[str], before: float) -> int:
    """Delete the files with such names that are older; returns how many."""
    count = 0
    for entry in _entries(folder):
        if names.fullmatch(entry.name) and entry.is_file(follow_symlinks=False) and _changed(Path(entry.path)) < before:
            with _kept_if_stuck(entry.path), suppress(FileNotFoundError):
                os.unlink(entry.path)
                count += 1
    return count


@contextmanager
def _kept_if_stuck(path: str) -> Iterator[None]:
    """What cannot be deleted, as where another user wrote it, is logged and keeps no other."""
    try:
        yield
    except OSError as error:
        log.warning("%s cannot be deleted: %s", path, error)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What is in a folder; nothing where it is missing or a link."""
    if folder.is_symlink():
        return []
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except FileNotFoundError:
        return []


def _changed(path: Path) -> float:
    """When a file or folder was changed, seconds since 1970; the end of time for one that has just gone."""
    try:
        return path.lstat().st_mtime
    except FileNotFoundError:
        return float("inf")
