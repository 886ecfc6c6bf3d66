"""Glances without media: for tests of the tiers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from scorer.sampling.bitstream.facts import Bitstream
from scorer.sampling.glance import Glance
from streams.scoring.distance import PICTURE, damage_directions, usual_deviations
from tests.support.doubles import AUDIO

BITSTREAM = Bitstream("h264", 640, 360, 25.0, 700_000.0, 2.0, 1, 20_000.0, 3_000.0, 0.8, 0.0, 28.0, 3.0)
QUICK_AUDIO = replace(AUDIO, loudness=None, peak=None, clipped=None, silent=0.5)
"""The sound as every made-up glance hears it."""

FLAT = np.full(len(usual_deviations()[PICTURE]), 5.0)


def make_glance(
    packets: float = 0.0, picture: float | None = 0.0, black: float = 0.0, damage: float = 0.0, kind: int = 0, **changes: Any
) -> Glance:
    """A glance that differs from `make_glance()` by so many usual differences.

    packets: of the quantiser, the only one of the packets' numbers that moves. picture: of each of the picture's numbers; None
    without a keyframe. damage: of the sum along the direction of damage number `kind`, by as small differences of the picture's
    numbers as can be. changes: other fields of the bitstream.
    """
    bitstream = replace(BITSTREAM, qp_mean=28.0 + packets * usual_deviations()[5], **changes)
    if picture is None:
        return Glance(bitstream, audio=QUICK_AUDIO)
    from streams.scoring.distance import _is_logarithmic

    weights = damage_directions()[kind, PICTURE]
    step = np.nan_to_num(usual_deviations()[PICTURE]) * (picture + damage * weights / (weights @ weights))
    logarithmic = np.expm1(np.log1p(FLAT) + step)
    return Glance(bitstream, np.where(_is_logarithmic(), logarithmic, FLAT + step).astype(np.float32), black, audio=QUICK_AUDIO)
