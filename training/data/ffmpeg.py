"""How this room runs ffmpeg: one thread each, so that the same input always makes the same pictures."""

from __future__ import annotations

import errno
import os
import re
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import cv2
import imageio_ffmpeg

FPS = 25
"""Frame rate of the references of `training.data.references`, and of what is made of them."""

FFMPEG = (imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-v", "error", "-y", "-threads", "1", "-filter_threads", "1")
"""Start of every command. `-threads 1` here is for decoders; `run_ffmpeg` adds the encoder's."""

DISK_FULL = 256 - errno.ENOSPC
"""ffmpeg's exit status where its output cannot be written for lack of space: the negative number of the error, in a byte."""


def run_ffmpeg(*arguments: object) -> None:
    """Run ffmpeg with these arguments, the output last.

    Raises OSError where the disk is full, and `subprocess.CalledProcessError` where it fails otherwise.
    """
    command = _command(arguments)
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=300, check=False)
    _check_end(done.returncode, command)


def pipe_to_ffmpeg(pictures: Iterable[bytes], order: str, width: int, height: int, rate: object, *arguments: object) -> None:
    """Run ffmpeg with these arguments, the output last, and send it the pictures.

    pictures: uint8, width x height px in three channels, in the order `bgr24` or `rgb24`. rate: pictures a second. Raises as
    `run_ffmpeg`, and what the pictures raise.
    """
    raw = ("-f", "rawvideo", "-pix_fmt", order, "-s", f"{width}x{height}", "-r", rate, "-i", "-")
    command = _command((*raw, *arguments))
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdin is not None
        # ffmpeg ends early where it fails; its exit status says so below.
        with suppress(BrokenPipeError), process.stdin:
            for picture in pictures:
                process.stdin.write(picture)
    _check_end(process.returncode, command)


def _command(arguments: Iterable[object]) -> list[str]:
    """ffmpeg with these arguments, the output last."""
    *before, output = map(str, arguments)
    # Encoders use threads too unless told otherwise, and the number of threads changes what some encoders write.
    return [*FFMPEG, *before, "-threads", "1", output]


def _check_end(status: int, command: list[str]) -> None:
    """Raise what a run of ffmpeg ended with. A full disk is no fault of its input, and ends the making of data."""
    if status == DISK_FULL:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), command[-1])
    if status:
        raise subprocess.CalledProcessError(status, command)


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
