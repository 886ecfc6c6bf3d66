"""Measuring the costs of this machine, with the parts that a worker runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from scorer.registry import Registry
from scorer.sampling import probe
from scorer.spec import SamplerSpec
from streams.errors import MediaError
from streams.plan.costs import StageCosts
from streams.plan.footage import LONG, SHORT, cut_pieces, make_up
from streams.plan.measure import KEYFRAME_EVERY, Measured, measure
from streams.plan.timing import memory_mb, timed_sample
from streams.scoring.tiers import TierLimits
from tests.support.media import make_clip


def test_pieces_are_as_long_as_they_say(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", seconds=8, options=("-g", "25", "-pix_fmt", "yuv420p"))
    short, long = cut_pieces(clip, tmp_path, probe)
    assert short.seconds == pytest.approx(SHORT, abs=0.3)
    assert long.seconds == pytest.approx(LONG, abs=0.3)
    assert short.size < long.size
    assert short.height == 240


def test_a_clip_that_is_too_short_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"lasts 1\.0 s; give a clip of at least 4 s"):
        cut_pieces(make_clip(tmp_path / "clip.mp4", seconds=1), tmp_path, probe)


def test_what_is_no_video_is_refused_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "talk.mp4").write_text("no video")
    with pytest.raises(MediaError, match=r"talk\.mp4: the file cannot be opened as media"):
        cut_pieces(tmp_path / "talk.mp4", tmp_path, probe)
    with pytest.raises(MediaError, match=r"none\.mp4: no such file"):
        cut_pieces(tmp_path / "none.mp4", tmp_path, probe)


def test_made_up_clips_are_videos_that_can_be_sampled(tmp_path: Path) -> None:
    (clip,) = make_up(tmp_path, (128,))
    facts = probe(clip)
    assert (facts.height, facts.codec) == (128, "h264")
    assert facts.duration == pytest.approx(LONG, abs=0.1)
    seconds, sampled = timed_sample(clip, SamplerSpec(), facts.duration)
    assert seconds > 0
    assert sampled.signals["freeze"] < 0.5


def test_the_memory_of_this_process() -> None:
    assert 10 < memory_mb(os.getpid()) < 100_000


def test_a_glance_is_timed_as_often_with_a_keyframe_as_the_worker_looks_at_one() -> None:
    assert TierLimits().seen == KEYFRAME_EVERY


@pytest.mark.slow
def test_the_costs_of_this_machine(face_clip: Path, tmp_path: Path) -> None:
    steps: list[str] = []
    registry = Registry(str(tmp_path / "models"), tmp_path / "cache")
    costs = measure([face_clip], Measured("nano", registry), steps.append)
    assert StageCosts.model_validate_json(costs.to_json()) == costs
    assert list(costs.sampling) == [360]
    assert 0.001 < costs.sampling_seconds(360, 2.0) < 10
    assert 0 < costs.glance_seconds(360, 2.0) < costs.sampling_seconds(360, 2.0) / 2
    assert costs.model.clip_bytes == 499_691
    assert costs.stream.fetch_s > 0
    assert len(steps) >= 4
