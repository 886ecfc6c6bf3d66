"""Which ffmpeg is used: the package's, the one on PATH, or none, with a word on what to install."""

from __future__ import annotations

import sys
from pathlib import Path

import imageio_ffmpeg
import pytest

from streams.errors import MediaError
from streams.ingest.files import CutLimits, cut_all
from streams.media import ffmpeg


@pytest.fixture
def no_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Without imageio-ffmpeg, and with this empty folder alone on PATH."""
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def test_the_packages_own_is_taken_first() -> None:
    assert ffmpeg.program("a test") == imageio_ffmpeg.get_ffmpeg_exe()


def test_the_one_on_path_is_taken_where_the_package_is_missing(no_package: Path) -> None:
    (no_package / "ffmpeg").symlink_to(imageio_ffmpeg.get_ffmpeg_exe())
    assert ffmpeg.program("a test") == str(no_package / "ffmpeg")
    assert ffmpeg.version().startswith("ffmpeg version")


def test_without_any_the_work_and_the_extra_are_named(no_package: Path) -> None:
    expected = r"^cutting files into segments needs ffmpeg, and there is none: pip install 'fvq-monitor\[demo\]', or"
    with pytest.raises(MediaError, match=expected) as missing:
        cut_all([], no_package, 2.0, CutLimits())
    assert missing.value.kind == "setup"
