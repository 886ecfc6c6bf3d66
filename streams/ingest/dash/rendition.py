"""Announces one rendition of a manifest: at each load, and between loads as its segments come by the clock."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from streams.ingest.base import SavedPosition, Services, Status, Stream
from streams.ingest.dash.numbering import announce
from streams.ingest.dash.values import Presentation, micros_of
from streams.ingest.dash.window import Moment, Track, window_of
from streams.ingest.hls.dating import MOST_SKEW
from streams.ingest.reporter import Reporter
from streams.ingest.states import STALE_TARGETS
from streams.media.shown import without_secrets

log = logging.getLogger(__name__)

LONGEST_UPDATE = 10.0
"""Seconds between two loads, at most, whatever `minimumUpdatePeriod` says: ffmpeg says 500 s, and ends sooner."""


@dataclass(frozen=True)
class Loaded:
    """What a load brought. url: where it came from. anchor: what the times count from; of a live source that has ended it may be
    the one of the manifests before. dropped: what could not be read, where the manifest is new."""

    presentation: Presentation
    url: str
    anchor: datetime | None
    dropped: Mapping[str, int]


class Rendition:
    """One rendition of a source."""

    def __init__(self, stream: Stream, url: str, services: Services) -> None:
        self.stream, self._services = stream, services
        self.status = Status(stream.stream_id, stream.rendition, without_secrets(url))
        self.reporter = Reporter(stream, self.status, services, log)
        saved = services.restore(stream)
        if saved is not None:
            self.status.position = saved.position
        self.next_at: int | None = None

    async def take(self, loaded: Loaded, track: Track, server_now: datetime) -> None:
        """Announce the segments that exist. server_now: the time by the server's clock."""
        status, presentation, now = self.status, loaded.presentation, self._services.times.now()
        before = status.position
        dates = before.clocks.dates if loaded.anchor is not None else None
        moment = Moment(
            micros_of(loaded.anchor) if loaded.anchor is not None else 0, micros_of(server_now),
            micros_of(dates) if dates is not None else None, self.stream.from_start or not presentation.dynamic,
        )  # fmt: skip
        window = window_of(presentation, track, moment)
        after, events, notes = announce(self.stream, before, window, loaded.anchor, now, loaded.dropped)
        progress = (before.epoch, before.number, before.ended) != (after.epoch, after.number, after.ended)
        if events or progress:
            await self._services.publish(self.stream, events, SavedPosition(after, without_secrets(loaded.url)))
        status.move(after, events)
        status.target, status.source = window.target, without_secrets(loaded.url)
        status.skew = notes.skew if notes.skew is not None else status.skew
        self.next_at = window.next_at
        self.reporter.found(notes.counts, announced=bool(events))
        self._tell_of(notes.counts, events[0].segment_id if events else "the end")
        behind = (now - server_now).total_seconds()
        self._show(progress, notes.encrypted, min(presentation.update or 0.0, LONGEST_UPDATE), behind)

    def _show(self, progress: bool, encrypted: bool, update: float, behind: float) -> None:
        """Set the state after segments were looked for. behind: seconds by which the server's clock is behind this machine's."""
        status, now = self.status, self._services.times.monotonic()
        if progress or status.changed is None:
            status.changed = now
        silence = now - status.changed
        if status.position.ended:
            self.reporter.show("ended")
        elif silence > STALE_TARGETS * max(status.target, update):
            reason = f"no new segment for {silence:.1f} s, and one lasts {status.target:.3g} s"
            if abs(behind) > MOST_SKEW:
                where = "behind" if behind > 0 else "ahead of"
                reason += f"; the server's clock (UTCTiming, or Date) is {abs(behind):.0f} s {where} this machine's"
            self.reporter.show("stale", reason, since=status.changed)
        else:
            self.reporter.show_going(progress, encrypted, "the segments are encrypted (ContentProtection)")

    def _tell_of(self, counts: Counter[str], following: str) -> None:
        if counts["lost"]:
            log.warning("%s lost %d segments before %s: they left the manifest", self.status.name, counts["lost"], following)
        if counts["restarts"]:
            log.warning("%s has restarted: its times begin anew at %s", self.status.name, following)
