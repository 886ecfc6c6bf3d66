"""The running clock of a file: stamps that jump become times that go on.

Recorders stamp stray pictures, cameras are plugged in again, encoders restart, parts of HLS are joined, the 33 bits of
MPEG-TS run over. A player shows the next picture then, and so does this clock: after a jump the time goes on where the
last picture ended. Packets are judged in decoding order by their decoding stamps (dts). Those rise steadily in every
well-formed file, also where pictures are reordered (B-frames), so that a well-formed file keeps its stamps.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, pairwise
from statistics import median_low
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from scorer.sampling.temporal import LONGEST_HOLD

LONGEST_GAP = 10.0
"""A picture that seems to be shown for longer than this, s, was not: the clock has jumped."""

LOOKAHEAD = 32
"""Packets that are read ahead: a stray stamp is one that the packets after it contradict."""

REORDERED = 16
"""Pictures over which a codec reorders at most; also the number of pictures whose median length is the usual one."""

SAME_LENGTH = 1e-3
"""Two gaps that differ by less than this, s, are of one length."""

EVENT_TOLERANCE = 0.5
"""Seconds, and a quarter of the duration: the pictures of a segment may last longer than its event says by the larger of both."""


STRAYS = 12
"""Packets in a row that may be stray; more are another part, with a clock of its own."""

REPAIRED = 8
"""After a jump, a step shorter than the usual one divided by this is a muxer's repair, and no picture's length."""


class Stamped(Protocol):
    """A packet. pts: when its picture is shown; dts: when it is decoded; both in ticks of the stream's clock, or None."""

    pts: int | None
    dts: int | None


Packet = TypeVar("Packet", bound=Stamped)


class Guesses:
    """Places of pictures whose own stamps do not tell when they are shown.

    Of such pictures only the decoder knows the order: the one that it shows first takes the earliest place. are_sure: the places
    are right, and only their order is unknown.
    """

    def __init__(self, are_sure: bool = False) -> None:
        self._are_sure = are_sure
        self._given: list[int] = []
        """The stamps that their packets were given, ascending; as many as there are places."""
        self._places: list[int] = []

    def add(self, place: int) -> None:
        """A packet is given this stamp, ticks."""
        insort(self._given, place)
        insort(self._places, place)
        if len(self._places) > REORDERED + 1:
            # No decoder holds more pictures: one of the packets has none that can be decoded.
            del self._given[0], self._places[0]

    def settle(self, frame: Stamped, are_all_decoded: bool) -> bool:
        """Give the picture that the decoder shows next its place; whether that is a guess.

        frame: with its packet's stamp. are_all_decoded: else the pictures that are left out hold places, and it keeps its own.
        """
        stamp = frame.pts
        if stamp not in self._given:
            return False
        self._given.remove(stamp)
        place = self._places.pop(0)
        if are_all_decoded:
            frame.pts = place
        return not (are_all_decoded and self._are_sure)

    def clear(self) -> None:
        """Forget the packets that are not decoded."""
        self._given.clear()
        self._places.clear()


