"""An origin of thousands of live playlists that costs as little as possible, for `make bench-ingest`.

    python -m tests.bench.lean_origin PORT BEGAN

It listens on all addresses of this machine (127.0.0.0/8), so that sources can have hosts of their own. A source's new segments
appear every 2 s; the sources are in 100 classes whose segments appear 20 ms apart. `/live/NUMBER.m3u8` answers with one of four
forms of playlist, which are made once for each class and segment; `/hang/...` never answers, `/slow/...` after 1.5 s. After
`/freeze` no segment appears any more. BEGAN: when the first segment of the first class appears, seconds since 1970.
"""

from __future__ import annotations

import asyncio
import sys
import time
from datetime import UTC, datetime
from typing import cast

import uvloop

SECONDS = 2.0
"""Length of a segment."""
CLASSES = 100
SLOW_SECONDS = 1.5
FIRST = 1000
"""Media sequence number of the segment that appears first."""
WINDOWS = (6, 6, 30, 10)
"""Segments in a playlist of each form: with one date; without dates; with a date for each; signed anew with each second."""


def class_of(source: int) -> int:
    """Which class a source is in: neighbours are not in the same, so that all forms are in all classes."""
    return source // len(WINDOWS) % CLASSES


def appears(began: float, source: int, number: int) -> float:
    """When a source's segment is in its playlist, seconds since 1970."""
    return began + SECONDS * (number - FIRST + class_of(source) / CLASSES)


class Playlists:
    """Answers by form and class, made anew when a segment has appeared."""

    def __init__(self, began: float) -> None:
        self._began, self._kept = began, dict[tuple[int, int], tuple[tuple[int, int], bytes]]()
        self.frozen: float | None = None

    def answer(self, source: int) -> bytes:
        """The whole HTTP answer with a source's playlist."""
        form, place = source % len(WINDOWS), class_of(source)
        now = self.frozen or time.time()
        newest = FIRST + int((now - self._began) / SECONDS - place / CLASSES)
        age = newest, int(time.time()) if form == 3 else 0
        kept = self._kept.get((form, place))
        if kept is None or kept[0] != age:
            kept = age, self._made(form, place, newest, age[1])
            self._kept[form, place] = kept
        return kept[1]

    def _made(self, form: int, place: int, newest: int, signature: int) -> bytes:
        first = newest - WINDOWS[form] + 1
        lines = ["#EXTM3U", "#EXT-X-VERSION:7", f"#EXT-X-TARGETDURATION:{SECONDS:g}", f"#EXT-X-MEDIA-SEQUENCE:{first}"]
        if form == 3:
            lines.append('#EXT-X-MAP:URI="init.mp4"')
        for number in range(first, newest + 1):
            if form == 2 or (form in (0, 3) and number == first):
                start = datetime.fromtimestamp(appears(self._began, place * len(WINDOWS), number) - SECONDS, UTC)
                lines.append(f"#EXT-X-PROGRAM-DATE-TIME:{start.isoformat(timespec='milliseconds')}")
            lines += [f"#EXTINF:{SECONDS:.3f},", f"segment-{number}.ts" + (f"?signature={signature}" if form == 3 else "")]
        body = "\n".join([*lines, ""]).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.apple.mpegurl\r\nContent-Length: {len(body)}\r\n\r\n"
        return head.encode() + body


class Connection(asyncio.Protocol):
    """One connection, kept open. Requests have no body, and the next one comes after the answer."""

    def __init__(self, playlists: Playlists) -> None:
        self._playlists, self._read = playlists, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._read += data
        if not self._read.endswith(b"\r\n\r\n"):
            return
        path, self._read = self._read.split(b" ", 2)[1], b""
        if path == b"/freeze":
            self._playlists.frozen = time.time()
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        elif not path.startswith(b"/hang/"):
            answer = self._playlists.answer(int(path.rpartition(b"/")[2].partition(b".")[0]))
            if path.startswith(b"/slow/"):
                asyncio.get_running_loop().call_later(SLOW_SECONDS, self._write, answer)
            else:
                self._write(answer)

    def _write(self, answer: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(answer)


async def serve(port: int, began: float) -> None:
    """Serve until cancelled."""
    playlists = Playlists(began)
    server = await asyncio.get_running_loop().create_server(lambda: Connection(playlists), "0.0.0.0", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), float(sys.argv[2])))
