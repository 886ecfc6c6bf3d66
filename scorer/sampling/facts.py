"""What is known of a file without decoding it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scorer.sampling.bitstream.packets import Packets


@dataclass(frozen=True)
class VideoFacts:
    """What the container says of a file's video stream. duration: seconds; a truncated file may say more than it holds.

    index: the stream's place among all streams of the file. container: FFmpeg's name of the file's format, e.g. "mpegts".
    changes: how often the video goes on in another stream, with another codec or another header. is_timed: whether its stamps can
    be true.
    """

    width: int
    height: int
    codec: str
    duration: float
    index: int = 0
    container: str = ""
    changes: int = 0
    is_timed: bool = True


@dataclass(frozen=True)
class Timeline:
    """The frames of a part of a file, as its packets list them.

    times: (N,) seconds from the file's first frame, on its running clock, ascending. sizes: (N,) bytes of each frame's packet.
    end: seconds at which the file's last frame ends, or None where the file goes on after this part. packets: those of these
    frames, and of some around them.
    """

    times: NDArray[np.float64]
    sizes: NDArray[np.int64]
    end: float | None
    packets: Packets
