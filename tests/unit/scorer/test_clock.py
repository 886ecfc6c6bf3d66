"""The running clock over packets of any stamps: what is well-formed stays, what jumps goes on, and nothing is out of range."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scorer.sampling.clock import LONGEST_GAP, LOOKAHEAD, REORDERED, Guesses, RunningClock, evened, gap_that_fits
from scorer.sampling.sampler import plan
from scorer.sampling.temporal import LONGEST_HOLD, motion_features
from tests.support.packets import StampedPacket, StampedVideo, in_decoding_order

USUAL = 3600
LONGEST = int(LONGEST_GAP * 90_000)

ticks = st.one_of(st.integers(-(2**33), 2**33), st.integers(0, 50).map(lambda n: n * USUAL), st.none())
any_packets = st.lists(st.tuples(ticks, ticks), min_size=1, max_size=80)
steps = st.lists(st.one_of(st.just(USUAL), st.integers(1, LONGEST)), min_size=1, max_size=80)


def run(packets: Sequence[StampedPacket], longest: int = LONGEST) -> tuple[list[int | None], bool]:
    """The pictures' times on the running clock, in decoding order, and whether it jumped."""
    clock = RunningClock(USUAL, longest)
    return [packet.pts for packet in clock.packets(packets)], clock.jumped


def part(count: int, start: int = 0, bidirectional: int = 2) -> list[StampedPacket]:
    """Packets of `count` pictures of usual length. bidirectional: B-frames between two others."""
    return in_decoding_order([start + i * USUAL for i in range(count)], bidirectional)


@given(steps, st.integers(0, 5), st.integers(-(2**33), 2**40), st.booleans())
def test_well_formed_packets_keep_their_stamps(lengths: list[int], bidirectional: int, start: int, has_first_dts: bool) -> None:
    packets = in_decoding_order([start, *(start + np.cumsum(lengths)).tolist()], bidirectional)
    if not has_first_dts:
        # Matroska stores no decoding stamps; FFmpeg finds them from the third packet on.
        packets[:2] = [StampedPacket(packet.pts, None) for packet in packets[:2]]
    before = [(packet.pts, packet.dts) for packet in packets]
    _, jumped = run(packets)
    assert not jumped
    assert [(packet.pts, packet.dts) for packet in packets] == before


@given(
    st.lists(st.tuples(st.integers(20, 60), st.integers(-(2**33), 2**33)), min_size=2, max_size=5),
    st.integers(0, 3),
    st.integers(0, 3),
)
def test_joined_parts_follow_each_other_without_a_gap(parts: list[tuple[int, int]], first: int, others: int) -> None:
    """However the parts are stamped: ahead, back, overlapping."""
    packets, stamps = [], []
    for number, (count, start) in enumerate(parts):
        follows = stamps and 0 <= start - stamps[-1] <= LONGEST
        begin = stamps[-1] + USUAL if follows else start  # a later part within the longest gap is a pause and no jump
        packets += part(count, begin, others if number else first)
        stamps += range(begin, begin + count * USUAL, USUAL)
    times, _ = run(packets)
    # Between parts with different delays the decoding stamps can look steady: then the seam is up to three pictures off.
    shown = sorted(time for time in times if time is not None)
    assert len(shown) == sum(count for count, _ in parts)
    assert all(0 <= b - a <= 8 * USUAL for a, b in pairwise(shown))


@pytest.mark.parametrize("bidirectional", [0, 1, 3])
@pytest.mark.parametrize("offset", [-(2**33), -90_000, -USUAL * 9, 2 * LONGEST, 2**40])
@pytest.mark.parametrize("count", [1, 2, 12])
def test_stray_pictures_get_their_place_back(bidirectional: int, offset: int, count: int) -> None:
    steady, _ = run(part(100, 0, bidirectional))
    packets = part(100, 0, bidirectional)
    for packet in packets[40 : 40 + count]:
        assert packet.dts is not None
        assert packet.pts is not None
        packet.dts, packet.pts = packet.dts + offset, packet.pts + offset
    times, jumped = run(packets)
    assert jumped
    assert times == steady


@pytest.mark.parametrize("bidirectional", [0, 1, 3])
def test_a_stray_picture_time_is_replaced_by_the_free_place(bidirectional: int) -> None:
    packets = part(100, 0, bidirectional)
    packets[40].pts = 2**40
    packets[60].pts = -(2**40)
    assert run(packets)[0] == run(part(100, 0, bidirectional))[0]


