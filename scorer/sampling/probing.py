"""What a file holds, told without decoding it where its header says enough."""

from __future__ import annotations

import math
from pathlib import Path

from scorer.sampling.decode import open_video
from scorer.sampling.facts import VideoFacts


def probe(path: Path) -> VideoFacts:
    """What the file holds, by its header, or by all packets if that has no duration. Raises `MediaError` without a video."""
    with open_video(path) as video:
        duration = video.header_duration()
        if duration is None:
            duration = video.timeline(0.0, math.inf).end or 0.0
        told = video.width, video.height, video.codec, duration, video.index, video.container
        return VideoFacts(*told, video.changes, video.is_timed, *video.stamping)
