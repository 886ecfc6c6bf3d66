"""The packets of an open file; those of a small one are kept while they are read first, so that nothing is read twice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from av.error import FFmpegError

from scorer.sampling.audio.track import AudioTrack

MOST_BYTES = 32 << 20
"""Bytes of packets that are kept: a live segment has a few MB. A larger file is read again from the disk."""

MOST_PACKETS = 20_000
"""Packets that are kept: a hostile file may have millions of a byte each, and each takes some 500 bytes of memory."""

REPLAYED_FORMATS = {"mov,mp4,m4a,3gp,3g2,mj2", "mpegts"}
"""Containers that state when each packet is decoded. For others FFmpeg guesses it, and its second reading guesses better."""


class Replay:
    """Gives out the same packets to each reader in turn. packets: of one file, from its beginning on, read once."""

    def __init__(self, packets: Iterator[Any]) -> None:
        self._rest = packets
        self._kept: list[tuple[Any, int | None, int | None]] = []
        self._bytes = 0
        self.is_complete = True
        """Whether all packets that were read are kept, so that the next reader can have them."""

    def packets(self) -> Iterator[Any]:
        """All packets from the beginning on, with their own stamps: the reader before may have changed them.

        Only one reader at a time; one that comes while `is_complete` is false gets the packets that nobody has read.
        """
        for packet, pts, dts in self._kept:
            packet.pts, packet.dts = pts, dts
            yield packet
        # No `yield from`: a reader that stops early would close the packets for the next one.
        for packet in self._rest:
            self._keep(packet)
            yield packet

    def _keep(self, packet: Any) -> None:
        if not self.is_complete:
            return
        self._kept.append((packet, packet.pts, packet.dts))
        self._bytes += packet.size
        if self._bytes > MOST_BYTES or len(self._kept) > MOST_PACKETS:
            self.is_complete, self._kept = False, []


def demuxed(container: Any, stream: Any, audio: AudioTrack | None) -> Iterator[Any]:
    """The packets of a stream from where its container is, up to the end or to where the file is cut off.

    audio: takes the packets of its own streams that come between them.
    """
    packets = container.demux(stream, *([] if audio is None else audio.streams))
    while True:
        try:
            packet = next(packets)
        except MemoryError:
            raise
        except (StopIteration, IndexError, FFmpegError):  # IndexError: PyAV's end of a file with a track that appeared late
            return
        if not packet.size:
            continue
        if audio is None or packet.stream_index == stream.index:
            yield packet
        elif audio.is_open:
            audio.add_first(packet)
