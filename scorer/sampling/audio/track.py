"""The audio packets of an open file, kept while its video's packets are read: one demuxer gives out both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from scorer.sampling.discards import StepsBack
from scorer.sampling.tracks import heard_audio

MOST_BYTES = 16 << 20
"""Bytes of packets that are kept: a live segment has some 100 kB, and uncompressed sound 0.2 MB a second."""

MOST_PACKETS = 40_000
"""Packets that are kept: a quarter of an hour of AAC. A hostile file may have millions of a byte each."""


class AudioTrack:
    """The first audio track of a file that has any sound.

    streams: the demuxer's, of which one is heard; none where there is none, or where nobody listens any more.
    """

    def __init__(self) -> None:
        self.streams: list[Any] = []
        self.is_whole = True
        """Whether all packets that were read since `restart` are kept."""
        self._packets: list[Any] = []
        self._bytes = 0
        self._steps_back = StepsBack()
        self._is_closed = False
        self._heard: int | None = None
        """Which of `streams` is heard: the first of those that have had a packet."""

    def choose(self, streams: Sequence[Any], shown: Any, head: bytes) -> None:
        """Listen to one of the audio streams of a file, or of its next part. shown, head: as `tracks.heard_audio` takes them."""
        self._steps_back = StepsBack()
        self._heard = None
        if not self._is_closed:
            self.streams = heard_audio(streams, shown, head)

    def restart(self) -> None:
        """Forget all packets: the file is read again, from its beginning or from elsewhere."""
        self._packets, self._bytes, self.is_whole = [], 0, True
        self._steps_back = StepsBack()

    def close(self) -> None:
        """Listen no more: another reading of the file needs its pictures only."""
        self.restart()
        self.streams, self._is_closed = [], True

    def add_first(self, packet: Any) -> None:
        """Keep a packet of one of `streams`, unless an earlier one of them is heard."""
        place = next(place for place, stream in enumerate(self.streams) if stream.index == packet.stream_index)
        if self._heard is not None and place < self._heard:
            later = self.streams[self._heard]
            self._packets = [other for other in self._packets if other.stream is not later]
            self._bytes = sum(other.size for other in self._packets)
            self._steps_back = StepsBack()
        if self._heard is None or place <= self._heard:
            self._heard = place
            self.add(packet)

    def add(self, packet: Any) -> None:
        """Keep a packet, unless there are too many."""
        self._bytes += packet.size
        self.is_whole = self.is_whole and self._bytes <= MOST_BYTES and len(self._packets) < MOST_PACKETS
        mended = self._steps_back.mended(packet)
        if self.is_whole or not self._packets:
            self._packets.append(mended)
        else:
            del self._packets[1:]

    @property
    def is_open(self) -> bool:
        """Whether anybody listens."""
        return not self._is_closed

    @property
    def count(self) -> int:
        """How many packets are kept."""
        return len(self._packets)

    def packets(self) -> Iterator[Any]:
        """The packets that are kept, in the order in which they are decoded; the first one alone if not `is_whole`."""
        return iter(self._packets)
