"""Where ffmpeg puts a source's segments: a folder for each source, and in it one for each run of ffmpeg, an epoch.

An epoch is named by the time at which it began, in microseconds, and its first segment has that number. So the numbers of a
later epoch are far ahead of all before, which the HLS code takes for what it is: a restart.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import re
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from streams.errors import MediaError, SettingsError
from streams.media.checks import path_under_roots
from streams.media.read import Answer, ReadError
from streams.media.uri import parse

log = logging.getLogger(__name__)

PLAYLIST = "live.m3u8"

_EPOCH = re.compile(r"[0-9]{16}")

_SOURCE = re.compile(r"[A-Za-z0-9._-]{1,60}-[0-9a-f]{16}")


@dataclass(frozen=True)
class SpoolLimits:
    """keep: seconds for which a segment stays. most: bytes that one source may have."""

    keep: float = 120.0
    most: int = 2**30


@dataclass(frozen=True)
class Growth:
    """What is in an epoch's folder. has_playlist: a first segment is complete."""

    size: int
    has_playlist: bool


class SourceSpool:
    """The folder of one source. root: of all sources. Its name says nothing of the address."""

    def __init__(self, root: Path, name: str) -> None:
        safe = re.sub("[^A-Za-z0-9.-]+", "_", name)[:60] or "_"
        self.folder = root / f"{safe}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"

    def new_epoch(self) -> Path:
        """Make the folder of a new epoch. Raises OSError."""
        folder = self.folder / f"{time.time_ns() // 1000:016d}"
        folder.mkdir(parents=True)
        return folder

    def epochs(self) -> list[Path]:
        """The epochs' folders, oldest first."""
        return _folders(self.folder, _EPOCH)

    def size(self) -> int:
        """Bytes of all epochs."""
        return sum(growth_of(epoch).size for epoch in self.epochs())

    def sweep(self, keep: float, current: Path | None) -> None:
        """Remove epochs that nothing was written to for `keep` seconds. current: the one that is in use."""
        for epoch in self.epochs():
            if epoch != current and time.time() - _changed(epoch) > keep:
                shutil.rmtree(epoch, ignore_errors=True)


def growth_of(epoch: Path) -> Growth:
    """What is in an epoch's folder now."""
    size, has_playlist = 0, False
    try:
        with os.scandir(epoch) as entries:
            for entry in entries:
                has_playlist = has_playlist or entry.name == PLAYLIST
                with contextlib.suppress(FileNotFoundError):  # ffmpeg has just removed or renamed it
                    size += entry.stat(follow_symlinks=False).st_size
    except FileNotFoundError:
        return Growth(0, False)
    return Growth(size, has_playlist)


def prepare(root: Path, limits: SpoolLimits, media_roots: Sequence[Path]) -> None:
    """Make the folder of all sources, remove what earlier runs have left there, and say where the workers must be let in.

    media_roots: as this process knows them. Raises `SettingsError` where the folder cannot be made.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError("FVQ_DATA_DIR", f"{root} cannot be made: {error.strerror}") from error
    sweep_all(root, limits.keep, time.time())
    if not any(root.resolve().is_relative_to(folder.resolve()) for folder in media_roots):
        log.warning("the segments are in %s: the workers' FVQ_MEDIA_ROOTS must include this folder", root)


def sweep_all(root: Path, keep: float, now: float) -> int:
    """Remove the epochs, of all sources, that nothing was written to for `keep` seconds; returns their number. now: Unix time."""
    return sum(sweep_source(folder, keep, now) for folder in _folders(root, _SOURCE))


def sweep_source(folder: Path, keep: float, now: float) -> int:
    """The same for the folder of one source, which goes too when it is empty."""
    old = [epoch for epoch in _folders(folder, _EPOCH) if now - _changed(epoch) > keep]
    for epoch in old:
        shutil.rmtree(epoch, ignore_errors=True)
    with contextlib.suppress(OSError):  # it has an epoch that is not old
        folder.rmdir()
    return len(old)


def _changed(epoch: Path) -> float:
    """When something in an epoch's folder was last made, renamed or removed. Unix time."""
    try:
        return epoch.stat().st_mtime
    except FileNotFoundError:
        return time.time()


def _folders(folder: Path, names: re.Pattern[str]) -> list[Path]:
    """The folders in a folder that have such a name, sorted by it. Links are none."""
    try:
        with os.scandir(folder) as entries:
            folders = [entry.name for entry in entries if names.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []
    return [folder / name for name in sorted(folders)]


class SpoolReader:
    """Reads playlists under a folder, as `streams.media.read.Reader` does from a server. most: bytes of the largest."""

    def __init__(self, root: Path, most: int = 4 * 2**20) -> None:
        self._roots, self._most = (os.path.join(os.path.realpath(root), ""),), most

    async def __aenter__(self) -> SpoolReader:
        return self

    async def __aexit__(self, *error: object) -> None:
        return None

    async def read(self, address: str, seconds: float) -> Answer:
        """The file at a `file:` address. seconds: the longest time. Raises `ReadError`."""
        try:
            uri = parse(address)
            path = path_under_roots(uri, self._roots)
        except MediaError as error:
            raise ReadError(error.reason, error.kind) from error
        try:
            async with asyncio.timeout(seconds):
                body = await asyncio.to_thread(self._body, path)
        except FileNotFoundError:
            raise ReadError(f"{uri.shown} is not there", "not-found") from None
        except (OSError, TimeoutError) as error:
            raise ReadError(f"{uri.shown} cannot be read: {error}", "unreachable") from error
        if len(body) > self._most:
            raise ReadError(f"{uri.shown} is larger than {self._most} bytes", "too-large")
        return Answer(body, address)

    def allows(self, address: str) -> bool:
        """Whether an address is that of a file in the spool."""
        try:
            return bool(path_under_roots(parse(address), self._roots))
        except MediaError:
            return False

    def _body(self, path: str) -> bytes:
        with open(path, "rb") as file:
            return file.read(self._most + 1)
