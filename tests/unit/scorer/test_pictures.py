"""From a frame to what a viewer sees: orientation, shape of pixels, interlaced video, colours; and which track is the video."""

from __future__ import annotations

import os
import sys
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from scorer.errors import MediaError
from scorer.sampling import probe, sample
from scorer.sampling.decode import open_video
from scorer.sampling.glance import glance
from scorer.sampling.images import luma_scaled_down, scaled_down
from scorer.sampling.orientation import orientation_of, orientation_of_matrix
from scorer.sampling.pictures import SMALL_LUMA_SIZE, Pictures, coded_luma
from scorer.sampling.transport import programmes, stream_changes
from scorer.spec import SamplerSpec
from tests.support.media import face_frames, ffmpeg, make_clip, write_frames
from tests.support.odd_pictures import (
    MATRICES,
    as_ffmpeg_shows,
    hdr_clip,
    interlaced_clip,
    scrolling_clip,
    sound_with_cover,
    striped_clip,
    turned_clip,
    two_tracks,
)
from tests.support.processes import ROOT

RGB = NDArray[np.uint8]
ONE = 65536
"""1 in the 16.16 fixed point of a display matrix."""


def shown(path: Path) -> list[RGB]:
    """All pictures of a file as a viewer sees them."""
    images = []
    with open_video(path) as video:
        pictures = Pictures(video.pixel_aspect)
        for _, frame, *_ in video.course(0.0).frames(0.0):
            pictures.small_luma(frame)
            images.append(pictures.picture(frame))
    return images


def difference(a: RGB, b: RGB) -> float:
    """Mean difference of two pictures, 8-bit levels."""
    assert a.shape == b.shape
    return float(np.abs(a.astype(int) - b).mean())


@pytest.mark.parametrize("left", [2, 30, 96])
def test_what_a_stream_cuts_off_at_its_sides_is_not_shown(tmp_path: Path, left: int) -> None:
    path, right = tmp_path / "cut-off.ts", 128 - left
    source = f"color=gray:size=160x96:rate=25,pad=288:128:{left}:16:color=white"
    cut_off = f"h264_metadata=crop_left={left}:crop_right={right}:crop_top=16:crop_bottom=16"
    ffmpeg("-f", "lavfi", "-t", "0.2", "-i", source, "-c:v", "libx264", "-pix_fmt", "yuv420p", "-bsf:v", cut_off, path)
    picture, seen = shown(path)[0], glance(path)
    assert picture.shape == (96, 160, 3)
    assert picture.max() < 140
    assert seen.thumbnail is not None
    assert seen.thumbnail.shape == (72, 120, 3)
    assert seen.thumbnail.max() < 140


@pytest.mark.parametrize("name", MATRICES)
def test_each_of_the_eight_display_matrices_is_obeyed_as_by_ffmpeg(tmp_path: Path, name: str) -> None:
    path = turned_clip(tmp_path / "turned.mp4", name)
    size = (96, 160) if name.startswith("quarter") else (160, 96)
    picture = shown(path)[0]
    assert difference(picture, as_ffmpeg_shows(path, *size)) < 2
    with open_video(path) as video:
        _, frame, *_ = next(video.course(0.0).frames(0.0))
        pictures = Pictures(video.pixel_aspect)
        assert difference(pictures.square(frame, 32), scaled_down(picture, (32, 32))) < 4


@pytest.mark.parametrize("matrix", [m for x in (-1, 1) for y in (-1, 1) for m in ((x, 0, 0, y), (0, x, y, 0))])
def test_a_matrix_moves_each_corner_to_where_it_says(matrix: tuple[int, int, int, int]) -> None:
    a, b, c, d = matrix
    # A little noise: such a matrix is taken for the nearest of the eight.
    values = [a * ONE + 9, b * ONE - 9, 0, c * ONE + 9, d * ONE - 9, 0, 0, 0, 1 << 30]
    image = np.zeros((4, 6, 3), np.uint8)
    image[0, 5] = 255  # the corner at (p, q) = (1, -1) from the middle
    turned = orientation_of_matrix(values)(image)
    x, y = a - c, b - d
    height, width = turned.shape[:2]
    assert turned[0 if y < 0 else height - 1, 0 if x < 0 else width - 1].min() == 255


