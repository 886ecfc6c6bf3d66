"""The ratings file or the disk cannot be used for a while: raters and commands are told, and nothing ends that should go on."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from aiohttp import CookieJar
from aiohttp.test_utils import TestClient, TestServer

from streams.media import ffmpeg
from streams.rating import database
from streams.rating.database import NAME, RatingsFileError
from streams.rating.playable import PlayableClips
from streams.rating.server import RatingPage, make_app
from streams.rating.store import RatingStore
from streams.user_errors import for_user
from tests.support.media import make_clip
from tests.support.rating import make_example, read_file


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Another program writes into the ratings file, and does not end."""
    with closing(sqlite3.connect(folder / NAME, isolation_level=None)) as other:
        other.execute("begin exclusive")
        yield


def page_of(folder: Path) -> RatingPage:
    example = make_example(make_clip(folder / "a.mp4", 160, 120, 0.2))
    clips = PlayableClips(folder / "rating", read_file)
    return RatingPage(RatingStore(folder), clips, lambda: ([example], {}), refresh_seconds=0.01)


def test_a_file_that_is_no_database_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"garbage" * 100)
    with pytest.raises(RatingsFileError, match="it is damaged: put a back-up in its place") as refused:
        RatingStore(tmp_path)
    assert for_user(refused.value) == (str(refused.value), 1)
    assert str(tmp_path / NAME) in str(refused.value)


def test_a_file_that_cannot_be_written_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir()
    with pytest.raises(RatingsFileError, match="the file and its folder have to be writable"):
        RatingStore(tmp_path)


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    store = RatingStore(tmp_path)

    def fill() -> None:
        with store._database.transaction() as db:
            db.execute("pragma max_page_count = 1")
            db.execute("create table filler as select zeroblob(1000000)")

    with pytest.raises(RatingsFileError, match="database or disk is full: free some space there"):
        fill()


def test_a_bug_is_none_of_the_files_faults(tmp_path: Path) -> None:
    store = RatingStore(tmp_path)
    with pytest.raises(sqlite3.OperationalError, match="no such table"), store._database.transaction() as db:
        db.execute("select * from missing")


async def test_a_vote_that_cannot_be_kept_is_refused_in_the_pages_words_and_kept_when_it_is_sent_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = page_of(tmp_path)
    page.refresh()
    async with TestClient(TestServer(make_app(page)), cookie_jar=CookieJar(unsafe=True)) as client:
        await client.post("/api/sign-in", json={"token": page.store.add_rater("ada")})
        shown = await (await client.get("/api/next")).json()
        vote = {"presentation": shown["presentation"], "value": 4, "seconds": 1.0, "factor": 1}
        with monkeypatch.context() as patch, locked(tmp_path):
            patch.setattr(database, "WAIT_SECONDS", 0.05)
            answer = await client.post("/api/ratings", json=vote)
            assert answer.status == 503
            words = (await answer.json())["error"]
            assert str(tmp_path) not in words, "raters need not know the server's folders"
        assert (await client.post("/api/ratings", json=vote)).status == 201
    assert [rating.points for rating in page.store.ratings()] == [70.0]


async def test_the_queue_is_read_again_after_the_ratings_file_could_not_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    page = page_of(tmp_path)
    with monkeypatch.context() as patch, locked(tmp_path):
        patch.setattr(database, "WAIT_SECONDS", 0.05)
        app = make_app(page)
        server = TestClient(TestServer(app))
        await server.start_server()
        await asyncio.sleep(0.5)
    for _ in range(200):
        if page.store.queued():
            break
        await asyncio.sleep(0.05)
    await server.close()
    assert page.store.queued()
    assert caplog.text.count("the queue cannot be read") == 1


def test_a_clip_is_not_unplayable_because_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else no rater would ever see it again."""
    clip = make_clip(tmp_path / "a.mp4", 160, 120, 0.2)
    clips = PlayableClips(tmp_path / "made", lambda _: clip.read_bytes())
    code = 256 - errno.ENOSPC  # of ffmpeg, whose last line is then "Conversion failed!"
    monkeypatch.setattr(ffmpeg, "run", lambda *_, **__: ffmpeg.Finished(code, b"Conversion failed!"))
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        clips.get(hashlib.sha256(clip.read_bytes()).hexdigest(), "the-clip")
