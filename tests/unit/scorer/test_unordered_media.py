"""Reordered pictures of which stamps do not tell when they are shown: the decoder's order is the one that is shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scorer.sampling import decode, opening
from scorer.sampling.decode import open_video
from scorer.sampling.sampler import sample
from scorer.sampling.stamps import tells_order
from tests.support.doubles import SPEC
from tests.support.media import ffmpeg, make_clip

H264 = ("-c:v", "libx264", "-bf", "3", "-g", "25", "-pix_fmt", "yuv420p")


class Decoder:
    def __init__(self, name: str, has_b_frames: bool) -> None:
        self.name, self.has_b_frames = name, has_b_frames


def shown(path: Path, start: float = 0.0, references_only: bool = False) -> list[tuple[float, int]]:
    """Time and brightness of each picture from `start` on."""
    with open_video(path, references_only) as video:
        return [
            (round(time, 2), int(np.mean(frame.to_ndarray(format="gray"))))
            for time, frame, *_ in video.course(start).frames(start)
        ]


@pytest.mark.parametrize("name", ["clip.avi", "clip.asf", "clip.mxf"])
def test_pictures_are_shown_in_order_and_at_their_time(tmp_path: Path, name: str) -> None:
    brighter = make_clip(tmp_path / "clip.mp4", 128, 96, 3, options=("-vf", "lutyuv=y=40,fade=in:0:74:color=white", *H264))
    path = tmp_path / name
    ffmpeg("-i", brighter, "-c", "copy", "-bsf:v", "h264_mp4toannexb", path)
    pictures = shown(brighter)
    assert [time for time, _ in pictures] == pytest.approx([place / 25 for place in range(75)])
    assert len({light for _, light in pictures}) > 60
    assert shown(path) == shown(path, references_only=True) == pictures
    assert shown(path, start=2.0) == pictures[50:]
    with open_video(path) as video:
        timeline = video.timeline(0.0, 10.0)
        assert timeline.end == pytest.approx(3.0, abs=0.002)
        assert not video.running.jumped


def test_an_index_of_mxf_tells_the_order(tmp_path: Path) -> None:
    mpeg2 = ("-c:v", "mpeg2video", "-bf", "2", "-q:v", "2", "-pix_fmt", "yuv420p")
    path = make_clip(tmp_path / "clip.mxf", 128, 96, 2, options=mpeg2)
    assert [time for time, _ in shown(path)] == pytest.approx([place / 25 for place in range(50)])
    assert len(shown(path, references_only=True)) < 20  # pictures may be left out, because none have to be counted


def test_pictures_that_share_a_stamp_follow_each_other(tmp_path: Path) -> None:
    """A unit of a program stream (PES) is filled with several small pictures, and stamped once."""
    brighter = make_clip(tmp_path / "clip.mp4", 128, 96, 3, options=("-vf", "lutyuv=y=40,fade=in:0:74:color=white", *H264))
    path = tmp_path / "clip.mpg"
    ffmpeg("-i", brighter, "-c", "copy", "-bsf:v", "h264_mp4toannexb", "-f", "vob", path)
    pictures = shown(brighter)
    assert shown(path) == pictures
    assert shown(path, start=2.0) == pictures[50:]
    times = {light: time for time, light in pictures}
    assert all(abs(time - times[light]) < 0.1 for time, light in shown(path, references_only=True))
    first, last = (clip.info for _, clip in sample(path, SPEC, 1.5))
    assert first.frames + last.frames == 75


@pytest.mark.parametrize(("name", "times"), [("clip.avi", 1), ("clip.asf", 3)])
def test_a_file_is_opened_no_more_often_than_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, times: int
) -> None:
    clip, path, opened = make_clip(tmp_path / "clip.mp4", 128, 96, 3, options=H264), tmp_path / name, []
    ffmpeg("-i", clip, "-c", "copy", "-bsf:v", "h264_mp4toannexb", path)

    def open_for_decoding(*given: Any, **named: Any) -> Any:
        opened.append(given)
        return opening.open_for_decoding(*given, **named)

    monkeypatch.setattr(decode, "open_for_decoding", open_for_decoding)
    assert len(sample(path, SPEC)) == 1
    assert len(opened) == times


def test_other_stamps_are_believed() -> None:
    assert not tells_order("avi", Decoder("h264", True))
    assert tells_order("avi", Decoder("h264", False))
    assert tells_order("avi", Decoder("mpeg4", True))
    assert tells_order("mpegts", Decoder("h264", True))