@pytest.mark.parametrize("bidirectional", [1, 2, 3])
@pytest.mark.parametrize("stray", range(40, 48))
def test_repaired_pictures_take_the_free_places(bidirectional: int, stray: int) -> None:
    """Also those between pictures that are shown after them; which picture is where only the decoder can tell."""
    packets = part(100, 0, bidirectional)
    first = packets[stray]
    assert first.pts is not None
    assert first.dts is not None
    first.pts, first.dts = first.pts + 2**40, first.dts + 2**40
    for count, packet in enumerate(packets[stray + 1 :], 1):
        packet.pts = packet.dts = first.dts + count
    times, _ = run(packets)
    assert sorted(time for time in times if time is not None) == [i * USUAL for i in range(100)]


@pytest.mark.parametrize("bidirectional", [0, 1, 2, 3])
@pytest.mark.parametrize("shared", [2, 5, 12])
def test_pictures_without_stamps_take_the_free_places(bidirectional: int, shared: int) -> None:
    """Whether the clock jumps meanwhile or not, and whatever rate the file states."""
    packets = part(60, 0, bidirectional) + part(60, 2**33, bidirectional)
    for number, packet in enumerate(packets):
        if number % 60 % shared:
            packet.pts = packet.dts = None
    clock = RunningClock(3 * USUAL, LONGEST)
    times = [packet.pts for packet in clock.packets(packets) if packet.pts is not None]
    assert len(times) == 120
    assert sorted(times)[:50] == [i * USUAL for i in range(50)]
    assert all(0 < b - a <= 8 * USUAL for a, b in pairwise(sorted(times)))


def test_a_stamp_that_is_given_twice_is_no_repair_where_others_are_missing() -> None:
    """FFmpeg gives it to both pictures that touch the beginning of a unit of a program stream."""
    packets = part(100, 0, 0)
    for number, packet in enumerate(packets):
        if number % 10:
            packet.pts = packet.dts = None
    packets[51].pts = packets[51].dts = packets[50].pts
    times, _ = run(packets)
    assert times[60:] == [i * USUAL for i in range(60, 100)]


@pytest.mark.parametrize("bidirectional", [0, 1, 2])
def test_a_stamp_that_is_given_twice_where_others_are_missing_is_of_the_second_picture(bidirectional: int) -> None:
    packets = part(100, 0, bidirectional)
    for number, packet in enumerate(packets):
        if number % 10 and number != 49:
            packet.pts = packet.dts = None
    packets[49].pts, packets[49].dts = packets[50].pts, packets[50].dts
    times, _ = run(packets)
    assert sorted(time for time in times if time is not None)[:90] == [i * USUAL for i in range(90)]


def settled(guesses: Guesses, stamp: int | None, are_all_decoded: bool = True) -> tuple[int | None, bool]:
    frame = StampedPacket(stamp, None)
    is_guess = guesses.settle(frame, are_all_decoded)
    return frame.pts, is_guess


def test_guesses_are_taken_in_the_order_in_which_pictures_are_shown() -> None:
    guesses = Guesses()
    for place in (30, 10, 20):
        guesses.add(place)
    shown = [settled(guesses, stamp) for stamp in (5, 20, 15, 30, 10, 40, None)]
    assert [place for place, _ in shown] == [5, 10, 15, 20, 30, 40, None]
    assert [is_guess for _, is_guess in shown] == [False, True, False, True, True, False, False]


def test_where_pictures_are_left_out_each_keeps_its_own_place() -> None:
    guesses = Guesses()
    for place in (30, 10, 20):
        guesses.add(place)
    assert [settled(guesses, stamp, are_all_decoded=False) for stamp in (20, 30, 40)] == [(20, True), (30, True), (40, False)]


def test_pictures_that_are_not_decoded_hold_no_place_for_long() -> None:
    guesses = Guesses()
    for place in range(100):
        guesses.add(place)
    assert settled(guesses, 99) == (99 - REORDERED, True)
    guesses.clear()
    assert settled(guesses, 98) == (98, False)


def test_guessed_times_are_spread_evenly_between_the_others() -> None:
    times = np.array([0.0, 0.1, 0.2, 0.2, 0.2, 0.8, 0.9, 1.0])
    evenly = [0.0, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 1.0]
    assert evened(times, [False, False, False, True, True, False, False]) == pytest.approx(evenly)
    # The first keeps its time; the clip's end is known.
    assert evened(np.array([3.0, 3.0, 3.9, 4.0]), [True, True, True]) == pytest.approx([3, 3 + 1 / 3, 3 + 2 / 3, 4])
    assert evened(times, [False] * 7) == pytest.approx(times)


