"""Which of a file's video streams a player shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from av.stream import Disposition

from scorer.errors import MediaError
from scorer.sampling.transport import programmes

PICTURES_BESIDE = Disposition.attached_pic | Disposition.timed_thumbnails
"""Streams of pictures that belong to sound or to a video, such as covers. No player shows them as the video."""

PARTS_OF_PICTURES = Disposition.dependent | Disposition.still_image
"""Streams that are shown only where the file has no other video."""

IMAGE_CODECS = {"mjpeg", "png", "bmp", "webp", "tiff"}
"""Codecs of single pictures, by FFmpeg's names: beside a track with another codec, such a track is a cover or a slide."""


def shown_video(streams: Sequence[Any], head: bytes) -> Any:
    """Of a file's video streams the one that a player shows. head: the file's first `transport.HEAD_BYTES`.

    Raises `MediaError` of kind "no-video" where there is none but covers.
    """
    groups = programmes(head)

    def place(stream: Any) -> tuple[bool | int, ...]:
        context, disposition = stream.codec_context, stream.disposition
        width, height = (0, 0) if context is None else (context.width, context.height)
        return (
            bool(disposition & PICTURES_BESIDE),
            width * height == 0,
            # Some programs write a cover as a track with one picture, and do not mark it.
            stream.frames == 1 or bool(disposition & PARTS_OF_PICTURES),
            not disposition & Disposition.default,
            next((number for number, pids in enumerate(groups) if stream.id in pids), len(groups)),
            context is not None and context.name in IMAGE_CODECS,
            -width * height,
            stream.index,
        )

    stream = min(streams, key=place, default=None)
    if stream is None or stream.disposition & PICTURES_BESIDE:
        beside = "only sound or data" if stream is None else "only sound and a cover picture"
        raise MediaError(f"the file has no video stream, {beside}; send the video rendition", kind="no-video")
    return stream


def heard_audio(streams: Sequence[Any], shown: Any, head: bytes) -> list[Any]:
    """Those of a file's audio streams of which the first is heard that has something in it: of the shown video's programme where
    it has any.

    shown: the video stream. head: the file's first `transport.HEAD_BYTES`.
    """
    groups = programmes(head) if len(streams) > 1 else []
    own = next((pids for pids in groups if shown.id in pids), {})
    return [stream for stream in streams if stream.id in own] or list(streams)
