"""The sockets' hub: each 250 ms it tells every feed's browsers what has changed, in texts that are made once for all of them."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterable, Sequence

from streams.errors import EventError
from streams.events import SegmentScore
from streams.web.labels import LabelFilter
from streams.web.live import MOST_RENDITIONS, Live
from streams.web.wire import Feed

log = logging.getLogger(__name__)

FRAME_SECONDS = 0.25
SUMMARY_FRAMES = 4
"""Every so many frames come the figures."""

QUEUE = 8
"""Steps whose texts wait for one browser. One more, and all are dropped: it gets a fresh snapshot instead."""

MOST_EVENTS = MOST_RENDITIONS
"""Whole scores of a watched stream in one step; the oldest of more are left out."""

MOST_FEEDS = 64
"""Different filters at the same time."""

MOST_SPARKS = 100


class Browser:
    """One socket's side of the hub. A snapshot comes first, then frames without a gap."""

    def __init__(self, feed: Feed) -> None:
        self.feed = feed
        self.queue: asyncio.Queue[Sequence[str]] = asyncio.Queue(QUEUE)
        self.needs_snapshot = True
        self.watched: str | None = None

    def put(self, texts: Sequence[str]) -> None:
        """Queue the texts of a step. A browser that does not keep up loses all that waits, and gets a snapshot at the next."""
        if self.needs_snapshot or not texts:
            return
        try:
            self.queue.put_nowait(texts)
        except asyncio.QueueFull:
            self.restart()

    def restart(self) -> None:
        """Drop what waits: the next frame brings a snapshot."""
        while not self.queue.empty():
            self.queue.get_nowait()
        self.needs_snapshot = True

    def begin(self, now: float) -> None:
        """Queue the snapshot, if it is wanted."""
        if self.needs_snapshot:
            self.needs_snapshot = False
            self.queue.put_nowait([self.feed.snapshot(now)])


class Hub:
    """All browsers and their feeds. May be used by one event loop only.

    now: seconds since 1970. problem: why nothing new is read; '' where it is.
    """

    def __init__(self, live: Live, now: Callable[[], float], problem: Callable[[], str] = str) -> None:
        self._live, self._now, self._problem = live, now, problem
        self._feeds: dict[LabelFilter, Feed] = {}
        self.browsers: set[Browser] = set()

    def join(self, labels: LabelFilter) -> Browser | None:
        """A new browser on the feed of these labels; None where there are too many different feeds."""
        feed = self._feeds.get(labels)
        if feed is None:
            if len(self._feeds) >= MOST_FEEDS:
                return None
            feed = self._feeds[labels] = Feed(self._live, labels)
        elif feed.compact():
            for other in self.browsers:
                if other.feed is feed:
                    other.restart()
        browser = Browser(feed)
        browser.begin(self._now())
        self.browsers.add(browser)
        return browser

    def leave(self, browser: Browser) -> None:
        """The browser is gone."""
        self.watch(browser, None)
        self.browsers.discard(browser)
        if not any(other.feed is browser.feed for other in self.browsers):
            self._feeds.pop(browser.feed.labels, None)

    def take(self, browser: Browser, text: str) -> None:
        """Take a message of a browser; one that is no known message changes nothing."""
        try:
            message = json.loads(text)
        except (ValueError, RecursionError):
            return
        if not isinstance(message, dict):
            return
        if message.get("type") == "sparks" and isinstance(places := message.get("i"), list):
            wanted = [place for place in places[:MOST_SPARKS] if type(place) is int]
            browser.put([browser.feed.sparks(wanted)])
        elif message.get("type") == "watch" and isinstance(stream_id := message.get("id"), str | None):
            self.watch(browser, stream_id)

    def watch(self, browser: Browser, stream_id: str | None) -> None:
        """Send a browser the whole scores of one stream from now on; None for none."""
        before, browser.watched = browser.watched, None
        if before is not None and not any(other.watched == before for other in self.browsers):
            self._live.watched.pop(before, None)
        stream = self._live.streams.get(stream_id) if stream_id is not None else None
        if stream_id is None or stream is None or not browser.feed.has(stream_id):
            return  # the feed learns at the next step that a stream was forgotten
        browser.watched = stream_id
        self._live.watched.setdefault(stream_id, [])
        browser.put(_events(rendition.last for rendition in stream.renditions.values()))

    async def run(self) -> None:
        """Tell what changes, until cancelled."""
        beat, loop = 0, asyncio.get_running_loop()
        due = loop.time()
        while True:
            due = max(due + FRAME_SECONDS, loop.time())
            await asyncio.sleep(due - loop.time())
            beat += 1
            try:
                self.step(beat)
            except Exception:
                # One strange message must not silence every browser for good: they get a snapshot.
                log.exception("a frame could not be made")
                for browser in self.browsers:
                    browser.restart()

    def step(self, beat: int) -> None:
        """One frame. beat: counts the frames; every `SUMMARY_FRAMES` the figures are told, and time passes in the state."""
        now = self._now()
        if beat % SUMMARY_FRAMES == 0:
            self._live.tick(now)
        changes = self._live.changes()
        texts = {feed: feed.frames(changes, now) for feed in self._feeds.values()}
        if beat % SUMMARY_FRAMES == 0:
            problem = self._problem()
            for feed, frames in texts.items():
                frames.append(feed.summary(now, problem))
        events = {stream_id: _events(scores[-MOST_EVENTS:]) for stream_id, scores in self._live.watched.items()}
        for waiting in self._live.watched.values():
            waiting.clear()
        for browser in self.browsers:
            if browser.needs_snapshot:
                browser.begin(now)
                continue
            has_watched = browser.watched is not None and browser.feed.has(browser.watched)  # it may have lost the label since
            browser.put(texts[browser.feed] + (events.get(browser.watched or "", []) if has_watched else []))


def _events(scores: Iterable[bytes]) -> list[str]:
    return [text for data in scores if (text := _event(data))]


def _event(data: bytes) -> str:
    """A whole score as a frame; '' where it is none: the wall reads less of a score, and must send no broken JSON."""
    try:
        score = SegmentScore.from_bytes(data)
    except EventError:
        return ""
    return f'{{"type":"event","id":{json.dumps(score.stream_id)},"event":{score.to_bytes().decode()}}}'
