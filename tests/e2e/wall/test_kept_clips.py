"""Streams of which many clips are kept: each is found for its alert, its time and its rating, however many are newer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
from selenium.webdriver.common.by import By

from tests.support.operator import Operator

STORE = """
const real = window.fetch;
window.fetch = async (address, options) => {
  const { pathname, searchParams } = new URL(address, location.href);
  if (pathname !== "/api/v1/clips") return real(address, options);
  const asked = (name) => searchParams.get(name);
  const items = CLIPS.filter((clip) => (!asked("stream_id") || clip.stream_id === asked("stream_id"))
    && (!asked("segment_id") || clip.segment_id === asked("segment_id"))
    && (asked("rendition") === null || (clip.rendition ?? "") === asked("rendition"))
    && (!asked("from") || clip.start >= asked("from")) && (!asked("to") || clip.start < asked("to")));
  const begin = Number(asked("cursor") ?? 0);
  const end = begin + Number(asked("limit") ?? 100);
  return Response.json({ items: items.slice(begin, end), next: end < items.length ? String(end) : null });
};
"""
"""Answers as the server does that keeps these clips, listed the newest first."""

ASKED = """
const before = window.fetch;
window.rated = [];
window.fetch = (address, options) => {
  const { pathname, search } = new URL(address, location.href);
  if (pathname.endsWith("/rating")) window.rated.push(search);
  return before(address, options);
};
"""

VIDEOS = "return [...document.querySelectorAll(arguments[0])].map((video) => video.getAttribute('src'))"


def clips_of(
    operator: Operator, stream: str, rendition: str | None, starts: list[datetime], score: float
) -> list[dict[str, Any]]:
    """Clips as the API lists them. Each has an address of its own, at which the bytes of one that the server has are found."""
    address = operator.asks("GET", "/clips?limit=1")["items"][0]["url"]
    return [
        {
            "id": f"{start:%d%H%M%S%f}", "stream_id": stream, "segment_id": f"kept/{start:%d%H%M%S%f}", "rendition": rendition,
            "start": f"{start:%Y-%m-%dT%H:%M:%S}.{start.microsecond // 1000:03d}Z", "duration": 2.0, "score": score,
            "uncertainty": 5.0, "reason": "alert", "url": f"{address}#{start:%d%H%M%S%f}",
        }
        for start in starts
    ]  # fmt: skip


def rate(operator: Operator, row: str) -> None:
    """Press a row's button in one script: the page may draw its rows anew between finding one and clicking on it."""
    operator.browser.execute_script("document.querySelector(arguments[0]).click()", f"{row} button")


@contextmanager
def keeping(operator: Operator, clips: list[dict[str, Any]]) -> Iterator[None]:
    """The server keeps these clips, for the pages that are opened meanwhile."""
    source = f"{{ const CLIPS = {json.dumps(clips)}; {STORE} }}"
    script = operator.browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": source})
    try:
        yield
    finally:
        operator.browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)


@pytest.mark.parametrize("view", ["alert", "stream"])
def test_the_pair_of_an_alert_is_found_behind_a_thousand_newer_clips(operator: Operator, view: str) -> None:
    alert = operator.asks("GET", "/alerts?kind=quality-drop&limit=1")["items"][0]["alert"]
    began = datetime.fromisoformat(alert["started_at"])
    stream, rendition = alert["stream_id"], alert.get("rendition")
    bad = clips_of(operator, stream, rendition, [began + timedelta(milliseconds=10 * number) for number in range(1100)], 20.0)
    good = clips_of(operator, stream, rendition, [began - timedelta(seconds=20)], 80.0)
    path = (
        f"/alerts/{alert['alert_id']}"
        if view == "alert"
        else f"/streams/{quote(stream, safe='')}?at={quote(alert['started_at'])}"
    )
    with keeping(operator, [*reversed(bad), *good]):
        operator.opens(path)
        operator.sees(lambda: operator.browser.execute_script(VIDEOS, ".step video") == [good[0]["url"], bad[0]["url"]])
    operator.has_no_complaint()


