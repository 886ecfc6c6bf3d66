"""Decodes audio packets, within limits: media are hostile input."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import chain
from typing import Any

import numpy as np
from av.error import FFmpegError

from scorer.sampling.audio.loudness import Samples

DECODED = {"aac", "aac_latm", "ac3", "alac", "eac3", "flac", "mp2", "mp3", "opus", "vorbis"}
"""Codecs that are decoded, by FFmpeg's names, beside all kinds of PCM. Streams have no others, and FFmpeg knows a hundred."""

RATES, MOST_CHANNELS = range(8_000, 192_001), 16
"""Samples a second, and channels, of sound that is measured."""

MOST_PLANES = 8
"""Channels of a frame that has each in a plane of its own: PyAV reads past the end of FFmpeg's list of more planes."""

MOST_FRAME_SAMPLES = 1 << 18
"""Samples of a channel that one packet may hold: FLAC has at most 65,535 of them. The decoder checks before it allocates."""

MOST_SAMPLES = 1 << 26
"""Samples of all channels that are decoded in one call: 11 minutes of stereo at 48 kHz. A few bytes can hold many of them."""

SCALES = {"flt": 1.0, "dbl": 1.0, "s16": 2.0**-15, "s32": 2.0**-31, "u8": 2.0**-7}
"""By FFmpeg's name of the samples' format, without the p of planar ones: what makes them parts of full scale."""

TYPES = {"flt": np.float32, "dbl": np.float64, "s16": np.int16, "s32": np.int32, "u8": np.uint8}
"""How numpy calls these samples."""


class TooMuchError(Exception):
    """There are more samples than are decoded."""


def is_decoded(codec: str) -> bool:
    """Whether sound of this codec, by FFmpeg's name, is decoded."""
    return codec in DECODED or codec.startswith("pcm_")


def frames(packets: Iterable[Any]) -> Iterator[Any]:
    """The `av.AudioFrame`s of a track's packets, in their order, that can be measured; damaged packets are left out.

    packets: `av.Packet`s, whose containers are open. Where a file goes on in another part, they have another decoder. No decoder
    knows of what it decoded in an earlier call. Raises `TooMuchError`.
    """
    count = 0
    for frame in _decoded(packets):
        channels = frame.layout.nb_channels
        count += frame.samples * channels
        if count > MOST_SAMPLES:
            raise TooMuchError
        if frame.samples and frame.sample_rate in RATES and 0 < channels <= _most_channels(frame.format.name):
            yield frame


def channel_names(frame: Any) -> tuple[str, ...]:
    """FFmpeg's short names of a frame's channels."""
    return tuple(channel.name for channel in frame.layout.channels)


def samples_of(frame: Any) -> Samples:
    """(C, N) samples of one of `frames`; 1.0 is full scale."""
    form, channels = _packed(frame.format.name), frame.layout.nb_channels
    if frame.format.is_planar:
        # PyAV's own array has a ninth row of eight planes: where FFmpeg's list of them is full, nothing ends it.
        values = np.stack([np.frombuffer(plane, TYPES[form], frame.samples) for plane in frame.planes[:channels]])
    else:
        values = np.frombuffer(frame.planes[0], TYPES[form], frame.samples * channels).reshape(-1, channels).T
    scale = SCALES[form]
    if values.dtype == np.uint8:
        values = values.astype(np.float32) - 128
    return values.astype(np.float32) * np.float32(scale) if scale != 1.0 else np.asarray(values, np.float32)


def _decoded(packets: Iterable[Any]) -> Iterator[Any]:
    context: Any = None
    # None at the end: the decoder still holds sound, and gives it out.
    for packet in chain(packets, [None]):
        following = None if packet is None else packet.stream.codec_context
        if following is not context:
            if context is not None:
                yield from _frames_of(context, None)
            context = following
            if context is not None:
                _prepare(context)
        if packet is not None and context is not None:
            yield from _frames_of(context, packet)


def _prepare(context: Any) -> None:
    """Make a decoder ready: for its first packet, or after it was used."""
    if context.is_open:
        context.flush_buffers()
        return
    # One thread: the pool runs several children at once.
    context.thread_count = 1
    context.options = {"max_samples": str(MOST_FRAME_SAMPLES)}


def _frames_of(context: Any, packet: Any) -> list[Any]:
    try:
        return list(context.decode(packet))
    except (FFmpegError, ValueError):  # a damaged packet is skipped
        return []


@lru_cache(maxsize=32)
def _most_channels(form: str) -> int:
    """How many channels frames of this format may have; 0 where it is not measured."""
    if _packed(form) not in SCALES:
        return 0
    return MOST_CHANNELS if form == _packed(form) else MOST_PLANES


def _packed(form: str) -> str:
    return form.removesuffix("p")
