"""`availabilityStartTime` from manifest to manifest: packagers that correct it, and streams that begin again with it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.support.manifests import ANCHOR, manifest, period, timeline, video
from tests.unit.ingest.test_dash_window import Source


@pytest.mark.parametrize("moves", [(0, 3, 6), (0, 3, 0), (0, -3, -1), (5, 2, 5)])
def test_the_first_segment_of_a_period_is_announced_once_where_the_anchor_moves(moves: tuple[int, ...]) -> None:
    source, files, discontinuities = Source(), [], 0
    first = period(video(timeline("t=0 d=2000 r=4", media="a-$Time$.m4s")))
    for index, move in enumerate(moves):
        second = period(video(timeline(f"t=0 d=2000 r={index}", media="b-$Time$.m4s")), attributes='start="PT10S"')
        anchor = (ANCHOR + timedelta(milliseconds=move)).isoformat().encode()
        for seconds in (12, 12.5):
            body = manifest(first, second).replace(ANCHOR.isoformat().encode(), anchor)
            files += [event.uri.rpartition("/")[2] for event in source.load(body, 2 * index + seconds)]
            discontinuities += source.notes.counts["discontinuities"]
            anchor = (ANCHOR + timedelta(milliseconds=move + 1)).isoformat().encode()
    assert files == ["b-0.m4s", "b-2000.m4s", "b-4000.m4s"]
    assert discontinuities == 0


def test_what_is_missing_between_an_end_and_the_next_beginning_is_no_loss() -> None:
    source, ended = Source(), 'mediaPresentationDuration="PT10S"'
    source.load(manifest(period(video(timeline("t=0 d=2000 r=4")))), 10)
    (last,) = source.load(manifest(period(video(timeline("t=0 d=2000 r=4"))), kind="static", attributes=ended), 12)
    events = source.load(manifest(period(video(timeline("t=30000 d=2000 r=1")))), 34)
    assert last.ended
    assert [(event.sequence - last.sequence, (event.start - ANCHOR).total_seconds()) for event in events] == [(1, 30), (2, 32)]
    assert (source.notes.counts["restarts"], source.notes.counts["lost"]) == (1, 0)


def test_an_encoder_that_restarts_after_several_periods_has_only_new_segments() -> None:
    """Its first segment begins within the last one of before, and its Period at its own anchor."""
    first = period(video(timeline("t=0 d=2000 r=4", media="a-$Time$.m4s")))
    second = period(video(timeline("t=0 d=2000 r=1", media="b-$Time$.m4s")), attributes='start="PT10S"')
    source = Source()
    source.load(manifest(first, second), 14.0)
    anew = manifest(period(video(timeline("t=0 d=2000 r=1", media="c-$Time$.m4s"))))
    anew = anew.replace(ANCHOR.isoformat().encode(), (ANCHOR + timedelta(seconds=12.5)).isoformat().encode())
    assert [event.uri.rpartition("/")[2] for event in source.load(anew, 16.6)] == ["c-0.m4s", "c-2000.m4s"]
    assert source.notes.counts["restarts"] == 1
