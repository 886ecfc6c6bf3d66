"""Reads the packets of a segment's video in one pass, and the headers of its slices. No picture is decoded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

from scorer.errors import MediaError
from scorer.sampling.audio.facts import AudioFacts
from scorer.sampling.audio.spots import glanced_facts
from scorer.sampling.audio.track import AudioTrack
from scorer.sampling.bitstream.facts import Bitstream
from scorer.sampling.bitstream.packets import Packets, bitstream_of, duration_of, shown_pictures
from scorer.sampling.opening import open_container, open_media
from scorer.sampling.parts import parts_of
from scorer.sampling.rates import USUAL_STEP, step_of
from scorer.sampling.sizes import check_size
from scorer.sampling.sound_parts import demuxed_with_sound
from scorer.sampling.tracks import shown_video
from scorer.sampling.transport import HEAD_BYTES


@dataclass(frozen=True)
class Scan:
    """What one pass over the packets gave. audio: what a glance tells of it, None where nobody listened.

    key: the `av.Packet` of the first keyframe, None without one. context: the decoder for it, not yet opened. pixel_aspect:
    width of a pixel divided by its height, None where the file does not say.
    """

    bitstream: Bitstream
    audio: AudioFacts | None
    key: Any | None
    context: Any
    pixel_aspect: Fraction | None


@contextmanager
def scanned(path: Path, sound: bool = True) -> Iterator[Scan]:
    """The packets of the file's video; the file is open meanwhile. Raises `MediaError` where there is no video to be read.

    sound: whether to listen to its audio track.
    """
    containers: list[Any] = []
    try:
        with open_media(path) as file:
            yield _scan(file, containers, sound)
    finally:
        for container in containers:
            container.close()


def _scan(file: BinaryIO, containers: list[Any], sound: bool) -> Scan:
    first: Any = None
    key, packets, audio = None, Packets(USUAL_STEP), AudioTrack()
    if not sound:
        audio.close()
    parts = parts_of(file)
    for part in parts.video:
        try:
            container, stream = _opened(part, containers, audio)
        except MediaError:
            if first is None:
                raise
            continue  # the sampler leaves out such a part, too
        if first is None:
            first = stream
            packets.step = step_of(stream.average_rate) or step_of(stream.codec_context.framerate) or USUAL_STEP
        tick = float(stream.time_base)
        for packet, hidden in shown_pictures(demuxed_with_sound(container, stream, audio, parts.sound, containers)):
            pts, dts = packet.pts, packet.dts
            packets.add(packet, None if pts is None else pts * tick, None if dts is None else dts * tick, hidden)
            if key is None and packet.is_keyframe and stream is first:
                key = packet
    if not packets.sizes:
        raise MediaError("the file has a video stream but no picture in it; was it cut off?", kind="empty")
    context = first.codec_context
    if all(time is None for time in packets.shown_at):
        packets.step = step_of(context.framerate) or packets.step  # as the sampler does
    facts = bitstream_of(packets, context.codec.canonical_name, context.width, context.height)
    return Scan(facts, _heard(audio, packets) if sound else None, key, context, first.sample_aspect_ratio)


def _heard(audio: AudioTrack, packets: Packets) -> AudioFacts:
    """What is heard beside the video of these packets."""
    # No picture is shown before the first one is decoded: an earlier stamp comes from a clock that has jumped back.
    opening = packets.decoded_at[0]
    began = min((time for time in packets.shown_at if time is not None and (opening is None or time >= opening)), default=None)
    return glanced_facts(audio, duration_of(packets), began)


def _opened(part: BinaryIO, containers: list[Any], audio: AudioTrack) -> tuple[Any, Any]:
    """The demuxer of a part, also added to `containers`, and its video stream; `audio` listens to it. Raises `MediaError`."""
    part.seek(0)
    head = part.read(HEAD_BYTES)
    # Some codecs tell the pictures' size to their decoder only: then the file is opened as the sampler does it.
    for is_quick in (True, False):
        container = open_container(part, is_quick=is_quick)
        containers.append(container)
        stream = shown_video(container.streams.video, head)
        context = stream.codec_context
        if context is not None and context.width and context.height:
            break
    if context is None:
        raise MediaError("the video's codec is not known to this build of FFmpeg; transcode it to H.264", kind="undecodable")
    check_size(context.width, context.height)
    audio.choose(container.streams.audio, stream, head)
    return container, stream
