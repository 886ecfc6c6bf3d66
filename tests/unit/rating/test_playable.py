"""Playable clips: H.264 is copied, anything else is encoded again, and hostile files do no harm."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from pathlib import Path

import av
import numpy as np
import pytest

from scorer.errors import MediaError
from streams.rating.playable import PlayableClips
from tests.support.changing import make_changing
from tests.support.media import ffmpeg, make_clip
from tests.support.odd_pictures import interlaced_clip, two_tracks


def playable(folder: Path, clip: Path, **limits: float) -> Path:
    clips = PlayableClips(folder / "made", lambda _: clip.read_bytes(), **limits)  # type: ignore[arg-type]
    return clips.get(hashlib.sha256(clip.read_bytes()).hexdigest(), "the-clip")


def lumas(path: Path) -> list[np.ndarray]:
    """The luma plane of each picture. Chroma is not compared: from 4:4:4 to 4:2:0 it is halved, whatever the encoder does."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="gray").astype(float) for frame in container.decode(video=0)]


def facts(path: Path) -> tuple[str, str, int]:
    """(codec, pixel format, number of streams)."""
    with av.open(str(path)) as container:
        (stream,) = container.streams
        return stream.codec_context.name, stream.codec_context.pix_fmt, len(container.streams)


def test_h264_is_not_encoded_again(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.ts", 160, 120, 0.6, options=("-c:v", "libx264", "-pix_fmt", "yuv420p"))
    mp4 = playable(tmp_path, clip)
    assert facts(mp4) == ("h264", "yuv420p", 1)
    assert all(np.array_equal(a, b) for a, b in zip(lumas(clip), lumas(mp4), strict=True))
    assert list((tmp_path / "made").iterdir()) == [mp4]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.mkv", ("-c:v", "libx265", "-pix_fmt", "yuv420p", "-x265-params", "log-level=none")),
        ("a.webm", ("-c:v", "libvpx-vp9", "-pix_fmt", "yuv420p")),
        ("a.mp4", ("-c:v", "libx264", "-pix_fmt", "yuv444p")),
        ("b.ts", ("-c:v", "mpeg2video", "-q:v", "3")),
    ],
)
def test_anything_else_is_encoded_without_a_visible_loss(tmp_path: Path, name: str, options: tuple[str, ...]) -> None:
    clip = make_clip(tmp_path / name, 161 if "444" in str(options) else 160, 120, 0.4, options=options)
    mp4 = playable(tmp_path, clip)
    assert facts(mp4)[:2] == ("h264", "yuv420p")
    before, after = lumas(clip), lumas(mp4)
    assert len(before) == len(after)
    errors = [float(np.mean((a[:120, :160] - b[:120, :160]) ** 2)) for a, b in zip(before, after, strict=True)]
    assert 10 * np.log10(255**2 / max(errors)) > 40


@pytest.mark.parametrize("codec", ["libx264", "mpeg2video"])
def test_interlaced_video_is_shown_without_combing(tmp_path: Path, codec: str) -> None:
    options = (
        "-c:v",
        codec,
        "-q:v",
        "2",
        "-crf",
        "12",
        "-pix_fmt",
        "yuv420p",
        *(("-x264opts", "tff=1") if "264" in codec else ()),
    )
    clip, moments = interlaced_clip(tmp_path / "a.ts", options)
    before, after = lumas(clip), lumas(playable(tmp_path, clip))
    assert len(after) == len(moments)

    def combing(luma: np.ndarray) -> float:
        return float(np.abs(luma[1:159:2] - (luma[0:158:2] + luma[2:160:2]) / 2).mean())

    assert combing(before[3]) > 2 * combing(after[3])


@pytest.mark.parametrize("second_is_default", [True, False])
def test_the_video_that_is_scored_is_shown(tmp_path: Path, second_is_default: bool) -> None:
    mp4 = playable(tmp_path, two_tracks(tmp_path / "two.mp4", second_is_default))
    assert lumas(mp4)[0].shape == ((96, 160) if second_is_default else (36, 64))


def test_a_clip_whose_video_changes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="cannot be made playable: its video goes on"):
        playable(tmp_path, make_changing(tmp_path / "h264-then-hevc.ts"))


