"""What is known of a segment's sound."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class AudioFacts:
    """The first audio track of a segment; all but `present` is None where there is none, and where it is not known.

    present: there is a track with something in it. codec: FFmpeg's name, e.g. "aac". sample_rate: Hz. channels: how many.
    loudness: LUFS, integrated over the segment after ITU-R BS.1770-4; -70, its gate, for all that is quieter; None too for less
    than 400 ms. peak: dBFS of the largest sample, at least -120; over 0 where a codec went over full scale. silent: share of the
    segment's time, 0-1, in which each 100 ms of each channel are under -60 dBFS; time without sound counts. clipped: share of the
    samples, 0-1, that are at full scale in runs of three or more. offset_ms: from the first picture to the first sound, by their
    stamps, ms; more than 0 where the sound begins later. A glance leaves out loudness, peak and clipped (see `spots`).
    """

    present: bool
    codec: str | None = None
    sample_rate: int | None = None
    channels: int | None = None
    loudness: float | None = None
    peak: float | None = None
    silent: float | None = None
    clipped: float | None = None
    offset_ms: float | None = None


NO_AUDIO = AudioFacts(False)

DIGITS = {"loudness": 2, "peak": 2, "silent": 4, "clipped": 6, "offset_ms": 1}
"""Digits after the point with which facts are told: no listener and no player tells more of them apart."""


def rounded(audio: AudioFacts) -> dict[str, Any]:
    """The facts by name, as scores and records tell them."""
    told = dict(vars(audio))  # not asdict, which copies each number by a call of its own
    return told | {name: round(told[name], digits) for name, digits in DIGITS.items() if told[name] is not None}
