"""Sampled clips that are kept in a folder."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from scorer.errors import MediaError
from scorer.sampling import pool
from scorer.spec import SPEC_FILE, SPECIFICATIONS, SamplerSpec
from tests.support.media import make_clip
from training.adapter.clips import sampled
from training.data.alone import alone
from training.data.rated import RatedClip
from training.data.samples import COMPLETE, HEADS, kept_samples

LEAN = SPECIFICATIONS["lean"]


def test_a_folder_is_for_its_clips_and_specification_alone(tmp_path: Path) -> None:
    kept_samples(tmp_path, [], LEAN, 1)
    with pytest.raises(ValueError, match="its samples are of other clips"):
        kept_samples(tmp_path, [{"path": tmp_path / "new.mkv"}], LEAN, 1)
    with pytest.raises(ValueError, match="another sampler's specification"):
        kept_samples(tmp_path, [], SPECIFICATIONS["leaner"], 1)


def test_a_clip_that_was_replaced_by_one_as_large_is_another_clip(tmp_path: Path) -> None:
    clips, kept = [{"path": make_clip(tmp_path / "0.mp4", 64, 48, 0.3)}], tmp_path / "kept"
    kept_samples(kept, clips, LEAN, 1)
    clip = clips[0]["path"]
    clip.write_bytes(bytes(reversed(clip.read_bytes())))
    with pytest.raises(ValueError, match="its samples are of other clips"):
        kept_samples(kept, clips, LEAN, 1)
    (kept / HEADS).unlink()  # as in a folder of an earlier version: its samples are not made again for that
    assert len(kept_samples(kept, clips, LEAN, 1)) == 1


def test_an_adapters_clip_that_was_replaced_is_sampled_anew(tmp_path: Path) -> None:
    clip = RatedClip(make_clip(tmp_path / "0.mp4", 64, 48, 0.3), 50.0, "a", "train")
    before = np.array(sampled([clip], LEAN, tmp_path / "work").arrays["statistics"])
    make_clip(clip.path, 128, 96, 0.3)
    after = np.array(sampled([clip], LEAN, tmp_path / "work").arrays["statistics"])
    assert not np.array_equal(before, after)


def test_one_run_at_a_time_samples_into_a_folder(tmp_path: Path) -> None:
    with alone(tmp_path), pytest.raises(ValueError, match=f"{tmp_path}: another run writes into it"):
        kept_samples(tmp_path, [], LEAN, 1)
    kept_samples(tmp_path, [], LEAN, 1)
    with alone(tmp_path):
        kept_samples(tmp_path, [], LEAN, 1)  # what is complete is only read


def test_what_is_complete_is_not_written_again(tmp_path: Path) -> None:
    kept_samples(tmp_path, [], LEAN, 1)
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    kept_samples(tmp_path, [], LEAN, 1)
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before, "another process may be reading it"


def test_a_run_that_was_killed_while_it_began_begins_again(tmp_path: Path) -> None:
    (tmp_path / SPEC_FILE).touch()  # cut off
    kept_samples(tmp_path, [], LEAN, 1)
    assert SamplerSpec.load(tmp_path) == LEAN


def test_what_is_no_fault_of_a_clip_leaves_none_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clips = [{"path": make_clip(tmp_path / f"{number}.mp4", 64, 48, 0.3)} for number in range(2)]
    with monkeypatch.context() as patch:
        # As on a machine that is too busy, or has no memory or process left.
        patch.setattr(pool, "START_SECONDS", 0.001)
        with pytest.raises(MediaError, match="no sampling process can start"):
            kept_samples(tmp_path / "kept", clips, LEAN, 1)
    assert len(kept_samples(tmp_path / "kept", clips, LEAN, 1)) == 2


def test_no_clip_at_all_is_an_error(tmp_path: Path) -> None:
    clips = [{"path": tmp_path / "away.mp4"}]
    with pytest.raises(ValueError, match=f"{tmp_path}: none of the 1 clips can be sampled"):
        kept_samples(tmp_path, clips, LEAN, 1)
    assert not (tmp_path / COMPLETE).exists(), "they are tried again"


def test_the_room_for_all_clips_is_taken_before_the_first_one_is_written(tmp_path: Path) -> None:
    clips = [{"path": make_clip(tmp_path / "0.mp4", 64, 48, 0.3)}, *({"path": tmp_path / f"{n}.mp4"} for n in range(1, 9))]
    kept_samples(tmp_path / "kept", clips, LEAN, 1)
    file = (tmp_path / "kept" / "frames.npy").stat()
    assert file.st_blocks * 512 >= file.st_size, "a write into a hole of a full disk ends the process"


def test_a_disk_that_is_full_is_told_with_what_the_samples_need(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    clips, folder = [{"path": make_clip(tmp_path / "0.mp4", 64, 48, 0.3)}], tmp_path / "kept"
    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", fail)
        with pytest.raises(ValueError, match=f"{folder}: the samples of 1 clips need [0-9]+ MB there: No space left on device"):
            kept_samples(folder, clips, LEAN, 1)
    assert not list(folder.glob("*.npy"))
    assert len(kept_samples(folder, clips, LEAN, 1)) == 1
