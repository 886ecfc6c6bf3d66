"""What is new in a playlist: `step(position, playlist, now) -> (position, events, notes)`, pure.

The position says how far a rendition was announced, and survives a restart. A segment's identity is its date, where the source
gives dates, else the epoch and its media sequence number; never its address, which may be signed anew in each playlist.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from streams.events import SegmentEvent, SegmentKey
from streams.ingest.base import Clocks, Position, Stream
from streams.ingest.hls.dating import MOST_SKEW, Dated, date_segments, passed, skew, used_up_to, with_dates
from streams.ingest.hls.servers import is_of_other_packager, is_renumbered, realign
from streams.ingest.hls.values import Key, MediaPlaylist, Segment

FORWARD_WINDOWS = 10
"""A jump ahead by more windows than this is a restart with other numbers, not a loss of so many segments."""

BACK_LOADS = 3
"""Loads in a row whose numbers went back, from which a source without dates is taken to have restarted."""

OLD_COPY_LOADS = 60
"""The same for a source whose dates went back by as much as its numbers, as in an old copy; or where both follow a clock that was
set back."""

OVERTAKEN_TARGETS = 2
"""Target durations by which the date of a number that was announced must have moved for a restart."""


@dataclass
class Notes:
    """What a playlist showed. counts: by what, as in docs/ingest.md. skew: seconds, see `dating.skew`.

    encrypted: new segments are encrypted, by a method that is not supported.
    """

    counts: Counter[str] = field(default_factory=Counter)
    skew: float | None = None
    encrypted: bool = False


def step(
    stream: Stream, position: Position, playlist: MediaPlaylist, now: datetime
) -> tuple[Position, list[SegmentEvent], Notes]:
    """The events that a playlist adds, and the position after them. now: when it was loaded, UTC."""
    notes = Notes()
    notes.counts["dropped"] = sum(playlist.dropped.values())
    dated = frozenset(segment.number for segment in playlist.segments if segment.date is not None)
    own_dates = dated if 2 * len(dated) >= len(playlist.segments) else frozenset[int]()
    playlist = with_dates(playlist, position.number)
    newest = playlist.next_number - 1
    # An empty list says nothing of numbers: packagers, and caches that cut, send one in mid-stream.
    empty = not playlist.segments and playlist.next_number == playlist.first
    if is_renumbered(position, playlist) and is_of_other_packager(position, playlist, now):
        position = realign(position, playlist, now)
    _check(position, playlist, notes)
    if position.number is not None and not empty:
        went_back = newest < position.number or _is_of_before(position, playlist)
        if went_back and not _restarted(position, playlist):
            notes.counts["backsteps"] += 1
            return replace(position, loads_back=position.loads_back + 1), [], notes
        restarted = went_back or _jumped(position, playlist) or _overtook(position, playlist, now)
        if (restarted or playlist.first > position.number + 1) and is_of_other_packager(position, playlist, now):
            position = realign(position, playlist, now)
        elif restarted:
            position = _new_epoch(position, playlist, notes)
    position = replace(position, loads_back=0)
    if not empty:
        position = replace(position, first=playlist.first, length=len(playlist.segments))
    new = _new_segments(stream, position, playlist, notes)
    position, events = _announce(stream, position, new, playlist, now, notes, own_dates)
    if playlist.ended and not position.ended:
        if events:
            events[-1] = events[-1].model_copy(update={"ended": True})
        elif position.last is not None:
            events = [position.last.model_copy(update={"ended": True})]
    if events:
        position = replace(position, last=events[-1])
    # An encoder that starts begins with an empty list: the end of before is what tells of its first segment that it is new.
    return replace(position, ended=playlist.ended or (empty and position.ended)), events, notes


def _check(position: Position, playlist: MediaPlaylist, notes: Notes) -> None:
    """Count what contradicts the playlist before: the same numbers with other content, size or discontinuity."""
    if position.number is None or playlist.first < position.first or not playlist.segments:
        return
    if playlist.first == position.first and len(playlist.segments) < position.length:
        notes.counts["size-changed"] += 1
    same = next((segment for segment in playlist.segments if segment.number == position.number), None)
    if same is not None and position.name and _name(same) != position.name:
        notes.counts["content-changed"] += 1
    if same is not None and same.discontinuity != position.discontinuity:
        notes.counts["discontinuity-sequence"] += 1


def _restarted(position: Position, playlist: MediaPlaylist) -> bool:
    """Whether numbers that went back are a restart of the encoder, and not an old copy from another edge."""
    assert position.number is not None
    date = _newest_date(playlist)
    stays = position.loads_back + 1 >= BACK_LOADS
    if playlist.first > position.number:
        return stays
    if 0 < position.first <= playlist.first:
        return _is_newer(position, playlist)  # else a list that was cut
    is_far = position.number - (playlist.next_number - 1) > playlist.next_number - playlist.first
    if date is not None and position.clocks.last_date is not None:
        # An encoder that lost its clock, too, restarts with old dates; an edge that lags is not a window behind for long.
        stays = stays and not (_is_old_copy(position, playlist) and position.loads_back + 1 < OLD_COPY_LOADS)
        return _is_newer(position, playlist) or (stays and is_far)
    return stays or is_far


def _is_old_copy(position: Position, playlist: MediaPlaylist) -> bool:
    """Whether the dates of a playlist whose numbers went back did so by as much, up to a segment and 2 % of rounded durations.

    It tells nothing of a DASH source (with an anchor), whose numbers are made of its times.
    """
    last, dates = playlist.segments[-1], position.clocks.dates
    if last.date is None or dates is None or position.number is None or position.anchor is not None:
        return False
    usual = sum(segment.duration for segment in playlist.segments) / len(playlist.segments)
    behind = (dates - last.date).total_seconds() - last.duration
    return abs(behind - usual * (position.number - last.number)) <= usual + 0.02 * abs(behind)


def _is_newer(position: Position, playlist: MediaPlaylist) -> bool:
    """Whether the newest date of a playlist whose numbers went back is of after what was announced.

    The last date that was given does not tell alone: where few segments have one, an old copy's newest segment may be after it.
    """
    date, clocks = _newest_date(playlist), position.clocks
    if date is None or clocks.last_date is None or clocks.dates is None:
        return False
    return date > max(clocks.last_date, clocks.dates - timedelta(seconds=playlist.target / 2))


def _is_of_before(position: Position, playlist: MediaPlaylist) -> bool:
    """Whether numbers that jump ahead have older dates: an old copy from before the encoder restarted with lower numbers."""
    assert position.number is not None
    last_date = position.clocks.last_date
    if playlist.first <= position.number + 1 or last_date is None:
        return False
    date = _newest_date(playlist)
    return date is not None and date < last_date


def _newest_date(playlist: MediaPlaylist) -> datetime | None:
    return max((segment.date for segment in playlist.segments if segment.date is not None), default=None)


def _jumped(position: Position, playlist: MediaPlaylist) -> bool:
    """Whether numbers are so far ahead that the encoder has restarted with others."""
    assert position.number is not None
    return playlist.first - position.number > FORWARD_WINDOWS * max(1, playlist.next_number - playlist.first)


def _overtook(position: Position, playlist: MediaPlaylist, now: datetime) -> bool:
    """Whether the encoder has restarted while nobody looked, and its numbers are where they were before, or further."""
    assert position.number is not None
    if position.ended and not playlist.ended and not position.first <= playlist.first <= position.number + 1:
        return True  # what is missing after an end was never made
    clocks = position.clocks
    same = next((segment for segment in playlist.segments if segment.number == position.number), None)
    if same is None or same.date is None or clocks.dates is None or clocks.arrival is None:
        return False
    moved = (same.date - clocks.dates).total_seconds()
    if moved < OVERTAKEN_TARGETS * playlist.target:
        return False
    # A clock that is set moves the dates, too, but then they are as far from this machine's clock as they have moved.
    end = date_segments(Clocks(), playlist.segments, now, playlist.target)[0].dates
    set_by = (now - end).total_seconds() - (clocks.arrival - clocks.dates).total_seconds() if end is not None else moved
    return abs(set_by) < moved / 2


def _new_epoch(position: Position, playlist: MediaPlaylist, notes: Notes) -> Position:
    """The position before the first segment of a source that has restarted: all its segments are new."""
    notes.counts["restarts"] += 1
    clocks = Clocks(arrival=position.clocks.arrival, used=used_up_to(position.clocks, playlist.target))
    return replace(position, epoch=position.epoch + 1, number=playlist.first - 1, clocks=clocks, ended=False, name="")


def _new_segments(stream: Stream, position: Position, playlist: MediaPlaylist, notes: Notes) -> list[Segment]:
    """The segments after the position; what was lost in between is counted."""
    if position.number is None:
        joined = playlist.segments if stream.from_start or playlist.ended else playlist.segments[-1:]
        return list(joined)
    new = [segment for segment in playlist.segments if segment.number > position.number]
    first = playlist.first if playlist.first > position.number else position.number + 1
    if lost := first - position.number - 1:
        notes.counts["lost"] += lost
    return new


def _announce(
    stream: Stream,
    position: Position,
    new: list[Segment],
    playlist: MediaPlaylist,
    now: datetime,
    notes: Notes,
    own_dates: Collection[int],
) -> tuple[Position, list[SegmentEvent]]:
    """The events of new segments. A gap, or a segment that cannot be decrypted, uses up its number and has no event.

    own_dates: numbers of the segments that their own date names: the source itself has dated them, and not only few.
    """
    if not new:
        return _past_unusable(position, playlist), []
    joining = position.number is None
    # A source that is joined late may have its only date on a segment that is not announced.
    known = list(playlist.segments) if joining else new
    finished = joining and playlist.ended
    clocks, dated, corrections = date_segments(position.clocks, known, now, playlist.target, finished, position.number)
    dated = dated[-len(new) :]
    notes.counts["corrections"] += corrections
    notes.skew = skew(clocks, now)
    by_arrival = _goes_by_arrival(stream, notes.skew)
    events = []
    sequence, before = position.sequence, position.discontinuity
    number = new[0].number - 1 if position.number is None else position.number
    for item in dated:
        segment = item.segment
        sequence, number = sequence + segment.number - number, segment.number
        notes.counts["discontinuities"] += segment.discontinuity > before and not joining
        before = segment.discontinuity
        if segment.gap:
            notes.counts["gaps"] += 1
        elif segment.encrypted:
            notes.counts["encrypted"] += 1
            notes.encrypted = True
        else:
            by_own_date = item.is_own and segment.number in own_dates
            events.append(_event(stream, _named(position.epoch, item, by_own_date), sequence, item, by_arrival))
    last, newest = new[-1], playlist.next_number - 1
    unusable = newest - last.number
    after = replace(
        position, number=newest, sequence=sequence + unusable, clocks=passed(clocks, unusable * playlist.target),
        discontinuity=last.discontinuity,
        name=_name(last) if last.number == newest else "",
    )  # fmt: skip
    return after, events


def _past_unusable(position: Position, playlist: MediaPlaylist) -> Position:
    """The position after a playlist whose new segments, if it has any, cannot be used: they use up their numbers."""
    newest = playlist.next_number - 1
    if playlist.next_number == playlist.first or (position.number is not None and newest <= position.number):
        return position
    if position.number is None:
        return replace(position, number=newest)
    unusable = newest - position.number
    clocks = passed(position.clocks, unusable * playlist.target)
    return replace(position, number=newest, sequence=position.sequence + unusable, clocks=clocks, name="")


def _goes_by_arrival(stream: Stream, skew: float | None) -> bool:
    """Whether segments start by when they arrived, and not by the source's dates. skew: of those, seconds; None without any."""
    if skew is None or stream.clock == "arrival":
        return True
    return stream.clock == "auto" and abs(skew) > MOST_SKEW


