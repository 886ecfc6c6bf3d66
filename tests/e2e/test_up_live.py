"""`fvq up` with live sources: an HLS origin on loopback, and a recorder's folder. Embedded broker, real ingester and worker."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.media import ffmpeg
from tests.support.origin import Origin
from tests.support.processes import FVQ, ROOT, clean_environment, fvq
from tests.support.waiting import wait_for

DEMO = ROOT / "examples/face.mp4"


@pytest.fixture(scope="module")
def hls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a complete playlist of the demo clip, whose segments are 2 s long: good, then bad from the fifth on."""
    folder = tmp_path_factory.mktemp("hls")
    options = ["-f", "hls", "-hls_time", "2", "-hls_playlist_type", "vod", "-hls_segment_filename", folder / "%d.ts"]
    ffmpeg("-t", "11", "-i", DEMO, "-c", "copy", *options, folder / "live.m3u8")
    return folder


def segments_of(hls: Path) -> int:
    return len(list(hls.glob("*.ts")))


def up(log: Path, errors: Path, *arguments: str, **settings: str) -> subprocess.Popen[bytes]:
    with log.open("wb") as output, errors.open("wb") as error:
        command = [FVQ, "up", *arguments]
        return subprocess.Popen(command, env=clean_environment() | settings, stdout=output, stderr=error, start_new_session=True)


def serve(origin: Origin, hls: Path) -> None:
    for file in hls.iterdir():
        origin.script(f"/{file.name}", file.read_bytes())


async def test_a_stream_is_followed_to_its_end(hls: Path, tmp_path: Path) -> None:
    # A complete playlist announces all its segments at once: on a busy machine the last ones wait for a minute.
    settings = {"FVQ_DATA_DIR": str(tmp_path / "data"), "FVQ_FETCH_PRIVATE": "true", "FVQ_LIVE_WINDOW": "off"}
    async with Origin() as origin:
        serve(origin, hls)
        origin.script("/plain", (hls / "live.m3u8").read_bytes())
        sources = [f"--source=news={origin.url('/plain')}?token=s3cret", f"--source={origin.url('/live.m3u8')}"]
        result = await asyncio.to_thread(fvq, "up", *sources, "--json", seconds=150, **settings)
    assert result.returncode == 0, result.stderr
    assert "s3cret" not in result.stderr
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    count = segments_of(hls)
    for stream in ("news", "live"):
        scores = [line["score"] for line in lines if line.get("stream_id") == stream and "score" in line]
        assert len(scores) == count
        assert min(scores[:4]) > max(scores[4:]) + 15
        (summary,) = [line for line in lines if line.get("summary") == stream]
        assert (summary["segments"], summary["state"]) == (count, "ended")
        assert summary["drops"][0]["first"] == 4
        assert [line["source"]["state"] for line in lines if line.get("source", {}).get("stream") == stream][-1] == "ended"
    assert (tmp_path / "data" / "scores.sqlite").exists()


async def test_a_private_source_is_refused_at_once_with_the_setting_that_allows_it(hls: Path, tmp_path: Path) -> None:
    async with Origin() as origin:
        serve(origin, hls)
        url = origin.url("/live.m3u8")
        result = await asyncio.to_thread(fvq, "up", "--source", url, FVQ_DATA_DIR=str(tmp_path / "data"))
    assert result.returncode == 1
    assert f"{url}: 127.0.0.1 is not a public address; FVQ_FETCH_PRIVATE=true" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.timeout(600)
def test_a_recorders_folder_is_watched(hls: Path, tmp_path: Path) -> None:
    log, folder = tmp_path / "log", tmp_path / "cam"
    folder.mkdir()
    shutil.copy(hls / "0.ts", folder)
    (folder / "broken.ts").write_bytes(b"no video")
    shutil.copy(DEMO, folder / "long.mp4")
    process = up(log, tmp_path / "errors", "--watch", "--source", str(folder), "--json", FVQ_DATA_DIR=str(tmp_path / "data"))
    try:
        wait_for("14 answers", lambda: len(log.read_text().splitlines()) >= 15, 150)
        with (folder / "late.ts").open("wb") as file:
            file.write((hls / "1.ts").read_bytes())
        wait_for("the file that was closed", lambda: "late.ts" in log.read_text(), 60)
        process.send_signal(signal.SIGINT)
        assert process.wait(150) == 0
    except BaseException:
        print((tmp_path / "errors").read_text())
        raise
    finally:
        process.kill()
        process.wait()
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    scores = [line for line in lines if line.get("status") == "scored"]
    assert len(scores) == 1 + 12 + 1
    assert [line["segment_id"].partition("-")[0] for line in lines if "error" in line] == ["cam/broken"]
    assert lines[-1]["failed"] == 1
    assert sorted(line["sequence"] for line in scores)[-1] == 14
