"""What the alerts know of a rendition's sound. Pure functions."""

from __future__ import annotations

from dataclasses import replace

from streams.alerts.averages import averaged, weight_of
from streams.alerts.limits import Alerts
from streams.alerts.state import Sound
from streams.events import SegmentScore


def silence_of(score: SegmentScore) -> float | None:
    """Share of a segment's time without sound, 0-1, all of it without an audio track; None where nobody knows."""
    if score.audio is None:
        return None
    return score.audio.silent if score.audio.present else 1.0


def is_known(sound: Sound, limits: Alerts) -> bool:
    """Whether a rendition has had sound for so long that its silence is worth an alert."""
    return sound.heard > 0 and sound.heard >= limits.silent.warm_up


def with_segment(sound: Sound, score: SegmentScore, silence: float, limits: Alerts) -> Sound:
    """What is known after one more segment. silence: of the segment, as `silence_of` gives it."""
    assert score.audio is not None
    sound = replace(sound, silence=round(silence, 4), lost=not score.audio.present)
    if silence >= limits.silent.threshold:
        return sound
    usual = sound.usual
    if score.audio.loudness is not None:
        usual = round(averaged(usual, score.audio.loudness, weight_of(score.duration, limits.quality_drop.baseline)), 2)
    # A warm-up of 0 still needs one segment with sound.
    counted = min(sound.heard + score.duration, max(limits.silent.warm_up, score.duration))
    return replace(sound, heard=max(sound.heard, counted), usual=usual)
