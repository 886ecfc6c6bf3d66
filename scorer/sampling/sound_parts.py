"""Reads the sound of a transport stream in which it goes on with another PID or codec.

The demuxer that reads the pictures gives out the first sound alone, and its decoder is that of the last one. So each part of the
file, from one change of the sound to the next, has a demuxer of its own for its sound.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from scorer.errors import MediaError
from scorer.sampling.audio.track import AudioTrack
from scorer.sampling.discards import with_fragments_that_step_back
from scorer.sampling.opening import open_container
from scorer.sampling.parts import Part
from scorer.sampling.replay import demuxed
from scorer.sampling.tracks import heard_audio, shown_video
from scorer.sampling.transport import HEAD_BYTES


def demuxed_with_sound(
    container: Any, stream: Any, audio: AudioTrack, parts: Sequence[Part], containers: list[Any]
) -> Iterator[Any]:
    """The packets of a video stream from where its container is; `audio` takes those of the sound that stand between them.

    parts: of the sound, if it has any. containers: gets the demuxers that are opened for them, which must stay open until the
    sound is decoded.
    """
    packets = with_fragments_that_step_back(demuxed(container, stream, None if parts else audio))
    return _with_sound(packets, audio, _sound(parts, containers)) if parts and audio.is_open else packets


def _with_sound(packets: Iterator[Any], audio: AudioTrack, sound: Iterator[tuple[int, Any]]) -> Iterator[Any]:
    """The same packets, from anywhere in the file on. Sound over `HEAD_BYTES` before the first of them is left out."""
    begin: int | None = None
    waiting = next(sound, None)
    for packet in packets:
        if packet.pos is not None:
            begin = packet.pos - HEAD_BYTES if begin is None else begin
            while waiting is not None and waiting[0] <= packet.pos:
                if waiting[0] >= begin:
                    audio.add(waiting[1])
                waiting = next(sound, None)
        yield packet
    if waiting is not None:
        audio.add(waiting[1])
    for _, heard in sound:
        audio.add(heard)


def _sound(parts: Sequence[Part], containers: list[Any]) -> Iterator[tuple[int, Any]]:
    """The packets of the parts' sound, each with its place in the file, bytes."""
    for part in parts:
        part.seek(0)
        head = part.read(HEAD_BYTES)
        try:
            container = open_container(part, is_quick=True)  # type: ignore[arg-type]
            containers.append(container)
            streams = heard_audio(container.streams.audio, shown_video(container.streams.video, head), head)
        except MediaError:
            continue
        place = part.begin
        for packet in demuxed(container, streams[0], None) if streams else ():
            place = place if packet.pos is None else part.begin + packet.pos
            yield place, packet
