"""All access to files and URLs: from an event's URI to a local file.

URIs come from outside. Allowed are http(s) to public addresses or to listed hosts, files under the media roots, s3 and gs.
`streams.media.checks` has the checks, one for each attack.
"""

from __future__ import annotations

import asyncio
import io
import logging
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import aiohttp

from scorer.sampling.recognise import FIRST_BOXES, TEXT, not_media
from streams.errors import MediaError
from streams.events import SegmentEvent, SegmentKey, SegmentScore
from streams.media.answers import TemporaryError, check_status, refusal_behind, words_of
from streams.media.checks import path_under_roots
from streams.media.client import CHUNK, Client, body_of
from streams.media.decryption import KEY_BYTES, KeyCache, decrypt
from streams.media.ranges import Range
from streams.media.shown import one_line
from streams.media.uri import SCHEMES, Uri, parse, refusal
from streams.media.videos import check_file

log = logging.getLogger(__name__)
ATTEMPTS = 3
CONNECTIONS = 64
OBJECT_THREADS = 16
"""Threads that read objects. Those of the event loop look up names: a store that hangs must not hold up all other sources."""

MOST_AHEAD = 8 * 2**20
"""Bytes that are read ahead of a part of an object, at most."""

MOST_KEY_BYTES = 1024
"""Bytes of a key's answer, at most: it alone is read into memory."""


@dataclass(frozen=True)
class LocalMedia:
    """A segment on the local disk. temporary: this worker wrote the file, and the caller has to call `discard`."""

    path: Path
    temporary: bool

    def discard(self) -> None:
        """Delete the file if it is temporary. A failure is only logged: the segment itself is not at fault."""
        if self.temporary:
            try:
                self.path.unlink(missing_ok=True)
            except OSError as error:
                log.warning("%s cannot be deleted: %s", self.path, error.strerror)


@dataclass(frozen=True)
class FetchLimits:
    """What may be fetched.

    roots: folders that `file:` URIs may point into; none refuses `file:`. hosts: patterns of host names that http(s) URIs
    may name; none allows every public host. private: whether addresses of private networks are allowed. seconds,
    megabytes: the longest time and the largest size (MiB) of one segment.
    """

    roots: tuple[Path, ...] = ()
    hosts: tuple[str, ...] = ()
    private: bool = False
    seconds: float = 15.0
    megabytes: int = 256


@dataclass(frozen=True)
class _Part:
    """A resource, or a part of it, that goes into the local file. key: how it is encrypted. is_init: an init segment, which may
    be encrypted as its media, or not (RFC 8216bis, 4.4.4.5)."""

    uri: Uri
    byte_range: Range | None = None
    key: SegmentKey | None = None
    is_init: bool = False