def test_another_rendition_shows_its_own_pair(operator: Operator) -> None:
    at = datetime.now(UTC) - timedelta(seconds=30)
    pairs = {
        name: [
            *clips_of(operator, "studio-20", name, [at - timedelta(minutes=1, seconds=number)], 80.0),
            *clips_of(operator, "studio-20", name, [at + timedelta(seconds=number)], 20.0),
        ]
        for number, name in enumerate(["720p", "480p"])
    }
    choose = "const list = document.querySelector('.title select'); list.value = '480p'; list.dispatchEvent(new Event('change'))"
    with keeping(operator, [clip for pair in pairs.values() for clip in pair]):
        operator.opens(f"/streams/studio-20?rendition=720p&at={quote(at.isoformat())}")
        for name in pairs:
            addresses = [clip["url"] for clip in pairs[name]]
            operator.sees(lambda addresses=addresses: operator.browser.execute_script(VIDEOS, ".step video") == addresses, 20)
            operator.browser.execute_script(choose)
    operator.has_no_complaint()


def test_a_clip_that_is_shown_is_the_one_to_rate(operator: Operator) -> None:
    now = datetime.now(UTC)
    clips = clips_of(operator, "studio-20", None, [now - timedelta(hours=number) for number in range(24)], 30.0)
    with keeping(operator, clips):
        operator.opens("/clips")
        operator.sees(lambda: len(operator.browser.find_elements(By.CSS_SELECTOR, ".cards > li")) == 24)
        operator.browser.find_elements(By.XPATH, "//button[text()='rate']")[22].click()
        operator.sees(operator.dialog)
        assert operator.browser.execute_script(VIDEOS, "dialog video") == [clips[22]["url"]]


def test_a_segment_of_which_nothing_is_kept_is_not_rated_by_another_moment(operator: Operator) -> None:
    segments = operator.asks("GET", "/streams/studio-20/segments?limit=400")["items"]
    pictures = operator.asks("GET", "/streams/studio-20/pictures")["items"]
    taken = [datetime.fromisoformat(picture["start"]) for picture in pictures]
    far = next(
        segment
        for segment in segments
        if min(abs(datetime.fromisoformat(segment["start"]) - time) for time in taken) > timedelta(seconds=15)
    )
    with keeping(operator, []):
        operator.opens(f"/streams/studio-20?at={quote(far['start'])}")
        row = f"tr[data-segment='{far['segment_id']}']"
        operator.sees(lambda: operator.browser.find_elements(By.CSS_SELECTOR, row))
        rate(operator, row)
        operator.sees(lambda: operator.dialog() or operator.was_told("Nobody can judge this segment"))
        assert not operator.dialog()


def test_a_segment_is_rated_in_its_rendition(operator: Operator) -> None:
    """Segments of several renditions may have the same id."""
    segment = operator.asks("GET", "/streams/studio-20/segments?rendition=480p")["items"][5]
    start = datetime.fromisoformat(segment["start"])
    clips = [
        clip | {"segment_id": segment["segment_id"]}
        for name in ("720p", "480p")
        for clip in clips_of(operator, "studio-20", name, [start + timedelta(milliseconds=int(name[0]))], 30.0)
    ]
    with keeping(operator, clips):
        operator.opens(f"/streams/studio-20?rendition=480p&at={quote(segment['start'])}")
        row = f"tr[data-segment='{segment['segment_id']}']"
        operator.sees(lambda: operator.browser.find_elements(By.CSS_SELECTOR, row))
        operator.browser.execute_script(ASKED)
        rate(operator, row)
        operator.sees(operator.dialog)
        assert operator.browser.execute_script(VIDEOS, "dialog video") == [clips[1]["url"]]
        operator.press("3")
        operator.sees(lambda: operator.was_told("Rated fair"))
        assert operator.browser.execute_script("return rated") == ["?rendition=480p"]
