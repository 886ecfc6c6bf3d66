"""Long files are sampled part by part; each of their pictures is decoded about once, however far apart key frames are."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from scorer.sampling import course, decode, probe
from scorer.sampling.audio import track
from scorer.sampling.sampler import sample
from scorer.spec import SPECIFICATIONS, SampledClip, SamplerSpec
from tests.support.doubles import SPEC
from tests.support.media import ffmpeg, make_clip
from tests.support.sound import PICTURE, tone
from tests.unit.scorer.test_sampler import equal

SECONDS = 12
ONE_KEY = ("-g", "100000", "-sc_threshold", "0", "-pix_fmt", "yuv420p")


def parts(path: Path, spec: SamplerSpec, goes_on: bool, seconds: float = 1.5) -> list[SampledClip]:
    """The clips of a file, sampled one by one as `fvq score` does, each by a decoder that goes on or by a new one."""
    clips = []
    while sampled := sample(path, spec, seconds, start=len(clips) * seconds, limit=1):
        clips += [clip for _, clip in sampled]
        if not goes_on:
            course.forget_others(None)
    return clips


@pytest.mark.parametrize("looks", ["standard", "middle"])
@pytest.mark.parametrize(
    "name", ["one-key.mp4", "one-key.ts", "one-key.mkv", "one-key.avi", "raw.h264", "held.mp4", "many-keys.mp4"]
)
def test_pictures_are_decoded_once_and_are_the_same(
    tmp_path: Path, name: str, looks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = ("-vf", "select='not(between(mod(n,40),5,30))'", "-fps_mode", "vfr") if name == "held.mp4" else ()
    keys = ("-g", "10", "-pix_fmt", "yuv420p") if name == "many-keys.mp4" else ONE_KEY
    path = make_clip(tmp_path / name, 64, 48, SECONDS, options=(*held, *keys))
    anew = parts(path, SPECIFICATIONS[looks], goes_on=False)
    decoded: list[Any] = []
    monkeypatch.setattr(decode, "check_size", lambda *size: decoded.append(size))
    clips = parts(path, SPECIFICATIONS[looks], goes_on=True)
    assert len(clips) == SECONDS / 1.5
    assert all(equal(*pair) for pair in zip(clips, anew, strict=True))
    openings = 2 * (len(clips) + 1)  # each opening of the file checks the header's size, too
    assert len(decoded) <= SECONDS * 25 * 1.2 + openings


def test_clips_of_a_damaged_file_do_not_depend_on_what_was_sampled_before(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "damaged.ts", 64, 48, 8, options=("-g", "40", "-bf", "3", "-pix_fmt", "yuv420p"))
    damaged, places = bytearray(path.read_bytes()), random.Random(1)
    for _ in range(12):
        damaged[places.randrange(len(damaged))] ^= 0xFF
    path.write_bytes(damaged)
    anew, on = (parts(path, SPECIFICATIONS["standard"], goes_on) for goes_on in (False, True))
    assert all(equal(*pair) for pair in zip(on, anew, strict=True))


def test_a_decoder_is_kept_for_the_same_file_only(tmp_path: Path) -> None:
    path, other = (make_clip(tmp_path / name, 64, 48, 6, options=ONE_KEY) for name in ("a.mp4", "b.mp4"))
    clips = parts(path, SPEC, goes_on=False, seconds=1.0)
    assert course._kept == []
    sample(other, SPEC, 1.0, limit=1)
    (kept,) = course._kept
    probe(path)
    assert course._kept == []
    sample(other, SPEC, 1.0, limit=1)
    assert equal(sample(path, SPEC, 1.0, start=1.0, limit=1)[0][1], clips[1])
    assert course._kept != [kept]
    assert equal(sample(path, SPEC, 1.0, start=0.5, limit=1)[0][1], sample(other, SPEC, 1.0, start=0.5, limit=1)[0][1])
    sample(other, SPEC, 1.0, start=2.0)
    assert course._kept == []


def test_the_sound_of_a_window_is_heard_however_far_the_key_frame_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(track, "MOST_PACKETS", 2000)  # 43 s; that of AAC at 48 kHz are a quarter of an hour
    path = tmp_path / "long.mp4"
    sound = ("-f", "lavfi", "-i", tone(-20))
    ffmpeg(*PICTURE, *sound, "-t", "64", "-c:v", "libx264", "-preset", "ultrafast", *ONE_KEY, "-c:a", "aac", path)
    first, last = (sample(path, SPEC, 2.0, start, limit=1)[0][1].audio for start in (0.0, 60.0))
    assert first is not None
    assert last is not None
    assert last.loudness == pytest.approx(first.loudness, abs=0.3)
    assert last.silent == 0
