"""Pictures and sound of joined fragments of MP4 that FFmpeg would leave out.

FFmpeg's demuxer of MP4 marks packets as not to be shown for two reasons. An edit list leaves them out: then their decoding
stamps (dts) rise. Or a fragment's stamps are not after those of the fragment before it, as where parts of a restarted encoder
are joined: a player of the parts shows those, so the mark has to go.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import av


def with_fragments_that_step_back(packets: Iterable[Any]) -> Iterator[Any]:
    """The same packets in the same order, without the mark where stamps step back. packets: of one video stream, unchanged."""
    return map(StepsBack().mended, packets)


class StepsBack:
    """Takes the mark off the packets of one stream whose stamps step back."""

    def __init__(self) -> None:
        self._highest: int | None = None

    def mended(self, packet: Any) -> Any:
        """The stream's next packet, or a copy of it without the mark."""
        if packet.dts is None:
            return packet
        if packet.is_discard and self._highest is not None and packet.dts <= self._highest:
            return _unmarked(packet)
        self._highest = packet.dts if self._highest is None else max(self._highest, packet.dts)
        return packet


def _unmarked(packet: Any) -> Any:
    """A copy of the packet: PyAV cannot take the mark off a packet."""
    copy = av.Packet(bytes(packet))
    copy.stream, copy.time_base = packet.stream, packet.time_base
    copy.pts, copy.dts, copy.duration = packet.pts, packet.dts, packet.duration
    copy.is_keyframe = packet.is_keyframe
    return copy
