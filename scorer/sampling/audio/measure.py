"""From the audio packets of a file to the `AudioFacts` of its windows.

Nothing here fails a segment: a codec that is not decoded, damage, or too much of anything only leaves facts out.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from scorer.sampling.audio.decode import Sound, TooMuchError, is_decoded, sounds
from scorer.sampling.audio.facts import NO_AUDIO, AudioFacts
from scorer.sampling.audio.loudness import HOP_SECONDS, loudness_of, weights_of
from scorer.sampling.audio.meter import Measured, Meter, decibels
from scorer.sampling.audio.track import AudioTrack
from scorer.sampling.stamps import shown_at
from scorer.spec import Window

MOST_CHANGES = 8
"""Times that a window's sound may change its rate or channels; each takes a meter of its own."""

SPARE_SECONDS = 10.0
"""Sound that may go on after the pictures' end."""

PREROLL_SECONDS = 0.5
"""Sound before the first window that is decoded: many codecs need the packet before."""

SILENT_DBFS = -60.0
"""A stretch of 100 ms is silent if no channel's mean square is over this. A live microphone in a quiet room is over it."""

ROUNDING_SECONDS = 0.15
"""A track may be so much shorter than the pictures without any silence: packets of sound do not end where pictures do."""


def audio_facts(
    track: AudioTrack, windows: Sequence[Window], first: float | None, is_whole: bool, with_loudness: bool
) -> list[AudioFacts]:
    """The facts of each window, from the packets that the track keeps.

    windows: ascending and without gaps, with their durations. first: seconds of the first picture on the container's clock, None
    where that is not known. is_whole: the only window is the whole file, and all sound belongs to it, whatever its stamps are.
    with_loudness: whether loudness is measured, which takes most of the time.
    """
    opening = next(track.packets(), None)
    if track.first is None or opening is None or not windows:
        return [NO_AUDIO] * len(windows)
    context = track.first.codec_context
    codec = None if context is None else context.codec.canonical_name
    heard = _Heard(windows, first, is_whole, with_loudness)
    if codec is not None and track.is_whole and is_decoded(codec):
        heard.listen(track)
    rate, channels = heard.form or ((0, 0) if context is None else (context.sample_rate, context.channels))
    facts = AudioFacts(True, codec, rate or None, channels or None)
    told = [replace(facts, **_told(found, _seconds_of(window))) for found, window in zip(heard.found(), windows, strict=True)]
    began = heard.began if heard.began is not None else shown_at(opening)
    if began is not None and first is not None and windows[0].start <= 0:
        told[0] = replace(told[0], offset_ms=(began - first) * 1000)
    return told


@dataclass
class _Heard:
    """What was heard in each window. began: seconds of the first sound on the container's clock. form: its rate and channels."""

    windows: Sequence[Window]
    first: float | None
    is_whole: bool
    with_loudness: bool
    began: float | None = None
    form: tuple[int, int] | None = None
    _meters: list[list[_WindowMeter]] = field(init=False)
    _is_spoiled: bool = False

    def __post_init__(self) -> None:
        self._meters = [[] for _ in self.windows]

    def listen(self, track: AudioTrack) -> None:
        """Decode what the windows need of the track, and measure it."""
        start, last = self.windows[0].start, self.windows[-1]
        begin, end = start - PREROLL_SECONDS if start > 0 else -math.inf, last.start + _seconds_of(last)
        packets = (packet for packet in track.packets() if self.is_whole or self._is_within(shown_at(packet), begin, end))
        try:
            for sound in sounds(packets):
                self._take(sound)
        except (TooMuchError, MemoryError):
            self._is_spoiled = True

    def found(self) -> list[list[Measured] | None]:
        """What was measured in each window, in one piece for each form of the sound; None where nothing was decoded at all."""
        if self._is_spoiled or self.form is None:
            return [None] * len(self.windows)
        return [[meter.meter.finish() for meter in meters] for meters in self._meters]

    def _is_within(self, time: float | None, begin: float, end: float) -> bool:
        return time is not None and self.first is not None and begin <= time - self.first < end

    def _take(self, sound: Sound) -> None:
        if self.began is None:
            self.began, self.form = sound.time, (sound.rate, len(sound.channels))
        place = self._place(sound.time)
        if place is None:
            return
        meters, seconds = self._meters[place], _seconds_of(self.windows[place]) + SPARE_SECONDS
        if not meters or (meters[-1].rate, meters[-1].channels) != (sound.rate, sound.channels):
            if len(meters) > MOST_CHANGES:
                raise TooMuchError
            meters.append(_WindowMeter(sound.rate, sound.channels, self.with_loudness))
        if sum(meter.seconds for meter in meters) < seconds:
            meters[-1].add(sound)

    def _place(self, time: float | None) -> int | None:
        """The window of some sound, None where it is in none."""
        if self.is_whole:
            return 0
        if time is None or self.first is None:
            return None
        place = bisect_right([window.start for window in self.windows], time - self.first) - 1
        if place < 0:
            return 0 if self.windows[0].start <= 0 else None
        window = self.windows[place]
        return place if time - self.first < window.start + _seconds_of(window) else None


class _WindowMeter:
    """Measures sound of one form in one window."""

    def __init__(self, rate: int, channels: tuple[str, ...], with_loudness: bool) -> None:
        self.rate, self.channels, self.seconds = rate, channels, 0.0
        self.meter = Meter(rate, len(channels), weights_of(channels) if with_loudness else None)

    def add(self, sound: Sound) -> None:
        """Take in more of it."""
        self.seconds += sound.samples.shape[1] / self.rate
        self.meter.add(sound.samples)


def _told(found: list[Measured] | None, duration: float) -> dict[str, Any]:
    """The measured facts by name. duration: seconds of the window."""
    if found is None:
        return {}
    powers = np.concatenate([np.zeros(0), *(part.powers for part in found)])
    energies = np.concatenate([np.zeros(0), *(part.energies for part in found)])
    heard = len(powers) * HOP_SECONDS
    missing = max(0.0, duration - heard)
    missing = missing if missing > ROUNDING_SECONDS else 0.0
    quiet = int(np.count_nonzero(powers <= 10 ** (SILENT_DBFS / 10))) * HOP_SECONDS
    samples = sum(part.samples for part in found)
    return {
        "loudness": loudness_of(energies),
        "peak": decibels(max(part.peak for part in found)) if samples else None,
        "silent": (quiet + missing) / (heard + missing) if heard + missing else None,
        "clipped": sum(part.clipped for part in found) / samples if samples else None,
    }


def _seconds_of(window: Window) -> float:
    assert window.duration is not None
    return window.duration
