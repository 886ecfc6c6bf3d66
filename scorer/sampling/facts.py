"""What is known of a file without decoding it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scorer.sampling.bitstream.packets import Packets

EPSILON = 1e-4
"""Two times that differ by less than this, s, are equal: containers round times to their clock."""


@dataclass(frozen=True)
class VideoFacts:
    """What the container says of a file's video stream. duration: seconds; a truncated file may say more than it holds.

    index: the stream's place among all streams of the file. container: FFmpeg's name of the file's format, e.g. "mpegts".
    changes: how often the video goes on in another stream, with another codec or another header. is_timed: whether its stamps can
    be true. knows_order: whether they tell in which order its pictures are shown. step: seconds of a picture, where there are no
    stamps.
    """

    width: int
    height: int
    codec: str
    duration: float
    index: int = 0
    container: str = ""
    changes: int = 0
    is_timed: bool = True
    knows_order: bool = True
    step: float | None = None


@dataclass(frozen=True)
class Timeline:
    """The frames of a part of a file, as its packets list them.

    times: (N,) seconds from the file's first frame, on its running clock, ascending. sizes: (N,) bytes of each frame's packet.
    began: seconds of the frame that is decoded first, at or before them; infinite where the file has none. end: seconds at which
    the file's last frame ends, or None where the file goes on after this part. packets: those of these frames, and of some around
    them.
    """

    times: NDArray[np.float64]
    sizes: NDArray[np.int64]
    began: float
    end: float | None
    packets: Packets

    def lasting(self, seconds: float) -> Timeline:
        """The same, of a file with one picture, which is shown for at least so long: its stamps do not tell."""
        end = max(self.end or 0.0, seconds)
        return replace(self, end=end, packets=replace(self.packets, step=end))


def timeline_of(
    times: Sequence[float], sizes: Sequence[int], packets: Packets, start: float, end: float, goes_on: bool
) -> Timeline:
    """The frames from `start` to `end` seconds.

    times, sizes: (N,) seconds and bytes of the packets that were read, in the order in which they are decoded. packets: those
    around this part. goes_on: the file has more of them.
    """
    order = np.argsort(times, kind="stable")
    ordered = np.array(times, np.float64)[order]
    # The last frame has no next one that would end it: it is shown for as long as most of the others.
    usual = float(np.median(np.diff(ordered))) if len(ordered) > 1 else packets.step
    last_shown = usual if 2 * EPSILON < usual < 60 else packets.step
    inside = (ordered >= start - EPSILON) & (ordered < end - EPSILON)
    file_end = float(ordered[-1] + last_shown) if len(ordered) else 0.0
    inside_sizes = np.array(sizes, np.int64)[order][inside]
    return Timeline(ordered[inside], inside_sizes, times[0] if times else math.inf, None if goes_on else file_end, packets)
