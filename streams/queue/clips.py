"""The clip store: the clips that wait to be rated, in a folder or an object store.

    ROOT/STREAM/EXAMPLE.ts      the clip, with its initialisation segment; STREAM is a hash of the stream's id
    ROOT/STREAM/EXAMPLE.json    its `TrainingExample`, so that the queue can be read from the store without a broker

Names are hashes: no id from an event ever becomes part of a path.
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
from streams.media.shown import shown_store

CLIP = re.compile(r"[0-9a-f]{64}\.(ts|mp4|mkv|bin)")
FOLDER = re.compile(r"[0-9a-f]{32}")


class ClipStore:
    """The clips under one root. A root belongs to one queue.

    address: a folder, or a URL that fsspec opens (s3://BUCKET/PREFIX, gs://BUCKET/PREFIX). Raises `MediaError` where the address
    is wrong. Methods raise `OSError` where the store does not answer, and `MediaError` for the URI of a clip elsewhere.
    """

    def __init__(self, address: str) -> None:
        try:
            self._storage = Storage(address)
        except (ImportError, ValueError) as error:
            raise MediaError(f"FVQ_CLIP_STORE: {shown_store(address)}: {error}", kind="setup") from error

    @property
    def address(self) -> str:
        """Where the store is: `file:///...`, `s3://...`."""
        return self._storage.uri(self._storage.root)

    @property
    def shown(self) -> str:
        """Where the store is, for messages: a folder's path, or an address without its secrets."""
        return self._storage.root if self._storage.is_local else shown_store(self.address)

    def uri(self, stream_id: str, data: bytes) -> str:
        """The URI that a clip of a stream has in this store, stored or not. data: the clip's bytes."""
        name = hashlib.sha256(data).hexdigest() + suffix_of(data)
        return self._storage.uri(f"{self._storage.root}/{folder_of(stream_id)}/{name}")

    def put(self, example: TrainingExample, data: bytes) -> None:
        """Store a clip at its example's `clip_uri`, whole or not at all. Storing the same clip again changes nothing."""
        path = self._path(example.clip_uri)
        self._storage.write(path, data)
        self._storage.write(_example_path(path), example.to_bytes())

    def put_unless_rated(self, example: TrainingExample, data: bytes) -> TrainingExample:
        """Store a clip as `put`, but leave an example beside it that carries a person's rating; returns the example beside it."""
        path = self._path(example.clip_uri)
        self._storage.write(path, data)
        # Look for the rating after the clip is written: an upload takes long enough for the wall to store a rating meanwhile.
        with contextlib.suppress(EventError):
            beside = self.example(example.clip_uri)
            if beside is not None and beside.operator is not None:
                return beside
        self._storage.write(_example_path(path), example.to_bytes())
        return example

    def stored_at(self, uri: str) -> datetime:
        """When a clip was stored, UTC, as the store says now; the present time for one that is gone."""
        return self._storage.written_at(self._path(uri), fresh=True)

    def read(self, uri: str) -> bytes:
        """The bytes of a clip. Raises `MediaError` where it is gone, or not in this store."""
        path = self._path(uri)
        data = self._storage.read(path)
        if data is None:
            raise MediaError(f"{uri}: the clip is not in the store any more", kind="not-found")
        return data

    def delete(self, uri: str) -> None:
        """Delete a clip and its example; one that is gone already is no error. Raises `MediaError` for one of another store."""
        path = self._path(uri)
        for file in (path, _example_path(path)):
            self._storage.remove(file)

    def delete_stream(self, stream_id: str) -> int:
        """Delete all clips of a stream; returns their number."""
        folder = f"{self._storage.root}/{folder_of(stream_id)}"
        paths = [entry["name"] for entry in self._storage.entries(folder)]
        for path in paths:
            self._storage.remove(path)
        if self._storage.is_local:
            # rmdir() fails while a worker writes a clip into the folder. That worker sees the deletion and removes its clip.
            with contextlib.suppress(OSError):
                Path(folder).rmdir()
        return sum(1 for path in paths if CLIP.fullmatch(Path(path).name))

    def example_ids(self, stream_id: str) -> list[str]:
        """The ids of a stream's clips."""
        entries = self._storage.entries(f"{self._storage.root}/{folder_of(stream_id)}")
        names = [Path(entry["name"]).name for entry in entries]
        return sorted(name.partition(".")[0] for name in names if CLIP.fullmatch(name))

    def has(self, uri: str) -> bool:
        """Whether an address is that of a clip in this store, stored or not."""
        try:
            return bool(self._path(uri))
        except MediaError:
            return False

    def clips(self) -> Iterator[tuple[str, datetime]]:
        """The URI of each clip, and when it was stored, UTC."""
        for paths in self._streams():
            for path in paths:
                if CLIP.fullmatch(Path(path).name):
                    yield self._storage.uri(path), self._storage.written_at(path)

    def remove_parts(self, before: datetime) -> int:
        """Delete files that are neither a clip nor a clip's example, and were written before this time; returns their number."""
        count = 0
        for paths in self._streams():
            clips = {path for path in paths if CLIP.fullmatch(Path(path).name)}
            for path in set(paths) - clips - {_example_path(clip) for clip in clips}:
                if self._storage.written_at(path) < before:
                    self._storage.remove(path)
                    count += 1
        return count

    def example(self, uri: str) -> TrainingExample | None:
        """The example beside a clip, with the address that the clip has now; None where there is none.

        Raises `EventError` for an example that cannot be read, or is that of another clip.
        """
        data = self._storage.read(_example_path(self._path(uri)))
        if data is None:
            return None
        example = TrainingExample.from_bytes(data)
        if place_of_key(example.key) != place_of(uri):
            raise EventError("example_id", "the example beside the clip is that of another one")
        # A store that was moved has another address than the one that was written into its examples.
        return example.model_copy(update={"clip_uri": uri})

    def examples(self, left_out: list[str] | None = None) -> list[TrainingExample]:
        """The examples of all clips, read from the files beside them.

        left_out: gets the URIs of clips without one that can be read.
        """
        examples = []
        for uri, _ in self.clips():
            example = None
            with contextlib.suppress(EventError):
                example = self.example(uri)
            if example is not None:
                examples.append(example)
            elif left_out is not None:  # a worker that was killed after it wrote the clip leaves no example
                left_out.append(uri)
        return examples

    def _streams(self) -> Iterator[list[str]]:
        """The files of each stream's folder."""
        for folder in self._storage.entries(self._storage.root):
            if folder["type"] == "directory" and FOLDER.fullmatch(Path(folder["name"]).name):
                yield [entry["name"] for entry in self._storage.entries(folder["name"]) if entry["type"] == "file"]

    def _path(self, uri: str) -> str:
        """The path of a clip. Raises `MediaError` for any other URI: a message on the queue must not lead out of the store."""
        name = "/".join(uri.rsplit("/", 2)[-2:])
        folder, _, clip = name.partition("/")
        path = f"{self._storage.root}/{name}"
        if not (FOLDER.fullmatch(folder) and CLIP.fullmatch(clip) and self._storage.uri(path) == uri):
            raise MediaError(f"{uri[:300]}: not a clip of the store {self._storage.uri(self._storage.root)}", kind="refused")
        return path


def folder_of(stream_id: str) -> str:
    """The name of a stream's folder, 32 hexadecimal digits."""
    return _hash(stream_id.encode())


def _hash(stream_id: bytes) -> str:
    return hashlib.sha256(stream_id).hexdigest()[:32]


def place_of(uri: str) -> str:
    """Where a clip is in its store, `STREAM/EXAMPLE`, by its URI."""
    return "/".join(uri.rsplit("/", 2)[-2:]).partition(".")[0]


def place_of_key(key: bytes) -> str:
    """Where the clip of an example is in its store, `STREAM/EXAMPLE`, by the example's key."""
    stream_id, _, example_id = key.rpartition(b"/")
    return f"{_hash(stream_id)}/{example_id.decode(errors='replace')}"


def check_clip(data: bytes, example_id: str) -> None:
    """Raise `MediaError` where the bytes in the store are not those of the clip that was queued by this id."""
    if hashlib.sha256(data).hexdigest() != example_id:
        raise MediaError("the clip in the store is not the one that was queued (its SHA-256 differs)", kind="refused")


def suffix_of(data: bytes) -> str:
    """The file suffix for a clip's bytes: `.ts`, `.mp4` (fragmented too), `.mkv`, or `.bin` for anything else."""
    if data[:1] == b"\x47" and data[188:189] in (b"\x47", b""):
        return ".ts"
    if data[4:8] in (b"ftyp", b"styp", b"moov", b"moof", b"sidx"):
        return ".mp4"
    return ".mkv" if data[:4] == b"\x1a\x45\xdf\xa3" else ".bin"


def _example_path(path: str) -> str:
    """The path of a clip's example."""
    return path.rsplit(".", 1)[0] + ".json"
