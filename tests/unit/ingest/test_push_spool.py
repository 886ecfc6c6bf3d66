"""The spool: names that say nothing, what is removed and what stays, and playlists that are read from it."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

import pytest

from streams.ingest.push.spool import PLAYLIST, SourceSpool, SpoolLimits, SpoolReader, growth_of, prepare
from streams.media.read import ReadError


def fill(epoch: Path, age: float = 0.0) -> Path:
    for name in ("1.ts", "2.ts", PLAYLIST):
        (epoch / name).write_bytes(b"x" * 100)
    os.utime(epoch, (time.time() - age, time.time() - age))
    return epoch


def test_each_source_has_a_folder_of_its_own_within_the_root(tmp_path: Path) -> None:
    names = ["../../etc", "a/b", "a_b", "", "ü" * 160, "."]
    folders = {SourceSpool(tmp_path, name).folder for name in names}
    assert len(folders) == len(names)
    assert all(folder.parent == tmp_path and folder.name.isascii() for folder in folders)


def test_epochs_are_in_their_order_and_the_old_ones_are_removed(tmp_path: Path) -> None:
    spool = SourceSpool(tmp_path, "cam")
    epochs = [fill(spool.new_epoch(), age) for age in (500, 300, 10, 400)]
    (spool.folder / "notes.txt").write_text("an operator's file")
    assert spool.epochs() == epochs
    assert spool.size() == 1200
    spool.sweep(120, epochs[3])
    assert spool.epochs() == epochs[2:], "the one in use stays, however old"
    assert (spool.folder / "notes.txt").exists()
    assert growth_of(epochs[2]) == growth_of(epochs[3])
    assert growth_of(epochs[0]).size == 0


def test_the_rests_of_earlier_runs_are_removed_at_the_start_and_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    root = tmp_path / "push"
    old, new = SourceSpool(root, "old"), SourceSpool(root, "new")
    fill(old.new_epoch(), 500)
    kept = fill(new.new_epoch(), 5)
    other = root / "operators-folder" / "1234567890123456"
    other.mkdir(parents=True)
    os.utime(other, (0, 0))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    link = new.folder / "1234567890123456"
    link.symlink_to(elsewhere)
    prepare(root, SpoolLimits(keep=120), [tmp_path])
    assert not old.folder.exists()
    assert kept.exists()
    assert other.exists()
    assert elsewhere.exists()
    assert caplog.text == ""
    prepare(root, SpoolLimits(), [tmp_path / "other"])
    assert f"the segments are in {root}: the workers' FVQ_MEDIA_ROOTS must include this folder" in caplog.text


async def test_playlists_are_read_from_the_spool_alone(tmp_path: Path) -> None:
    root = tmp_path / "push"
    epoch = fill(SourceSpool(root, "cam").new_epoch())
    secret = tmp_path / "secret"
    secret.write_text("not for events")
    async with SpoolReader(root, most=50) as reader:
        with pytest.raises(ReadError, match="larger than 50 bytes"):
            await reader.read((epoch / PLAYLIST).as_uri(), 5)
    async with SpoolReader(root) as reader:
        answer = await reader.read((epoch / PLAYLIST).as_uri(), 5)
        assert (len(answer.body), answer.url) == (100, (epoch / PLAYLIST).as_uri())
        with pytest.raises(ReadError, match="is not there"):
            await reader.read((epoch / "other.m3u8").as_uri(), 5)
        for address in (secret.as_uri(), (root / ".." / "secret").as_uri()):
            with pytest.raises(ReadError, match="outside"):
                await reader.read(address, 5)
