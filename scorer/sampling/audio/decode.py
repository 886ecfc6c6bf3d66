"""Decodes audio packets into samples, within limits: media are hostile input."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from av.error import FFmpegError

from scorer.sampling.audio.loudness import Samples

DECODED = {"aac", "aac_latm", "ac3", "alac", "eac3", "flac", "mp2", "mp3", "opus", "vorbis"}
"""Codecs that are decoded, by FFmpeg's names, beside all kinds of PCM. Streams have no others, and FFmpeg knows a hundred."""

RATES, MOST_CHANNELS = range(8_000, 192_001), 16
"""Samples a second, and channels, of sound that is measured."""

MOST_FRAME_SAMPLES = 1 << 18
"""Samples of a channel that one packet may hold: FLAC has at most 65,535 of them. The decoder checks before it allocates."""

MOST_SAMPLES = 1 << 26
"""Samples of all channels that are decoded in one call: 11 minutes of stereo at 48 kHz. A few bytes can hold many of them."""

SCALES = {"float32": 1.0, "float64": 1.0, "int16": 2.0**-15, "int32": 2.0**-31, "uint8": 2.0**-7}
"""By the type of samples, what makes them parts of full scale."""


class TooMuchError(Exception):
    """There are more samples than are decoded."""


@dataclass(frozen=True)
class Sound:
    """Some decoded samples. time: seconds of the first one on the container's clock, None where it has none. rate: Hz.
    channels: FFmpeg's short names. samples: (C, N) float32, 1.0 is full scale.
    """

    time: float | None
    rate: int
    channels: tuple[str, ...]
    samples: Samples


def is_decoded(codec: str) -> bool:
    """Whether sound of this codec, by FFmpeg's name, is decoded."""
    return codec in DECODED or codec.startswith("pcm_")


def sounds(packets: Iterable[Any]) -> Iterator[Sound]:
    """What the packets of a track hold, in their order; damaged ones are left out. Raises `TooMuchError`.

    packets: `av.Packet`s, whose containers are open. Where a file goes on in another part, they have another decoder.
    """
    count = 0
    for frame in _frames(packets):
        channels = tuple(channel.name for channel in frame.layout.channels)
        count += frame.samples * len(channels)
        if count > MOST_SAMPLES:
            raise TooMuchError
        if frame.samples and frame.sample_rate in RATES and 0 < len(channels) <= MOST_CHANNELS:
            samples = _samples(frame, len(channels))
            if samples is not None:
                yield Sound(frame.time, frame.sample_rate, channels, samples)


def _frames(packets: Iterable[Any]) -> Iterator[Any]:
    context: Any = None
    # None at the end: the decoder still holds sound, and gives it out.
    for packet in chain(packets, [None]):
        following = None if packet is None else packet.stream.codec_context
        if following is not context:
            if context is not None:
                yield from _decoded(context, None)
            context = following
            if context is not None:
                # One thread: the pool runs several children at once.
                context.thread_count = 1
                context.options = {"max_samples": str(MOST_FRAME_SAMPLES)}
        if packet is not None and context is not None:
            yield from _decoded(context, packet)


def _decoded(context: Any, packet: Any) -> Iterator[Any]:
    with suppress(FFmpegError, ValueError):  # a damaged packet is skipped
        yield from context.decode(packet)


def _samples(frame: Any, channels: int) -> Samples | None:
    """A frame's samples; None where their type is none of `SCALES`."""
    try:
        values = frame.to_ndarray()
    except ValueError:
        return None
    scale = SCALES.get(values.dtype.name)
    if scale is None:
        return None
    if not frame.format.is_planar:
        values = values.reshape(-1, channels).T
    if values.dtype == np.uint8:
        values = values.astype(np.float32) - 128
    return values.astype(np.float32) * np.float32(scale) if scale != 1.0 else np.asarray(values, np.float32)
