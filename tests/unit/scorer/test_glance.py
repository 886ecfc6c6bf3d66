"""What a glance says of real files, against what their encoders say; and what it says of files that are none."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scorer.errors import MediaError
from scorer.sampling import SamplerPool, probe
from scorer.sampling.bitstream.facts import Bitstream
from scorer.sampling.bitstream.packets import Packets
from scorer.sampling.features import COLOUR, EDGES, GGD, LIGHT
from scorer.sampling.glance import PICTURE_NAMES, glance, headers_only
from scorer.sampling.sampler import sample
from scorer.sampling.scan import scanned
from tests.support.doubles import SPEC
from tests.support.media import face_frames, ffmpeg, make_clip, write_frames

SIZE = 96, 64
QP = 29
X264 = ("-c:v", "libx264", "-pix_fmt", "yuv420p", "-qp", str(QP), "-x264-params")
X265 = ("-c:v", "libx265", "-pix_fmt", "yuv420p", "-x265-params")
EVEN = "ipratio=1:pbratio=1"
"""All kinds of pictures get the same quantiser."""
FADE = ("-vf", "fade=in:0:12")
"""Makes encoders write weights."""

FLAT = "keyint=5:bframes=2:aq-mode=0"
"""With `mbtree` or `cutree` off as well, all blocks of a picture have the same quantiser."""

H264 = {
    "plain.mp4": (*X264, EVEN),
    "b-frames.ts": (*X264, f"{EVEN}:bframes=3:b-pyramid=normal:ref=4:keyint=8"),
    "weights.mp4": (*FADE, *X264, f"{EVEN}:weightp=2:ref=5:bframes=0"),
    "weighted-b.mkv": (*FADE, *X264, f"{EVEN}:weightp=2:weightb=1:bframes=3:ref=4"),
    "cavlc.mp4": (*X264, f"{EVEN}:no-cabac=1:ref=3"),
    "interlaced.ts": (*X264, f"{EVEN}:tff=1:bframes=2:ref=3"),
    "slices.h264": (*X264, f"{EVEN}:slices=4:bframes=2"),
    "open.ts": (*X264, f"{EVEN}:open-gop=1:keyint=6:min-keyint=2:bframes=3"),
    "colours.mkv": ("-c:v", "libx264", "-pix_fmt", "yuv444p", "-qp", str(QP), "-x264-params", f"{EVEN}:cqm=jvt"),
    "low-delay.flv": (*X264, f"{EVEN}:intra-refresh=1:keyint=10:bframes=0:weightp=0:aud=1"),
}
H265 = {
    "plain.mp4": (*X265, f"qp={QP}:{EVEN}"),
    "b-frames.ts": (*FADE, *X265, f"qp={QP}:{EVEN}:bframes=4:ref=4:keyint=8:weightb=1:b-pyramid=1"),
    "slices.hevc": (*X265, f"qp={QP}:{EVEN}:slices=2:ctu=16:opt-ref-list-length-pps=1"),
    "small.mkv": (*X265, f"qp={QP}:{EVEN}:ctu=16:no-sao=1:amp=1:rect=1:tskip=1:bframes=0:scaling-list=default:intra-refresh=1"),
}


def clip(folder: Path, name: str, options: Sequence[str], codec: str = "") -> Path:
    quiet = tuple(re.sub(r"^(?=qp=|crf=)", "log-level=0:pools=1:", option) for option in options)
    return make_clip(folder / f"{codec}{name}", *SIZE, 1.2, 10, options=quiet)


def headers(path: Path) -> Bitstream:
    return headers_only(path, sound=False).bitstream


def quantisers(path: Path, monkeypatch: pytest.MonkeyPatch) -> list[float | None]:
    """Of each picture, in decoding order."""
    kept: list[Packets] = []
    monkeypatch.setattr("scorer.sampling.scan.bitstream_of", lambda packets, *_: kept.append(packets))
    with scanned(path):
        return kept[0].quantisers


@pytest.mark.parametrize("name", H264)
def test_quantisers_of_x264_are_its_own(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert quantisers(clip(tmp_path, name, H264[name]), monkeypatch) == [QP] * 12


@pytest.mark.slow
@pytest.mark.parametrize("name", H265)
def test_quantisers_of_x265_are_its_own(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert quantisers(clip(tmp_path, name, H265[name]), monkeypatch) == [QP] * 12


def test_quantisers_of_ten_bits_count_from_the_same_zero(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # x264 counts them from the lowest one, 12 under the standard's 0.
    options = ("-c:v", "libx264", "-pix_fmt", "yuv420p10le", "-qp", str(QP), "-x264-params", EVEN)
    assert quantisers(clip(tmp_path, "ten.mp4", options), monkeypatch) == [QP - 12] * 12


def test_quantisers_of_rate_control_are_those_of_the_encoders_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "stats.log"
    options = ("-c:v", "libx264", "-pix_fmt", "yuv420p", "-crf", "30", "-x264-params", f"stats={log}:pass=1:{FLAT}:mbtree=0")
    read = quantisers(clip(tmp_path, "crf.mp4", options), monkeypatch)
    said = [float(match) for match in re.findall(r" q:([\d.]+)", log.read_text())]
    assert len(said) == len(read) == 12
    assert max(said) - min(said) > 2
    assert [quantiser for quantiser in read if quantiser is not None] == pytest.approx(said, abs=0.51)


@pytest.mark.slow
def test_quantisers_of_x265s_rate_control_are_those_of_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "stats.csv"
    params = f"crf=32:{FLAT}:cutree=0:csv={log}:csv-log-level=1"
    read = quantisers(clip(tmp_path, "crf.mp4", (*X265, params)), monkeypatch)
    rows = [row for row in csv.DictReader(log.read_text().splitlines(), skipinitialspace=True) if row.get("QP")]
    said = [float(row["QP"]) for row in sorted(rows, key=lambda row: int(row["Encode Order"]))][:12]
    assert [quantiser for quantiser in read if quantiser is not None] == pytest.approx(said, abs=0.51)


def test_packets_facts_of_a_file(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.mp4", 320, 240, 2.0, 25, options=("-pix_fmt", "yuv420p", "-g", "25", "-sc_threshold", "0"))
    facts = headers(path)
    assert (facts.codec, facts.width, facts.height, facts.keyframes) == ("h264", 320, 240, 2)
    assert facts.fps == pytest.approx(25)
    assert facts.gop == pytest.approx(1.0)
    assert facts.key_bytes > facts.other_bytes > 0
    assert facts.bitrate == pytest.approx(path.stat().st_size * 4, rel=0.1)
    assert facts.qp_mean is not None
    assert facts.qp_spread is not None


@pytest.mark.parametrize(
    ("name", "options", "codec"),
    [
        ("clip.webm", ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-pix_fmt", "yuv420p"), "vp9"),
        ("clip.mp4", ("-c:v", "libaom-av1", "-cpu-used", "8", "-g", "10", "-pix_fmt", "yuv420p"), "av1"),
        ("clip.flv", ("-c:v", "flv", "-g", "5", "-pix_fmt", "yuv420p"), "flv1"),
        ("clip.ts", ("-c:v", "mpeg2video", "-pix_fmt", "yuv420p"), "mpeg2video"),
        ("clip.avi", ("-c:v", "mpeg4"), "mpeg4"),
        ("clip.mov", ("-c:v", "mjpeg", "-pix_fmt", "yuvj420p"), "mjpeg"),
        ("clip.mkv", ("-c:v", "ffv1", "-pix_fmt", "yuv444p"), "ffv1"),
        ("clip.gif", (), "gif"),
    ],
)
def test_other_codecs_have_packets_and_a_picture(tmp_path: Path, name: str, options: Sequence[str], codec: str) -> None:
    path = make_clip(tmp_path / name, 96, 64, 1.0, 10, options=options)
    seen = glance(path)
    facts = seen.bitstream
    assert (facts.codec, facts.width, facts.height) == (codec, 96, 64)
    assert probe(path).codec == codec
    assert facts.fps == pytest.approx(10, rel=0.01)
    assert facts.keyframes >= 1
    assert facts.qp_mean is None
    assert seen.picture is not None


def test_a_glance_and_a_full_look_say_the_same_of_packets(tmp_path: Path) -> None:
    path = clip(tmp_path, "b-frames.ts", H264["b-frames.ts"])
    ((_, full),) = sample(path, SPEC)
    assert full.bitstream is not None
    assert asdict(full.bitstream) == pytest.approx(asdict(headers(path)))


def test_windows_of_a_file_have_their_own_facts(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.mp4", 96, 64, 4.0, 10, options=(*X264, f"{EVEN}:keyint=10:min-keyint=10:scenecut=0"))
    windows = sample(path, SPEC, window_seconds=2.0)
    facts = [sampled.bitstream for _, sampled in windows]
    assert [fact and fact.keyframes for fact in facts] == [2, 2]
    assert [fact and fact.qp_mean for fact in facts] == [QP, QP]
    assert [fact and round(fact.fps) for fact in facts] == [10, 10]


def picture_of(frames: list[Any], path: Path, options: Sequence[str]) -> dict[str, float]:
    seen = glance(write_frames(path, frames, 10, options))
    assert seen.picture is not None
    assert seen.picture.shape == (len(PICTURE_NAMES),)
    assert np.isfinite(seen.picture).all()
    return dict(zip(PICTURE_NAMES, seen.picture.tolist(), strict=True))


def test_the_names_are_those_of_the_features() -> None:
    half = *(f"half_{name}" for name in GGD), "half_gradient_p90", "half_laplacian_std"
    assert (*GGD, *EDGES, *half, "grid8", "noise", *LIGHT, *COLOUR) == PICTURE_NAMES


def test_the_keyframes_statistics_tell_a_coarse_and_a_dark_picture(tmp_path: Path) -> None:
    frames = face_frames(320, 240, 0.3, 10)
    good = picture_of(frames, tmp_path / "good.mp4", ("-crf", "16", "-pix_fmt", "yuv420p"))
    coarse = picture_of(frames, tmp_path / "coarse.mp4", ("-crf", "44", "-pix_fmt", "yuv420p"))
    dark = picture_of([frame // 2 for frame in frames], tmp_path / "dark.mp4", ("-crf", "16", "-pix_fmt", "yuv420p"))
    assert coarse["laplacian_p90"] < good["laplacian_p90"] - 0.5
    assert coarse["grid8"] > good["grid8"]
    assert dark["luma_mean"] == pytest.approx(good["luma_mean"] / 2, abs=3)


def test_luma_is_of_one_range_whatever_the_format(tmp_path: Path) -> None:
    frames = face_frames(320, 240, 0.3, 10)
    pictures = [
        picture_of(frames, tmp_path / f"{name}.mkv", ("-crf", "10", "-pix_fmt", name))
        for name in ("yuv420p", "yuvj420p", "yuv420p10le", "gray")
    ]
    for picture in pictures[1:]:
        assert picture["luma_mean"] == pytest.approx(pictures[0]["luma_mean"], abs=2.5)


@pytest.mark.parametrize("pixels", ["yuv420p", "yuvj420p", "yuv420p10le"])
def test_black_is_the_signal_of_the_full_look(tmp_path: Path, pixels: str) -> None:
    frames = face_frames(160, 120, 0.5, 10)
    half = [np.where(np.arange(160)[None, :, None] < 80, 0, frame // 2 + 100).astype(np.uint8) for frame in frames]
    path = write_frames(tmp_path / "half.mkv", half, 10, ("-crf", "16", "-pix_fmt", pixels))
    ((_, full),) = sample(path, SPEC)
    assert glance(path).black == pytest.approx(0.5, abs=0.03)
    assert glance(path).black == pytest.approx(full.signals["black"], abs=0.03)


def test_the_thumbnail_has_the_pictures_shape(tmp_path: Path) -> None:
    upright = write_frames(tmp_path / "clip.mp4", face_frames(320, 180, 0.1, 10) * 5, 10)
    seen = glance(upright)
    assert seen.thumbnail is not None
    assert seen.thumbnail.shape == (72, 128, 3)
    ((_, full),) = sample(upright, SPEC)
    assert np.abs(seen.thumbnail.astype(int) - full.thumbnail).mean() < 6
    turned = tmp_path / "turned.mp4"
    ffmpeg("-display_rotation", "90", "-i", upright, "-c", "copy", turned)
    thumbnail = glance(turned).thumbnail
    assert thumbnail is not None
    assert thumbnail.shape == (72, 40, 3)


def test_without_a_keyframe_there_is_no_picture(tmp_path: Path) -> None:
    path = clip(tmp_path, "clip.h264", (*X264, f"{EVEN}:keyint=50:scenecut=0"))
    data = path.read_bytes()
    begin = data.index(b"\0\0\1\x65") - 1
    end = data.index(b"\0\0\1\x41") - 1
    path.write_bytes(data[:begin] + data[end:])
    seen = glance(path)
    assert (seen.picture, seen.thumbnail, seen.black) == (None, None, 0.0)
    assert seen.bitstream.qp_mean == QP
    assert seen.bitstream.keyframes == 0


def test_files_without_video_are_refused_as_by_the_sampler(tmp_path: Path) -> None:
    text, sound = tmp_path / "text.mp4", tmp_path / "sound.mp4"
    text.write_text("hello")
    ffmpeg("-f", "lavfi", "-i", "sine=duration=1", sound)
    for path, kind in ((text, "undecodable"), (sound, "no-video"), (tmp_path / "none.mp4", "not-found")):
        with pytest.raises(MediaError) as error:
            headers(path)
        assert error.value.kind == kind


@pytest.mark.slow
def test_the_pool_takes_a_glance_under_its_limits(tmp_path: Path) -> None:
    path = clip(tmp_path, "plain.mp4", H264["plain.mp4"])
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(path.read_bytes()[:300])
    with SamplerPool(SPEC, workers=1, timeout=20, memory_mb=512) as pool:
        seen, quick, bad = pool.glance(path), pool.glance(path, picture=False), pool.glance(broken)
        here = glance(path)
        assert seen.result().bitstream == quick.result().bitstream == here.bitstream
        np.testing.assert_array_equal(seen.result().picture, here.picture)
        assert replace(quick.result(), bitstream=here.bitstream).picture is None
        with pytest.raises(MediaError):
            bad.result()


def test_repeated_pictures_show_in_the_sizes(tmp_path: Path) -> None:
    """At 5 pictures a second, shown as 25, each is repeated four times, which costs an encoder next to nothing."""
    encode = ("-c:v", "libx264", "-preset", "veryfast", "-b:v", "300k", "-pix_fmt", "yuv420p", "-g", "50")
    noisy = "noise=alls=8:allf=t"
    usual = headers(make_clip(tmp_path / "usual.ts", 160, 120, kind="face", options=("-vf", noisy, *encode)))
    repeated = headers(
        make_clip(tmp_path / "repeated.ts", 160, 120, kind="face", options=("-vf", f"{noisy},fps=5,fps=25", *encode))
    )
    assert usual.largest < 0.6 < 0.8 < repeated.largest <= 1.0
    still = headers(make_clip(tmp_path / "keys.ts", 160, 120, 0.4, options=(*encode[:-1], "1")))
    assert (still.other_bytes, still.largest) == (0.0, 0.0)
