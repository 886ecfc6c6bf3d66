"""Finding videos in folders."""

from __future__ import annotations

from pathlib import Path

from streams.media.videos import find_videos


def test_folders_are_searched_and_named_files_kept(tmp_path: Path) -> None:
    for name in ("b.MP4", "a.webm", "sub/c.ts", "d.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [video.name for video in find_videos([tmp_path])] == ["a.webm", "b.MP4", "c.ts"]
    assert find_videos([tmp_path / "d.txt"]) == [tmp_path / "d.txt"]
