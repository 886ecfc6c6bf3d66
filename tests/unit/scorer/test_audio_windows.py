"""Which sound belongs to a segment and to each window of a longer file, where stamps or containers do not make that easy."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from scorer.sampling.audio.facts import AudioFacts
from scorer.sampling.decode import open_video
from scorer.sampling.glance import glance
from scorer.sampling.sampler import sample
from tests.support.doubles import SPEC
from tests.support.media import ffmpeg
from tests.support.sound import PICTURE, tone

H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-bf", "0", "-pix_fmt", "yuv420p", "-g", "10", "-threads", "1")
"""Video whose headers say all that is needed, so that FFmpeg opens no decoder and learns nothing of the sound either."""


def heard(path: Path, start: float = 0.0) -> list[AudioFacts]:
    return [clip.audio for _, clip in sample(path, SPEC, 2.0, start) if clip.audio is not None]


def broadcast(path: Path, source: str, seconds: float, *options: str) -> Path:
    """A transport stream as live segments are: H.264, and AAC of which several frames share one stamp."""
    ffmpeg(*PICTURE, "-f", "lavfi", "-i", source, "-t", str(seconds), *H264, "-c:a", "aac", *options, path)
    return path


def test_windows_of_a_transport_stream_have_their_sound(tmp_path: Path) -> None:
    path = broadcast(tmp_path / "clip.ts", f"{tone(-20)},volume='if(between(t,2,4),0,1)':eval=frame", 8)
    facts = heard(path)
    assert [audio.silent for audio in facts] == pytest.approx([0, 1, 0, 0], abs=0.06)
    assert [facts[0].loudness, facts[2].loudness] == pytest.approx([facts[3].loudness] * 2, abs=0.3)
    later = heard(path, start=4.0)
    assert [audio.silent for audio in later] == pytest.approx([0, 0], abs=0.06)
    assert [audio.loudness for audio in later] == pytest.approx([facts[3].loudness] * 2, abs=0.3)


@pytest.mark.parametrize("name", ["clip.mkv", "clip.flv", "clip.ts", "clip.mp4"])
def test_a_sound_that_begins_before_the_picture_is_heard_from_its_beginning(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    sound = ("-f", "lavfi", "-i", tone(-20), "-ar", "44100")
    ffmpeg("-itsoffset", "0.6", *PICTURE, *sound, "-t", "2.6", *H264, "-c:a", "aac", path)
    ((_, clip),) = sample(path, SPEC)
    seen = glance(path).audio
    assert clip.audio is not None
    assert seen is not None
    # AAC's first packet, which players cut off, is marked in MP4 alone.
    assert clip.audio.offset_ms == pytest.approx(-600, abs=30)
    assert clip.audio.offset_ms == pytest.approx(seen.offset_ms)
    assert clip.audio.silent == 0


@pytest.mark.parametrize("seconds", [4, 5])
def test_windows_after_a_jump_of_the_sounds_clock_are_not_called_silent(tmp_path: Path, seconds: float) -> None:
    parts = [broadcast(tmp_path / f"{at}.ts", tone(-20), seconds, "-output_ts_offset", str(at)) for at in (10, 500, 3)]
    joined = tmp_path / "joined.ts"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    facts = heard(joined)
    assert [audio.silent for audio in facts[:2]] == pytest.approx([0, 0], abs=0.06)
    assert all(audio.silent is None and audio.loudness is None for audio in (*facts[2:], *heard(joined, start=6.0)))
    assert all(audio.present and audio.codec == "aac" for audio in facts)
    ((_, whole),) = sample(joined, SPEC)
    assert whole.audio is not None
    assert whole.audio.silent == pytest.approx(0, abs=0.02)


def test_a_pause_of_the_sound_alone_is_no_jump(tmp_path: Path) -> None:
    sound = ("-f", "lavfi", "-i", f"{tone(-20)},aselect='not(between(t,2,16))'")
    path = tmp_path / "pause.mkv"
    ffmpeg(*PICTURE, *sound, "-t", "20", *H264, "-c:a", "libopus", path)
    assert [audio.silent for audio in heard(path)] == pytest.approx([0, *[1] * 7, 0, 0], abs=0.11)


@pytest.mark.parametrize("bframes", ["0", "2"])
def test_a_glance_tells_the_offset_at_the_beginning_also_where_the_clock_goes_back_later(tmp_path: Path, bframes: str) -> None:
    parts = [broadcast(tmp_path / f"{at}.ts", tone(-20), 2, "-bf", bframes, "-output_ts_offset", str(at)) for at in (10, 3)]
    joined = tmp_path / "joined.ts"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    seen, alone = glance(joined).audio, glance(parts[0]).audio
    assert seen is not None
    assert alone is not None
    assert seen.offset_ms == alone.offset_ms == heard(parts[0])[0].offset_ms


def test_the_sound_of_joined_fragments_is_heard_where_their_stamps_step_back(tmp_path: Path) -> None:
    part = broadcast(tmp_path / "part.mp4", tone(-20), 2, "-movflags", "frag_keyframe+empty_moov+default_base_moof")
    path = tmp_path / "joined.mp4"
    path.write_bytes(part.read_bytes() * 3)
    ((_, clip),) = sample(path, SPEC)
    seen = glance(path).audio
    assert clip.audio is not None
    assert seen is not None
    assert clip.audio.silent == pytest.approx(0, abs=0.02)
    assert seen.silent == pytest.approx(0, abs=0.02)


def test_what_an_edit_list_leaves_out_of_the_sound_is_left_out_of_each_joined_part(tmp_path: Path) -> None:
    """The encoder's delay: a packet of AAC before each part's own beginning."""
    parts = [broadcast(tmp_path / f"{rate}.mp4", tone(-20), 1, "-ar", rate).read_bytes() for rate in ("48000", "44100")]
    path = tmp_path / "joined.mp4"
    path.write_bytes(b"".join([*parts, parts[0]]))
    with open_video(path) as video:
        video.timeline(0.0, math.inf)
        left_out = [packet.pts for packet in video.audio.packets() if packet.is_discard]
    assert left_out == [-1024] * 3


@pytest.mark.parametrize("first", [("-c:a", "aac"), ("-c:a", "ac3")])
@pytest.mark.parametrize("second", [("-c:a", "aac", "-streamid", "1:300"), ("-c:a", "ac3"), ("-c:a", "mp2")])
def test_a_sound_that_goes_on_with_another_pid_or_codec_is_heard(
    tmp_path: Path, first: tuple[str, ...], second: tuple[str, ...]
) -> None:
    options = {0: first, 4: second, 8: first}
    parts = [broadcast(tmp_path / f"{at}.ts", tone(-20), 4, *own, "-output_ts_offset", f"{at}") for at, own in options.items()]
    path = tmp_path / "changing.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    ((_, clip),) = sample(path, SPEC)
    seen = glance(path).audio
    assert clip.audio is not None
    assert seen is not None
    (before, *_) = heard(parts[0])
    assert (clip.audio.codec, seen.codec) == (first[1], first[1])
    assert (clip.audio.silent, seen.silent) == pytest.approx((0, 0), abs=0.03)
    assert clip.audio.loudness == pytest.approx(before.loudness, abs=0.3)
    windows = heard(path) + heard(path, start=6.0)
    assert [audio.silent for audio in windows] == pytest.approx([0] * 9, abs=0.06)
    assert [audio.loudness for audio in windows] == pytest.approx([before.loudness] * 9, abs=0.3)


def test_a_sound_that_begins_with_another_programme_map_is_heard(tmp_path: Path) -> None:
    mute = broadcast(tmp_path / "mute.ts", tone(-20), 8, "-an")
    sounding = broadcast(tmp_path / "sounding.ts", tone(-20), 4, "-output_ts_offset", "8")
    path = tmp_path / "changing.ts"
    path.write_bytes(mute.read_bytes() + sounding.read_bytes())
    assert [audio.silent for audio in heard(path)] == pytest.approx([1, 1, 1, 1, 0, 0], abs=0.06)
    assert [audio.silent for audio in heard(path, start=8.0)] == pytest.approx([0, 0], abs=0.06)


@pytest.mark.parametrize("name", ["clip.ts", "clip.mkv"])
def test_of_several_tracks_the_first_is_heard_that_has_any_sound(tmp_path: Path, name: str) -> None:
    sounds = [argument for level in (-40, -20) for argument in ("-f", "lavfi", "-i", tone(level))]
    maps = ("-map", "0:v", "-map", "1:a", "-map", "2:a")
    path, emptied = tmp_path / name, tmp_path / f"emptied-{name}"
    ffmpeg(*PICTURE, *sounds, *maps, "-t", "4", *H264, "-c:a:0", "mp2", "-c:a:1", "aac", path)
    ffmpeg("-i", path, "-map", "0", "-c", "copy", "-bsf:a:0", "noise=drop=1", emptied)
    first, second = heard(path), heard(emptied)
    assert [(audio.codec, audio.silent) for audio in first] == [("mp2", pytest.approx(0, abs=0.06))] * 2
    assert [(audio.codec, audio.silent) for audio in second] == [("aac", pytest.approx(0, abs=0.06))] * 2
    assert [first[1].loudness, second[1].loudness] == pytest.approx([second[1].loudness - 20, first[1].loudness + 20], abs=0.5)
    for played, codec in ((path, "mp2"), (emptied, "aac")):
        seen = glance(played).audio
        assert seen is not None
        assert (seen.codec, seen.silent) == (codec, pytest.approx(0, abs=0.06))