class Fetcher:
    """Fetches segments into a folder, within limits. Use it as an async context manager.

    setting: the variable that says where the folder is, for messages.
    """

    def __init__(self, limits: FetchLimits, directory: Path, setting: str = "FVQ_DATA_DIR") -> None:
        self._limits = limits
        self._directory = directory
        self._setting = setting
        self._roots = [str(root.resolve()).rstrip(os.sep) + os.sep for root in limits.roots]
        self._client = Client(limits.hosts, limits.private, CONNECTIONS)
        self._keys = KeyCache()
        self._objects = ThreadPoolExecutor(OBJECT_THREADS, thread_name_prefix="object")

    async def __aenter__(self) -> Fetcher:
        self._directory.mkdir(parents=True, exist_ok=True)
        await self._client.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        self._objects.shutdown(wait=False, cancel_futures=True)
        await self._client.__aexit__(*error)

    async def fetch_segment(self, segment: SegmentEvent | SegmentScore) -> LocalMedia:
        """The media of a segment, from where its event says that it is; see `fetch`."""
        return await self.fetch(
            segment.uri,
            segment.init_uri,
            Range.parse(segment.byte_range),
            Range.parse(segment.init_byte_range),
            segment.key,
            segment.init_key,
        )

    async def fetch(
        self,
        uri: str,
        init_uri: str | None = None,
        byte_range: Range | None = None,
        init_byte_range: Range | None = None,
        key: SegmentKey | None = None,
        init_key: SegmentKey | None = None,
    ) -> LocalMedia:
        """The media of a segment as one local file, decrypted; the init segment, if there is one, comes first in it.

        init_key: of the init segment, where it is not `key`.
        Raises `MediaError`: kind "refused" where the settings do not allow the URI, "not-found", "too-large",
        "timeout" or "unreachable"; "setup" where this worker cannot write what it fetches.
        """
        media = _Part(parse(uri), byte_range, key)
        if media.uri.scheme == "file" and init_uri is None and byte_range is None and key is None:
            return LocalMedia(self._allowed_file(media.uri), temporary=False)
        parts = [_Part(parse(init_uri), init_byte_range, init_key or key, is_init=True), media] if init_uri else [media]
        try:
            async with asyncio.timeout(self._limits.seconds):  # also stops a server that sends a byte now and then
                return await self._fetch_parts(parts)
        except TimeoutError:
            reason = f"fetching {media.uri.shown} took more than {self._limits.seconds:g} s"
            raise MediaError(reason, kind="timeout") from None

    async def _fetch_parts(self, parts: list[_Part]) -> LocalMedia:
        """One temporary file with the bytes of all parts, in order; after a failure no file is left."""
        try:
            self._directory.mkdir(parents=True, exist_ok=True)  # someone may have deleted it since the start
            with tempfile.NamedTemporaryFile(dir=self._directory, prefix="segment-", delete=False) as named:
                # The file itself: its wrapper makes a new function for each call.
                media, out = LocalMedia(Path(named.name), temporary=True), cast(BinaryIO, named.file)
                try:
                    for part in parts:
                        await self._append(part, out)
                    out.flush()  # a full disk may fail only here: then the file is deleted as well
                except BaseException:
                    media.discard()
                    raise
        except OSError as error:
            raise self._own_fault(error) from error
        return media

    async def _append(self, part: _Part, out: BinaryIO) -> None:
        start, uri = out.tell(), part.uri
        await self._read(part, out)
        if part.key is not None and not (part.is_init and self._is_clear(out, start)):
            try:
                await self._decrypt(out, start, part.key, uri.shown)
            except MediaError:
                if not part.is_init:
                    raise
                out.seek(0, os.SEEK_END)
        # A login page is named with its URI here: the decoder would see one file of an init segment and a page.
        end = out.tell()
        out.seek(start)
        words = not_media(out.read(TEXT))
        out.seek(end)
        if words is not None:
            raise refusal(f"{uri.shown} is {words}")

    def _is_clear(self, out: BinaryIO, start: int) -> bool:
        """Whether what was appended begins as MP4 does."""
        out.seek(start)
        head = out.read(8)
        out.seek(0, os.SEEK_END)
        return head[4:] in FIRST_BOXES

    async def _read(self, part: _Part, out: BinaryIO) -> None:
        """Append the bytes of a part as they are."""
        uri = part.uri
        if uri.scheme == "file":
            self._copy(self._allowed_file(uri), part.byte_range, out)
        elif uri.is_http:
            await self._download(uri, part.byte_range, out)
        elif uri.scheme in ("s3", "gs"):
            await asyncio.get_running_loop().run_in_executor(self._objects, self._read_object, uri, part.byte_range, out)
        elif uri.scheme:
            raise refusal(f"{uri.shown}: the scheme {uri.scheme!r} is not one of {', '.join(SCHEMES)}")
        else:
            raise refusal(f"{uri.shown}: it has no scheme; a URI begins with {', '.join(SCHEMES[:-1])} or {SCHEMES[-1]}")

    async def _decrypt(self, out: BinaryIO, start: int, key: SegmentKey, name: str) -> None:
        """Decrypt what was appended. A key that is known and does not fit is fetched anew: servers change keys at one address."""
        known = self._keys.get(key.uri)
        if known is not None:
            try:
                return decrypt(out, start, known, bytes.fromhex(key.iv), name)
            except MediaError:
                self._keys.drop(key.uri)
        with io.BytesIO() as answer:
            await self._read(_Part(parse(key.uri)), answer)
            fetched = answer.getvalue()
        if len(fetched) != KEY_BYTES:
            shown = parse(key.uri).shown
            raise MediaError(f"{shown}: a key has {KEY_BYTES} bytes, and this answer {len(fetched)}", kind="undecodable")
        self._keys.put(key.uri, fetched)
        return decrypt(out, start, fetched, bytes.fromhex(key.iv), name)

    def _allowed_file(self, uri: Uri) -> Path:
        path = path_under_roots(uri, self._roots)
        if not os.path.isfile(path):
            try:
                check_file(Path(path))
            except MediaError as error:
                raise MediaError(f"{uri.shown}: {error.reason}", kind=error.kind) from None
        return Path(path)

    def _copy(self, path: Path, byte_range: Range | None, out: BinaryIO) -> None:
        try:
            with path.open("rb") as file:
                self._copy_open(file, byte_range, out, one_line(str(path)))
        except OSError as error:
            raise MediaError(f"{path} cannot be read: {error.strerror}", kind="unreachable") from error

    def _copy_open(self, file: BinaryIO, byte_range: Range | None, out: BinaryIO, name: str) -> None:
        left = byte_range.length if byte_range is not None else None
        if byte_range is not None:
            file.seek(byte_range.offset)
        while left != 0 and (data := file.read(CHUNK if left is None else min(CHUNK, left))):
            self._write(data, out, name)
            left = left - len(data) if left is not None else None
        if left:
            raise MediaError(f"{name}: it ends {left} bytes before the range {byte_range} does", kind="truncated")

    async def _download(self, uri: Uri, byte_range: Range | None, out: BinaryIO) -> None:
        """Download one URI, with a new attempt after a failure that may pass."""
        start = out.tell()
        for attempt in range(1, ATTEMPTS + 1):
            try:
                await self._get(uri, byte_range, out)
                return
            except aiohttp.InvalidURL as error:
                raise refusal(f"{uri.shown}: not an http address") from error
            except (aiohttp.ClientError, OSError) as error:
                refused = refusal_behind(error)
                if refused is not None:
                    raise refused from error
                if attempt == ATTEMPTS:
                    raise MediaError(f"{uri.shown} cannot be reached: {words_of(error)}", kind="unreachable") from error
            except TemporaryError as error:
                if attempt == ATTEMPTS:
                    raise MediaError(str(error), kind="unreachable") from error
            out.seek(start)
            out.truncate()
            await asyncio.sleep(0.3 * 3 ** (attempt - 1))

    async def _get(self, uri: Uri, byte_range: Range | None, out: BinaryIO) -> None:
        """One attempt."""
        headers = {"Accept-Encoding": "identity"} | ({"Range": byte_range.header} if byte_range is not None else {})
        async with self._client.get(uri, headers) as (answer, final):
            check_status(answer.status, final, byte_range)
            name = final.shown
            chunks = body_of(answer, name, self._limits.megabytes * 2**20, self._too_large)
            if byte_range is not None:
                begin = byte_range.begin_of(answer.status, answer.headers.get("Content-Range", ""), name)
                chunks = byte_range.cut(chunks, begin, name)
            async for data in chunks:
                self._write(data, out, name)

    def _read_object(self, uri: Uri, byte_range: Range | None, out: BinaryIO) -> None:
        import fsspec

        try:
            # Where nothing is said, s3fs reads 50 MiB ahead.
            ahead = {"block_size": min(byte_range.length, MOST_AHEAD)} if byte_range is not None else {}
            # Not fsspec.open(): it reads "::" in a key as a chain of file systems, whose last one may be this machine's.
            with fsspec.filesystem(uri.scheme).open(str(uri), "rb", **ahead) as file:
                self._copy_open(file, byte_range, out, uri.shown)
        except ImportError as error:
            package = {"s3": "s3fs", "gs": "gcsfs"}[uri.scheme]
            install = f"install {package} to read it: pip install 'fvq-monitor[{uri.scheme}]'"
            raise MediaError(f"{uri.shown}: {install}", kind="refused") from error
        except FileNotFoundError as error:
            raise MediaError(f"{uri.shown}: no such object", kind="not-found") from error
        except MediaError:
            raise
        except Exception as error:  # those of botocore and Google are no OSError: no credentials, an endpoint that is away
            raise MediaError(f"{uri.shown} cannot be read: {words_of(error)}", kind="unreachable") from error

    def _write(self, data: bytes, out: BinaryIO, name: str) -> None:
        """Write a chunk. Stops media without end, which would fill the disk, and keys, which would fill the memory."""
        end = out.tell() + len(data)
        if isinstance(out, io.BytesIO) and end > MOST_KEY_BYTES:
            reason = f"{name}: a key has {KEY_BYTES} bytes, and this answer more than {MOST_KEY_BYTES}"
            raise MediaError(reason, kind="undecodable")
        if end > self._limits.megabytes * 2**20:
            raise self._too_large(name)
        try:
            out.write(data)
        except OSError as error:
            raise self._own_fault(error) from error

    def _too_large(self, name: str) -> MediaError:
        return MediaError(f"{name} is larger than FVQ_FETCH_MAX_MB ({self._limits.megabytes} MiB)", kind="too-large")

    def _own_fault(self, error: OSError) -> MediaError:
        """The error for a disk that cannot be written: the fault of this worker, which waits and tries the segment again."""
        return MediaError(f"{self._directory} ({self._setting}) cannot be written to: {error.strerror}", kind="setup")
