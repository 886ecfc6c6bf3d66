"""What a glance hears of a segment: its sound at a few spots, and the whole of it where they are not clearly heard.

Of a stream that has sound a tenth is decoded, and `silent` is the share of the spots that are silent. Where half of the spots are
not clearly over the limit, all is decoded, so that `silent` is exact where it matters for an alert.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from scorer.sampling.audio.decode import TooMuchError, frames, samples_of
from scorer.sampling.audio.facts import NO_AUDIO, AudioFacts
from scorer.sampling.audio.loudness import HOP_SECONDS
from scorer.sampling.audio.measure import SILENT_POWER, audio_facts, form_of, silent_share, stated, with_form, with_offset
from scorer.sampling.audio.track import AudioTrack
from scorer.spec import Window

PRIMING = {"aac": 1, "ac3": 1, "eac3": 1, "mp2": 1, "mp3": 3, "opus": 3}
"""Codecs that are heard at spots, by FFmpeg's names, and how many packets before the one that counts prime the decoder.

Each of their packets holds as much sound as the others. Of all other codecs the whole is decoded.
"""

SPOT_SECONDS = 0.5
"""From spot to spot: with more than half of them clearly heard, more than a tenth of the sound's stretches are not silent."""

LEAST_SPOTS = 4

LARGEST_SHARE = 0.5
"""A glance decodes the whole sound rather than spots that are more than this share of it."""

CLEAR = 2 * HOP_SECONDS * SILENT_POWER
"""Power times seconds over which a spot is clearly heard: it may lie in two of the stretches that `silent` counts, and one of
them is then not silent, even if there is nothing else in it.
"""


@dataclass(frozen=True)
class _Spot:
    """began: seconds of the first sound that was decoded. power: mean square of the loudest channel. seconds: measured.

    form: rate and channels.
    """

    began: float | None
    power: float
    seconds: float
    form: tuple[int, int]

    @property
    def is_clear(self) -> bool:
        return self.power * self.seconds > CLEAR


def glanced_facts(track: AudioTrack, duration: float, first: float | None) -> AudioFacts:
    """The facts of a file's sound that a glance tells: without loudness, peak and clipped samples.

    duration: of the pictures, s. first: seconds of the first picture on the container's clock, None where that is not known.
    """
    if not track.count:
        return NO_AUDIO
    facts, is_readable = stated(track)
    spots = _heard_at_spots(track, facts.codec, duration) if is_readable else None
    if spots is None or 2 * sum(spot.is_clear for spot in spots) <= len(spots):
        (facts,) = audio_facts(track, [Window(0.0, duration)], first, is_whole=True, with_loudness=False)
        return replace(facts, loudness=None, peak=None, clipped=None)
    heard = track.count * max(spot.seconds for spot in spots)  # the file's last packet may be cut
    quiet = heard * sum(spot.power <= SILENT_POWER for spot in spots) / len(spots)
    facts = replace(with_form(facts, spots[0].form), silent=silent_share(quiet, heard, duration))
    return with_offset(facts, track, spots[0].began, first)


def _heard_at_spots(track: AudioTrack, codec: str | None, duration: float) -> list[_Spot] | None:
    """The track's spots; None where its whole sound has to be heard."""
    if codec not in PRIMING:
        return None
    packets, size = list(track.packets()), PRIMING[codec] + 1
    count = max(LEAST_SPOTS, round(duration / SPOT_SECONDS))
    if count * size > LARGEST_SHARE * len(packets):
        return None
    spots: list[_Spot] = []
    for number in range(count):
        begin = number * (len(packets) - size) // (count - 1)
        spot = _heard(packets[begin : begin + size])
        if spot is None or (spots and spot.form != spots[0].form):
            return None
        spots.append(spot)
    return spots


def _heard(packets: list[Any]) -> _Spot | None:
    """The sound of the last of these packets; None where they cannot be decoded."""
    try:
        decoded = list(frames(packets))
    except (TooMuchError, MemoryError):
        return None
    if not decoded:
        return None
    last = decoded[-1]
    samples = samples_of(last)
    power = float((np.einsum("cn,cn->c", samples, samples) / last.samples).max())
    return _Spot(decoded[0].time, power, last.samples / last.sample_rate, form_of(last))
