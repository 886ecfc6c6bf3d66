"""From files to segments with real media: whole, cut, or announced for the worker to say why it is none."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.ingest.files import CutLimits, CutSegment
from streams.ingest.folder.segmenter import Segmenter, SegmenterOptions
from tests.support.media import make_clip

pytestmark = pytest.mark.slow


@pytest.fixture
def segmenter(tmp_path: Path) -> Iterator[Segmenter]:
    with Segmenter(SegmenterOptions(tmp_path / "pieces", cut_over=5.0, keep_hours=1.0), CutLimits()) as opened:
        yield opened


async def test_files_of_all_kinds(segmenter: Segmenter, tmp_path: Path) -> None:
    short = make_clip(tmp_path / "short.mp4", 320, 180, 2)
    long = make_clip(tmp_path / "long.ts", 320, 180, 9)
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    (tmp_path / "empty.ts").write_bytes(b"")

    whole = await segmenter.segments("cam", short)
    (segment,) = whole.segments
    assert segment.path == short
    assert segment.duration == pytest.approx(2.0, abs=0.1)

    left = tmp_path / "pieces" / "left"
    left.mkdir(parents=True)
    os.utime(left, (time.time() - 3700,) * 2)
    pieces = await segmenter.segments("cam", long)
    assert len(pieces.segments) >= 3
    assert pieces.segments[0].start == 0
    assert pieces.length == pytest.approx(9.0, abs=0.2)
    assert all(piece.path.is_file() and piece.path.is_relative_to(tmp_path / "pieces") for piece in pieces.segments)
    assert not left.exists(), "older than an hour"
    assert (await segmenter.segments("cam", long)).segments == pieces.segments, "the same again, in the same place"

    for name in ("broken.mp4", "empty.ts", "gone.ts"):
        unreadable = await segmenter.segments("cam", tmp_path / name)
        assert unreadable.segments == [CutSegment(tmp_path / name, 0.0, 2.0)]
        assert unreadable.problem
