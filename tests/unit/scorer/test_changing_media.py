"""Files in which the video goes on in another stream or with another codec: all of it is sampled."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

from scorer.errors import MediaError
from scorer.sampling import probe, sample
from scorer.sampling.transport import CHUNK, MOST_CHANGES, programmes, stream_changes
from scorer.spec import SamplerSpec
from streams.ingest.files import Source, cut
from tests.support.changing import CHANGING, make_changing
from tests.support.media import ffmpeg, make_clip

SPEC = SamplerSpec(portrait_frames=0)
KEEPS_ITS_STREAM = "h264-then-another-profile.ts"


@pytest.mark.slow
@pytest.mark.parametrize("name", CHANGING)
def test_all_of_the_video_is_sampled_also_after_seeking(tmp_path: Path, name: str) -> None:
    path = make_changing(tmp_path / name)
    ((window, clip),) = sample(path, SPEC, duration=2.0)
    assert window.duration == pytest.approx(2.0, abs=0.1)
    assert clip.info.frames == pytest.approx(50, abs=2)  # MPEG-2 begins with a B-frame or two that lack a reference
    assert clip.signals["freeze"] < 0.2
    assert clip.face_summary.count == 1
    first, second = sample(path, SPEC, 1.0)
    assert min(first[1].info.frames, second[1].info.frames) > 20
    names = {"libx264": "h264", "libx265": "hevc", "mpeg2video": "mpeg2video"}
    codecs = [names[options[1]] for options in CHANGING[name]]
    assert [clip.info.codec for _, clip in (first, second)] == codecs
    assert [clip.bitstream.codec for _, clip in (first, second) if clip.bitstream is not None] == codecs
    ((_, sought),) = sample(path, SPEC, 1.0, start=1.0, limit=1)
    assert np.array_equal(sought.frames, second[1].frames)


@pytest.mark.parametrize("name", CHANGING)
def test_a_change_is_told_and_such_a_file_is_not_cut(tmp_path: Path, name: str) -> None:
    path = make_changing(tmp_path / name)
    facts = probe(path)
    assert facts.duration == pytest.approx(2.0, abs=0.1)
    if name == KEEPS_ITS_STREAM:
        assert facts.changes == 0
        assert sum(part.duration for part in cut(Source("a", path), tmp_path / "cut", 1.0, probe)) == pytest.approx(2, abs=0.1)
        return
    assert facts.changes == 1
    with pytest.raises(MediaError, match="split it there") as caught:
        cut(Source("a", path), tmp_path / "cut", 1.0, probe)
    assert caught.value.kind == "refused"


def test_a_change_is_found_where_packets_are_shifted_or_stamped(tmp_path: Path) -> None:
    whole = make_changing(tmp_path / "h264-then-hevc.ts").read_bytes()
    (change,) = stream_changes(BytesIO(whole))[0]
    first, second = whole[:change], whole[change:]
    assert stream_changes(BytesIO(first))[0] == stream_changes(BytesIO(second))[0] == []
    # A recording that was cut off within a packet.
    assert stream_changes(BytesIO(first[:-77] + second))[0] == [change - 77]
    # Cameras put a stamp of 4 bytes before each packet.
    stamped = b"".join(b"\0\0\0\0" + whole[i : i + 188] for i in range(0, len(whole), 188))
    assert programmes(stamped) == programmes(whole) != []
    assert stream_changes(BytesIO(stamped))[0] == [change // 188 * 192 + 4]


@pytest.mark.parametrize("left", [1, 2, 5, 100])
def test_a_change_is_found_after_a_loss_wherever_a_part_of_the_file_ends_that_is_read_at_once(tmp_path: Path, left: int) -> None:
    whole = make_changing(tmp_path / "h264-then-hevc.ts").read_bytes()
    (change,) = stream_changes(BytesIO(whole))[0]
    empty = (b"\x47\x1f\xff\x10" + bytes(184)) * (CHUNK // 188 - change // 188 - left)
    lossy = whole[:change] + empty + bytes(7) + (b"\x47\x1f\xff\x10" + bytes(184)) * 500 + whole[change:]

    assert stream_changes(BytesIO(lossy))[0] == [len(lossy) - len(whole) + change]


def test_changes_without_end_are_refused(tmp_path: Path) -> None:
    heads = []
    for number, codec in enumerate(("libx264", "mpeg2video")):
        path = make_clip(tmp_path / f"{number}.ts", 64, 64, 0.2, options=("-c:v", codec, "-pix_fmt", "yuv420p"))
        heads.append(path.read_bytes())
    assert len(stream_changes(BytesIO(b"".join(heads) * 10))[0]) == 19
    with pytest.raises(MediaError, match="changes more than"):
        stream_changes(BytesIO(b"".join(heads) * MOST_CHANGES))[0]


def test_other_sound_is_no_change(tmp_path: Path) -> None:
    parts = []
    for number, tracks in enumerate((("-map", "0"), ("-map", "0", "-map", "1"))):
        inputs = ("-f", "lavfi", "-i", "testsrc2=size=64x64:rate=25", "-f", "lavfi", "-i", "sine")
        path = tmp_path / f"{number}.ts"
        ffmpeg(*inputs, *tracks, "-t", "0.4", "-c:v", "libx264", "-pix_fmt", "yuv420p", path)
        parts.append(path.read_bytes())
    assert stream_changes(BytesIO(b"".join(parts)))[0] == []


def test_a_window_has_the_size_of_its_own_pictures(tmp_path: Path) -> None:
    parts = []
    for at, side in ((0, 64), (2, 96)):
        options = ("-bf", "0", "-pix_fmt", "yuv420p", "-output_ts_offset", f"{at}")
        parts.append(make_clip(tmp_path / f"{side}.ts", side, side, 2.0, options=options).read_bytes())
    path = tmp_path / "clip.ts"
    path.write_bytes(b"".join(parts))
    windows = [clip.bitstream for _, clip in sample(path, SPEC, 1.0)]
    assert [(facts.width, facts.height) for facts in windows if facts is not None] == [(64, 64)] * 2 + [(96, 96)] * 2


FRAGMENTED = ("-movflags", "frag_keyframe+empty_moov+default_base_moof")


@pytest.mark.parametrize("flags", [FRAGMENTED, ("-movflags", "faststart")])
def test_joined_mp4_is_decoded_by_the_header_of_each_part(tmp_path: Path, flags: tuple[str, ...]) -> None:
    """As downloads of HLS with discontinuities: each part comes with its init segment."""
    parts = []
    for number, (side, shade) in enumerate(((64, "0x303030"), (96, "0x808080"), (64, "0xd0d0d0"))):
        part, source = tmp_path / f"{number}.mp4", f"color={shade}:size={side}x{side}:rate=25"
        ffmpeg("-f", "lavfi", "-t", "1", "-i", source, "-c:v", "libx264", "-pix_fmt", "yuv420p", *flags, part)
        parts.append(part.read_bytes())
    path = tmp_path / "joined.mp4"
    path.write_bytes(b"".join(parts))

    windows = sample(path, SPEC, 1.0)

    assert [round(clip.signals["luma"], -1) for _, clip in windows] == [50, 130, 210]
    assert [(clip.info.width, clip.info.frames) for _, clip in windows] == [(64, 25), (96, 25), (64, 25)]
    assert probe(path).changes == 2
    with pytest.raises(MediaError, match="split it there"):
        cut(Source("a", path), tmp_path / "cut", 1.0, probe)


@pytest.mark.parametrize("ending", ["ts", "mp4"])
@pytest.mark.parametrize("encoder", ["libx264", "mpeg2video"])
def test_pixels_may_change_their_shape(encoder: str, ending: str, tmp_path: Path) -> None:
    """As where an old advertisement in 4:3 comes within a programme in 16:9, both of 720x576."""
    parts = []
    for number, aspect in enumerate(("16/9", "1/1", "4/3")):
        part, source = tmp_path / f"{number}.{ending}", f"testsrc2=size=64x64:rate=25,setsar={aspect}"
        offset = ("-output_ts_offset", str(number)) if ending == "ts" else ()
        ffmpeg("-f", "lavfi", "-t", "1", "-i", source, "-c:v", encoder, "-bf", "0", "-pix_fmt", "yuv420p", *offset, part)
        parts.append(part.read_bytes())
    path = tmp_path / f"joined.{ending}"
    path.write_bytes(b"".join(parts))

    together = [clip for _, clip in sample(path, SPEC, 1.0)]
    apart = [clip for start in range(3) for _, clip in sample(path, SPEC, 1.0, start=start, limit=1)]

    for clips in (together, apart):
        assert [(clip.info.width, clip.info.height) for clip in clips] == [(114, 64), (64, 64), (85, 64)]


@pytest.mark.parametrize("scales", [(12800, 15360, 90000), (25, 30, 25)])
def test_parts_of_joined_mp4_may_count_time_in_other_ticks(tmp_path: Path, scales: tuple[int, ...]) -> None:
    parts = []
    for number, (side, rate, scale) in enumerate(zip((64, 96, 64), (25, 30, 25), scales, strict=True)):
        options = ("-bf", "0", "-pix_fmt", "yuv420p", "-video_track_timescale", f"{scale}", *FRAGMENTED)
        parts.append(make_clip(tmp_path / f"{number}.mp4", side, side, 2.0, rate, options=options).read_bytes())
    path = tmp_path / "joined.mp4"
    path.write_bytes(b"".join(parts))

    clips = [clip for _, clip in sample(path, SPEC, 2.0)]

    assert [(clip.info.width, clip.info.frames) for clip in clips] == [(64, 50), (96, 60), (64, 50)]
    assert [clip.bitstream.fps for clip in clips if clip.bitstream is not None] == pytest.approx([25, 30, 25], abs=0.1)
    ((window, _),) = sample(path, SPEC)
    assert window.duration == pytest.approx(6, abs=0.01)


def test_joined_mp4_with_one_header_is_no_change(tmp_path: Path) -> None:
    part = make_clip(tmp_path / "part.mp4", 64, 64, 1.0, options=("-pix_fmt", "yuv420p", *FRAGMENTED))
    path = tmp_path / "joined.mp4"
    path.write_bytes(part.read_bytes() * 2)
    assert probe(path).changes == 0
    ((window, _),) = sample(path, SPEC)
    assert window.duration == pytest.approx(2)


def test_joined_takes_of_one_camera_are_all_scored(tmp_path: Path) -> None:
    """Without fragments, a header tells of the pictures of its own file alone, also where all headers name the same codec."""
    parts = []
    for kind in ("testsrc2", "mandelbrot"):
        options = ("-pix_fmt", "yuv420p", "-write_btrt", "0")
        parts.append(make_clip(tmp_path / f"{kind}.mp4", 64, 64, 1.0, kind=kind, options=options).read_bytes())
    path = tmp_path / "joined.mp4"
    path.write_bytes(b"".join([*parts, parts[1]]))
    assert probe(path).changes == 2
    ((window, clip),) = sample(path, SPEC)
    assert (window.duration, clip.info.frames) == (pytest.approx(3, abs=0.01), 75)


def test_another_clock_of_joined_mp4_is_a_change_of_its_header(tmp_path: Path) -> None:
    parts = []
    for scale in ("12800", "90000"):
        options = ("-pix_fmt", "yuv420p", "-video_track_timescale", scale, *FRAGMENTED)
        parts.append(make_clip(tmp_path / f"{scale}.mp4", 64, 64, 1.0, options=options).read_bytes())
    path = tmp_path / "joined.mp4"
    path.write_bytes(b"".join(parts))
    ((window, clip),) = sample(path, SPEC)
    assert (window.duration, clip.info.fps) == pytest.approx((2, 25), abs=0.01)


def test_headers_without_end_are_refused(tmp_path: Path) -> None:
    heads = []
    for side in (64, 96):
        part = make_clip(tmp_path / f"{side}.mp4", side, side, 0.2, options=("-pix_fmt", "yuv420p", *FRAGMENTED))
        heads.append(part.read_bytes())
    path = tmp_path / "joined.mp4"
    path.write_bytes(b"".join(heads) * MOST_CHANGES)
    with pytest.raises(MediaError, match="changes more than"):
        probe(path)