@pytest.mark.parametrize(
    ("aspect", "size"),
    [("4/3", (160, 90)), ("3/4", (120, 120)), ("16/15", (120, 90)), ("1/1", (120, 90)), ("100/1", (120, 90))],
)
def test_pixels_are_shown_as_wide_as_the_file_says(tmp_path: Path, aspect: str, size: tuple[int, int]) -> None:
    options = ("-vf", f"setsar={aspect}", "-pix_fmt", "yuv420p")
    path = write_frames(tmp_path / "wide.mp4", face_frames(120, 90, 0.1, 25), 25, options)
    assert shown(path)[0].shape == (size[1], size[0], 3)


def test_fields_that_are_coded_apart_are_as_high_as_their_frame(tmp_path: Path) -> None:
    fields = ("-vf", "interlace=scan=tff,separatefields", "-pix_fmt", "yuv420p", "-c:v", "libx265", "-preset", "ultrafast")
    options = (*fields, "-x265-params", "interlace=tff:log-level=error")
    path = make_clip(tmp_path / "a.ts", 128, 128, 0.4, fps=50, options=options)
    ((_, clip),) = sample(path, SamplerSpec(portrait_frames=0))
    assert (clip.info.width, clip.info.height) == (128, 128)
    assert clip.bitstream is not None
    assert (clip.bitstream.width, clip.bitstream.height) == (128, 64)
    seen = glance(path)
    assert seen.thumbnail is not None
    assert seen.thumbnail.shape == (72, 72, 3)


def test_a_turned_picture_is_stretched_before_it_is_turned(tmp_path: Path) -> None:
    plain = write_frames(tmp_path / "a.mp4", face_frames(120, 90, 0.1, 25), 25, ("-vf", "setsar=4/3", "-pix_fmt", "yuv420p"))
    ffmpeg("-display_rotation", "90", "-i", plain, "-c", "copy", tmp_path / "b.mp4")
    assert shown(tmp_path / "b.mp4")[0].shape == (160, 90, 3)


def test_combed_pictures_show_the_first_fields_moment_and_keep_both_fields_where_nothing_moves(tmp_path: Path) -> None:
    path, moments = interlaced_clip(tmp_path / "interlaced.mkv")
    pictures = shown(path)
    assert len(pictures) == len(moments)
    for picture, moment in zip(pictures, moments, strict=True):
        assert difference(picture[:128], moment[:128]) < 4
        assert difference(picture[200:], moment[200:]) < 2
    with av.open(str(path)) as container:
        woven = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert difference(woven[3][:128], moments[3][:128]) > 6
    assert (pictures[3][200:] == woven[3][200:]).mean() > 0.8


@pytest.mark.parametrize("options", ["mpeg2video -pix_fmt yuv420p", "libx264 -pix_fmt yuvj420p", "libx264 -pix_fmt yuv420p10le"])
def test_interlaced_video_with_shared_chroma_is_deinterlaced_too(tmp_path: Path, options: str) -> None:
    path, moments = interlaced_clip(tmp_path / "interlaced.ts", ("-q:v", "2", "-crf", "12", "-c:v", *options.split()))
    for picture, moment in zip(shown(path), moments, strict=True):
        assert difference(picture[:128], moment[:128]) < 7


@pytest.mark.parametrize("height", [238, 240, 242, 244, 245])
def test_interlaced_pictures_of_any_height_are_deinterlaced(tmp_path: Path, height: int) -> None:
    pixel_format = "yuv420p" if height % 2 == 0 else "yuv444p"
    path, moments = interlaced_clip(tmp_path / "a.mkv", ("-c:v", "ffv1", "-pix_fmt", pixel_format), height=height)
    for picture, moment in zip(shown(path), moments, strict=True):
        assert difference(picture[:128], moment[:128]) < 7


def are_touched(path: Path) -> list[bool]:
    """Of each picture, whether it differs from the decoded frame."""
    with av.open(str(path)) as container:
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return [not np.array_equal(*pair) for pair in zip(shown(path), decoded, strict=True)]


@pytest.mark.parametrize("options", ["ffv1", "libx264 -crf 20 -pix_fmt yuv420p", "libx264 -crf 34 -pix_fmt yuv420p"])
def test_interlaced_video_that_is_flagged_as_progressive_is_deinterlaced(tmp_path: Path, options: str) -> None:
    path, moments = interlaced_clip(tmp_path / "woven.mkv", ("-c:v", *options.split()), flagged=False)
    with av.open(str(path)) as container:
        assert not any(frame.interlaced_frame for frame in container.decode(video=0))
    first, *pictures = shown(path)
    assert first.shape == moments[0].shape, "the first picture has none before it, and stays as it is"
    for picture, moment in zip(pictures, moments[1:], strict=True):
        assert difference(picture[:128], moment[:128]) < (9 if "34" in options else 6)
        assert difference(picture[200:], moment[200:]) < (9 if "34" in options else 6)


