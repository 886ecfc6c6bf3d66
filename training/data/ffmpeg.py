"""How this room runs ffmpeg: one thread each, so that the same input always makes the same pictures."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import cv2
import imageio_ffmpeg

FPS = 25
"""Frame rate of the references of `training.data.references`, and of what is made of them."""

FFMPEG = (imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-v", "error", "-y", "-threads", "1", "-filter_threads", "1")
"""Start of every command. `-threads 1` here is for decoders; `run_ffmpeg` adds the encoder's."""


def run_ffmpeg(*arguments: object) -> None:
    """Run ffmpeg with these arguments, the output last; raises `subprocess.CalledProcessError` where it fails."""
    command = [*FFMPEG, *map(str, arguments)]
    # Encoders use threads too unless told otherwise, and the number of threads changes what some encoders write.
    command[-1:-1] = ["-threads", "1"]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=300)


def filter_value(value: object) -> str:
    """A value of an option in a filter graph: what the option's parser and the graph's take for their own signs is escaped."""
    option = re.sub(r"([\\':])", r"\\\1", str(value))
    return re.sub(r"([\\'\[\],;])", r"\\\1", option)


def picture_rate(video: Path) -> float:
    """Pictures per second of a video."""
    capture = cv2.VideoCapture(str(video))
    rate = float(capture.get(cv2.CAP_PROP_FPS))
    capture.release()
    return rate


def picture_size(video: Path) -> tuple[int, int]:
    """(width, height) of a video, px."""
    capture = cv2.VideoCapture(str(video))
    size = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
    capture.release()
    return size


def picture_count(video: Path) -> int:
    """Pictures of a video. They are counted: what a header says may be an estimate."""
    capture = cv2.VideoCapture(str(video))
    count = 0
    while capture.grab():
        count += 1
    capture.release()
    return count
