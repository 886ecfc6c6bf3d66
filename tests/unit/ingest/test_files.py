"""Files as live streams: which files are sources, how they are cut, and when their events are due."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import unquote, urlsplit

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scorer.sampling import probe
from streams.errors import MediaError
from streams.events import SegmentEvent
from streams.ingest import files
from streams.ingest.files import CutLimits, CutSegment, Source, cut, cut_all, events_of, find_sources, in_order, stream_ids
from streams.text import printable
from tests.support.media import ffmpeg, make_clip

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


@pytest.mark.parametrize(
    ("names", "ids"),
    [
        (["cam.mp4", "cam.mkv"], {"cam.mp4": "cam.mp4", "cam.mkv": "cam.mkv"}),
        (["cam.mp4", "cam.MP4", "other.ts"], {"cam.mp4": "cam.mp4", "cam.MP4": "cam.MP4", "other.ts": "other"}),
        (["cam.ts", "west/cam.ts", "west_cam.ts"], {"cam.ts": "cam", "west/cam.ts": "west/cam", "west_cam.ts": "west_cam"}),
        # The ending that keeps two apart is another file's whole name.
        (["a.ts", "a.mp4", "a.ts.mkv"], {"a.ts": "a.ts", "a.mp4": "a.mp4", "a.ts.mkv": "a.ts.mkv"}),
        (["a\n.ts", "a\\n.ts"], {"a\n.ts": r"a\n.ts", "a\\n.ts": r"a\n.ts~2"}),
    ],
)
def test_no_two_files_share_a_stream_id(names: list[str], ids: dict[str, str], tmp_path: Path) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert {str(source.path.relative_to(tmp_path)): source.stream_id for source in find_sources(tmp_path)} == ids


PATH_PARTS = st.text(st.characters(codec=None, exclude_characters="/\0"), min_size=1, max_size=90).filter(
    lambda part: part not in (".", "..")
)


@given(st.lists(st.lists(PATH_PARTS, min_size=1, max_size=6).map(lambda parts: Path(*parts)), unique=True, max_size=8))
def test_any_paths_get_ids_of_their_own_that_fit_into_events(paths: list[Path]) -> None:
    ids = stream_ids(paths)
    assert len(set(ids)) == len(paths)
    for stream_id in ids:
        (event,) = events_of(Source(stream_id, Path("a.mp4")), segments(1), BEGAN, {})
        assert SegmentEvent.from_bytes(event.to_bytes()) == event
        assert printable(stream_id) == stream_id


def test_what_is_no_file_is_a_source_that_cannot_be_cut(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.ts")
    (tmp_path / "gone.mp4").symlink_to(tmp_path / "none.mp4")
    for source, words in zip(find_sources(tmp_path), ("which does not exist", "it is a pipe"), strict=True):
        with pytest.raises(MediaError, match=words):
            cut(source, tmp_path / "cut", 2.0, probe)
    with pytest.raises(MediaError, match=r"pipe\.ts: it is not a regular file"):
        find_sources(tmp_path / "pipe.ts")


def test_a_source_is_cut_at_key_frames_into_segments_without_gaps(tmp_path: Path) -> None:
    options = ("-c:v", "libx264", "-pix_fmt", "yuv420p", "-g", "25")
    clip = make_clip(tmp_path / "a.ts", 160, 120, 3.0, options=options)
    parts = cut(Source("west/a, b", clip), tmp_path / "cut", 1.0, probe)
    assert [part.path.name for part in parts] == ["000000.ts", "000001.ts", "000002.ts"]
    (folder,) = {part.path.parent for part in parts}
    assert folder.parent == tmp_path / "cut"
    assert folder.name.startswith("west_a_b-")
    assert all(part.path.stat().st_size for part in parts)
    assert [part.start for part in parts] == pytest.approx([0, 1, 2])
    assert [part.duration for part in parts] == pytest.approx([1, 1, 1])


@pytest.mark.parametrize("name", ["a.ts", "a.mp4", "a.mkv", "a.flv"])
@pytest.mark.parametrize("bidirectional", ["0", "1", "3"])
def test_segments_last_as_long_as_the_file_and_do_not_overlap(name: str, bidirectional: str, tmp_path: Path) -> None:
    options = ("-c:v", "libx264", "-pix_fmt", "yuv420p", "-g", "20", "-bf", bidirectional)
    clip = make_clip(tmp_path / name, 160, 120, 3.0, options=options)
    parts = cut(Source("a", clip), tmp_path / "cut", 0.7, probe)
    tolerance = 2e-3  # Matroska and FLV count milliseconds
    assert parts[0].start == 0
    ends = [part.start + part.duration for part in parts]
    assert ends == pytest.approx([*(part.start for part in parts[1:]), 3.0], abs=tolerance)
    for part in parts:
        assert probe(part.path).duration == pytest.approx(part.duration, abs=tolerance)


X264, MPEG = ("-c:v", "libx264"), ("-pix_fmt", "yuv420p", "-g", "25")


@pytest.mark.parametrize(
    ("name", "encoder"),
    [
        ("a.h264", (*X264, "-bf", "0")),
        ("a.m2v", ("-c:v", "mpeg2video", "-bf", "2", "-b:v", "1M")),
        ("a.avi", ("-c:v", "mpeg4", "-bf", "2", "-b:v", "1M")),
        ("a.asf", (*X264, "-bf", "0")),
        ("a.mxf", (*X264, "-bf", "0")),
    ],
)
def test_pictures_without_a_time_at_which_they_are_shown_get_one(name: str, encoder: tuple[str, ...], tmp_path: Path) -> None:
    clip = make_clip(tmp_path / name, 160, 120, 3.0, fps=30, options=(*MPEG, *encoder))
    parts = cut(Source("a", clip), tmp_path / "cut", 0.7, probe)
    assert len(parts) > 2
    assert parts[-1].start + parts[-1].duration == pytest.approx(3.0, abs=0.003)
    for part in parts:
        with av.open(str(part.path)) as container:
            shown = [frame.time for frame in container.decode(video=0)]
        assert np.diff(shown) == pytest.approx(np.full(len(shown) - 1, 1 / 30), abs=0.002)
        # Pictures before a segment's key frame that need the segment before do not count in its duration.
        assert len(shown) / 30 == pytest.approx(part.duration, abs=2.1 / 30)


@pytest.mark.parametrize("name", ["a.h264", "a.avi", "a.asf", "a.mxf"])
def test_pictures_of_which_nobody_knows_the_order_are_not_cut(name: str, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / name, 160, 120, 1.0, options=(*MPEG, *X264, "-bf", "2"))
    with pytest.raises(MediaError, match=r"not when they are shown \(h264 with B-frames\): encode it again"):
        cut(Source("a", clip), tmp_path / "cut", 0.7, probe)


def test_what_mpegts_cannot_hold_is_cut_into_matroska(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.webm", 160, 120, 0.4, options=("-c:v", "libvpx-vp9", "-pix_fmt", "yuv420p"))
    assert [part.path.name for part in cut(Source("a", clip), tmp_path / "cut", 2.0, probe)] == ["000000.mkv"]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of 0.4 s."""
    return make_clip(tmp_path_factory.mktemp("clip") / "a.mp4", 160, 120, 0.4)


