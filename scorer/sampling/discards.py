"""Pictures of joined fragments of MP4 that FFmpeg would leave out.

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
    highest: int | None = None
    for packet in packets:
        if packet.dts is None:
            yield packet
        elif packet.is_discard and highest is not None and packet.dts <= highest:
            yield _unmarked(packet)
        else:
            highest = packet.dts if highest is None else max(highest, packet.dts)
            yield packet


def _unmarked(packet: Any) -> Any:
    """A copy of the packet: PyAV cannot take the mark off a packet."""
    copy = av.Packet(bytes(packet))
    copy.stream, copy.time_base = packet.stream, packet.time_base
    copy.pts, copy.dts, copy.duration = packet.pts, packet.dts, packet.duration
    copy.is_keyframe = packet.is_keyframe
    return copy