class RunningClock:
    """Puts packets on the running clock. All its times are ticks.

    usual: a picture's length, where the packets before a jump do not tell. longest_gap: a longer step is a jump. knows_order:
    whether the stamps tell in which order the pictures are shown, see `stamps.tells_order`.
    """

    def __init__(self, usual: int, longest_gap: int, knows_order: bool = True) -> None:
        self.jumped = False
        """Whether a stamp had to be changed, or was missing."""
        self._was_changed = False
        """Whether one had to be changed: muxers repair their stamps after that alone."""
        self._was_unstamped = False
        """Whether the last packet had no stamps."""
        self.guesses = Guesses(are_sure=not knows_order)
        """Of the packets that were given out."""
        self._default = min(max(1, usual), longest_gap)
        self._longest, self._knows_order = longest_gap, knows_order
        self._shift = 0
        self._last: int | None = None
        """The last packet's decoding time on the running clock."""
        self._begin = 0
        """The earliest picture of the packets without a decoding time."""
        self._end: int | None = None
        """The latest start of a picture on the running clock."""
        self._delay = 0
        """From a packet's decoding to its picture, as the last sound packet had it."""
        self._steps: deque[int] = deque(maxlen=REORDERED)
        self._taken: deque[int] = deque(maxlen=LOOKAHEAD)
        """Where the last pictures are shown."""

    def packets(self, packets: Iterable[Packet]) -> Iterator[Packet]:
        """The same packets in the same order, with changed stamps after a jump; without a jump no stamp is touched.

        At most `LOOKAHEAD` packets are held, and the work for each packet is bounded.
        """
        ahead: deque[Packet] = deque()
        for packet in packets:
            ahead.append(packet)
            if len(ahead) > LOOKAHEAD:
                yield self._stamped(ahead.popleft(), ahead, at_end=False)
        while ahead:
            yield self._stamped(ahead.popleft(), ahead, at_end=True)

    def _stamped(self, packet: Packet, ahead: deque[Packet], at_end: bool) -> Packet:
        """The packet with its stamps on the running clock. ahead: the packets after it, with their own stamps."""
        is_unstamped = self._last is not None and (
            (packet.dts is None and packet.pts is None) or (self._was_unstamped and _has_stamp_of(packet, ahead))
        )
        self._was_unstamped = is_unstamped
        if is_unstamped:
            packet.dts = packet.pts = self._between(ahead)
        if packet.dts is None:
            return self._without_dts(packet, ahead)
        if not self._knows_order:
            packet.pts = packet.dts
        shift = self._shift
        repaired = False
        if self._last is not None:
            step = packet.dts + shift - self._last
            repaired = self._was_changed and self._is_repair(step)
            stray = not repaired and not 0 <= step <= 2 * (STRAYS + 1) * self._usual() and self._is_stray(ahead)
            if repaired or stray or not self._is_step(step):
                if stray or repaired or self._is_repaired_after(packet, ahead):
                    shift = self._last + self._usual() - packet.dts
                else:
                    shift = self._next_start() - self._opening(packet, ahead)
                if not stray:
                    self._shift = shift
            elif step:
                self._steps.append(step)
        elif (
            self._end is not None and not self._begin - self._most_reordered() <= packet.dts + shift <= self._end + self._longest
        ):
            shift = self._shift = self._next_start() - self._opening(packet, ahead)
        now = self._last = packet.dts + shift
        own = None if is_unstamped else self._own_place(packet, shift, ahead, at_end)
        if own is None or repaired:
            # Of the first packets a few are decoded before any picture is shown.
            begin = max(now, min(self._taken)) if is_unstamped else now
            shown = self._free_place(begin, () if repaired else (place + shift for place in self._sound(ahead)))
            self.guesses.add(shown)
        else:
            shown = own
            if not self._knows_order:
                self.guesses.add(shown)
        self._taken.append(shown)
        if shift or is_unstamped or (packet.pts is not None and packet.pts != shown):
            self.jumped = True
            self._was_changed = self._was_changed or not is_unstamped
            packet.dts = now
            packet.pts = None if packet.pts is None else shown
        self._end = shown if self._end is None else max(self._end, shown)
        return packet

    def _between(self, ahead: Iterable[Packet]) -> int:
        """When a packet without stamps is decoded, on its own clock: evenly between the last one and the next that has a stamp.

        Several pictures may share one unit of a transport or program stream (PES), which has one stamp.
        """
        assert self._last is not None
        last = self._last - self._shift
        following = deque(ahead)
        for count in range(2, len(following) + 2):
            packet = following.popleft()
            if packet.dts is not None and not _has_stamp_of(packet, following):
                if self._is_step(packet.dts - last):
                    return last + (packet.dts - last) // count
                break
        return last + self._usual()

    def _without_dts(self, packet: Packet, ahead: deque[Packet]) -> Packet:
        """The first packets of some containers have no dts. Where none has one, the reordered pts tell of long jumps only."""
        if packet.pts is None:
            return packet
        shown = packet.pts + self._shift
        if self._end is None:
            self._begin = self._end = shown
        elif all(other.dts is None for other in ahead):
            if abs(shown - self._end) > self._longest:
                shown = self._next_start()
                self._shift = shown - packet.pts
        elif abs(shown - (self._begin if self._last is None else self._last)) > self._longest + self._reach(
            packet, ahead, at_end=True
        ):
            shown = self._next_start()
        if shown != packet.pts:
            self.jumped = self._was_changed = True
            packet.pts = shown
        self._begin, self._end = min(self._begin, shown), max(self._end, shown)
        self._taken.append(shown)
        return packet

    def _usual(self) -> int:
        return median_low(self._steps) if self._steps else self._default

    def _next_start(self) -> int:
        """Where the last picture ends."""
        assert self._end is not None
        return self._end + self._usual()

    def _is_step(self, ticks: int) -> bool:
        return 0 <= ticks <= self._longest

    def _is_repair(self, step: int) -> bool:
        """Whether it is a muxer's, ticks: those that may not write a step back count on by single ticks after a stray picture."""
        return 0 <= step < self._usual() / REPAIRED

    def _is_repaired_after(self, packet: Packet, ahead: deque[Packet]) -> bool:
        """Whether a muxer had to repair the next packet's stamps because of this one's."""
        following = ahead[0] if ahead else None
        if packet.dts is None or following is None or following.dts is None:
            return False
        # It shows such a picture as soon as it is decoded.
        return following.pts == following.dts and self._is_repair(following.dts - packet.dts)

    def _is_stray(self, ahead: Iterable[Packet]) -> bool:
        """Whether a packet ahead goes on from the last one as if those between had taken their usual time."""
        assert self._last is not None
        usual = self._usual()
        for count, packet in enumerate(islice(ahead, STRAYS), 1):
            if packet.dts is not None:
                since = packet.dts + self._shift - self._last
                if usual * (count + 0.5) <= since <= 2 * usual * (count + 1):
                    return True
        return False

    def _opening(self, first: Packet, ahead: Iterable[Packet]) -> int:
        """The earliest picture of the packets up to the next jump: after a join the first packet may not be shown first."""
        assert first.dts is not None
        return min(self._sound((first, *ahead)), default=first.dts + self._delay)

    def _sound(self, packets: Iterable[Packet]) -> Iterator[int]:
        """When the pictures of the packets up to the next jump are shown, by their own stamps, as far as those can be."""
        last: int | None = None
        for packet in packets:
            if packet.dts is None:
                continue
            if last is not None and not self._is_step(packet.dts - last):
                break
            last = packet.dts
            pts = packet.dts if packet.pts is None else packet.pts
            if -self._longest <= pts - last <= self._most_reordered():
                yield pts

    def _own_place(self, packet: Packet, shift: int, ahead: Iterable[Packet], at_end: bool) -> int | None:
        """When the packet's picture is shown by its own stamp; None where no reordering explains that."""
        assert packet.dts is not None
        if packet.pts is None:
            return packet.dts + shift
        delay = packet.pts - packet.dts
        if delay < -self._longest or (delay > self._longest and delay > self._reach(packet, ahead, at_end)):
            return None
        self._delay = delay
        return packet.pts + shift

    def _free_place(self, now: int, others: Iterable[int]) -> int:
        """The first place from `now` on at which no picture is shown. others: places of the packets ahead."""
        usual = self._usual()
        place = now
        for taken in sorted((*self._taken, *others)):
            if abs(place - taken) < usual / 2:
                place += usual
        return place

    def _reach(self, packet: Packet, ahead: Iterable[Packet], at_end: bool) -> int:
        """How long after its decoding the packet's picture may be shown: until the packet `LOOKAHEAD` further on is decoded."""
        stamps = [other.dts for other in (packet, *ahead) if other.dts is not None]
        steps = [b - a for a, b in pairwise(stamps) if self._is_step(b - a)]
        # At the file's end the packets that would show it are missing.
        return sum(steps) + (self._most_reordered() if at_end else self._usual())

    def _most_reordered(self) -> int:
        return max(self._longest, REORDERED * self._usual())


