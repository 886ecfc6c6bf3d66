"""Content encodings of HTTP answers, decoded in pieces: a small compressed answer never grows in memory.

The worker asks for `identity`. Some origins and CDNs encode all the same, and a client has to undo that.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator

from streams.errors import MediaError
from streams.media.uri import refusal

DECODED = ("gzip", "x-gzip", "deflate")

MOST_ENCODINGS = 2
"""Encodings of one answer, one in the other. Each may multiply the work by 1,000."""

MOST_MEMBERS = 1000
"""Parts of one gzip stream, each with a header of its own. zlib copies what follows a part, so many small ones take long."""

PIECE = 1 << 18
"""Bytes that are decoded at a time."""


def encodings_to_undo(header: str, name: str) -> list[str]:
    """The encodings of an answer, the one to undo first first.

    header: Content-Encoding. name: the answer's URI for messages. Raises `MediaError` of kind "refused" where there are
    too many, or one that is not decoded.
    """
    encodings = [encoding.strip().lower() for encoding in header.split(",")]
    encodings = [encoding for encoding in encodings if encoding not in ("", "identity")]
    for encoding in encodings:
        if encoding not in DECODED:
            reason = f"the answer's Content-Encoding {encoding[:40]!a} is not one of identity, {', '.join(DECODED)}"
            raise refusal(f"{name}: {reason}; send media as it is")
    if len(encodings) > MOST_ENCODINGS:
        raise refusal(f"{name}: the answer's Content-Encoding names {len(encodings)} encodings; send media as it is")
    return encodings[::-1]


async def inflated(chunks: AsyncIterator[bytes], encoding: str, name: str) -> AsyncIterator[bytes]:
    """What chunks decode to, in pieces of at most 256 KiB. The caller counts them, and stops an answer that grows too large.

    encoding: one of `DECODED`. name: the answer's URI for messages. Raises `MediaError` where the content is damaged.
    """
    decoder = _Decoder(encoding)
    try:
        async for chunk in chunks:
            decoder.add(chunk)
            while (piece := decoder.piece()) is not None:
                yield piece
                await asyncio.sleep(0)  # other segments go on meanwhile, and the fetch's time-out can come
        decoder.check_end()
    except zlib.error as error:
        raise MediaError(f"{name}: the answer's Content-Encoding {encoding} cannot be decoded: {error}") from error


class _Decoder:
    """One stream of gzip or deflate. Its methods raise `zlib.error` for a damaged one."""

    def __init__(self, encoding: str) -> None:
        self._gzip = encoding != "deflate"
        self._members = 0
        self._data = b""
        self._full = False
        self._inflate: zlib._Decompress | None = None

    def add(self, data: bytes) -> None:
        """Take the next bytes; `piece` has to be called before, until it gives None."""
        self._data += data

    def piece(self) -> bytes | None:
        """The next bytes that come out, maybe none; None where all input has been decoded."""
        if self._inflate is not None and self._inflate.eof and self._data:
            if not self._gzip:
                raise zlib.error("something follows its end")
            self._inflate = None
        # zlib may hold output for which the last piece had no room, so a full one is followed by another.
        if not self._data and not self._full:
            return None
        if self._inflate is None:
            self._inflate = self._member()
        piece = self._inflate.decompress(self._data, PIECE)
        self._full = len(piece) == PIECE
        self._data = self._inflate.unused_data if self._inflate.eof else self._inflate.unconsumed_tail
        return piece

    def check_end(self) -> None:
        """Raise where the stream was cut off."""
        if self._inflate is not None and not self._inflate.eof:
            raise zlib.error("it is cut off")

    def _member(self) -> zlib._Decompress:
        self._members += 1
        if self._members > MOST_MEMBERS:
            raise zlib.error(f"it has more than {MOST_MEMBERS} parts")
        if self._gzip:
            return zlib.decompressobj(16 + zlib.MAX_WBITS)
        # "deflate" means a zlib stream; some servers send it without zlib's header (RFC 9110, 8.4.1.2).
        return zlib.decompressobj(zlib.MAX_WBITS if self._data[0] & 0x0F == 8 else -zlib.MAX_WBITS)
