"""What the packets of a segment say, as numbers that can be compared with those of the stream's other segments."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Bitstream:
    """The video track of a segment, read from its packets; no picture is decoded for it.

    codec: FFmpeg's name of the codec, e.g. "h264". width, height: px, as they are coded. fps: pictures a second.
    bitrate: bit/s of the video track. gop: seconds from one keyframe to the next, the mean; None with fewer than two
    keyframes. keyframes: how many. key_bytes: mean bytes of a keyframe; 0 without one. other_bytes: mean bytes of the other
    pictures; 0 where all are keyframes. other_spread: standard deviation of log2 of their bytes. smallest: share of them,
    0-1, that have less than 1/8 of their mean: a hint of frozen pictures. qp_mean, qp_spread: mean and standard deviation
    of the slices' quantisers, from their headers, of H.264 (0-51 at 8 bits, lower with more) and HEVC; None for other
    codecs and where the headers of fewer than half of the pictures can be read. largest: share of the other pictures' bytes
    that the largest fifth of them has, 0-1; near 1 where most pictures repeat the one before; 0 where all are keyframes.
    """

    codec: str
    width: int
    height: int
    fps: float
    bitrate: float
    gop: float | None
    keyframes: int
    key_bytes: float
    other_bytes: float
    other_spread: float
    smallest: float
    qp_mean: float | None = None
    qp_spread: float | None = None
    largest: float = 0.0
