"""From the packets of a segment, as numbers, to its `Bitstream`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scorer.sampling.bitstream.facts import Bitstream
from scorer.sampling.bitstream.quantisers import Quantisers
from scorer.sampling.clock import LONGEST_GAP, RunningClock
from scorer.sampling.rates import SHORTEST_STEP
from scorer.sampling.sorts import median

FEW_BYTES = 1 / 8
"""A picture with less than this share of the mean of the others (no keyframes) has few bytes."""

FEW_STEPS_BACK = 0.1
"""Where at most this share of the steps goes back, the clock has jumped there; more are guesses of the demuxer."""

VP8_SHOWN = 0x10
"""The bit of a picture's first byte that is set where it is shown (RFC 6386, 9.1)."""

TICKS = 90_000
"""Ticks a second of the clock on which jumps are mended."""


@dataclass
class _Stamped:
    """The stamps of a packet, ticks."""

    pts: int | None
    dts: int | None


@dataclass
class Packets:
    """The packets of a track in the order in which they are decoded; each list has one number for each.

    step: seconds of a picture where the stamps do not tell. decoded_at, shown_at: seconds, None where unknown. quantisers,
    codecs: None where unknown.
    """

    step: float
    sizes: list[int] = field(default_factory=list)
    keys: list[bool] = field(default_factory=list)
    decoded_at: list[float | None] = field(default_factory=list)
    shown_at: list[float | None] = field(default_factory=list)
    quantisers: list[float | None] = field(default_factory=list)
    codecs: list[str | None] = field(default_factory=list)
    _reader: Quantisers = field(default_factory=Quantisers)

    def add(self, packet: Any, shown_at: float | None, decoded_at: float | None = None, hidden: int = 0) -> None:
        """Take what is needed of an `av.Packet`. shown_at, decoded_at: seconds, None where unknown. hidden: bytes of hidden
        pictures before it, see `shown_pictures`.
        """
        self.sizes.append(packet.size + hidden)
        self.keys.append(packet.is_keyframe)
        self.decoded_at.append(decoded_at)
        self.shown_at.append(shown_at)
        self.quantisers.append(self._reader.of(packet))
        self.codecs.append(self._reader.codec)

    def inside(self, start: float, end: float) -> Packets:
        """Those whose picture is shown from `start` to before `end`, s; `shown_at` must rise as the pictures are shown."""
        inside = Packets(self.step)
        for place, time in enumerate(self.shown_at):
            if time is not None and start <= time < end:
                inside.sizes.append(self.sizes[place])
                inside.keys.append(self.keys[place])
                inside.decoded_at.append(None)  # after a seek FFmpeg's first ones may be wrong
                inside.shown_at.append(time)
                inside.quantisers.append(self.quantisers[place])
                inside.codecs.append(self.codecs[place])
        return inside


def shown_pictures(packets: Iterable[Any]) -> Iterator[tuple[Any, int]]:
    """Each of the `av.Packet`s whose picture is shown, and the bytes of the hidden pictures before it.

    Pictures that an edit list leaves out are not given. VP8 may code a picture for others to refer to alone; in the other codecs
    such a picture shares a packet with one that is shown.
    """
    hidden, stream, may_hide = 0, None, False
    for packet in packets:
        if packet.is_discard:
            continue
        if packet.stream is not stream:
            stream = packet.stream
            may_hide = stream.codec_context is not None and stream.codec_context.name == "vp8"
        if may_hide and not memoryview(packet)[0] & VP8_SHOWN:
            hidden += packet.size
            continue
        yield packet, hidden
        hidden = 0


def bitstream_of(packets: Packets, codec: str, width: int, height: int) -> Bitstream:
    """What one or more packets say. codec, width, height: of the track."""
    seconds = duration_of(packets)
    sizes, keys = np.array(packets.sizes, np.float64), np.array(packets.keys, np.bool_)
    others, places = sizes[~keys], np.flatnonzero(keys)
    mean = float(others.mean()) if len(others) else 0.0
    known = np.array([quantiser for quantiser in packets.quantisers if quantiser is not None])
    is_known = 2 * len(known) >= len(sizes)
    return Bitstream(
        codec=codec,
        width=width,
        height=height,
        fps=len(sizes) / seconds,
        bitrate=float(sizes.sum()) * 8 / seconds,
        gop=float(places[-1] - places[0]) / (len(places) - 1) * seconds / len(sizes) if len(places) > 1 else None,
        keyframes=len(places),
        key_bytes=float(sizes[keys].mean()) if len(places) else 0.0,
        other_bytes=mean,
        other_spread=_deviation(np.log2(others)) if len(others) else 0.0,
        smallest=int(np.count_nonzero(others < FEW_BYTES * mean)) / len(others) if len(others) else 0.0,
        qp_mean=float(known.mean()) if is_known else None,
        qp_spread=_deviation(known) if is_known else None,
        largest=_share_of_largest(others),
    )


def _share_of_largest(sizes: NDArray[np.float64]) -> float:
    """The share of all bytes that the largest fifth of the pictures has."""
    total = float(sizes.sum())
    return float(np.sort(sizes)[-max(1, len(sizes) // 5) :].sum()) / total if total else 0.0


def duration_of(packets: Packets) -> float:
    """Seconds for which the pictures are shown, over 0. Jumps of the clock and the last picture count as a usual step."""
    count = len(packets.sizes)
    steps = np.diff(_stamps(packets.decoded_at, packets.shown_at))
    # A muxer may have repaired stamps after a stray one, by steps of single ticks. Guesses of a demuxer would mislead the clock.
    if None not in packets.decoded_at and np.any(steps > LONGEST_GAP):
        steps = np.diff(np.sort(_on_running_clock(packets)))
    good = steps[(steps >= 0) & (steps <= LONGEST_GAP)]
    usual = float(median(good)) if len(good) else packets.step
    if not SHORTEST_STEP <= usual <= LONGEST_GAP:
        return count * packets.step
    return float(good.sum()) + usual * (count - len(good))


def _on_running_clock(packets: Packets) -> list[float]:
    """When the pictures are shown, s, on the clock by which the sampler shows them, as far as stamps tell."""
    clock = RunningClock(round(packets.step * TICKS), round(LONGEST_GAP * TICKS))
    stamped = (
        _Stamped(*(None if stamp is None else round(stamp * TICKS) for stamp in stamps))
        for stamps in zip(packets.shown_at, packets.decoded_at, strict=True)
    )
    return [packet.pts / TICKS for packet in clock.packets(stamped) if packet.pts is not None]


def _deviation(values: NDArray[np.float64]) -> float:
    """`values.std()`, which takes three times as long."""
    away = values - values.mean()
    return math.sqrt((away * away).sum() / len(away))


def _stamps(decoded_at: Sequence[float | None], shown_at: Sequence[float | None]) -> NDArray[np.float64]:
    """Stamps that rise; none where they are unknown."""
    decoded, shown = ([stamp for stamp in stamps if stamp is not None] for stamps in (decoded_at, shown_at))
    back = np.count_nonzero(np.diff(decoded) < 0)
    if len(decoded) == len(decoded_at) and back <= FEW_STEPS_BACK * len(decoded):
        return np.array(decoded)
    return np.sort(shown) if len(shown) == len(shown_at) else np.empty(0)
