"""A rater's order of clips: each clip once, about one in eight again, each repeat far from the first time."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from streams.rating.order import APART, GAPS, Key, choose, remaining


def keys(count: int) -> list[Key]:
    return [(f"studio-{i % 7}", f"{i:064x}") for i in range(count)]


def run(seed: str, queue: list[Key]) -> list[tuple[Key, bool]]:
    """All presentations of a rater: (clip, whether it is a repeat)."""
    shown: list[tuple[Key, bool]] = []
    while choice := choose(seed, [key for key, _ in shown], queue):
        shown.append(choice)
        assert len(shown) <= 2 * len(queue)
    return shown


@settings(max_examples=40)
@given(st.text(min_size=1, max_size=8), st.integers(0, 60))
def test_every_clip_is_shown_and_repeats_are_far_from_the_first_time(seed: str, count: int) -> None:
    shown = run(seed, keys(count))
    assert {key for key, _ in shown} == set(keys(count))
    first: dict[Key, int] = {}
    for position, (key, repeat) in enumerate(shown):
        assert repeat == (key in first)
        if repeat:
            assert position - first[key] >= APART
        first.setdefault(key, position)
    repeats = [position for position, (_, repeat) in enumerate(shown) if repeat]
    assert len(shown) - len(first) == len(repeats) <= count / min(GAPS)
    assert len({shown[position][0] for position in repeats}) == len(repeats)


@settings(max_examples=40)
@given(st.integers(0, 40), st.integers(0, 45))
def test_remaining_counts_the_presentations_that_follow(count: int, seen: int) -> None:
    shown = run("seed", keys(count))
    assert remaining("seed", [key for key, _ in shown[:seen]], keys(count)) == len(shown[seen:])


def test_about_one_in_eight_is_a_repeat() -> None:
    shown = run("seed", keys(400))
    assert 1 / 9.5 < sum(repeat for _, repeat in shown) / len(shown) < 1 / 6.5


def test_each_rater_has_an_order_of_their_own_which_stays_the_same() -> None:
    ada, grace = run("ada", keys(30)), run("grace", keys(30))
    assert ada != grace
    assert ada == run("ada", list(reversed(keys(30))))
    assert [key for key, repeat in ada if not repeat] != keys(30)


def test_a_clip_that_left_the_queue_is_not_shown_and_a_new_clip_is() -> None:
    queue = keys(20)
    shown = [key for key, _ in run("seed", queue)[:9]]
    rest = [key for key in queue if key != shown[0]]
    late = ("studio-9", "f" * 64)
    following: list[Key] = []
    while choice := choose("seed", shown + following, [*rest, late]):
        following.append(choice[0])
    assert shown[0] not in following
    assert late in following
