"""Finding videos in folders, and telling what is no file."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from av.format import ContainerFormat

from scorer.sampling.opening import FORMATS
from streams.errors import MediaError
from streams.media import videos
from streams.media.videos import VIDEO_SUFFIXES, check_file, find_videos, for_children

NOT_VIDEO = {"m4a", "m4b", "mka", "wma", "isma", "mks", "heic", "heif", "avif", "ism"}
"""Endings of FFmpeg's containers that hold sound, subtitles, stills or a playlist."""


def test_folders_are_searched_and_named_files_kept(tmp_path: Path) -> None:
    for name in ("b.MP4", "a.webm", "sub/c.ts", "d.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [video.name for video in find_videos([tmp_path])] == ["a.webm", "b.MP4", "c.ts"]
    assert find_videos([tmp_path / "d.txt"]) == [tmp_path / "d.txt"]


def test_a_path_that_cannot_be_looked_at_is_kept_to_be_reported(tmp_path: Path) -> None:
    paths = [tmp_path / ("a" * 300), tmp_path / "a\0b", tmp_path / "none" / "a.mp4"]
    assert find_videos(paths) == paths


def test_every_ending_of_the_containers_that_are_read_is_found() -> None:
    endings: set[str] = set()
    for name in FORMATS.split(","):
        for mode in ("r", "w"):
            try:
                endings |= ContainerFormat(name, mode).extensions
            except ValueError:
                continue  # FFmpeg reads this container, or writes it, but not both
    assert len(endings) > 30
    assert {f".{ending}" for ending in endings - NOT_VIDEO} <= VIDEO_SUFFIXES


def test_what_cannot_be_read_in_a_folder_is_kept_to_be_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone.mp4").symlink_to(tmp_path / "none.mp4")
    os.mkfifo(tmp_path / "pipe.ts")
    (tmp_path / "closed").mkdir()
    (tmp_path / "good.mp4").touch()
    (tmp_path / "round").symlink_to(tmp_path)
    real = os.scandir

    def scandir(path: str) -> object:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    # The tests may run as root, who may read every folder.
    monkeypatch.setattr(videos.os, "scandir", scandir)
    assert [path.name for path in find_videos([tmp_path])] == ["closed", "gone.mp4", "good.mp4", "pipe.ts"]
    monkeypatch.setattr(videos.os, "access", lambda path, _: Path(path).name != "closed")
    reasons = {}
    for path in find_videos([tmp_path]):
        try:
            check_file(path)
        except MediaError as error:
            reasons[path.name] = error.reason
    assert reasons == {
        "closed": "the folder cannot be read: Permission denied",
        "gone.mp4": f"it is a link to {tmp_path}/none.mp4, which does not exist",
        "pipe.ts": "it is not a regular file: it is a pipe",
    }


def test_pipes_sockets_devices_and_names_that_are_none_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
    (tmp_path / "round").symlink_to(tmp_path / "round")
    for path, words in {
        tmp_path / "pipe": "it is a pipe",
        tmp_path / "socket": "it is a socket",
        Path("/dev/zero"): "it is a device",
        tmp_path: "it is a folder",
        tmp_path / "none.mp4": "no such file",
        tmp_path / "round": "Too many levels of symbolic links",
        tmp_path / ("a" * 300): "File name too long",
        tmp_path / "a\0b": "null byte",
    }.items():
        with pytest.raises(MediaError, match=words):
            check_file(path)


def test_a_path_of_this_process_alone_is_another_one_for_its_children(tmp_path: Path) -> None:
    (tmp_path / "stored").touch()
    link = tmp_path / "a.mp4"
    link.symlink_to("stored")
    assert for_children(link) == link, "FFmpeg may need the ending of a name"
    with link.open() as file:
        for path in (f"/dev/fd/{file.fileno()}", f"/proc/self/fd/{file.fileno()}"):
            assert for_children(Path(path)) == (tmp_path / "stored").resolve()