ODD_NAMES = [
    "100% real.mp4",
    "%06d.mp4",
    "-i.mp4",
    "a:b.mp4",
    "a\nb.mp4",
    "concat:x.mp4",
    "'; |.mp4",
    os.fsdecode(b"caf\xe9.mp4"),
]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_files_of_any_name_are_cut_in_folders_of_any_name(name: str, clip: Path, tmp_path: Path) -> None:
    folder = tmp_path / f"folder {name}"
    folder.mkdir()
    shutil.copy(clip, folder / name)
    (source,) = find_sources(folder)
    (part,) = cut(source, folder / "cut", 2.0, probe)
    assert part.path.stat().st_size
    (event,) = events_of(source, [part], BEGAN, {})
    assert SegmentEvent.from_bytes(event.to_bytes()).uri == event.uri


def test_two_files_never_share_a_folder_and_the_same_file_keeps_its_own(clip: Path, tmp_path: Path) -> None:
    other = tmp_path / "a.mp4"
    shutil.copy(clip, other)
    first = cut(Source("a", clip), tmp_path / "cut", 2.0, probe)
    assert cut(Source("a", clip), tmp_path / "cut", 2.0, probe) == first
    others = [
        cut(Source("a", other), tmp_path / "cut", 2.0, probe),
        cut(Source("b/c", clip), tmp_path / "cut", 2.0, probe),
        cut(Source("b_c", clip), tmp_path / "cut", 2.0, probe),
        cut(Source("a", clip), tmp_path / "cut", 1.0, probe),
    ]
    os.utime(other, (1, 1))
    others.append(cut(Source("a", other), tmp_path / "cut", 2.0, probe))
    assert len({segments[0].path.parent for segments in (first, *others)}) == 6
    assert len(list((tmp_path / "cut").iterdir())) == 6, "no temporary folder is left"


