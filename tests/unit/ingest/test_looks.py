"""A segment that is cut from a file looks as the file does: the same track, turned, shaped and coloured alike."""

from __future__ import annotations

from pathlib import Path

import pytest

from scorer.sampling import probe
from scorer.sampling.decode import open_video
from scorer.sampling.orientation import Orientation, orientation_of
from streams.ingest.files import Source, cut
from tests.support.media import ffmpeg, make_clip
from tests.support.odd_pictures import MATRICES, turned_clip, two_tracks


def only_segment(clip: Path) -> Path:
    """The one segment of a short clip."""
    (part,) = cut(Source("a", clip), clip.parent / "cut", 2.0, probe)
    return part.path


@pytest.mark.parametrize("name", MATRICES)
def test_a_segment_is_turned_as_its_source_is(tmp_path: Path, name: str) -> None:
    clip = turned_clip(tmp_path / "a.mp4", name)
    part = only_segment(clip)
    assert part.suffix == ".mkv"
    assert looks(part) == looks(clip)


def test_a_segment_keeps_the_shape_of_pixels_and_the_colours_that_only_the_container_states(tmp_path: Path) -> None:
    plain = make_clip(tmp_path / "plain.mp4", 160, 120, 0.4, options=("-c:v", "mpeg4", "-pix_fmt", "yuv420p"))
    clip = tmp_path / "a.mp4"
    colours = ("-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709", "-color_range", "tv")
    ffmpeg("-i", plain, "-c", "copy", "-aspect", "16:9", *colours, "-movflags", "write_colr", clip)
    part = only_segment(clip)
    assert looks(clip)[1] == 4 / 3
    assert looks(part) == looks(clip)


def test_the_track_that_is_scored_is_the_track_that_is_cut(tmp_path: Path) -> None:
    part = only_segment(two_tracks(tmp_path / "a.mp4", second_is_default=True))
    assert probe(part).width == 160


def looks(path: Path) -> tuple[Orientation, float, int, int, int, int]:
    """How the first picture of a file is turned, how wide its pixels are, and the numbers of its colours."""
    with open_video(path) as video:
        _, frame, *_ = next(video.course(0.0).frames(0.0))
        colours = frame.colorspace, frame.color_range, frame.color_primaries, frame.color_trc
        return orientation_of(frame), float(video.pixel_aspect or 1), *colours
