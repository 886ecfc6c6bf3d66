"""Packets and videos that are only stamps, for tests of the running clock."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

from scorer.sampling.decode import Video

NO_CODEC = SimpleNamespace(codec_context=None, sample_aspect_ratio=None)
"""In place of a packet's stream, of which nothing is known."""


@dataclass
class StampedPacket:
    """In place of PyAV's packet. pts, dts: ticks, or None."""

    pts: int | None
    dts: int | None
    size: int = 1
    pos: int = 0
    is_discard: bool = False
    is_keyframe: bool = True
    is_corrupt: bool = False
    time_base: Fraction = Fraction(1, 90_000)
    stream: Any = field(default_factory=lambda: NO_CODEC)
    width: int = 64
    height: int = 36
    interlaced_frame: bool = False


def in_decoding_order(times: Sequence[int], bidirectional: int) -> list[StampedPacket]:
    """Packets of pictures that are shown at `times`, ascending. bidirectional: B-frames before each other frame."""
    order = [0]
    for reference in range(1 + bidirectional, len(times) + bidirectional, 1 + bidirectional):
        last = min(reference, len(times) - 1)
        order += [last, *range(reference - bidirectional, last)]
    # Decoding stamps are the times in order, earlier by the delay that reordering needs.
    delay = 1 if bidirectional else 0
    first = times[1] - times[0] if len(times) > 1 else 1
    decoded = [times[0] - first * (delay - i) for i in range(delay)] + list(times)
    return [StampedPacket(times[number], decoded[place]) for place, number in enumerate(order)]


class StampedVideo(Video):
    """A video of packets that are only stamps; a frame is its packet, given out in decoding order."""

    def __init__(self, stamps: Sequence[tuple[int | None, int | None]]) -> None:
        self._packets_of_file = [StampedPacket(pts, dts, pos=i) for i, (pts, dts) in enumerate(stamps)]
        self._tick = Fraction(1, 90_000)
        self._stream: Any = SimpleNamespace(time_base=self._tick)
        self._step, self._skip, self._is_steady, self.changes = 0.04, 0, False, 0
        self._references_only, self._knows_order, self.container = False, True, ""
        self._decoded_stream = SimpleNamespace(sample_aspect_ratio=None, codec_context=SimpleNamespace(name=""))
        self._first, self._has_clock, _ = self._first_time()

    def _demuxed(self) -> Iterator[Any]:
        return (replace(packet) for packet in self._packets_of_file)

    def _decoded(self) -> Iterator[tuple[Any, bool]]:
        return ((packet, False) for packet in self._on_clock())

    def _to_keyframe(self, start: float) -> None:
        pass
