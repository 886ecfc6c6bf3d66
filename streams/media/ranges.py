"""Byte ranges: a segment may be a part of a larger resource."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Self

from streams.errors import MediaError


@dataclass(frozen=True)
class Range:
    """`length` bytes from byte `offset` on."""

    length: int
    offset: int

    @classmethod
    def parse(cls, text: str | None) -> Self | None:
        """From `length@offset` as events have it, which is checked there; None for None."""
        if text is None:
            return None
        length, _, offset = text.partition("@")
        return cls(int(length), int(offset))

    def __str__(self) -> str:
        return f"{self.length}@{self.offset}"

    @property
    def header(self) -> str:
        """The value of the header `Range` of HTTP."""
        return f"bytes={self.offset}-{self.offset + self.length - 1}"

    def begin_of(self, status: int, content_range: str, name: str) -> int:
        """Where in the resource an answer begins: a server may ignore the header and send the whole (status 200).

        Raises `MediaError` where the answer is another part.
        """
        if status == 200:
            return 0
        if not content_range.startswith(f"bytes {self.offset}-"):
            reason = f"{name}: asked for {self.header}, the server answered {content_range[:60] or 'no Content-Range'}"
            raise MediaError(reason, kind="unreachable")
        return self.offset

    async def cut(self, chunks: AsyncIterator[bytes], begin: int, name: str) -> AsyncIterator[bytes]:
        """The bytes of the range, of chunks that begin at byte `begin`. Raises `MediaError` where they end too early."""
        skip, left = self.offset - begin, self.length
        async for chunk in chunks:
            piece = chunk[skip : skip + left]
            skip, left = max(0, skip - len(chunk)), left - len(piece)
            yield piece
            if not left:
                return
        raise MediaError(f"{name}: it ends {left} bytes before the range {self} does", kind="truncated")
