"""Which moments of a clip are sampled, and what is taken of each."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scorer.sampling.places import places_of
from scorer.spec import CHOICES, SPECIFICATIONS, SamplerSpec


@given(st.integers(1, 9), st.integers(0, 9), st.integers(0, 9), st.sampled_from(CHOICES["searched"]), st.sampled_from([1, 2, 3]))
def test_each_stream_gets_as_many_pictures_as_it_has(
    frames: int, portraits: int, faces: int, searched: str, version: int
) -> None:
    spec = SamplerSpec(frames=frames, portrait_frames=portraits, face_frames=faces, searched=searched, statistics_version=version)
    places = places_of(spec)
    assert list(places.moments) == sorted(set(places.moments))
    assert all(0 < moment < 1 for moment in places.moments)
    assert (len(places.cut), len(places.portraits), len(places.faces)) == (frames, portraits, faces)
    assert {*places.portraits, *places.faces} <= places.searched <= {*range(len(places.moments))}
    assert places.measured
    assert places.detailed
    if searched != "apart":
        assert len(places.moments) == frames


def test_apart_are_the_pictures_of_faces_from_those_of_fragments() -> None:
    places = places_of(SPECIFICATIONS["middle"])
    assert places.moments == (0.25, 0.5, 0.75)
    assert places.cut == {1}
    assert (places.faces, places.portraits) == ((0, 2), (2,))
    assert places.searched == places.measured == places.detailed == {0, 2}


def test_a_moment_of_both_is_one_picture() -> None:
    places = places_of(replace(SPECIFICATIONS["middle"], face_frames=3))
    assert places.moments == pytest.approx((1 / 6, 0.5, 5 / 6))
    assert (places.cut, places.faces, places.portraits) == ({1}, (0, 1, 2), (1,))


def test_what_has_no_faces_of_its_own_is_spread_over_all_frames() -> None:
    places = places_of(SamplerSpec(frames=4, portrait_frames=2, face_frames=0, searched="crops", statistics_version=2))
    assert places.portraits == (1, 3)
    assert places.searched == places.measured == {1, 3}
    assert np.diff(places.moments) == pytest.approx(0.25)