def test_sound_and_metadata_are_left_out(tmp_path: Path) -> None:
    clip = tmp_path / "a.mp4"
    ffmpeg(
        "-f", "lavfi", "-i", "testsrc2=size=160x120:rate=25", "-f", "lavfi", "-i", "sine", "-t", "0.4", "-pix_fmt", "yuv420p",
        "-metadata", "title=secret studio", "-metadata", "comment=secret studio", clip,
    )  # fmt: skip
    assert b"secret studio" in clip.read_bytes()
    mp4 = playable(tmp_path, clip)
    assert facts(mp4)[2] == 1
    assert b"secret" not in mp4.read_bytes()


def test_an_mp4_is_made_once_and_deleted_on_request(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.ts", 160, 120, 0.2)
    data, reads = clip.read_bytes(), []
    name = hashlib.sha256(data).hexdigest()
    clips = PlayableClips(tmp_path / "made", lambda uri: reads.append(uri) or data)  # type: ignore[func-returns-value]
    assert clips.get(name, "uri") == clips.get(name, "uri")
    assert reads == ["uri"]
    clips.keep_only([name])
    clips.forget(["0" * 64])
    assert clips.get(name, "uri").exists()
    assert reads == ["uri"]
    clips.keep_only([])
    assert list((tmp_path / "made").iterdir()) == []


async def test_clips_of_a_store_that_hangs_keep_neither_pages_nor_other_clips_waiting(tmp_path: Path) -> None:
    ends, ready = threading.Event(), "f" * 64
    clips = PlayableClips(tmp_path, lambda _: b"other" if ends.wait(60) else b"")
    (tmp_path / f"{ready}.mp4").write_bytes(b"made before")
    asked = [asyncio.create_task(clips.when_made(f"{number:064x}", "uri")) for number in range(100)]
    try:
        async with asyncio.timeout(30):
            for _ in range(3):
                await asyncio.to_thread(int)  # as a page is read, and a vote is kept
            assert (await clips.when_made(ready, "uri")).read_bytes() == b"made before"
    finally:
        ends.set()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert all(isinstance(answer, MediaError) for answer in answers)


def test_a_clip_that_is_ready_meanwhile_keeps_no_other_from_being_deleted(tmp_path: Path) -> None:
    clips = PlayableClips(tmp_path, lambda _: b"")
    (tmp_path / "work-1").symlink_to("gone")  # stands for a temporary folder that is gone when its age is asked for
    (tmp_path / f"{'0' * 64}.mp4").write_bytes(b"old")
    clips.keep_only([])
    assert [path.name for path in tmp_path.iterdir()] == ["work-1"]


@pytest.mark.parametrize("text", ["#EXTM3U\n#EXTINF:1,\nfile:{other}\n", "ffconcat version 1.0\nfile '{other}'\n"])
def test_a_playlist_does_not_open_other_files(tmp_path: Path, text: str) -> None:
    other = make_clip(tmp_path / "other.mp4", 160, 120, 0.2)
    clip = tmp_path / "a.ts"
    clip.write_text(text.format(other=other))
    with pytest.raises(MediaError, match="cannot be made playable"):
        playable(tmp_path, clip)
    assert list((tmp_path / "made").iterdir()) == []


def test_a_clip_with_other_bytes_and_a_wrong_id_are_refused(tmp_path: Path) -> None:
    clips = PlayableClips(tmp_path, lambda _: b"other")
    with pytest.raises(MediaError, match="SHA-256"):
        clips.get("0" * 64, "uri")
    for name in ("../x", "0" * 63, "A" * 64):
        with pytest.raises(MediaError, match="no example id"):
            clips.get(name, "uri")


def test_limits_of_time_size_and_memory_hold(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mkv", 1280, 720, 8, options=("-c:v", "mpeg4", "-q:v", "2"))
    with pytest.raises(MediaError, match="took more than"):
        playable(tmp_path, clip, timeout=0.3)
    with pytest.raises(MediaError, match="more than 1"):
        playable(tmp_path, clip, max_mb=1)
    with pytest.raises(MediaError, match="cannot be made playable"):
        playable(tmp_path, clip, memory_mb=16)
    assert list((tmp_path / "made").iterdir()) == []