def _has_stamp_of(packet: Stamped, ahead: deque[Packet]) -> bool:
    """Whether a packet has the next one's stamps: FFmpeg's parsers give a unit's also to the picture that ends in it."""
    return bool(ahead) and packet.dts is not None and (packet.dts, packet.pts) == (ahead[0].dts, ahead[0].pts)


def evened(times: NDArray[np.float64], guessed: Sequence[bool]) -> NDArray[np.float64]:
    """The times with those that are guesses spread evenly between the others, s.

    times: (N + 1,) ascending, of pictures and of the clip's end. guessed: (N,) of the pictures; the first keeps its time.
    """
    known = ~np.array([*guessed, False])
    known[0] = True
    places = np.arange(len(times))
    return np.interp(places, places[known], times[known])


def gap_that_fits(times: NDArray[np.float64], end: float, duration: float) -> float | None:
    """The longest gap, s, with which pictures fit into the `duration` that an event states, None where they need no other one.

    times: (N,) seconds, ascending; end: where the last picture ends. The longest gaps are taken for jumps first; gaps up to
    `LONGEST_HOLD` never are, so that pictures that are too many for the duration keep their times.
    """
    excess = end - float(times[0]) - duration if len(times) else 0.0
    if excess <= max(EVENT_TOLERANCE, duration / 4):
        return None
    gaps = np.sort(np.diff(times))[::-1]
    usual = float(np.median(gaps)) if len(gaps) else 0.0
    saved = np.cumsum(gaps - usual)
    taken = min(int(np.searchsorted(saved, excess - usual)) + 1, int(np.count_nonzero(gaps > LONGEST_HOLD)))
    if not taken:
        return None
    # Between the shortest of the jumps and the next shorter gap; gaps of one length are all jumps.
    shortest = float(gaps[taken - 1])
    kept = float(max(gaps[gaps < shortest - SAME_LENGTH], default=0.0))
    return max(LONGEST_HOLD, (shortest + kept) / 2)
