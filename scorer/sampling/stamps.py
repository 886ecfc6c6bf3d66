"""A packet's own values: when it is shown, s, and what tells it from others."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any

FINEST = 90_000
"""Ticks a second that tell the pictures of any rate apart."""

MEASURED_FORMATS = {"mpegts", "mpeg"}
"""Containers without a stated duration: FFmpeg takes the difference of the last and the first stamp."""

UNORDERED = {"avi", "asf", "mxf"}, {"h264", "hevc"}
"""Containers that tell when pictures are decoded, and codecs of which FFmpeg does not find out when they are shown then."""


def in_seconds(stamp: int, tick: Fraction) -> float:
    """So many ticks of a clock as seconds: the value of `float(stamp * tick)`, without a `Fraction` for every packet."""
    return stamp * tick.numerator / tick.denominator


def fine_tick(tick: Fraction) -> Fraction:
    """A tick, s, or a whole part of it that is short enough for stamps of other clocks: some MP4 has 25 ticks a second."""
    return tick / math.ceil(tick * FINEST)


def on_ticks(packets: Iterable[Any], tick: Fraction) -> Iterator[Any]:
    """The same packets, with their stamps in other ticks, s: the parts of a file may each have ticks of their own."""
    for packet in packets:
        ratio = packet.time_base / tick
        packet.pts, packet.dts, packet.duration = (
            None if stamp is None else round(stamp * ratio) for stamp in (packet.pts, packet.dts, packet.duration)
        )
        packet.time_base = tick
        yield packet


def seconds_of(packet: Any, stamp: int | None) -> float | None:
    """One of a packet's stamps as seconds on its stream's clock; None where it has none."""
    return None if stamp is None else in_seconds(stamp, packet.time_base)


def shown_at(packet: Any) -> float | None:
    """When a packet's picture is shown or its sound is heard, s on its stream's clock; None where no stamp tells."""
    return seconds_of(packet, packet.pts if packet.pts is not None else packet.dts)


def tells_order(container: str, context: Any) -> bool:
    """Whether packets' stamps tell in which order pictures are shown. container: FFmpeg's name. context: the video's decoder."""
    containers, codecs = UNORDERED
    return not (container in containers and context.name in codecs and context.has_b_frames)


def place_of(packet: Any) -> tuple[int, int]:
    """Tells one packet of a file from another: where it begins, and its size, bytes."""
    return packet.pos, packet.size