@pytest.mark.parametrize("period", [2, 2.1, 3, 4])
@pytest.mark.parametrize("speed", [0, 0.5, 1, 1.3])
def test_stripes_are_no_combing(tmp_path: Path, period: float, speed: float) -> None:
    assert not any(are_touched(striped_clip(tmp_path / "a.mp4", period, speed)))


@pytest.mark.parametrize(("across", "down"), [(0, 0), (5, 0), (16, 0), (0, 1), (0, 2), (0, 3), (0, 5)])
def test_tickers_credits_and_subtitles_are_no_combing(tmp_path: Path, across: int, down: int) -> None:
    assert not any(are_touched(scrolling_clip(tmp_path / "a.mp4", across, down)))


@pytest.mark.parametrize("filters", ["noise=alls=60:allf=t", "fade=in:0:15", "boxblur=4", "geq=lum='lum(X,Y)*(1-mod(Y,2)/2)'"])
@pytest.mark.parametrize("crf", ["18", "45"])
def test_noise_fades_scan_lines_and_coarse_compression_are_no_combing(tmp_path: Path, filters: str, crf: str) -> None:
    frames = [np.roll(frame, 5 * number, axis=1) for number, frame in enumerate(face_frames(320, 240, 0.6, 25))]
    options = ("-vf", filters, "-crf", crf, "-pix_fmt", "yuv420p")
    assert not any(are_touched(write_frames(tmp_path / "a.mp4", frames, 25, options)))


def test_the_demo_is_progressive() -> None:
    assert not any(are_touched(ROOT / "examples/face.mp4"))


def test_the_small_luma_comes_from_the_same_moment(tmp_path: Path) -> None:
    path, moments = interlaced_clip(tmp_path / "interlaced.mkv")
    plain = write_frames(tmp_path / "plain.mkv", moments, 25, ("-c:v", "ffv1", "-pix_fmt", "yuv444p"))

    def lumas(path: Path) -> NDArray[np.int64]:
        with open_video(path) as video:
            pictures = Pictures(video.pixel_aspect)
            return np.array([pictures.small_luma(frame) for _, frame, *_ in video.course(0.0).frames(0.0)], np.int64)

    assert lumas(path).shape[1:] == SMALL_LUMA_SIZE[::-1]
    assert np.abs(lumas(path) - lumas(plain))[:, :24].mean() < 1.5


@pytest.mark.parametrize("noise", ["null", "noise=alls=25:allf=t"])
def test_progressive_pictures_that_are_flagged_as_interlaced_are_not_touched(tmp_path: Path, noise: str) -> None:
    flags = ("-vf", f"{noise},setfield=tff", "-flags", "+ilme+ildct", "-x264opts", "tff=1", "-pix_fmt", "yuv420p")
    path = write_frames(tmp_path / "flagged.mp4", face_frames(320, 240, 0.4, 25), 25, flags)
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    assert all(frame.interlaced_frame for frame in frames)
    for picture, frame in zip(shown(path), frames, strict=True):
        assert np.array_equal(picture, frame.to_ndarray(format="rgb24"))


@pytest.mark.parametrize("curve", ["pq", "hlg"])
def test_hdr_is_shown_as_on_an_sdr_screen(tmp_path: Path, curve: str) -> None:
    light = np.array([0.0, 2, 20, 60, 100, 203, 400, 1000])
    grey = np.repeat(np.repeat(light[None, :, None], 16, axis=1), 32, axis=0) * np.ones(3)
    values = shown(hdr_clip(tmp_path / "hdr.mkv", grey, curve))[0][16, 8::16].astype(int)
    assert np.ptp(values, axis=1).max() <= 2, "grey stays grey"
    greys = values[:, 1]
    # Up to BT.2390's knee light is kept, as a share of SDR's white at 203 cd/m^2 (BT.2408) on a screen of BT.1886.
    assert greys[:4] == pytest.approx(255 * (light[:4] / 203) ** (1 / 2.4), abs=3)
    assert 220 < greys[5] < 245, "white paper leaves room for what is brighter"
    assert (np.diff(greys) > 0).all()
    assert greys[-1] >= 253