def test_a_source_that_cannot_be_cut_harms_no_other(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    for name, data in {"bad.mp4": b"no video", "empty.mp4": b"", "good.mp4": clip.read_bytes()}.items():
        (tmp_path / "videos" / name).write_bytes(data)
    bad, empty, good = find_sources(tmp_path / "videos")
    segments, problems = cut_all([bad, empty, good], tmp_path / "cut", 2.0, CutLimits(memory_mb=512))
    assert list(segments) == [good]
    assert "cannot be opened as media" in problems[bad]
    assert "0 bytes" in problems[empty]
    with pytest.raises(MediaError, match=r"bad\.mp4: .*; .*empty\.mp4: "):
        cut_all([bad, empty], tmp_path / "cut", 2.0, CutLimits(memory_mb=512))


def test_the_reason_why_a_source_cannot_be_cut_is_ffmpegs_own(clip: Path, tmp_path: Path) -> None:
    animation = tmp_path / "a.apng"
    ffmpeg("-i", clip, animation)
    with pytest.raises(MediaError, match="cannot be cut into segments: No bmp codec tag found for codec apng"):
        cut(Source("a", animation), tmp_path / "cut", 2.0, probe)


@pytest.mark.parametrize(
    ("ends", "starts", "durations"),
    [
        ([2.0, 4.0, 6.0], [0.0, 2.0, 4.0], [2.0, 2.0, 2.0]),
        ([2.0, 37_604.0, 37_606.0], [0.0, 2.0, 4.0], [2.0, 2.0, 2.0]),
        ([2.0, -90_000.0, -89_998.5], [0.0, 2.0, 4.0], [2.0, 2.0, 1.5]),
        ([2.0, 2.0, 4e15], [0.0, 2.0], [2.0, 2.0]),
    ],
)
def test_a_clock_that_jumps_makes_no_event_that_nobody_takes(
    ends: list[float], starts: list[float], durations: list[float], tmp_path: Path
) -> None:
    lines = [f"{i:06}.ts,{begin},{end}\n" for i, (begin, end) in enumerate(zip([0.0, *ends], ends, strict=False))]
    (tmp_path / "list.csv").write_text("".join(lines))
    listed = files._listed_segments(tmp_path / "list.csv", tmp_path, 2.0)
    assert [segment.start for segment in listed] == pytest.approx(starts)
    assert [segment.duration for segment in listed] == pytest.approx(durations)
    assert len(events_of(Source("a", tmp_path / "a.mp4"), listed, BEGAN, {})) == len(starts)


def test_a_segment_over_the_limit_is_refused(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mkv", 640, 480, 1.0, options=("-c:v", "rawvideo", "-pix_fmt", "yuv420p"))
    with pytest.raises(MediaError, match="less than 1 MiB"):
        cut(Source("a", clip), tmp_path / "cut", 2.0, probe, CutLimits(segment_mb=1))


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


def test_a_source_that_is_open_here_is_found_by_the_child_that_probes_it(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4", seconds=2)
    asked = []
    with clip.open() as file:
        source = Source("a", Path(f"/dev/fd/{file.fileno()}"))
        assert len(cut(source, tmp_path, 1.0, lambda path: asked.append(path) or probe(path))) >= 1
    assert asked == [clip.resolve()]
