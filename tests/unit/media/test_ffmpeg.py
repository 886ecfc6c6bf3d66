"""The runner of ffmpeg: limits, and the reason of a failure."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.errors import MediaError
from streams.media import ffmpeg
from tests.support.media import make_clip


def test_a_run_writes_its_output(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4", 160, 120, 0.2)
    finished = ffmpeg.run(clip, ["-c", "copy", str(tmp_path / "b.mkv")], timeout=60, task="copying")
    assert finished.code == 0
    assert (tmp_path / "b.mkv").stat().st_size


def test_the_reason_of_a_failure_is_ffmpegs_last_line(tmp_path: Path) -> None:
    finished = ffmpeg.run(tmp_path / "none.mp4", ["-f", "null", "-"], input_options=["-v", "error"], timeout=60, task="reading")
    assert finished.code != 0
    assert finished.reason.splitlines() == [finished.reason]
    assert finished.reason in finished.stderr.decode()
    assert ffmpeg.Finished(1, b" \n").reason == "no reason given"


def test_the_cause_of_a_failure_is_ffmpegs_first_line_without_the_name_of_its_part() -> None:
    stderr = b"[mpegts @ 0x55c0] first pts and dts value must be set\n[out#0/segment @ 0x55c1] Terminating thread\n"
    assert ffmpeg.Finished(1, stderr).cause == "first pts and dts value must be set"
    assert ffmpeg.Finished(1, b"").cause == "no reason given"


def test_a_run_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4", 1280, 720, 2)
    output = ["-vf", "loop=loop=-1:size=50", "-f", "null", "-"]
    with pytest.raises(MediaError, match=r"looping took more than 0\.3 s") as late:
        ffmpeg.run(clip, output, timeout=0.3, task="looping")
    assert late.value.kind == "timeout"


def test_an_output_larger_than_the_limit_is_a_failure(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4", 320, 240, 1)
    limits = ffmpeg.ChildLimits(memory=2**31, output=10_000)
    finished = ffmpeg.run(clip, ["-f", "rawvideo", str(tmp_path / "b.raw")], timeout=60, task="decoding", limits=limits)
    assert finished.code != 0
    assert (tmp_path / "b.raw").stat().st_size <= 10_000


def test_the_version_is_named() -> None:
    assert ffmpeg.version().startswith("ffmpeg version ")
