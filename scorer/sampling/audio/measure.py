"""From the audio packets of a file to the `AudioFacts` of its windows.

Nothing here fails a segment: a codec that is not decoded, damage, or too much of anything only leaves facts out.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from av import AudioFifo

from scorer.sampling.audio.decode import TooMuchError, channel_names, frames, is_decoded, samples_of
from scorer.sampling.audio.facts import NO_AUDIO, AudioFacts
from scorer.sampling.audio.loudness import HOP_SECONDS, loudness_of, weights_of
from scorer.sampling.audio.meter import Measured, Meter, decibels
from scorer.sampling.audio.track import AudioTrack
from scorer.sampling.clock import LONGEST_GAP
from scorer.sampling.stamps import seconds_of, shown_at
from scorer.spec import Window

MOST_CHANGES = 8
"""Times that a window's sound may change its rate or channels; each takes a meter of its own."""

SPARE_SECONDS = 10.0
"""Sound that may go on after the pictures' end."""

PREROLL_SECONDS = 0.5
"""Sound before the first window that is decoded: many codecs need the packet before."""

SILENT_POWER = 1e-6
"""-60 dBFS. 100 ms are silent if no channel's mean square is over this. A live microphone in a quiet room is over it."""

PIECE_SECONDS = 0.8
"""Sound that is measured at once: its arrays fit into a processor's cache, and the memory needed does not grow with the file."""

ROUNDING_SECONDS = 0.15
"""A track may be so much shorter than the pictures without any silence: packets of sound do not end where pictures do."""


def audio_facts(
    track: AudioTrack,
    windows: Sequence[Window],
    first: float | None,
    is_whole: bool,
    with_loudness: bool = True,
    has_jumps: bool = False,
) -> list[AudioFacts]:
    """The facts of each window, from the packets that the track keeps.

    windows: ascending and without gaps, with their durations. first: seconds of the first picture on the container's clock, None
    where that is not known. is_whole: the only window is the whole file, and all sound belongs to it, whatever its stamps are.
    with_loudness: whether loudness is measured. has_jumps: the pictures' clock jumps; where the sound's own does so, too, it is
    not known to which windows the rest belongs, and those have no measured facts.
    """
    if not windows:
        return []
    facts, is_readable = stated(track)
    heard = _Heard(windows, first, is_whole, with_loudness, has_jumps)
    if is_readable:
        heard.listen(track)
    if heard.form is not None:
        facts = with_form(facts, heard.form)
    told = [replace(facts, **_told(found, _seconds_of(window))) for found, window in zip(heard.found(), windows, strict=True)]
    if windows[0].start <= 0:
        told[0] = with_offset(told[0], track, heard.began, first)
    return told


def stated(track: AudioTrack) -> tuple[AudioFacts, bool]:
    """What the track's headers say, and whether its packets can be decoded."""
    opening = next(track.packets(), None)
    if opening is None:
        return NO_AUDIO, False
    context = opening.stream.codec_context
    if context is None:
        return AudioFacts(True), False
    codec = context.codec.canonical_name
    facts = with_form(AudioFacts(True, codec), (context.sample_rate, context.channels))
    return facts, track.is_whole and is_decoded(codec)


def with_form(facts: AudioFacts, form: tuple[int, int]) -> AudioFacts:
    """The facts with another form. form: Hz and channels, 0 where that is not known."""
    return replace(facts, sample_rate=form[0] or None, channels=form[1] or None)


def with_offset(facts: AudioFacts, track: AudioTrack, began: float | None, first: float | None) -> AudioFacts:
    """The facts with the offset of the sound. began, first: seconds of the first decoded sound, and of the first picture."""
    opening = next(track.packets(), None)
    if opening is None or first is None:
        return facts
    began = began if began is not None else shown_at(opening)
    return facts if began is None else replace(facts, offset_ms=(began - first) * 1000)


def silent_share(quiet: float, heard: float, duration: float) -> float | None:
    """The share of a window that is silent. quiet, heard: seconds of sound under the limit, and of all. duration: its seconds."""
    missing = max(0.0, duration - heard)
    missing = missing if missing > ROUNDING_SECONDS else 0.0
    return (quiet + missing) / (heard + missing) if heard + missing else None