def _named(epoch: int, dated: Dated, by_own_date: bool) -> str:
    """What names a segment in its rendition: the same in every ingester where there are dates."""
    date, number = None if dated.is_repeated else dated.by_date, dated.segment.number
    if date is None:
        return f"{epoch}/{number}"
    if by_own_date:
        return f"{round(date.timestamp() * 1000)}"
    # Counted from the date of another segment, of which each load may have another: a sum of rounded durations is some ms off.
    # The second is there for an encoder that restarts with the numbers of before.
    return f"{round(date.timestamp())}/{number}"


def _event(stream: Stream, named: str, sequence: int, dated: Dated, by_arrival: bool) -> SegmentEvent:
    segment = dated.segment
    start = dated.by_arrival if by_arrival or dated.by_date is None else dated.by_date
    place = "/".join(part for part in (stream.stream_id, stream.rendition) if part)
    init, key = segment.init, segment.key
    return SegmentEvent(
        stream_id=stream.stream_id,
        segment_id=f"{place}/{named}",
        sequence=sequence,
        uri=segment.uri,
        byte_range=str(segment.byte_range) if segment.byte_range else None,
        init_uri=init.uri if init else None,
        init_byte_range=str(init.byte_range) if init and init.byte_range else None,
        key=_key(key, segment.number),
        init_key=_key(init.key, segment.number) if init and init.key != key else None,
        start=start,
        duration=segment.duration,
        rendition=stream.rendition,
        labels=stream.labels | ({"clock": "arrival"} if by_arrival and dated.by_date is not None else {}),
    )


def _key(key: Key | None, number: int) -> SegmentKey | None:
    """A key as it is in events. Without a vector in the playlist, that is the media sequence number (RFC 8216bis, 5.2)."""
    if key is None:
        return None
    iv = key.iv if key.iv is not None else number.to_bytes(16, "big")
    return SegmentKey(method="AES-128", uri=key.uri, iv=iv.hex())


def _name(segment: Segment) -> str:
    """The part of a segment's address that edges and signatures do not change, with its range."""
    file = segment.uri.partition("?")[0].rpartition("/")[2]
    return f"{file}#{segment.byte_range}" if segment.byte_range else file
