"""Servers and packagers of one rendition: where the playlist of another one stands, and what was announced already: pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from streams.ingest.base import Clocks, Position
from streams.ingest.hls.dating import date_segments
from streams.ingest.hls.values import MediaPlaylist

ABREAST_TARGETS = 2
"""Target durations, or segments, by which two servers of one rendition may differ."""

BEHIND_TARGETS = 3
"""Target durations, or segments, for which a server is waited for that stands in for another one."""


def is_renumbered(position: Position, playlist: MediaPlaylist) -> bool:
    """Whether the segment that was announced last has another number in this playlist: by the dates, another one ends there.

    A tenth of a segment: packagers that cut alike differ by roundings, and dates that a packager makes anew for each playlist
    seldom meet. Half a target duration: roundings of dates are no other number where segments are short.
    """
    announced, end, last_date = position.clocks.dates, None, None
    if announced is None or position.number is None or playlist.next_number <= position.number:
        return False
    is_elsewhere = False
    for segment in playlist.segments:
        if segment.date is not None and (last_date is None or segment.date > last_date):
            end = last_date = segment.date
        if end is None:
            continue
        end += timedelta(seconds=segment.duration)
        off = abs((end - announced).total_seconds())
        if segment.number == position.number and off < playlist.target / 2:
            return False
        is_elsewhere = is_elsewhere or (off < segment.duration / 10 and segment.number != position.number)
    return is_elsewhere


def is_of_other_packager(position: Position, playlist: MediaPlaylist, now: datetime) -> bool:
    """Whether numbers are others because another packager of the same stream, behind the same address, has answered.

    Its list, by its dates, begins before the end of the last announced segment and reaches up to it, and is longer than what an
    encoder can have made since that was announced.
    """
    clocks, segments = position.clocks, playlist.segments
    length, half = sum(segment.duration for segment in segments), timedelta(seconds=playlist.target / 2)
    if not segments or clocks.dates is None or clocks.arrival is None or (now - clocks.arrival).total_seconds() >= length:
        return False
    end = date_segments(Clocks(), segments, now, playlist.target)[0].dates
    return end is not None and end - timedelta(seconds=length) + half < clocks.dates < end + half


def realign(position: Position, playlist: MediaPlaylist, now: datetime) -> Position:
    """The position in the playlist of another server of the same rendition.

    Where its numbers are the same, nothing changes; else the dates say which of its segments were announced, and how many are
    missing before its first. Without dates the numbers decide, as in `step`.
    """
    dates = position.clocks.dates
    if position.number is None or dates is None or not playlist.segments:
        return position
    _, dated, _ = date_segments(Clocks(), playlist.segments, now, playlist.target)
    middles = [
        (item.segment.number, item.by_date + timedelta(seconds=item.segment.duration / 2))
        for item in dated
        if item.by_date is not None
    ]
    if not middles:
        return position
    announced = max((number for number, middle in middles if middle < dates), default=None)
    if announced is None:
        number, middle = middles[0]
        announced = number - 1 - max(0, round((middle - dates).total_seconds() / playlist.target - 0.5))
    return position if announced == position.number else replace(position, number=announced, loads_back=0, name="")


def is_abreast(position: Position, playlist: MediaPlaylist, now: datetime) -> bool:
    """Whether the playlist of another server is about where the position is: by its dates, or without them by its numbers."""
    if not playlist.segments or position.number is None:
        return False
    end = date_segments(Clocks(), playlist.segments, now, playlist.target)[0].dates
    if end is None or position.clocks.dates is None:
        return abs(position.number - playlist.next_number + 1) <= ABREAST_TARGETS
    return abs((position.clocks.dates - end).total_seconds()) <= ABREAST_TARGETS * playlist.target


def is_behind(position: Position, playlist: MediaPlaylist, now: datetime, met: int) -> bool:
    """Whether the playlist of another server does not have the last announced segment yet.

    met: `next_number` of its first load. A server that goes on though it is far behind has other dates or numbers.
    """
    if position.number is None or position.ended or playlist.ended:
        return False
    if not playlist.segments:
        return True
    seconds = playlist.target * (position.number - playlist.next_number + 1)
    end, dates = date_segments(Clocks(), playlist.segments, now, playlist.target)[0].dates, position.clocks.dates
    if end is not None and dates is not None:
        seconds = (dates - end).total_seconds()
    last = position.last.duration if position.last is not None else playlist.target
    return seconds > last / 2 and (seconds <= BEHIND_TARGETS * playlist.target or playlist.next_number == met)