@dataclass
class _Heard:
    """What was heard in each window. began: seconds of the first sound on the container's clock. form: its rate and channels."""

    windows: Sequence[Window]
    first: float | None
    is_whole: bool
    with_loudness: bool
    has_jumps: bool
    began: float | None = None
    form: tuple[int, int] | None = None
    _ended: float | None = None
    """When the last decoded sound ended: of sound that shares a stamp only the first has one, and the rest goes on here."""
    _meters: list[list[_WindowMeter]] = field(init=False)
    _is_spoiled: bool = False
    _known: int = field(init=False)
    """How many windows end before the sound's clock jumps."""

    def __post_init__(self) -> None:
        self._known = len(self.windows)
        self._meters = [[] for _ in self.windows]

    def listen(self, track: AudioTrack) -> None:
        """Decode what the windows need of the track, and measure it."""
        start, last = self.windows[0].start, self.windows[-1]
        begin, end = start - PREROLL_SECONDS if start > 0 else -math.inf, last.start + _seconds_of(last)
        try:
            for frame in frames(track.packets() if self.is_whole else self._within(track.packets(), begin, end)):
                self._take(frame)
        except (TooMuchError, MemoryError):
            self._is_spoiled = True

    def found(self) -> list[list[Measured] | None]:
        """What was measured in each window, in one piece for each form of the sound; None where nothing was decoded at all."""
        if self._is_spoiled or self.form is None:
            return [None] * len(self.windows)
        measured: list[list[Measured] | None] = [[meter.finish() for meter in meters] for meters in self._meters[: self._known]]
        return measured + [None] * (len(self.windows) - self._known)

    def _within(self, packets: Iterable[Any], begin: float, end: float) -> Iterator[Any]:
        """The packets from `begin` to before `end`, s since the first picture; one without a stamp belongs to the one before."""
        is_within, last, ended = False, None, 0.0
        for packet in packets:
            time = shown_at(packet)
            if time is not None and self.first is not None:
                time -= self.first
                if self.has_jumps and last is not None and not 0 <= time - last <= LONGEST_GAP:
                    known = ended + ROUNDING_SECONDS
                    self._known = sum(window.start + _seconds_of(window) <= known for window in self.windows)
                    return
                is_within, last, ended = begin <= time < end, time, time
            ended += seconds_of(packet, packet.duration) or 0.0
            if is_within:
                yield packet

    def _take(self, frame: Any) -> None:
        time = frame.time if frame.time is not None else self._ended
        self._ended = None if time is None else time + frame.samples / frame.sample_rate
        if self.form is None:
            self.began, self.form = time, form_of(frame)
        place = self._place(time)
        if place is None:
            return
        meters, seconds = self._meters[place], _seconds_of(self.windows[place]) + SPARE_SECONDS
        if not meters or not meters[-1].fits(frame):
            if len(meters) > MOST_CHANGES:
                raise TooMuchError
            meters.append(_WindowMeter(frame, self.with_loudness))
        if sum(meter.seconds for meter in meters) < seconds:
            meters[-1].add(frame)

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
    """Measures sound of one form in one window. FFmpeg's queue joins its frames: each one as an array of its own takes longer.

    frame: of that form.
    """

    def __init__(self, frame: Any, with_loudness: bool) -> None:
        self._rate, self._layout, self._format = frame.sample_rate, frame.layout, frame.format.name
        names = channel_names(frame)
        self._queue = AudioFifo()
        self._meter = Meter(self._rate, len(names), weights_of(names) if with_loudness else None)
        self.seconds = 0.0
        """Sound that was added."""

    def fits(self, frame: Any) -> bool:
        """Whether a frame has the form of the others."""
        return bool(frame.sample_rate == self._rate and frame.format.name == self._format and frame.layout == self._layout)

    def add(self, frame: Any) -> None:
        """Take in more sound. The frame's stamp is lost."""
        self.seconds += frame.samples / self._rate
        frame.pts = None  # the queue refuses gaps
        with suppress(ValueError):  # of another time base
            self._queue.write(frame)
        if self._queue.samples >= PIECE_SECONDS * self._rate:
            self._measure()

    def finish(self) -> Measured:
        """What was found."""
        self._measure()
        return self._meter.finish()

    def _measure(self) -> None:
        frame = self._queue.read()
        if frame is not None:
            self._meter.add(samples_of(frame))


def form_of(frame: Any) -> tuple[int, int]:
    """A frame's rate, Hz, and how many channels it has."""
    return frame.sample_rate, frame.layout.nb_channels


def _told(found: list[Measured] | None, duration: float) -> dict[str, Any]:
    """The measured facts by name. duration: seconds of the window."""
    if found is None:
        return {}
    powers = np.concatenate([np.zeros(0), *(part.powers for part in found)])
    energies = np.concatenate([np.zeros(0), *(part.energies for part in found)])
    quiet = int(np.count_nonzero(powers <= SILENT_POWER))
    samples = sum(part.samples for part in found)
    return {
        "loudness": loudness_of(energies),
        "peak": decibels(max(part.peak for part in found)) if samples else None,
        "silent": silent_share(quiet * HOP_SECONDS, len(powers) * HOP_SECONDS, duration),
        "clipped": sum(part.clipped for part in found) / samples if samples else None,
    }


def _seconds_of(window: Window) -> float:
    assert window.duration is not None
    return window.duration
