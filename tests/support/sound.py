"""Clips with sound, made by ffmpeg: tones and noise of known level, beside a small picture."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import imageio_ffmpeg

from tests.support.media import ffmpeg

TONE = "sine=frequency=997:sample_rate={rate},aformat=sample_fmts=flt,volume={gain}dB,pan=stereo|c0=c0|c1=c0"
"""lavfi's sine has a peak of -18 dBFS (1/8)."""

SINE_DBFS = -18.06
PICTURE = ("-f", "lavfi", "-i", "testsrc2=size=64x48:rate=10")
VIDEO = ("-c:v", "mpeg4", "-q:v", "9", "-threads", "1")


def make_sound(
    path: Path, source: str, codec: str = "aac", *options: str, seconds: float = 2.0, channels: int = 2, rate: int = 48_000
) -> Path:
    """A clip whose sound is one of lavfi's sources. codec, options: the encoder and its options."""
    sound = ("-f", "lavfi", "-i", source, "-ac", str(channels), "-ar", str(rate))
    ffmpeg(*PICTURE, *sound, "-t", str(seconds), *VIDEO, "-c:a", codec, *options, path)
    return path


def tone(dbfs: float, rate: int = 48_000) -> str:
    """The source of a sine of 997 Hz whose peak is at this level."""
    return TONE.format(rate=rate, gain=dbfs - SINE_DBFS)


def loudness_by_ffmpeg(path: Path) -> float:
    """Integrated loudness of a file's sound, LUFS, by ffmpeg's own filter."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-nostats", "-i", str(path), "-vn"]
    done = subprocess.run([*command, "-af", "ebur128", "-f", "null", "-"], capture_output=True, check=True)
    return float(re.findall(rb"I:\s+(-?[0-9.]+) LUFS", done.stderr)[-1])
