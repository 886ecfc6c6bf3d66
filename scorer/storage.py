"""Files in a folder or in an object store, through fsspec. Shared by the registry of models and the queue's clip store."""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from scorer.own_folder import unique

PART = re.compile(r"\..+\.[0-9]+(-[0-9a-f]{8})?")
"""What a folder's writers call a file until it is whole; without the second part in versions before."""

BLOCK_BYTES = 1 << 24
"""Bytes of a file that are in memory at once while it is copied."""


class Storage:
    """The files under one address. Paths are absolute in their file system, as `root` is.

    address: a folder, or anything that fsspec opens (s3://..., gs://...). Raises ValueError or ImportError where fsspec
    does not know such an address, OSError where the store does not answer.
    """

    def __init__(self, address: str) -> None:
        self._files, root = fsspec.core.url_to_fs(address)
        self.root: str = root
        self.is_local = isinstance(self._files, LocalFileSystem)

    def read(self, path: str) -> bytes | None:
        """A file's bytes; None where there is no such file."""
        try:
            data: bytes = self._files.cat_file(path)
        except FileNotFoundError:
            return None
        return data

    def blocks(self, path: str) -> Iterator[bytes]:
        """A file's bytes in turn, at most `BLOCK_BYTES` at once, so that the caller can stop at any size.

        Raises OSError where there is no such file, or a pipe or device of this machine in its place.
        """
        if self.is_local and not stat.S_ISREG(os.stat(path).st_mode):
            raise OSError(f"{path} is no regular file")  # a pipe would be waited for
        with self._files.open(path, "rb") as file:
            while block := file.read(BLOCK_BYTES):
                yield block

    def write(self, path: str, data: bytes, fsync: bool = False) -> None:
        """Write a file as a whole: a reader sees the old bytes or the new ones, never a part.

        An object store puts whole objects; in a folder a temporary file is renamed. fsync: return only when the disk has
        the bytes.
        """
        if self.is_local:
            write_whole(Path(path), (data,), fsync)
        else:
            self._files.pipe_file(path, data)

    def put(self, source: Path, path: str) -> None:
        """Copy a file of this machine, of any size, as `write` with `fsync`."""
        if not self.is_local:
            self._files.put_file(source, path)
            return
        with source.open("rb") as file:
            write_whole(Path(path), iter(lambda: file.read(BLOCK_BYTES), b""), fsync=True)

    def remove(self, path: str) -> None:
        """Remove a file; a file that is gone already is no error."""
        try:
            self._files.rm_file(path)
        except FileNotFoundError:
            return

    def remove_parts(self, folder: str, before: float) -> None:
        """Remove what killed writers left in a folder, and nobody has written to since then, seconds since 1970.

        An object store has none: it puts whole objects.
        """
        for path in Path(folder).glob(".*") if self.is_local else ():
            with suppress(OSError):  # gone, or another user's: a write does not depend on it
                if PART.fullmatch(path.name) and path.lstat().st_mtime < before:
                    path.unlink()

    def entries(self, folder: str) -> list[dict[str, Any]]:
        """What is in a folder, as fsspec's `ls` describes it (`name` is the path, `type` "file" or "directory").

        Empty where there is no such folder. Raises `NotADirectoryError` where the root is a file.
        """
        if self.is_local and folder == self.root and os.path.isfile(folder):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), folder)  # `ls` would list the file itself
        try:
            # Object stores cache listings; another process may have written into this folder since.
            self._files.invalidate_cache()
            entries: list[dict[str, Any]] = self._files.ls(folder, detail=True)
        except FileNotFoundError:
            return []
        return entries

    def written_at(self, path: str, fresh: bool = False) -> datetime:
        """When a file was written, UTC; now for a file that has just gone. fresh: do not take it from an earlier listing."""
        try:
            if fresh:
                self._files.invalidate_cache(path)
            return datetime.fromtimestamp(self._files.modified(path).timestamp(), UTC)
        except FileNotFoundError:
            return datetime.now(UTC)

    def uri(self, path: str) -> str:
        """A path with its scheme: `file:///...`, `s3://...`."""
        return Path(path).as_uri() if self.is_local else str(self._files.unstrip_protocol(path))


def write_whole(target: Path, blocks: Iterable[bytes], fsync: bool = False) -> None:
    """Write a file of this machine as a whole, also where several processes do; one that is there keeps its mode. fsync: as of
    `Storage.write`.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{unique()}")
    replaces = target.exists()
    try:
        part.touch(0o600 if replaces else 0o666)  # nobody reads it before it has the mode of the one before
        with part.open("wb") as file:
            for block in blocks:
                file.write(block)
            if fsync:
                file.flush()
                os.fsync(file.fileno())
        if replaces:
            with suppress(OSError):  # it has gone meanwhile, or its file system has no modes
                shutil.copymode(target, part)
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)  # on a full disk, each attempt would leave one
        raise
