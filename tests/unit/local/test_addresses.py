"""`fvq score URL`: fetched within a worker's limits, named without secrets, and deleted."""

from __future__ import annotations

import asyncio
import io
import json
import resource
from pathlib import Path

import pytest

from scorer.registry import Registry
from streams.errors import MediaError
from streams.local.addresses import fetched, is_address, shown
from streams.local.files import Scoring, score_files
from streams.local.shown_progress import ShownProgress
from tests.support.fetching import limits
from tests.support.media import make_clip
from tests.support.origin import Origin


def test_what_is_an_address() -> None:
    assert all(map(is_address, ("http://a/b.mp4", "HTTPS://a", "s3://bucket/key", "file:///a.mp4")))
    assert not any(map(is_address, ("a.mp4", "/a/b://c", "C:/a.mp4", "://a", "")))


def test_an_address_is_named_without_what_is_secret() -> None:
    assert shown("https://kim:s3cret@cdn.example/a.mp4?signature=s3cret") == "https://cdn.example/a.mp4"


async def test_what_is_fetched_is_there_for_a_while() -> None:
    async with Origin() as origin:
        origin.script("/a.mp4", bytes(5000))

        def read() -> tuple[Path, int]:
            with fetched(origin.url("/a.mp4"), limits()) as path:
                return path, path.stat().st_size

        path, size = await asyncio.to_thread(read)
    assert size == 5000
    assert not path.exists()
    assert not path.parent.exists()


@pytest.mark.parametrize(
    ("path", "changes", "words"),
    [
        ("/a.mp4", {"private": False}, "FVQ_FETCH_PRIVATE"),
        ("/a.mp4", {"hosts": ("cdn.example",)}, "FVQ_FETCH_HOSTS"),
        ("/large.mp4", {}, "FVQ_FETCH_MAX_MB"),
        ("/none.mp4", {}, "404"),
        ("/live.m3u8", {}, "fvq up --source"),
    ],
)
async def test_what_may_not_be_fetched_is_refused_with_what_to_do(path: str, changes: dict[str, object], words: str) -> None:
    async with Origin() as origin:
        origin.script("/a.mp4", bytes(5000))
        origin.script("/large.mp4", bytes(2**20 + 1))
        origin.script("/live.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:4\n")

        def read() -> None:
            with fetched(origin.url(path), limits(**changes)):
                pytest.fail("it was fetched")

        with pytest.raises(MediaError, match=words):
            await asyncio.to_thread(read)


@pytest.mark.parametrize("address", ["rtmp://origin.example/live", "http:///a.mp4", "http://origin.example/a\n"])
def test_no_setting_is_named_that_would_not_help(address: str) -> None:
    with pytest.raises(MediaError) as raised, fetched(address, limits()):
        pytest.fail("it was fetched")
    assert "FVQ_" not in raised.value.reason


async def test_a_full_disk_is_told_with_what_says_where_the_folder_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    async with Origin() as origin:
        origin.script("/a.mp4", bytes(5000))

        def read() -> None:
            with fetched(origin.url("/a.mp4"), limits()):
                pytest.fail("it was fetched")

        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
        try:
            with pytest.raises(MediaError, match=r"fvq-score-.* \(TMPDIR\) cannot be written to: File too large"):
                await asyncio.to_thread(read)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_file_address_is_under_the_media_roots_or_refused(tmp_path: Path) -> None:
    video = tmp_path / "a.mp4"
    video.write_bytes(bytes(10))
    with fetched(video.as_uri(), limits(roots=(tmp_path,))) as path:
        assert path == video
    assert video.exists(), "what was not fetched is not deleted"
    with pytest.raises(MediaError), fetched(video.as_uri(), limits()):
        pytest.fail("it was read")


@pytest.mark.slow
async def test_files_and_addresses_are_scored_in_order_and_one_error_stops_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = make_clip(tmp_path / "a.mp4", 320, 240, 1, kind="face")
    async with Origin() as origin:
        origin.script("/a.mp4", clip.read_bytes())
        addresses = [origin.url("/none.mp4"), origin.url("/a.mp4?signature=s3cret")]
        scoring = Scoring("nano", "cpu", Registry(str(tmp_path / "models"), tmp_path), 8, 1, 30.0, 2048)
        named = origin.url("/a.mp4")
        code = await asyncio.to_thread(score_files, [*addresses, clip], scoring, fetch=limits(), form="json")
    missing, remote, local = map(json.loads, capsys.readouterr().out.splitlines())
    assert code == 1
    assert "404" in missing["error"]
    assert remote["file"] == named
    assert local["file"] == str(clip)
    assert remote["score"] == local["score"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_one_line_that_is_gone_before_a_row() -> None:
    terminal, pipe = Terminal(), io.StringIO()
    for err in (terminal, pipe):
        progress = ShownProgress(3, err)
        progress.show(2, "a\n" + "x" * 200, 65.0)
        progress.clear()
    written = terminal.getvalue()
    assert written.startswith("\r\x1b[2Kscoring 2 of 3, 1:05 of a\\n")
    assert written.endswith("...\r\x1b[2K")
    assert "\n" not in written
    assert len(written) < 90
    assert pipe.getvalue() == ""
