"""The clip store: the bytes of clips that are to be rated, in a folder or an object store.

    ROOT/STREAM/EXAMPLE.ts      the clip, with its initialisation segment; STREAM is a hash of the stream's id
    ROOT/STREAM/EXAMPLE.json    its `TrainingExample`, so that the store tells its queue without a broker

Names are hashes: an id from outside never becomes a path.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from scorer.storage import Storage
from streams.errors import EventError, MediaError
from streams.events import TrainingExample

CLIP = re.compile(r"[0-9a-f]{64}\.(ts|mp4|mkv|bin)")
FOLDER = re.compile(r"[0-9a-f]{32}")


class ClipStore:
    """Clips under one root, which belongs to one queue.

    address: a folder, or anything that fsspec opens (s3://..., gs://...). Methods raise OSError where the store does not
    answer.
    """

    def __init__(self, address: str) -> None:
        try:
            self._storage = Storage(address)
        except (ImportError, ValueError) as error:
            raise MediaError(f"FVQ_CLIP_STORE: {address}: {error}", kind="setup") from error

    def uri(self, stream_id: str, data: bytes) -> str:
        """Where a clip of a stream is, or would be."""
        name = hashlib.sha256(data).hexdigest() + ending(data)
        return self._storage.uri(f"{self._storage.root}/{folder_of(stream_id)}/{name}")

    def put(self, example: TrainingExample, data: bytes) -> None:
        """Store a clip at its example's `clip_uri`, in one piece; the same again changes nothing."""
        path = self._path(example.clip_uri)
        self._storage.write(path, data)
        self._storage.write(_beside(path), example.to_bytes())

    def read(self, uri: str) -> bytes:
        """A clip's bytes; raises `MediaError` where it is not there, or not in this store."""
        path = self._path(uri)
        data = self._storage.read(path)
        if data is None:
            raise MediaError(f"{uri}: the clip is not in the store any more", kind="not-found")
        return data

    def delete(self, uri: str) -> None:
        """Remove a clip; one that is gone is no error."""
        path = self._path(uri)
        for one in (path, _beside(path)):
            self._storage.remove(one)

    def delete_stream(self, stream_id: str) -> int:
        """Remove all clips of a stream; returns how many there were."""
        folder = f"{self._storage.root}/{folder_of(stream_id)}"
        found = [one["name"] for one in self._storage.entries(folder)]
        for path in found:
            self._storage.remove(path)
        if self._storage.is_local:
            # A worker may be writing into it: the clip is deleted by the worker then, and the folder stays.
            with contextlib.suppress(OSError):
                Path(folder).rmdir()
        return sum(1 for path in found if CLIP.fullmatch(Path(path).name))

    def clips(self) -> Iterator[tuple[str, datetime]]:
        """All clips, and when each was stored, UTC."""
        for paths in self._streams():
            for path in paths:
                if CLIP.fullmatch(Path(path).name):
                    yield self._storage.uri(path), self._storage.written_at(path)

    def remove_parts(self, before: datetime) -> int:
        """Remove what is neither a clip nor the example beside one and was written before then; returns how many it were."""
        count = 0
        for paths in self._streams():
            whole = {path for path in paths if CLIP.fullmatch(Path(path).name)}
            for path in set(paths) - whole - {_beside(path) for path in whole}:
                if self._storage.written_at(path) < before:
                    self._storage.remove(path)
                    count += 1
        return count

    def examples(self) -> list[TrainingExample]:
        """What the store itself says is in it."""
        found = []
        for uri, _ in self.clips():
            # The example is missing where a worker was killed between clip and example: retention removes such a clip.
            if (data := self._storage.read(_beside(self._path(uri)))) is not None:
                with contextlib.suppress(EventError):
                    found.append(TrainingExample.from_bytes(data))
        return found

    def _streams(self) -> Iterator[list[str]]:
        """The files of each stream's folder."""
        for folder in self._storage.entries(self._storage.root):
            if folder["type"] == "directory" and FOLDER.fullmatch(Path(folder["name"]).name):
                yield [one["name"] for one in self._storage.entries(folder["name"]) if one["type"] == "file"]

    def _path(self, uri: str) -> str:
        """The path of a clip; what is on the queue may have been written by anybody, and must not lead out of the store."""
        name = "/".join(uri.rsplit("/", 2)[-2:])
        folder, _, clip = name.partition("/")
        path = f"{self._storage.root}/{name}"
        if not (FOLDER.fullmatch(folder) and CLIP.fullmatch(clip) and self._storage.uri(path) == uri):
            raise MediaError(f"{uri[:300]}: not a clip of the store {self._storage.uri(self._storage.root)}", kind="refused")
        return path


def folder_of(stream_id: str) -> str:
    """A stream's folder."""
    return hashlib.sha256(stream_id.encode()).hexdigest()[:32]


def ending(data: bytes) -> str:
    """What a clip's bytes are, as a file's ending: MPEG-TS, MP4 (fragmented too) or Matroska; `.bin` for anything else."""
    if data[:1] == b"\x47" and data[188:189] in (b"\x47", b""):
        return ".ts"
    if data[4:8] in (b"ftyp", b"styp", b"moov", b"moof", b"sidx"):
        return ".mp4"
    return ".mkv" if data[:4] == b"\x1a\x45\xdf\xa3" else ".bin"


def _beside(path: str) -> str:
    return path.rsplit(".", 1)[0] + ".json"
