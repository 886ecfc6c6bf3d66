"""A glance at a segment: what its packets say, and the statistics of one keyframe. It costs a tenth of a full decode.

`headers` reads packets only. `glance` decodes one keyframe as well.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scorer.sampling.bitstream.facts import Bitstream
from scorer.sampling.features import COLOUR, EDGES, GGD, LIGHT
from scorer.sampling.images import Image

FloatArray = NDArray[np.float32]

PICTURE_NAMES: tuple[str, ...] = (
    *GGD,
    *EDGES,
    *(f"half_{name}" for name in GGD),
    "half_gradient_p90",
    "half_laplacian_std",
    "grid8",
    "noise",
    *LIGHT,
    *COLOUR,
)
"""The numbers of `Glance.picture`, in order. Compare by these names: their count may change."""


@dataclass(frozen=True)
class Glance:
    """What a glance saw.

    bitstream: from the packets. picture: (len(PICTURE_NAMES),) float32, finite, statistics of the keyframe; None where only
    packets were read, or the keyframe cannot be decoded. black: share of black pixels in the keyframe, 0-1; 0 where
    `picture` is None. thumbnail: (72, W, 3) uint8 RGB of the keyframe, None where `picture` is None.
    """

    bitstream: Bitstream
    picture: FloatArray | None = None
    black: float = 0.0
    thumbnail: Image | None = None
