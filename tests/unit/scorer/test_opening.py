"""Opening a live segment without decoding: what is then known is what a decoder would say, and no frame is another one."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scorer.sampling import decode, opening, probe, sample
from scorer.sampling.bitstream.h264_shape import Shape, shape_of
from scorer.sampling.decode import open_video
from scorer.sampling.glance import glance
from scorer.sampling.opening import open_container, open_media
from tests.support.bit_text import as_bytes, golomb
from tests.support.doubles import SPEC
from tests.support.media import ffmpeg, make_clip

FACE = Path(__file__).parents[3] / "examples/face.mp4"

KNOWN = {
    "usual": (),
    "no-b-frames": ("-bf", "0"),
    "many-b-frames": ("-bf", "8", "-x264-params", "b-adapt=0:b-pyramid=normal"),
    "baseline": ("-profile:v", "baseline"),
    "cropped": ("-vf", "scale=178:102"),
    "constant-rate": ("-b:v", "300k", "-x264-params", "nal-hrd=cbr:vbv-maxrate=300:vbv-bufsize=300"),
    "coloured": ("-color_primaries", "bt709", "-color_trc", "bt709", "-colorspace", "bt709", "-color_range", "pc"),
    "4:4:4": ("-pix_fmt", "yuv444p"),
    "4:2:2": ("-pix_fmt", "yuv422p"),
    "ten-bit": ("-pix_fmt", "yuv420p10le"),
    "grey": ("-pix_fmt", "gray"),
    "no-keyframe-but-one": ("-x264-params", "intra-refresh=1"),
}
"""Of H.264 whose headers say all: name -> ffmpeg's options."""

UNKNOWN = {
    "anamorphic": ("-vf", "scale=160:90,setsar=4/3"),
    "interlaced": ("-vf", "scale=160:96", "-flags", "+ilme+ildct", "-x264-params", "tff=1"),
    "mpeg4": ("-c:v", "mpeg4"),
}


