"""A glance at a segment: what its packets say, and the statistics of one keyframe. It costs a tenth of a full decode.

`headers_only` reads packets only. `glance` decodes one keyframe as well. A process that only holds what they return loads no
decoder.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scorer.sampling.audio.facts import AudioFacts
from scorer.sampling.bitstream.facts import Bitstream

FloatArray = NDArray[np.float32]

PICTURE_NAMES: tuple[str, ...] = (
    "ggd_shape",
    "ggd_variance",
    "gradient_p50",
    "gradient_p75",
    "gradient_p90",
    "gradient_p99",
    "laplacian_p50",
    "laplacian_p90",
    "laplacian_p99",
    "laplacian_std",
    "half_ggd_shape",
    "half_ggd_variance",
    "half_gradient_p90",
    "half_laplacian_std",
    "grid8",
    "noise",
    "luma_mean",
    "luma_std",
    "dark_share",
    "bright_share",
    "saturation",
    "colourfulness",
    "red_green",
    "yellow_blue",
)
"""The numbers of `Glance.picture`, in order; `half_`: at half its size. Compare by these names: their count may change."""


@dataclass(frozen=True)
class Glance:
    """What a glance saw.

    bitstream: from the packets. picture: (len(PICTURE_NAMES),) float32, finite, statistics of the keyframe; None where only
    packets were read, or the keyframe cannot be decoded. black: share of black pixels in the keyframe, 0-1; 0 where
    `picture` is None. thumbnail: (72, W, 3) uint8 RGB of the keyframe, None where `picture` is None. audio: the segment's sound,
    without its loudness, peak and clipped samples; None where nobody listened.
    """

    bitstream: Bitstream
    picture: FloatArray | None = None
    black: float = 0.0
    thumbnail: NDArray[np.uint8] | None = None
    audio: AudioFacts | None = None


def headers_only(path: Path, sound: bool = True) -> Glance:
    """A glance without a picture: what the packets say; a few hundredths of a full decode.

    sound: whether to listen, too. Raises `MediaError` where the file is no video that can be read.
    """
    from scorer.sampling.scan import scanned

    with scanned(path, sound) as scan:
        return Glance(scan.bitstream, audio=scan.audio)


def glance(path: Path, sound: bool = True) -> Glance:
    """What the packets say, and the statistics of the first keyframe; about a tenth of a full decode.

    sound: whether to listen, too. Raises `MediaError` where the file is no video that can be read, or its pictures are too large.
    """
    from scorer.sampling.glancing import look

    scan, keyframe = look(path, sound)
    if keyframe is None:
        return Glance(scan.bitstream, audio=scan.audio)
    return Glance(scan.bitstream, keyframe.picture, keyframe.black, keyframe.thumbnail, scan.audio)
