"""Files whose header forges the time are sampled by the rate of their bit stream; all others keep their stamps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scorer.sampling import probe, sample
from scorer.sampling.glance import glance
from scorer.sampling.rates import Head, can_be, step_of
from scorer.spec import SPECIFICATIONS, SamplerSpec
from streams.errors import MediaError
from streams.ingest.files import Source, cut
from tests.support.forged import FORGED, make_forged
from tests.support.jumping import make_jumping
from tests.support.media import make_clip

SPEC = SamplerSpec(portrait_frames=0)
LEAN = replace(SPECIFICATIONS["middle"], portrait_frames=0)


@pytest.mark.slow
@pytest.mark.parametrize("name", FORGED)
def test_a_header_that_forges_the_time_is_not_believed(tmp_path: Path, name: str) -> None:
    path = make_forged(tmp_path / name)
    first, second = sample(path, SPEC, 1.0)
    assert [(window.start, window.duration) for window, _ in (first, second)] == [(0, 1), (1, pytest.approx(1))]
    assert first[1].info.frames == second[1].info.frames == 25
    assert max(clip.signals["freeze"] for _, clip in (first, second)) < 0.2
    ((window, sought),) = sample(path, SPEC, 1.0, start=1.0, limit=1)
    assert window == second[0]
    assert np.array_equal(sought.frames, second[1].frames)
    facts = probe(path)
    assert (facts.is_timed, facts.duration) == (False, pytest.approx(2))
    with pytest.raises(MediaError, match="stamps cannot be true"):
        cut(Source("a", path), tmp_path / "cut", 1.0, probe)
    # By the pictures' number, so a look that leaves out pictures elsewhere decodes all of them.
    for (window, clip), (_, lean) in zip((first, second), sample(path, LEAN, 1.0), strict=True):
        assert (lean.info, lean.signals["freeze"]) == (clip.info, pytest.approx(clip.signals["freeze"], abs=0.1)), window


rates = st.sampled_from([0.5, 1.0, 5.0, 12.5, 24.0, 25.0, 29.97, 50.0, 59.94, 120.0, 240.0])


@given(rates, st.integers(1, 33), st.floats(-1e6, 1e9), st.one_of(st.none(), rates), st.integers(2, 40))
def test_stamps_at_the_bit_streams_rate_can_be_true(
    rate: float, count: int, start: float, coded: float | None, part: int
) -> None:
    """Also where parts of so many pictures are joined, each with the same stamps."""
    stamps = [start + number % part / rate for number in range(count)]
    assert can_be(Head(stamps, False), rate, rate)
    assert can_be(Head(stamps, False), None, None)
    assert can_be(Head(stamps, True), rate, coded) or rate > 16 * (coded or rate)


@pytest.mark.parametrize("slower", [1, 2, 4, 8])
def test_slow_motion_and_fields_in_packets_of_their_own_are_believed(slower: int) -> None:
    assert can_be(Head([number * slower / 240 for number in range(33)], False), 240 / slower, 240)
    assert can_be(Head([number / 50 for number in range(33)], False), 50, 25)


@pytest.mark.parametrize("name", ["joined.ts", "one-past.ts", "back-half-a-second.ts", "future.ts", "gap-9s.ts"])
def test_a_clock_that_jumps_is_no_forgery(tmp_path: Path, name: str) -> None:
    assert probe(make_jumping(tmp_path, name)).is_timed


def test_keyframes_alone_and_irregular_pictures_may_be_slow() -> None:
    slow = [float(number) for number in range(33)]
    assert can_be(Head(slow, True), 1.0, 25.0)
    assert can_be(Head([*slow[:5], 5.4, *slow[6:]], False), 1.0, 25.0)
    assert not can_be(Head(slow, False), 1.0, 25.0)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=33), st.booleans(), st.floats(), st.floats())
def test_any_head_is_judged(stamps: list[float], all_keys: bool, stated: float, coded: float) -> None:
    assert can_be(Head(stamps, all_keys), stated, coded) in (True, False)


@pytest.mark.parametrize("rate", [None, 0.0, 0.01, 1001.0, 2.0**31])
def test_a_rate_that_cannot_be_is_none(rate: float | None) -> None:
    assert step_of(rate) is None


@pytest.mark.parametrize("name", ["clip.h264", "clip.hevc"])
@pytest.mark.parametrize("fps", [12.5, 30, 50])
def test_a_raw_stream_has_the_rate_of_its_bit_stream(tmp_path: Path, name: str, fps: float) -> None:
    codec = ("-c:v", "libx264") if name.endswith("h264") else ("-c:v", "libx265", "-x265-params", "log-level=none:pools=1")
    path = make_clip(tmp_path / name, 96, 64, 2.0, fps, options=(*codec, "-pix_fmt", "yuv420p"))
    first, second = sample(path, SPEC, 1.0)
    assert [(window.start, window.duration) for window, _ in (first, second)] == [(0, 1), (1, pytest.approx(1))]
    ((_, whole),) = sample(path, SPEC)
    assert whole.bitstream is not None
    assert (whole.info.fps, whole.bitstream.fps, glance(path).bitstream.fps) == pytest.approx((fps, fps, fps))
    assert probe(path).duration == pytest.approx(2)