@pytest.mark.parametrize("ending", ["mp4", "ts"])
@pytest.mark.parametrize("name", KNOWN)
def test_a_segment_whose_headers_say_all_is_opened_without_decoding(
    tmp_path: Path, name: str, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = encoded(tmp_path / f"clip.{ending}", KNOWN[name])
    asked = noted(monkeypatch)
    found = seen(clip)
    assert asked == [True]
    monkeypatch.setattr(decode, "open_for_decoding", open_container)
    assert found == seen(clip)


@pytest.mark.parametrize("name", UNKNOWN)
def test_any_other_one_is_opened_as_ever(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = encoded(tmp_path / "clip.ts", UNKNOWN[name])
    asked = noted(monkeypatch)
    found = seen(clip)
    assert asked == [True, False]
    monkeypatch.setattr(decode, "open_for_decoding", open_container)
    assert found == seen(clip)


def test_stamps_of_matroska_are_those_that_a_decoder_knows_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = encoded(tmp_path / "clip.mkv", KNOWN["usual"])
    asked = noted(monkeypatch)
    seen(clip)
    assert asked == [True, False]


@pytest.mark.parametrize("cut", ["its beginning", "a hole"])
def test_damage_is_skipped_as_ever(tmp_path: Path, cut: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(tmp_path / "whole.ts", KNOWN["many-b-frames"]).read_bytes()
    middle = len(data) // 376 * 188
    clip = tmp_path / "clip.ts"
    clip.write_bytes(data[188 * 5 :] if cut == "its beginning" else data[:middle] + bytes(188 * 3) + data[middle + 188 * 3 :])
    found = seen(clip)
    monkeypatch.setattr(decode, "open_for_decoding", open_container)
    assert found == seen(clip)


def test_a_file_that_states_another_size_than_its_video_is_opened_as_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = encoded(tmp_path / "clip.mp4", KNOWN["usual"])
    data = clip.read_bytes()
    stated, other = (b"\0\xa0\0\x5a", b"\0\xb0\0\x5a")  # 160x90 of the sample entry, and a width of 176
    place = data.index(stated, data.index(b"avc1\0\0\0\0\0\0\0\1"))
    clip.write_bytes(data[:place] + other + data[place + 4 :])
    asked = noted(monkeypatch)
    assert seen(clip)[0][:2] == (160, 90)
    assert asked == [True, False]


def test_headers_say_how_many_pictures_wait(tmp_path: Path) -> None:
    with open_media(encoded(tmp_path / "clip.mp4", KNOWN["no-b-frames"])) as file:
        container = open_container(file, is_quick=True)
        assert shape_of(container.streams.video[0].codec_context.extradata) == Shape(160, 90, True, True, 0)
        container.close()
    with open_media(encoded(tmp_path / "other.mp4", KNOWN["many-b-frames"])) as file:
        container = open_container(file, is_quick=True)
        shape = shape_of(container.streams.video[0].codec_context.extradata)
        assert shape is not None
        assert shape.delay
        container.close()


def test_headers_that_do_not_say_it_leave_it_open() -> None:
    # Baseline, level 3, one reference, 10x6 blocks, whole frames, six lines cut off at the bottom, nothing about their use.
    crop = "".join(map(golomb, (0, 0, 0, 3)))
    start = as_bytes(f"{66:08b}{0:08b}{30:08b}" + "".join(map(golomb, (0, 0, 2, 1))) + "0" + golomb(9) + golomb(5) + "111" + crop)
    unit = b"\0\0\0\1\x67" + start
    assert shape_of(unit + b"\0") == Shape(160, 90, True, True, None)
    assert shape_of(unit[:10]) is None
    assert shape_of(unit + unit) is None, "with two of them it is not known which one the pictures use"
    assert shape_of(b"") is None


@given(st.binary(max_size=200), st.sampled_from([b"", b"\0\0\1\x67", b"\1\x42\0\x1e\xff\xe1\0\x40\x67"]))
@settings(deadline=None)
def test_any_configuration_has_a_shape_or_none(data: bytes, start: bytes) -> None:
    shape = shape_of(start + data)
    assert shape is None or shape.delay is None or 0 <= shape.delay <= 16


def test_a_title_that_is_no_text_keeps_no_file_from_being_read(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "titled.mp4", 64, 64, 1, 10, options=("-pix_fmt", "yuv420p", "-metadata", "title=QQQQ"))
    data = path.read_bytes()
    assert data.count(b"QQQQ") == 1
    path.write_bytes(data.replace(b"QQQQ", b"\xff\xfe\xe9Q"))
    with open_video(path) as video:
        assert len(list(video.course(0).frames(0))) == 10


def encoded(path: Path, options: tuple[str, ...]) -> Path:
    """A second of the face, 160x90 px unless the options say otherwise."""
    scaled = () if "-vf" in options else ("-vf", "scale=160:90")
    codec = () if "-c:v" in options else ("-c:v", "libx264")
    ffmpeg("-t", "1", "-i", FACE, *scaled, *codec, "-threads", "1", "-c:a", "aac", *options, path)
    return path


def noted(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each opening from now on is a quick one."""
    asked: list[bool] = []

    def opens(file: BinaryIO, ignore_edits: bool = False, is_quick: bool = False) -> Any:
        asked.append(is_quick)
        return open_container(file, ignore_edits, is_quick)

    monkeypatch.setattr(opening, "open_container", opens)
    return asked


def seen(clip: Path) -> tuple[Any, ...]:
    """All that the sampler learns of a clip's video: its facts, its times and its pictures."""
    with open_video(clip) as video:
        facts = video.width, video.height, video.codec, video.pixel_aspect, video.is_timed, video.began, video.header_duration()
        times = video.timeline(0.0, math.inf).times.tolist()
        pictures = [
            (time, frame.width, frame.height, frame.format.name, frame.colorspace, frame.color_range, _digest(frame))
            for time, frame, *_ in video.course(0.0).frames(0.0)
        ]
    return facts, times, pictures


def _digest(frame: Any) -> str:
    return hashlib.sha256(frame.reformat(format="yuv444p").to_ndarray().tobytes()).hexdigest()


@pytest.mark.parametrize("name", ["late.ts", "late.mkv"])
def test_a_video_that_begins_late_has_its_size_shape_and_times(tmp_path: Path, name: str) -> None:
    """FFmpeg looks at the first 5 s of a file; here they are sound alone."""
    path = tmp_path / name
    picture = ("-itsoffset", "8", "-f", "lavfi", "-i", "testsrc2=size=160x90:rate=25,setsar=4/3", "-f", "lavfi", "-i", "sine")
    ffmpeg(*picture, "-t", "10", "-c:v", "libx264", "-bf", "3", "-pix_fmt", "yuv420p", "-c:a", "aac", path)
    assert (probe(path).width, probe(path).height) == (160, 90)
    ((window, clip),) = sample(path, SPEC)
    assert window.duration == pytest.approx(2.0)
    assert clip.bitstream is not None
    seen = glance(path).bitstream
    assert (clip.bitstream.width, clip.bitstream.height) == (seen.width, seen.height) == (160, 90)
    assert (clip.info.width, clip.info.height, clip.info.frames) == (213, 90, 50)
