"""A stream in the data folder: scores, ratings, playable clips, cut segments, exports."""

from __future__ import annotations

import shutil
import time
from collections.abc import Collection, Iterable, Iterator
from functools import partial
from pathlib import Path

from streams.errors import FvqError
from streams.ingest.files import folders_of
from streams.ingest.push.spool import SourceSpool, sweep_source
from streams.privacy.exports import Export, count_rows, exports, forget_rows, unnamed_clips
from streams.privacy.step import Found, Part
from streams.privacy.sweep import CACHES, CUT_FOLDER
from streams.queue.clips import folder_of
from streams.rating.database import NAME
from streams.rating.store import RatingStore
from streams.sinks.sqlite_file import FILE
from streams.sinks.sqlite_sweep import count_stream, delete_stream

IN_USE_SECONDS = 60.0
"""A pushed stream whose folder was written to so recently is running."""


def forget_scores(data: Path, stream_id: str, dry_run: bool) -> Found:
    """The stream's scores in SQLite."""
    return Found((count_stream if dry_run else delete_stream)(data / FILE, stream_id))


def rated_clips(data: Path, stream_id: str) -> list[str]:
    """The example ids of the stream's clips that the rating page knows."""
    return RatingStore(data).clips_of(stream_id) if (data / NAME).exists() else []


def forget_ratings(data: Path, stream_id: str, dry_run: bool) -> Found:
    """The stream's clips and votes in the rating page's file."""
    if not (data / NAME).exists():
        return Found(0)
    return Found(len(rated_clips(data, stream_id) if dry_run else RatingStore(data).forget_stream(stream_id)))


def forget_playable(data: Path, example_ids: Iterable[str], dry_run: bool) -> Found:
    """The MP4s of clips, for the rating page and the wall. Another stream's page makes its own again."""
    files = [data / cache / f"{example_id}.mp4" for cache in CACHES for example_id in sorted(set(example_ids))]
    there = [file for file in files if file.is_file()]
    if not dry_run:
        for file in there:
            file.unlink(missing_ok=True)
    return Found(len(there))


def forget_cut(data: Path, stream_id: str, dry_run: bool) -> Found:
    """The segments that were cut of the stream's files."""
    places = (data / "ingest", data / "ingest" / "folder")
    folders = [folder for place in places for folder in folders_of(place, stream_id) if CUT_FOLDER.fullmatch(folder.name)]
    folders = [folder for folder in folders if folder.is_dir() and not folder.is_symlink()]
    count = sum(1 for folder in folders for _ in folder.iterdir())
    if not dry_run:
        for folder in folders:
            shutil.rmtree(folder)
    return Found(count)


def forget_pushed(data: Path, stream_id: str, dry_run: bool) -> Found:
    """What `fvq ingest push` has on disk of the stream. What an encoder sends now stays: it is gone within minutes."""
    spool = SourceSpool(data / "ingest" / "push", stream_id)
    epochs = spool.epochs()
    old = [epoch for epoch in epochs if time.time() - epoch.stat().st_mtime > IN_USE_SECONDS]
    if not dry_run and epochs:
        sweep_source(spool.folder, IN_USE_SECONDS, time.time())
    if len(old) == len(epochs):
        return Found(len(old))
    return Found(len(old), "an encoder sends it now: its present segments go with its live window", remains=True)


def in_exports(data: Path, stream_id: str, example_ids: Collection[str], dry_run: bool) -> Iterator[Part]:
    """Each export that is noted in the data folder. example_ids: of the stream's clips."""
    for export in exports(data):
        yield Part("export", str(export.path), partial(_forget_export, export, stream_id, example_ids, dry_run))


def _forget_export(export: Export, stream_id: str, example_ids: Collection[str], dry_run: bool) -> Found:
    """The clips that a killed export has left, then the rows and their clips.

    The rows come last: a table that people have changed fails at each try, and the ids of the clips are known at the first one.
    """
    left = [clip for clip in unnamed_clips(export) if _is_copy_of(clip.name, stream_id, example_ids)]
    stuck = []
    if not dry_run:
        for clip in left:
            try:
                clip.unlink(missing_ok=True)
            except OSError as error:
                stuck.append(f"{clip}: {error.strerror}: delete it yourself, another run may not know whose it is")
    count, text = 0, ""
    try:
        count = (count_rows if dry_run else forget_rows)(export, stream_id)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):  # or something else is in its place
        text = "it is not there any more: look where it was moved or copied to"
    if stuck:
        raise FvqError("; ".join(stuck))
    return Found(count + len(left), text, remains=bool(text))


def _is_copy_of(name: str, stream_id: str, example_ids: Collection[str]) -> bool:
    """Whether a clip's copy is of the stream. `fvq queue export` names it by the clip's id and the stream's folder."""
    example_id, mark, folder = name.partition(".")[0].partition("-")
    return folder == folder_of(stream_id)[:8] if mark else example_id in example_ids
