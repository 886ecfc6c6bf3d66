"""Gives segments that have times, but no numbers that last, numbers that go on from load to load: pure.

The numbers of a timeline begin anew when its oldest segments leave it. So a segment is told by its time: after the last announced
one it is new, and the time that is missing between two of them counts as lost segments. What comes out is a list of segments as
an HLS playlist has it, so that clocks, events, restarts and the end are decided in one place for both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from streams.events import SegmentEvent
from streams.ingest.base import Position, Stream
from streams.ingest.dash.values import SECOND, micros_of, time_of
from streams.ingest.dash.window import KNOWN, Placed, Window
from streams.ingest.hls.tracker import Notes, step
from streams.ingest.hls.values import MediaPlaylist, Segment

LONGEST_LOSS = 3600
"""Seconds. Where more is missing between two segments of a manifest, the source was off, and nothing was lost."""

SAME_ANCHOR = 1.0
"""Seconds by which `availabilityStartTime` may move: some packagers correct it in every manifest."""

_NOT_SAID = ("size-changed", "discontinuity-sequence")
"""What only the numbers of HLS can contradict."""


def announce(
    stream: Stream, position: Position, window: Window, anchor: datetime | None, now: datetime, dropped: Mapping[str, int]
) -> tuple[Position, list[SegmentEvent], Notes]:
    """The events that a window adds, and the position after them.

    anchor: the presentation's, None where its times have no date. now: this machine's time, UTC. dropped: what could not be read
    of a manifest that is a new one.
    """
    since = micros_of(anchor) if anchor is not None else 0
    first_new = _first_new(position, window.segments, since) if anchor is not None else 0
    moved = anchor is not None and position.anchor is not None and abs((anchor - position.anchor).total_seconds()) > SAME_ANCHOR
    begins_anew = position.ended and not window.complete  # what is missing after an end was never made
    restarted = (moved or begins_anew) and first_new == 0 and bool(window.segments) and position.number is not None
    if restarted:
        position = replace(position, epoch=position.epoch + 1, loads_back=0, name="")
    # Segments that came by the clock may be later than the end that the last manifest tells: that is no old copy.
    beyond = window.complete and anchor is not None and first_new == len(window.segments) > 0
    if beyond:
        position = replace(position, name="")
    if anchor is None:
        numbers, lost = list(range(len(window.segments))), 0
    else:
        numbers, lost = _numbers(position, window.segments, first_new, restarted, beyond)
    segments = tuple(
        _segment(number, placed, anchor is not None, since)
        for number, placed in zip(numbers, window.segments, strict=True)
        if number >= 0
    )
    next_number = numbers[-1] + 1 if segments else (position.number or 0) + 1
    first = segments[0].number if segments else next_number
    playlist = MediaPlaylist(window.target, first, next_number, segments, window.complete, dropped)
    after, events, notes = step(stream, position, playlist, now)
    notes.counts += Counter(lost=lost, restarts=int(restarted))
    for what in _NOT_SAID:
        notes.counts.pop(what, None)
    # An anchor without a segment says nothing yet: an encoder that restarts may begin with an empty list.
    is_said = anchor is not None and (segments or position.anchor is None)
    return replace(after, anchor=anchor if is_said else after.anchor), events, notes


def _first_new(position: Position, segments: Sequence[Placed], anchor: int) -> int:
    """The place of the first segment that was not announced yet. anchor: microseconds since 1970."""
    clocks = position.clocks
    if position.number is None or clocks.dates is None:
        return 0
    end = micros_of(clocks.dates)
    last = micros_of(clocks.last_date) if clocks.last_date is not None else end
    # A Period that begins after the last announced segment did is all new, even where it cuts that segment short. Its own first
    # segment may begin before it.
    later = (placed.period > last and _period(placed, anchor) != position.discontinuity for placed in segments)
    new = (index for index, (placed, is_later) in enumerate(zip(segments, later, strict=True)) if placed.middle > end or is_later)
    return next(new, len(segments))


def _numbers(
    position: Position, segments: Sequence[Placed], first_new: int, restarted: bool, beyond: bool
) -> tuple[list[int], int]:
    """A number for each segment, and how many are missing between them, from the last announced one on."""
    if not segments:
        return [], 0
    joining = position.number is None or position.clocks.dates is None
    if joining:
        # By time, so that a source whose clock goes back has numbers to go back to.
        number, end = segments[0].at // max(segments[0].length, 1) - 1, segments[0].at
    else:
        assert position.number is not None
        assert position.clocks.dates is not None
        number, end = position.number, micros_of(position.clocks.dates)
    known = segments[max(0, first_new - KNOWN) : first_new]
    numbers = [-1] * (first_new - len(known))
    if known:
        back = 0 if beyond else max(0, round((end - known[-1].at - known[-1].length) / known[-1].length))
        numbers += range(number - back - len(known) + 1, number - back + 1)
    lost = 0
    for index, placed in enumerate(segments[first_new:]):
        gap = placed.at - max(end, placed.period)
        missing = max(0, round(gap / placed.length)) if index or not restarted else 0
        if (index or known) and gap > LONGEST_LOSS * SECOND:
            missing = 0
        # What is missing before the first segment of the list, the step counts.
        lost += missing if index or known else 0
        number, end = number + 1 + missing, placed.at + placed.length
        numbers.append(number)
    return numbers, lost


def _period(placed: Placed, anchor: int) -> int:
    """What tells a segment's Period: when it begins, milliseconds after the anchor. That may move a little in each manifest."""
    return max(0, placed.period - anchor) // 1000


def _segment(number: int, placed: Placed, dated: bool, anchor: int) -> Segment:
    return Segment(
        number, placed.uri, placed.length / SECOND, time_of(placed.at) if dated else None, placed.byte_range, placed.init,
        discontinuity=_period(placed, anchor), encrypted=placed.encrypted,
    )  # fmt: skip