def test_a_muxer_that_counts_on_by_single_ticks_after_a_stray_picture() -> None:
    stamps = [i * USUAL for i in range(25)] + [2**32 + i for i in range(25)]
    times, _ = run([StampedPacket(stamp, stamp) for stamp in stamps])
    assert times == [i * USUAL for i in range(50)]


@pytest.mark.parametrize(("gap", "jumps"), [(9.9, False), (10.0, False), (10.1, True), (-0.04, True)])
def test_where_a_gap_becomes_a_jump(gap: float, jumps: bool) -> None:
    later = 24 * USUAL + round(gap * 90_000)
    times, jumped = run(part(25, 0, 0) + part(25, later, 0))
    assert jumped is jumps
    assert times[25] == (25 * USUAL if jumps else later)


@given(any_packets)
def test_any_stamps_give_times_that_the_number_of_pictures_bounds(stamps: list[tuple[int | None, int | None]]) -> None:
    times, _ = run([StampedPacket(pts, dts) for pts, dts in stamps])
    assert len(times) == len(stamps)
    known = [time for time in times if time is not None]
    if known and all(dts is not None for _, dts in stamps):
        assert max(known) - min(known) <= (len(stamps) + 1) * (LOOKAHEAD + 3) * LONGEST


@settings(max_examples=50)
@given(st.lists(st.tuples(ticks, ticks), min_size=1, max_size=30), st.sampled_from([2.0, 6.0]), st.integers(4, 16))
def test_windows_partition_the_pictures_and_shares_stay_in_range(
    stamps: list[tuple[int | None, int | None]], seconds: float, limit: int
) -> None:
    video = StampedVideo(stamps)
    whole = video.timeline(0.0, math.inf)
    assert len(whole.times) == len(stamps)
    assert whole.end is not None
    windows = []
    for task in range(2_000):
        start = task * limit * seconds
        planned = plan(video.timeline(start, start + (limit + 0.25) * seconds), seconds, start, limit)
        windows += planned
        if len(planned) < limit:
            break
    assert windows[0].start == 0
    ends = [window.start + (window.duration or 0) for window in windows]
    assert all(end == pytest.approx(following.start) for end, following in zip(ends, windows[1:], strict=False))
    assert ends[-1] == pytest.approx(whole.end)
    inside = [
        sum(window.start - 1e-4 <= time < end - 1e-4 for window, end in zip(windows, ends, strict=True)) for time in whole.times
    ]
    assert inside == [1] * len(stamps)


@given(any_packets, st.integers(0, 2**32))
def test_frozen_time_is_a_share_for_any_stamps(stamps: list[tuple[int | None, int | None]], seed: int) -> None:
    video = StampedVideo(stamps)
    times = [time for time, *_ in video.course(0.0).frames(0.0)]
    assert all(a <= b for a, b in pairwise(times))
    lumas = np.random.default_rng(seed).integers(0, 2, (len(times), 4, 4)).astype(np.uint8) // 2
    freeze = motion_features(lumas, np.array([*times, times[-1] + 0.04]))[0]
    assert 0 <= freeze <= 1


def fitted(gaps: Sequence[float], duration: float) -> float | None:
    times = np.concatenate([[0.0], np.cumsum(gaps)])
    return gap_that_fits(times, float(times[-1]) + 0.04, duration)


def test_an_event_shortens_what_stamps_claim() -> None:
    steady = [0.04] * 24
    assert fitted(steady, 1.0) is None
    assert fitted([*steady, 0.4, *steady], 2.0) is None  # within the tolerance
    jump = fitted([*steady, 9.0, *steady], 2.0)
    assert jump is not None
    assert 0.04 < jump < 9.0
    # Only as many gaps as needed: the camera may really have stood still for a second.
    kept = fitted([*steady, 9.0, *steady, 1.0, *steady], 4.0)
    assert kept is not None
    assert 1.0 < kept < 9.0


def test_gaps_of_one_length_are_all_jumps() -> None:
    longest = fitted([0.04, 2.0, 0.04, 2.0, 0.04], 3.0)
    assert longest is not None
    assert 0.04 < longest < 2.0


def test_pictures_that_are_too_many_for_an_event_keep_their_times() -> None:
    assert fitted([0.04] * 250, 2.0) is None
    assert fitted([0.2] * 250, 2.0) is None
    assert fitted([], 2.0) is None


@given(st.lists(st.floats(0, 10), max_size=60), st.floats(0.01, 3600))
def test_a_gap_that_fits_is_longer_than_a_hold_and_shorter_than_the_longest(gaps: list[float], duration: float) -> None:
    longest = fitted(gaps, duration)
    if longest is not None:
        assert LONGEST_HOLD <= longest < max(gaps)