def test_colours_of_bt2020_become_those_of_bt709(tmp_path: Path) -> None:
    # A red of BT.709 at 50 cd/m^2, in the primaries of BT.2020 (BT.2087).
    red = 50 * np.array([0.6274, 0.0691, 0.0164])
    picture = shown(hdr_clip(tmp_path / "red.mkv", np.ones((32, 32, 1)) * red, "pq"))[0]
    r, g, b = picture[16, 16].astype(int)
    assert r == pytest.approx(255 * (50 / 203) ** (1 / 2.4), abs=4)
    assert max(g, b) < 30


@pytest.mark.parametrize("matrix", ["bt709", "bt601", "bt2020"])
@pytest.mark.parametrize("full_range", [False, True])
def test_each_matrix_and_range_gives_the_same_colours(tmp_path: Path, matrix: str, full_range: bool) -> None:
    frames = face_frames(64, 64, 0.1, 25)
    names = {"bt709": "bt709", "bt601": "smpte170m", "bt2020": "bt2020nc"}
    chosen = "pc" if full_range else "tv"
    filters = f"scale=out_color_matrix={matrix}:out_range={chosen},setparams=colorspace={names[matrix]}:range={chosen}"
    path = write_frames(tmp_path / "a.mkv", frames, 25, ("-vf", filters, "-c:v", "ffv1", "-pix_fmt", "yuv444p"))
    assert difference(shown(path)[0], frames[0]) < 1.5


@pytest.mark.parametrize("depth", ["yuv420p", "yuv420p10le"])
@pytest.mark.parametrize("chosen", ["pc", "tv"])
def test_pictures_without_colours_have_their_range_too(tmp_path: Path, chosen: str, depth: str) -> None:
    frames = [np.repeat(frame[..., 1:2], 3, axis=2) for frame in face_frames(64, 64, 0.1, 25)]
    filters = f"scale=out_range={chosen},format={depth},extractplanes=y,setparams=range={chosen}"
    path = write_frames(tmp_path / "a.mkv", frames, 25, ("-vf", filters, "-c:v", "ffv1"))
    assert difference(shown(path)[0], frames[0]) < 1.5
    with open_video(path) as video:
        _, frame, *_ = next(video.course(0.0).frames(0.0))
        assert frame.format.name.startswith("gray")
        assert difference(coded_luma(frame), frames[0][..., 0]) < 1.5


@pytest.mark.parametrize("number", [0, 3, 8, 10, 11, 12, 13, 14, 15, 200])
@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv420p10le"])
def test_a_matrix_that_ffmpeg_does_not_convert_is_taken_as_unspecified(tmp_path: Path, number: int, pixel_format: str) -> None:
    plain = make_clip(tmp_path / "plain.h264", 96, 64, 0.2, 10, options=("-c:v", "libx264", "-pix_fmt", pixel_format))
    named = tmp_path / "named.h264"
    ffmpeg("-i", plain, "-c", "copy", "-bsf:v", f"h264_metadata=matrix_coefficients={number}", named)
    with open_video(named) as video:
        pictures = Pictures(video.pixel_aspect)
        _, frame, *_ = next(video.course(0.0).frames(0.0))
        pictures.small_luma(frame)
        picture = pictures.picture(frame)
    if number:  # 0 says that Y, Cb and Cr are G, B and R
        assert difference(picture, shown(plain)[0]) < 1


@pytest.mark.parametrize(("size", "matrix"), [((1280, 720), "bt709"), ((720, 576), "bt601")])
def test_video_that_names_no_matrix_has_its_sizes_usual_one(tmp_path: Path, size: tuple[int, int], matrix: str) -> None:
    frames = [np.full((size[1], size[0], 3), (200, 40, 90), np.uint8)] * 2
    unnamed = "setparams=colorspace=unknown:color_primaries=unknown:color_trc=unknown"
    options = ("-vf", f"scale=out_color_matrix={matrix},{unnamed}", "-pix_fmt", "yuv420p")
    path = write_frames(tmp_path / "a.mp4", frames, 25, options)
    assert difference(shown(path)[0], frames[0]) < 4


@pytest.mark.parametrize("second_is_default", [True, False])
def test_the_track_that_is_marked_as_default_is_the_video(tmp_path: Path, second_is_default: bool) -> None:
    facts = probe(two_tracks(tmp_path / "two.mp4", second_is_default))
    assert (facts.index, facts.width) == ((1, 160) if second_is_default else (0, 64))


def test_without_a_mark_the_largest_track_is_the_video(tmp_path: Path) -> None:
    path = two_tracks(tmp_path / "two.mp4", True)
    ffmpeg("-i", path, "-map", "0:v", "-c", "copy", tmp_path / "two.ts")
    assert probe(tmp_path / "two.ts").width == 160


