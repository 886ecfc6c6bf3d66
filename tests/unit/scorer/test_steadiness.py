"""How steadily a clip is delivered: each number follows what it is named after, and none fails on packets from anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from scorer.sampling import sample
from scorer.sampling.bitstream.packets import Packets
from scorer.sampling.statistics import NAMES, names_of
from scorer.sampling.steadiness import STEADINESS, steadiness
from scorer.spec import SPECIFICATIONS
from tests.support.media import face_frames, write_frames

FPS = 25.0


def packets(sizes: Sequence[int], times: Sequence[float | None] | None = None, key_every: int = 1000) -> Packets:
    shown: Sequence[float | None] = [number / FPS for number in range(len(sizes))] if times is None else times
    keys = [number % key_every == 0 for number in range(len(sizes))]
    return Packets(1 / FPS, list(sizes), keys, [None] * len(sizes), list(shown), [None] * len(sizes))


def measured(given: Packets, moved: Sequence[int] = (), end: float = 2.0) -> dict[str, float]:
    """moved: by how much each of the decoded pictures is brighter than the one before."""
    lumas = np.cumsum([10, *moved]).astype(np.uint8)[:, None, None] * np.ones((1, 8, 8), np.uint8)
    times = np.array([*(number / FPS for number in range(len(lumas))), end])
    return dict(zip(STEADINESS, steadiness(given, lumas, times), strict=True))


def test_an_even_delivery_has_nothing_to_say() -> None:
    even = measured(packets([9000] + [1000] * 49), [4] * 20)
    assert all(abs(even[name]) < 1e-6 for name in STEADINESS if name not in ("repeat_longest", "change_rate", "bytes_spread"))
    assert even["bytes_spread"] < 0.01
    assert even["change_rate"] == np.log1p(25)


def test_uneven_times_are_seen() -> None:
    rng = np.random.default_rng(0)
    unevenness = [
        measured(packets([1000] * 50, np.sort(np.arange(50) / FPS + spread * rng.standard_normal(50)).tolist()))
        for spread in (0.0, 0.005, 0.02, 0.08)
    ]
    for name in ("interval_spread", "interval_longest", "interval_uneven"):
        values = [numbers[name] for numbers in unevenness]
        assert values == sorted(values), name
        assert values[-1] > values[0] + 0.3, name


def test_pictures_that_repeat_the_one_before_are_counted() -> None:
    def repeating(count: int) -> dict[str, float]:
        return measured(packets([9000, *[1000] * 20, *[20] * count, *[1000] * (29 - count)]))

    steps = [repeating(count) for count in (0, 3, 10, 25)]
    for name in ("repeats", "repeat_longest", "change_spread", "bytes_dip"):
        values = [numbers[name] for numbers in steps]
        assert values == sorted(values), name
        assert values[-1] > values[0], name
    assert steps[2]["repeats"] == 0.2
    assert steps[3]["change_rate"] < steps[0]["change_rate"]


def test_a_rate_that_dips_for_a_time_is_seen() -> None:
    dipped, risen = (measured(packets([9000, *[1000] * 24, *[size] * 12, *[1000] * 13])) for size in (150, 8000))
    assert dipped["bytes_dip"] > 2 > 0.1 > dipped["bytes_peak"]
    assert risen["bytes_peak"] > 2 > 0.1 > risen["bytes_dip"]


def test_uneven_motion_is_seen() -> None:
    smooth, jerky = measured(packets([1000] * 50), [4] * 30), measured(packets([1000] * 50), [0, 0, 0, 16] * 4)
    assert jerky["motion_uneven"] > smooth["motion_uneven"] + 0.5
    assert measured(packets([1000] * 50), [4, 4, 0, 4, 4] * 4)["motion_still"] == 0.2
    assert measured(packets([1000] * 50), [4] * 10 + [60] + [4] * 10)["motion_peak"] > 3


def test_pictures_that_are_all_shown_at_once_are_no_fault() -> None:
    assert measured(packets([10] * 3, [0.0] * 3), end=1.0)["interval_spread"] == 0


@given(
    st.lists(st.tuples(st.integers(0, 10**7), st.booleans(), st.none() | st.floats(-1e6, 1e6, allow_nan=False)), max_size=60),
    st.integers(1, 9),
)
def test_any_packets_give_finite_numbers(rows: list[tuple[int, bool, float | None]], pictures: int) -> None:
    given = Packets(1 / FPS)
    for size, is_key, time in rows:
        for column, value in zip(
            (given.sizes, given.keys, given.decoded_at, given.shown_at, given.quantisers),
            (size, is_key, None, time, None),
            strict=True,
        ):
            column.append(value)  # type: ignore[attr-defined]
    values = steadiness(given, np.zeros((pictures, 4, 4), np.uint8), np.linspace(0, 1, pictures + 1))
    assert len(values) == len(STEADINESS)
    assert np.isfinite(values).all()


def test_the_numbers_come_after_those_of_the_version_before(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    write_frames(path, face_frames(240, 200, 1.0, 25), 25.0)
    before, now = (sample(path, SPECIFICATIONS[name])[0][1].statistics for name in ("leaner", "steady"))
    assert len(now) == len(names_of(3)) == len(NAMES) + len(STEADINESS)
    np.testing.assert_array_equal(now[: len(NAMES)], before)
