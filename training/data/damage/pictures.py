"""Damage that is made picture by picture: read a clip, change its pictures, write it again at the same rate."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import Colorspace, Interpolation
from numpy.typing import NDArray

from training.data.degradations import NEAR_LOSSLESS
from training.data.ffmpeg import pipe_to_ffmpeg, run_ffmpeg

Picture = NDArray[np.uint8]
"""(H, W, 3) BGR."""

Change = Callable[[Picture, float], Picture]
"""(picture, its time in seconds) -> the damaged picture."""

EXACT = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP
"""How the scaler converts colours: its quick way makes a picture darker by a level or two, there and back."""

EXACT_FILTER = "scale=flags=bicubic+accurate_rnd+full_chroma_int+full_chroma_inp"
"""The same as a filter of ffmpeg."""

DISPLAY_GAMMA = 2.2
"""Display value = light ** (1 / gamma), 0-1."""


@dataclass(frozen=True)
class Shape:
    """What a clip is, beside its pictures."""

    width: int
    height: int
    rate: Fraction
    """Pictures per second."""
    count: int
    """Pictures."""
    is_bt709: bool = False
    """Whether it names the matrix of BT.709. The scaler takes all other pictures of SDR for BT.601's."""


def shape_of(clip: Path) -> Shape:
    """Size, rate and number of pictures of a clip. Raises ValueError where there is no video in it, or no rate."""
    with av.open(str(clip)) as container:
        if not container.streams.video:
            raise ValueError(f"{clip}: there is no video in it")
        stream = container.streams.video[0]
        if not stream.average_rate:
            raise ValueError(f"{clip}: it does not say how many pictures there are in a second")
        # The header's number of frames is an estimate in Matroska, so count the packets; these clips have a picture in each.
        count = sum(1 for packet in container.demux(stream) if packet.size)
        is_bt709 = stream.codec_context.colorspace == Colorspace.ITU709
        return Shape(stream.width, stream.height, Fraction(stream.average_rate), count, is_bt709)


def read(clip: Path) -> Iterator[Picture]:
    """The pictures of a clip, in order."""
    with av.open(str(clip)) as container:
        for frame in container.decode(video=0):
            yield np.asarray(frame.reformat(format="bgr24", interpolation=EXACT).to_ndarray(), np.uint8)


def write(pictures: Iterator[Picture], shape: Shape, target: Path) -> None:
    """Write pictures of that size at that rate and with that matrix, nearly lossless.

    Raises as `pipe_to_ffmpeg`.
    """
    matrix = ":out_color_matrix=bt709" if shape.is_bt709 else ""
    chain = ("-vf", f"{EXACT_FILTER}{matrix}", "-pix_fmt", "yuv420p")
    sent = (np.ascontiguousarray(picture).tobytes() for picture in pictures)
    pipe_to_ffmpeg(sent, "bgr24", shape.width, shape.height, shape.rate, *chain, *NEAR_LOSSLESS, target)


def rewrite(source: Path, target: Path, change: Change) -> None:
    """Write the clip with each of its pictures changed."""
    shape = shape_of(source)
    write((change(picture, number / float(shape.rate)) for number, picture in enumerate(read(source))), shape, target)


def show(stream: Path, shape: Shape, target: Path, *decoding: object) -> None:
    """Write what a player shows of an encoded clip, at its own size, rate and number of pictures again.

    decoding: arguments of ffmpeg for the decoder. Raises `subprocess.CalledProcessError` where ffmpeg fails.
    """
    # A raw stream has no times, so each picture gets its own again. Where the decoder drops the last one, the one before stays.
    chain = f"scale={shape.width}:{shape.height}:flags=bicubic,setpts=N/({shape.rate})/TB,tpad=stop=-1:stop_mode=clone"
    shown = ("-vf", chain, "-r", shape.rate, "-frames:v", shape.count, "-pix_fmt", "yuv420p", *NEAR_LOSSLESS)
    run_ffmpeg(*decoding, "-i", stream, *shown, target)


def multiply_light(picture: Picture, gain: NDArray[np.float64] | float) -> Picture:
    """The picture with its light multiplied; what is brighter than white is clipped. gain: broadcast over (H, W, 3)."""
    return np.clip(picture * np.power(gain, 1 / DISPLAY_GAMMA) + 0.5, 0, 255).astype(np.uint8)
