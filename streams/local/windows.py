"""A scored file: its windows, and its record for scripts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scorer.sampling.audio.facts import rounded
from scorer.spec import LEVELS, ClipScore, SampledClip, Window

if TYPE_CHECKING:
    from scorer.sampling.bitstream.facts import Bitstream

SEGMENT_SECONDS = 2.0


@dataclass(frozen=True)
class ScoredWindow:
    """One segment of a file."""

    window: Window
    clip: SampledClip
    score: ClipScore


PIXELS = ("frames", "portrait", "faces", "clip")


def without_pixels(clip: SampledClip) -> SampledClip:
    """What a record and a plot need of a scored clip: 750 kB of pixels for each window would fill the memory in some hours."""
    return replace(clip, **{name: getattr(clip, name)[:0].copy() for name in PIXELS})


def record(name: str | Path, windows: Sequence[ScoredWindow]) -> dict[str, Any]:
    """The record of one file: means over its segments, weighted by their length, and each segment's own values.

    name: its path or address.
    """
    weights = np.array([scored.clip.info.duration or SEGMENT_SECONDS for scored in windows])
    weights /= weights.sum()

    def mean(values: Sequence[float]) -> float:
        return float(np.dot(weights, values))

    probabilities = {level: round(mean([scored.score.level_probs[level] for scored in windows]), 4) for level in LEVELS}
    names = windows[0].clip.signals
    return {
        "file": str(name),
        "score": round(mean([scored.score.score for scored in windows]), 2),
        "level": max(LEVELS, key=lambda level: probabilities[level]),
        "level_probs": probabilities,
        "uncertainty": round(mean([scored.score.uncertainty for scored in windows]), 2),
        "faces": {
            "count": int(np.median([scored.clip.face_summary.count for scored in windows])),
            "area": round(mean([scored.clip.face_summary.area for scored in windows]), 4),
        },
        "signals": {name: round(mean([scored.clip.signals[name] for scored in windows]), 4) for name in names},
        "segments": [_segment(scored) for scored in windows],
        "model": asdict(windows[0].score.model),
    }


def _segment(scored: ScoredWindow) -> dict[str, Any]:
    return {
        "start": round(scored.window.start, 3),
        "duration": round(scored.clip.info.duration, 3),
        "score": scored.score.score,
        "level": scored.score.level,
        "uncertainty": scored.score.uncertainty,
        "faces": asdict(scored.clip.face_summary) | {"area": round(scored.clip.face_summary.area, 4)},
        "signals": {name: round(value, 4) for name, value in scored.clip.signals.items()},
        "bitstream": _bitstream(scored.clip.bitstream),
        "audio": rounded(scored.clip.audio) if scored.clip.audio is not None else None,
    }


def _bitstream(bitstream: Bitstream | None) -> dict[str, Any] | None:
    """What the packets of a window say, with the names of the event."""
    if bitstream is None:
        return None
    return {
        "codec": bitstream.codec,
        "width": bitstream.width,
        "height": bitstream.height,
        "fps": round(bitstream.fps, 3),
        "bitrate": round(bitstream.bitrate),
        "qp_mean": None if bitstream.qp_mean is None else round(bitstream.qp_mean, 2),
    }
