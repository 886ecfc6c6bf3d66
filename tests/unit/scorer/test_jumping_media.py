"""Files whose clock jumps are sampled as the two seconds that they hold: by a worker with an event, and by windows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from scorer.sampling import probe, sample
from scorer.sampling.decode import open_video
from scorer.sampling.glance import glance
from scorer.spec import SamplerSpec
from tests.support.jumping import JUMPING, make_jumping, steady_twin
from tests.support.media import ffmpeg, make_clip

pytestmark = pytest.mark.slow

SPEC = SamplerSpec(portrait_frames=0)
PAUSES = {"gap-1s.ts", "gap-9s.ts"}
"""Files with a gap that is no jump, unless an event says that the segment is shorter."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("jumping")


@pytest.mark.parametrize("name", JUMPING)
def test_a_segment_lasts_as_long_as_its_event_whatever_its_stamps_claim(folder: Path, name: str) -> None:
    ((window, clip),) = sample(make_jumping(folder, name), SPEC, duration=2.0)
    assert window.start == 0
    assert clip.info.frames == pytest.approx(50, abs=1)
    assert window.duration == pytest.approx(2.0, abs=0.21)
    assert 0 <= clip.signals["freeze"] < 0.2
    assert 0.05 < clip.face_summary.area < 0.5
    assert clip.face_summary.count == 1


@pytest.mark.parametrize("name", ["one.ts", "one.mp4", "one.h264"])
def test_a_lone_picture_is_shown_for_as_long_as_its_event_says(name: str, tmp_path: Path) -> None:
    """As of a screen that is shared, or where a camera stands still and its encoder leaves out what repeats."""
    path = make_clip(tmp_path / name, 96, 64, 0.04)
    ((window, clip),) = sample(path, SPEC, duration=2.0)
    assert window.duration == 2.0
    assert clip.info.fps == 0.5
    assert clip.bitstream is not None
    assert (clip.bitstream.fps, clip.bitstream.bitrate) == (0.5, pytest.approx(clip.bitstream.key_bytes * 4))
    assert clip.signals["freeze"] == pytest.approx(0.875)
    ((window, clip),) = sample(path, SPEC)
    assert (window.duration, clip.info.fps, clip.signals["freeze"]) == (pytest.approx(0.04), pytest.approx(25), 0)


@pytest.mark.parametrize("name", sorted(JUMPING.keys() - PAUSES))
def test_windows_follow_each_other_over_a_jump_also_after_seeking(folder: Path, name: str) -> None:
    path = make_jumping(folder, name)
    first, second = sample(path, SPEC, 1.0)
    assert [first[0].start, second[0].start] == [0, 1]
    assert first[1].info.frames + second[1].info.frames == pytest.approx(50, abs=1)
    assert all(0 <= clip.signals["freeze"] < 0.2 for _, clip in (first, second))
    ((window, sought),) = sample(path, SPEC, 1.0, start=1.0, limit=1)
    assert window == second[0]
    assert np.array_equal(sought.frames, second[1].frames)
    assert sought.signals == second[1].signals
    assert sample(path, SPEC, 1.0, start=2.5) == []


@pytest.mark.parametrize("name", sorted(JUMPING.keys() - PAUSES - {"one-past.ts", "overlapping.ts"}))
def test_every_picture_has_its_place_on_the_steady_clock_back(folder: Path, name: str) -> None:
    """But where a muxer's repair looks like a picture of a single tick, and where a picture is there twice."""
    with open_video(make_jumping(folder, name)) as video, open_video(make_jumping(folder, steady_twin(name))) as steady:
        assert video.timeline(0.0, 10.0).times == pytest.approx(steady.timeline(0.0, 10.0).times, abs=2e-3)
        assert [time for time, *_ in video.course(0.0).frames(0.0)] == pytest.approx(
            [time for time, *_ in steady.course(0.0).frames(0.0)], abs=2e-3
        )


def test_a_gap_within_the_limit_is_a_camera_that_stands_still(folder: Path) -> None:
    before, pause, after = (clip for _, clip in sample(make_jumping(folder, "gap-1s.ts"), SPEC, 1.0))
    assert pause.signals["freeze"] == pytest.approx(0.75)
    assert before.signals["freeze"] < 0.2
    assert after.signals["freeze"] < 0.2


def test_a_long_file_of_joined_parts_is_read_in_its_own_order(tmp_path: Path) -> None:
    """Each part begins at the same stamp, so a seek would find any of them."""
    parts = []
    for number, shade in enumerate(("0x303030", "0x808080", "0xd0d0d0")):
        part = tmp_path / f"{number}.ts"
        source = f"color={shade}:size=64x64:rate=5"
        ffmpeg("-f", "lavfi", "-t", "20", "-i", source, "-c:v", "libx264", "-g", "10", "-pix_fmt", "yuv420p", part)
        parts.append(part.read_bytes())
    path = tmp_path / "joined.ts"
    path.write_bytes(b"".join(parts))
    lumas = [sample(path, SPEC, 2.0, start, limit=1)[0][1].signals["luma"] for start in (0, 18, 20, 38, 40, 58)]
    assert np.round(lumas, -1).tolist() == [50, 50, 130, 130, 210, 210]
    assert sample(path, SPEC, 2.0, start=60) == []


def test_joined_fragments_of_mp4_that_begin_anew_are_all_seen(tmp_path: Path) -> None:
    """FFmpeg marks the pictures of a fragment whose stamps step back as not to be shown."""
    parts = []
    for shade in ("0x303030", "0x808080", "0xd0d0d0"):
        part = tmp_path / f"{shade}.mp4"
        source = f"color={shade}:size=64x64:rate=25"
        flags = ("-bf", "0", "-pix_fmt", "yuv420p", "-movflags", "frag_keyframe+empty_moov+default_base_moof")
        ffmpeg("-f", "lavfi", "-t", "1", "-i", source, "-c:v", "libx264", *flags, part)
        parts.append(part.read_bytes())
    path = tmp_path / "joined.mp4"
    path.write_bytes(parts[0] + b"".join(part[part.index(b"moof") - 4 :] for part in parts[1:]))
    windows = sample(path, SPEC, 1.0)
    assert [window.start for window, _ in windows] == [0, 1, 2]
    assert [round(clip.signals["luma"], -1) for _, clip in windows] == [50, 130, 210]
    assert [clip.info.frames for _, clip in windows] == [25, 25, 25]


def test_the_clock_since_1970_is_taken_off_the_duration(folder: Path) -> None:
    assert probe(make_jumping(folder, "since-1970.mp4")).duration == pytest.approx(2.0, abs=0.1)


def test_a_size_that_changes_after_a_sampled_picture_is_no_movement(folder: Path) -> None:
    with open_video(make_jumping(folder, "resized.ts")) as video:
        sizes = [(frame.width, frame.height) for _, frame, *_ in video.course(0.0).frames(0.0)]
    assert set(sizes) == {(1280, 720), (320, 180)}
    # As many sampled pictures as frames: one of them is the last before the change.
    ((_, clip),) = sample(make_jumping(folder, "resized.ts"), SamplerSpec(frames=50, portrait_frames=0, face_frames=0))
    assert np.isfinite(clip.statistics).all()
    assert 0 < clip.face_summary.area < 1


@pytest.mark.parametrize("name", JUMPING)
def test_a_glance_and_a_full_look_tell_one_rate(folder: Path, name: str) -> None:
    path = make_jumping(folder, name)
    ((_, clip),) = sample(path, SPEC)
    assert clip.bitstream is not None
    assert glance(path).bitstream.fps == pytest.approx(clip.bitstream.fps, rel=0.02)