@pytest.mark.parametrize("first", [0, 1])
def test_the_first_programme_is_the_video_and_of_it_the_largest_picture(tmp_path: Path, first: int) -> None:
    sources = [("-f", "lavfi", "-i", f"testsrc2=size={size}:rate=25") for size in ("64x36", "160x90", "320x180")]
    groups = ("st=0:st=1", "st=2") if first == 0 else ("st=2", "st=0:st=1")
    options = [word for group in groups for word in ("-program", f"title=x:{group}")]
    tracks = ("-map", "0", "-map", "1", "-map", "2", "-t", "0.4", "-c:v", "mpeg2video")
    ffmpeg(*sources[0], *sources[1], *sources[2], *tracks, *options, tmp_path / "two.ts")
    assert probe(tmp_path / "two.ts").width == (160, 320)[first]


@settings(max_examples=200)
@given(st.binary(max_size=2000), st.integers(0, 400))
def test_any_bytes_have_some_programmes_or_none(noise: bytes, place: int) -> None:
    packets = bytearray(b"".join(b"G" + bytes([0x40, 0, 0x10]) + (noise * 184)[i : i + 184].ljust(184, b"\0") for i in range(8)))
    packets[place : place + 1] = noise[:1]
    for head in (noise, bytes(packets)):
        assert all(isinstance(streams, dict) for streams in programmes(head))
        assert all(0 <= change < len(head) for change in stream_changes(BytesIO(head))[0])


def test_a_frame_with_side_data_of_an_unknown_kind_is_turned_by_its_angle(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown_kind(_: object) -> None:
        raise ValueError("31 is not a valid Type")

    monkeypatch.setattr("scorer.sampling.orientation.SideDataContainer", unknown_kind)
    image = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    for quarter_turns in range(-2, 3):
        frame = SimpleNamespace(rotation=90 * quarter_turns)
        assert np.array_equal(orientation_of(frame)(image), np.rot90(image, quarter_turns))


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv420p10le", "rgba"])
def test_a_frame_is_held_for_the_next_one_alone_and_starts_no_threads(pixel_format: str) -> None:
    # Frames of 10-bit, RGB and palette video, each with threads of its own, filled a child up to its memory limit, and for good.
    frame = av.VideoFrame(160, 96, pixel_format)
    pictures = Pictures(None)
    pictures.picture(frame)  # the libraries' own threads start here
    references, threads = sys.getrefcount(frame), len(os.listdir("/proc/self/task"))
    pictures.picture(frame)
    pictures.small_luma(frame)
    pictures.square(frame, 32)
    pictures.small_luma(av.VideoFrame(160, 96, pixel_format))
    assert sys.getrefcount(frame) == references + 1, "a frame that is not flagged proves its combing with the one before"
    pictures.small_luma(av.VideoFrame(160, 96, pixel_format))
    assert sys.getrefcount(frame) == references
    assert len(os.listdir("/proc/self/task")) == threads
    orientation_of(frame)
    del pictures
    assert sys.getrefcount(frame) == 2


def test_a_cover_is_never_the_video(tmp_path: Path) -> None:
    assert probe(sound_with_cover(tmp_path / "film.mp4", cover_only=False)).width == 160
    ffmpeg(
        "-i", tmp_path / "film.jpg", "-i", tmp_path / "film.plain.mp4", "-map", "0", "-map", "1", "-c", "copy", tmp_path / "a.mkv"
    )
    assert probe(tmp_path / "a.mkv").width == 160, "a cover in Matroska that is not marked as one"
    with pytest.raises(MediaError, match="cover picture") as caught:
        probe(sound_with_cover(tmp_path / "radio.m4a"))
    assert caught.value.kind == "no-video"


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([(64, 36), (8, 4), (3, 5)]), st.integers(1, 33), st.integers(1, 33), st.integers(0, 2), st.integers(0, 2**32)
)
def test_the_faster_way_to_a_small_luma_gives_the_same_values(
    size: tuple[int, int], across: int, down: int, odd: int, seed: int
) -> None:
    width, height = size[0] * across + odd, size[1] * down
    # Rows of a frame are longer than its picture is wide.
    luma = np.random.default_rng(seed).integers(0, 256, (height, width + 16), np.uint8)[:, :width]
    np.testing.assert_array_equal(luma_scaled_down(luma, size), scaled_down(luma, size))
