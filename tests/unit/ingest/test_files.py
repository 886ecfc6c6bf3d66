"""Files as live streams: which files are sources, how they are cut, and when their events are due."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from streams.errors import MediaError
from streams.ingest import files
from streams.ingest.files import CutSegment, Source, cut, events_of, find_sources, in_order
from tests.support.media import make_clip

BEGAN = datetime(2026, 1, 31, 20, 15, 4, tzinfo=UTC)


def segments(count: int, seconds: float = 2.0) -> list[CutSegment]:
    return [CutSegment(Path(f"/media/{number}.ts"), number * seconds, seconds) for number in range(count)]


def test_a_file_is_one_stream(tmp_path: Path) -> None:
    clip = tmp_path / "studio.mp4"
    clip.touch()
    assert find_sources(clip) == [Source("studio", clip)]
    assert find_sources(clip, "studio-7") == [Source("studio-7", clip)]


def test_each_video_of_a_folder_is_a_stream_named_after_it(tmp_path: Path) -> None:
    for name in ("b.mp4", "west/a.ts", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert find_sources(tmp_path) == [Source("b", tmp_path / "b.mp4"), Source("west/a", tmp_path / "west/a.ts")]


def test_sources_that_cannot_be_played_are_refused_with_a_reason(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="no such file") as missing:
        find_sources(tmp_path / "none")
    assert missing.value.kind == "not-found"
    with pytest.raises(MediaError, match="no video") as empty:
        find_sources(tmp_path)
    assert empty.value.kind == "no-video"
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).touch()
    with pytest.raises(MediaError, match="share the stream id") as shared:
        find_sources(tmp_path, "studio-7")
    assert shared.value.kind == "refused"


def test_a_source_is_cut_at_key_frames_into_segments_without_gaps(tmp_path: Path) -> None:
    options = ("-c:v", "libx264", "-pix_fmt", "yuv420p", "-g", "25")
    clip = make_clip(tmp_path / "a.ts", 160, 120, 3.0, options=options)
    parts = cut(Source("west/a, b", clip), tmp_path / "cut", 1.0)
    assert [part.path.name for part in parts] == ["000000.ts", "000001.ts", "000002.ts"]
    assert all(part.path.parent == tmp_path / "cut" / "west_a, b" and part.path.stat().st_size for part in parts)
    # ffmpeg's list counts the delay of two B-frames, 0.08 s, to the first segment.
    assert [part.start for part in parts] == pytest.approx([0, 1, 2], abs=0.1)
    ends = [part.start + part.duration for part in parts]
    assert ends == pytest.approx([*(part.start for part in parts[1:]), 3.0], abs=0.1)


def test_what_mpegts_cannot_hold_is_cut_into_matroska(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.webm", 160, 120, 0.4, options=("-c:v", "libvpx-vp9", "-pix_fmt", "yuv420p"))
    assert [part.path.name for part in cut(Source("a", clip), tmp_path / "cut", 2.0)] == ["000000.mkv"]


def test_the_events_of_a_source_follow_its_segments() -> None:
    events = events_of(Source("studio-7", Path("a.mp4")), segments(3), BEGAN, {"tier": "premium"})
    assert [event.sequence for event in events] == [0, 1, 2]
    assert [event.start for event in events] == [BEGAN + timedelta(seconds=2 * number) for number in range(3)]
    assert {event.duration for event in events} == {2.0}
    assert [event.ended for event in events] == [False, False, True]
    assert [unquote(urlsplit(event.uri).path) for event in events] == [f"/media/{number}.ts" for number in range(3)]
    assert len({event.segment_id for event in events}) == 3
    assert all(event.stream_id == "studio-7" and event.labels == {"tier": "premium"} for event in events)


def test_another_run_of_the_same_source_has_other_segment_ids() -> None:
    source = Source("studio-7", Path("a.mp4"))
    first = events_of(source, segments(2), BEGAN, {})
    second = events_of(source, segments(2), BEGAN + timedelta(seconds=10), {})
    assert not {event.segment_id for event in first} & {event.segment_id for event in second}


def test_events_of_several_streams_come_in_the_order_in_which_segments_end() -> None:
    slow = events_of(Source("slow", Path("a.mp4")), segments(2, seconds=3.0), BEGAN, {})
    quick = events_of(Source("quick", Path("b.mp4")), segments(3, seconds=2.0), BEGAN, {})
    order = [(event.stream_id, event.sequence) for event in in_order([*slow, *quick], fast=True)]
    assert order == [("quick", 0), ("slow", 0), ("quick", 1), ("quick", 2), ("slow", 1)]


def test_an_event_comes_when_its_segment_ends_unless_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [BEGAN]
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        clock[0] += timedelta(seconds=seconds)

    monkeypatch.setattr(files.time, "sleep", sleep)
    monkeypatch.setattr(files, "now", lambda: clock[0])
    events = events_of(Source("studio-7", Path("a.mp4")), segments(3), BEGAN, {})
    for number, _ in enumerate(in_order(events, fast=False), start=1):
        assert clock[0] == BEGAN + timedelta(seconds=2 * number)
    clock[0] += timedelta(minutes=1)
    waits.clear()
    assert len(list(in_order(events, fast=False))) == 3
    assert waits == [0.0, 0.0, 0.0], "late events come at once"
    waits.clear()
    assert len(list(in_order(events, fast=True))) == 3
    assert waits == []
