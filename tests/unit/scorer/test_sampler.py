"""From files to sampled clips: shapes, windows, determinism, and odd, damaged and hostile files."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scorer.errors import MediaError
from scorer.sampling import probe, sample
from scorer.sampling.decode import open_video
from scorer.sampling.faces import TEMPLATE, similarity
from scorer.sampling.fragments import fragments
from scorer.sampling.statistics import NAMES, names_of
from scorer.spec import SPECIFICATIONS, SampledClip, SamplerSpec
from tests.support.media import face_frames, make_clip, write_frames

SPEC = SamplerSpec()
OddFile = Callable[[str], Path]


def check(clip: SampledClip, spec: SamplerSpec) -> None:
    """Assert what holds for every clip."""
    for images, count, side in (
        (clip.frames, spec.frames, spec.frame_size),
        (clip.portrait, spec.portrait_frames, spec.portrait_size),
        (clip.faces, spec.face_frames, spec.face_size),
        (clip.clip, spec.clip_frames, spec.clip_size),
    ):
        assert images.shape == (count, side, side, 3)
        assert images.dtype == np.uint8
    assert clip.portrait_mask.shape == (spec.portrait_frames,)
    assert clip.faces_mask.shape == (spec.face_frames,)
    assert clip.portrait_mask.dtype == clip.faces_mask.dtype == np.bool_
    assert clip.statistics.shape == (len(names_of(spec.statistics_version)),)
    assert clip.statistics.dtype == np.float32
    assert np.isfinite(clip.statistics).all()
    assert clip.thumbnail.shape[0] == 72
    assert clip.thumbnail.shape[2] == 3
    assert set(clip.signals) == {"black", "freeze", "blur", "blockiness", "noise", "luma", "contrast"}
    assert all(0 <= clip.signals[name] <= 1 for name in ("black", "freeze", "blur"))
    assert all(clip.signals[name] >= 0 for name in clip.signals)
    assert 0 <= clip.face_summary.area <= 1
    assert clip.info.frames > 0
    assert clip.info.bits_per_pixel > 0


def equal(a: SampledClip, b: SampledClip) -> bool:
    return all(
        np.array_equal(first, second) if isinstance(first, np.ndarray) else first == second
        for first, second in ((getattr(a, field.name), getattr(b, field.name)) for field in fields(SampledClip))
    )


def refused(path: Path) -> MediaError:
    with pytest.raises(MediaError) as caught:
        sample(path, SPEC)
    return caught.value


@settings(max_examples=12, suppress_health_check=list(HealthCheck))
@given(
    width=st.integers(2, 300),
    height=st.integers(2, 300),
    count=st.integers(1, 12),
    fps=st.sampled_from([1, 5, 24, 30, 60]),
    grid=st.sampled_from([1, 2, 4]),
)
def test_every_size_and_length_gives_the_specified_shapes_and_twice_the_same_bytes(
    width: int, height: int, count: int, fps: int, grid: int
) -> None:
    spec = SamplerSpec(grid=grid)
    generator = np.random.default_rng(width * 1000 + height)
    frames = [generator.integers(0, 256, (height, width, 3), np.uint8) for _ in range(count)]
    with tempfile.TemporaryDirectory() as folder:
        path = write_frames(Path(folder) / "any.mkv", frames, fps, ["-c:v", "ffv1"])
        ((window, clip),) = sample(path, spec)
        check(clip, spec)
        assert (clip.info.width, clip.info.height, clip.info.frames) == (width, height, count)
        assert window.start == 0
        assert clip.info.fps == pytest.approx(fps, rel=0.02)
        ((_, again),) = sample(path, spec)
        assert equal(clip, again)


def test_a_clip_of_a_face_has_a_face_and_a_person(face_clip: Path) -> None:
    ((_, clip),) = sample(face_clip, SPEC)
    check(clip, SPEC)
    assert clip.face_summary.count == 1
    assert 0.02 < clip.face_summary.area < 0.5
    assert clip.faces_mask.all()
    assert clip.portrait_mask.all()
    grey = (clip.portrait == 128).all(axis=-1).mean()
    assert 0.05 < grey < 0.9  # both the background and the person cover a part
    assert clip.statistics[NAMES.index("face_present")] == 1
    assert not np.array_equal(clip.frames[0], clip.frames[1])


def test_a_specification_may_leave_streams_out(face_clip: Path) -> None:
    spec = SamplerSpec(portrait_frames=0, face_frames=0, clip_frames=0)
    ((_, clip),) = sample(face_clip, spec, limit=1)
    check(clip, spec)


def test_windows_are_contiguous_and_a_short_rest_joins_the_last(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "long.mp4", 64, 64, 6.32)

    def windows(seconds: float, start: float = 0.0, limit: int = 16) -> list[tuple[float, float]]:
        sampled = sample(path, SPEC, seconds, start, limit)
        assert all(window.duration == pytest.approx(clip.info.duration) for window, clip in sampled)
        return [(window.start, round(window.duration or 0, 3)) for window, _ in sampled]

    assert windows(2.0) == [(0, 2), (2, 2), (4, 2.32)]  # 0.32 s is under a quarter of 2 s
    assert windows(4.0) == [(0, 4), (4, 2.32)]
    assert windows(10.0) == [(0, 6.32)]
    assert windows(2.0, limit=2) == [(0, 2), (2, 2)]
    assert windows(2.0, start=4.0) == [(4, 2.32)]
    assert windows(2.0, start=6.0) == []
    assert windows(2.0, start=60.0) == []
    assert windows(1.0, start=1.5, limit=1) == [(1.5, 1)]


@pytest.mark.parametrize("looks", ["standard", "middle"])
@pytest.mark.parametrize("name", ["fragmented.mp4", "sparse-keys.ts", "old.avi", "raw.h264"])
def test_a_window_is_the_same_after_seeking_and_after_reading(odd_file: OddFile, name: str, looks: str) -> None:
    path, spec = odd_file(name), SPECIFICATIONS[looks]
    read = {window.start: clip for window, clip in sample(path, spec, 1.0)}
    assert [*read] == [float(second) for second in range(6 if name == "sparse-keys.ts" else 3)]
    ((window, sought),) = sample(path, spec, 1.0, start=1.0, limit=1)
    assert sought.info.frames == 25
    assert equal(read[window.start], sought)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("empty.mp4", "empty"),
        ("text.mp4", "undecodable"),
        ("noise.mp4", "undecodable"),
        ("headless.mp4", "undecodable"),
        ("sound.m4a", "no-video"),
    ],
)
def test_files_without_a_picture_are_refused_with_a_reason(odd_file: OddFile, name: str, kind: str) -> None:
    error = refused(odd_file(name))
    assert error.kind == kind
    assert 20 < len(error.reason) < 200
    with pytest.raises(MediaError):
        probe(odd_file(name))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert refused(tmp_path / "none.mp4").kind == "not-found"
    assert refused(tmp_path).kind == "not-found"


@pytest.mark.parametrize(
    ("name", "size", "frames"),
    [
        ("one-frame.mp4", (160, 120), 1),
        ("ten-bit.mp4", (160, 120), 25),
        ("odd-size.mkv", (161, 97), 25),
        ("rotated.mp4", (240, 320), 25),
        ("interlaced.ts", (160, 120), 25),
        ("alpha.webm", (160, 120), 8),
        ("palette.gif", (160, 120), 25),
        ("palette.avi", (160, 120), 25),
        ("rgb.mkv", (160, 120), 25),
        ("tiny.mp4", (16, 16), 25),
        ("flash.flv", (160, 120), 25),
    ],
)
def test_odd_files_are_sampled(odd_file: OddFile, name: str, size: tuple[int, int], frames: int) -> None:
    ((_, clip),) = sample(odd_file(name), SPEC)
    check(clip, SPEC)
    assert (clip.info.width, clip.info.height) == size
    assert clip.info.frames == frames
    assert clip.signals["black"] < 0.5
    assert clip.signals["luma"] > 50


def test_the_readable_part_of_a_truncated_or_damaged_file_is_sampled(odd_file: OddFile) -> None:
    ((window, clip),) = sample(odd_file("truncated.ts"), SPEC)
    assert 0.5 < (window.duration or 0) < 4
    check(clip, SPEC)
    for _, clip in sample(odd_file("damaged.ts"), SPEC, 2.0):
        check(clip, SPEC)


def test_rotation_is_applied_as_a_player_does(odd_file: OddFile) -> None:
    path = odd_file("rotated.mp4")
    ((_, turned),) = sample(path, SPEC)
    ((_, plain),) = sample(path.with_suffix(".plain.mp4"), SPEC)
    difference = np.abs(turned.clip.astype(int) - np.rot90(plain.clip, 1, axes=(1, 2))).mean()
    assert difference < 3


def test_variable_frame_rate_is_sampled_by_time(odd_file: OddFile) -> None:
    ((_, clip),) = sample(odd_file("variable.mp4"), SPEC)
    # The sampled moments are 0.5, 1.5, 2.5 and 3.5 s; the tenth frame is shown at all of them.
    small = clip.clip
    assert np.array_equal(small[4], small[-2])
    assert not np.array_equal(small[0], small[4])
    assert clip.signals["freeze"] > 0.7
    held, after = sample(odd_file("variable.mp4"), SPEC, 1.0, start=1.0, limit=2)
    assert held[1].signals["freeze"] > 0.7
    assert after[1].info.frames == 1


PLAYLIST = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n{target}\n#EXT-X-ENDLIST\n"
CONCAT = "ffconcat version 1.0\nfile '{target}'\n"
DASH = (
    '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT4S">'
    '<Period><AdaptationSet mimeType="video/mp4"><Representation id="0" bandwidth="1"><BaseURL>{target}</BaseURL>'
    "</Representation></AdaptationSet></Period></MPD>"
)
SDP = "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n"


PLAYLISTS = {"a.m3u8": PLAYLIST, "a.ts": PLAYLIST, "a.ffconcat": CONCAT, "a.mp4": CONCAT, "a.mpd": DASH, "a.sdp": SDP}


@pytest.mark.parametrize("target", ["file", "http://127.0.0.1:9/x.ts"])
@pytest.mark.parametrize("name", PLAYLISTS)
def test_playlists_open_no_other_file(tmp_path: Path, odd_file: OddFile, name: str, target: str) -> None:
    other = odd_file("truncated.ts").with_suffix(".whole.ts")
    assert sample(other, SPEC)
    playlist = tmp_path / name
    playlist.write_text(PLAYLISTS[name].replace("{target}", str(other) if target == "file" else target))
    assert refused(playlist).kind in {"refused", "undecodable"}


def test_absurd_sizes_are_refused_before_they_are_allocated(tmp_path: Path) -> None:
    path = tmp_path / "vast.y4m"
    path.write_bytes(b"YUV4MPEG2 W10000 H10000 F25:1 Ip A1:1 C420jpeg\nFRAME\n" + bytes(1000))
    error = refused(path)
    assert error.kind == "too-large"
    assert "10000x10000" in error.reason
    # FFmpeg itself refuses a picture of this size.
    path.write_bytes(b"YUV4MPEG2 W60000 H60000 F25:1 Ip A1:1 C420jpeg\nFRAME\n" + bytes(1000))
    assert refused(path).kind in {"too-large", "undecodable"}


def test_probe_reads_the_header(face_clip: Path, odd_file: OddFile) -> None:
    facts = probe(face_clip)
    assert (facts.width, facts.height, facts.codec, facts.duration) == (640, 360, "h264", pytest.approx(4))
    assert probe(odd_file("raw.h264")).duration == pytest.approx(3)


def test_timeline_has_every_frame_in_order(odd_file: OddFile) -> None:
    with open_video(odd_file("old.avi")) as video:
        timeline = video.timeline(1.0, 2.0)
        assert timeline.times == pytest.approx(1 + np.arange(25) / 25)
        assert timeline.end == pytest.approx(3.0, abs=0.05)


def test_fragments_are_native_and_from_different_places() -> None:
    image = np.arange(400 * 500 * 3, dtype=np.uint32).reshape(400, 500, 3)
    seen = []
    for index in range(4):
        cut = fragments(image, SPEC, index)
        assert cut.shape == (160, 160, 3)
        y, x = divmod(int(cut[0, 0, 0]) // 3, 500)
        assert np.array_equal(cut, image[y : y + 160, x : x + 160])
        seen.append((y, x))
    assert len(set(seen)) == 4
    tiles = fragments(image, SamplerSpec(grid=4), 1)
    assert tiles.shape == (160, 160, 3)


def test_the_face_is_turned_upright() -> None:
    angle, scale, shift = 0.4, 2.5, np.array([30.0, -12.0])
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = (TEMPLATE @ turn.T + shift).astype(np.float32)
    transform = similarity(points, TEMPLATE)
    assert np.hstack([points, np.ones((4, 1))]) @ transform.T == pytest.approx(TEMPLATE, abs=1e-4)
    assert np.isfinite(similarity(np.zeros((4, 2), np.float32), TEMPLATE)).all()


def test_a_tilted_face_is_cut_like_an_upright_one(tmp_path: Path) -> None:
    import cv2

    upright = face_frames(480, 480, 0.2, 25)
    matrix = cv2.getRotationMatrix2D((240, 240), 20, 1)
    tilted = [np.asarray(cv2.warpAffine(frame, matrix, (480, 480), borderMode=cv2.BORDER_REFLECT), np.uint8) for frame in upright]
    lossless = ["-c:v", "ffv1"]
    ((_, a),) = sample(write_frames(tmp_path / "a.mkv", upright, 25, lossless), SPEC)
    ((_, b),) = sample(write_frames(tmp_path / "b.mkv", tilted, 25, lossless), SPEC)
    crop_a, crop_b = (clip.faces[0].astype(float).mean(axis=2).ravel() for clip in (a, b))
    assert np.corrcoef(crop_a, crop_b)[0, 1] > 0.9


def test_no_error_is_printed_when_the_interpreter_ends(face_clip: Path) -> None:
    code = (
        "import sys, pathlib; from scorer.sampling import sample; from scorer.spec import SamplerSpec;"
        "sample(pathlib.Path(sys.argv[1]), SamplerSpec(), 1.0, 0.0, 1)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(face_clip)], check=True, timeout=120, capture_output=True, text=True)
    assert "Error" not in done.stderr
    assert "Traceback" not in done.stderr


def test_a_track_that_appears_late_does_not_end_in_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_clip(tmp_path / "clip.flv", 96, 64, 1, 10, options=("-c:v", "flv1", "-pix_fmt", "yuv420p"))
    with open_video(path) as video:
        video._reopen()
        packets, close = video._container.demux(video._stream), video._container.close

        def demux(_: object) -> Iterator[av.Packet]:
            # PyAV reads beyond its list of tracks when the file is at its end, and fails where that memory is not zero.
            yield from packets
            raise IndexError("list index out of range")

        monkeypatch.setattr(video, "_container", SimpleNamespace(demux=demux, close=close))
        assert len(list(video._demuxed())) == 10
