"""One watched folder is one stream: each complete file in it is a segment, or several."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from streams.errors import MediaError
from streams.events import YEARS, SegmentEvent
from streams.ingest.base import Position, SavedPosition, Services, Status, Stream
from streams.ingest.folder.completion import Completion
from streams.ingest.folder.listing import Listing, is_video_name, list_folder, state_of
from streams.ingest.folder.segmenter import Segmenter, Segments
from streams.ingest.folder.watch import Watch
from streams.ingest.hls.dating import MOST_SKEW
from streams.ingest.known import FileState, KnownFiles
from streams.ingest.reporter import Reporter
from streams.text import printable

log = logging.getLogger(__name__)

POLL_SECONDS, WATCH_SECONDS = 1.0, 5.0
"""Between two lists of the folder: where nothing tells of its changes, and where the kernel does."""

LIST_SHARE = 20.0
"""The pause after a list is at least this many times as long as the list took: 100,000 files must not fill a core."""

MOST_EVENTS = 500
"""Segments that are sent at once: a day's recording has 43,200."""

LONGEST_STEM = 40
"""Characters of a file's name in its segment's id, for people."""


@dataclass(frozen=True)
class FolderPlan:
    """What the operator wants of a folder. settle: seconds without a change. poll: never ask the kernel."""

    stream: Stream
    folder: Path
    segmenter: Segmenter = field(repr=False)
    settle: float = 5.0
    poll: bool = False

    def source(self, services: Services) -> FolderSource:
        """The source that follows this plan."""
        return FolderSource(self, services)


class FolderSource:
    """Follows a folder. Its position outlives a failure of `run`, which may be called again."""

    def __init__(self, plan: FolderPlan, services: Services) -> None:
        self._plan, self._services = plan, services
        self._status = Status(plan.stream.stream_id, None, printable(str(plan.folder)))
        self._reporter = Reporter(plan.stream, self._status, services, log)
        saved = services.restore(plan.stream)
        self._known: KnownFiles | None = None
        if saved is not None:
            self._status.position = replace(Position(), sequence=saved.position.sequence)
            self._known = saved.known if saved.source == self._source else None
        self._left_out: dict[str, int] = {}

    @property
    def _source(self) -> str:
        """What the position belongs to. The same folder by another path is joined anew."""
        return self._status.source[:1024]

    def statuses(self) -> Sequence[Status]:
        """What is known of the folder."""
        return [self._status]

    async def run(self) -> None:
        """Follow until cancelled."""
        completion = Completion(self._plan.settle)
        monotonic = self._services.times.monotonic
        with Watch(self._plan.folder, self._plan.poll) as watch:
            identity, due = None, 0.0
            while True:
                now = monotonic()
                if now >= due:
                    listing = await self._list()
                    if listing is not None and listing.identity != identity:
                        listing = await self._join(watch, completion)
                    identity = listing.identity if listing is not None else None
                    spent = monotonic() - now
                    due = now + max(WATCH_SECONDS if watch.is_watching else POLL_SECONDS, LIST_SHARE * spent)
                    if listing is not None:
                        self._reporter.show("live")
                        await self._announce(completion.listed(listing.files, now), completion)
                changes = await watch.changes(max(0.0, due - monotonic()))
                for name in changes.created:
                    completion.opened(name)
                if changes.lost:
                    log.warning("%s: the kernel dropped events; the folder is listed instead", self._plan.stream.stream_id)
                    completion.events_were_lost()
                    due = 0.0
                await self._announce(completion.closed(await self._states_of(changes.closed)), completion)

    async def _list(self) -> Listing | None:
        """What is in the folder; None where it cannot be read, which may pass."""
        try:
            listing = await asyncio.to_thread(list_folder, self._plan.folder)
        except (OSError, MediaError) as error:
            self._reporter.show("failing", f"the folder cannot be read: {getattr(error, 'strerror', None) or error}", "folder")
            return None
        left_out = dict(listing.left_out)
        if left_out != self._left_out:
            self._left_out = left_out
            words = ", ".join(f"{count} {what}" for what, count in sorted(left_out.items())) or "none any more"
            log.warning("%s: left out, although named as videos: %s", self._plan.stream.stream_id, words)
            self._status.counts["left-out"] = sum(left_out.values())
        return listing

    async def _join(self, watch: Watch, completion: Completion) -> Listing | None:
        """Begin to follow what is at the path now: at the start, and where another folder has taken its place."""
        watch.open()
        listing = await self._list()  # again: what was completed before the kernel watched is in this list
        if listing is None:
            return None
        if listing.has_playlist:
            log.info(
                "%s has a playlist, which is not read: `fvq ingest hls` follows one by its address", self._plan.stream.stream_id
            )
        if self._known is None:
            self._known = KnownFiles() if self._plan.stream.from_start else KnownFiles.of(listing.files)
            await self._keep([], self._known)
        completion.join(listing.files, self._known)
        return listing

    async def _states_of(self, names: Sequence[str]) -> list[FileState]:
        """The videos among files that were closed or renamed, as they are now."""

        def look() -> list[FileState]:
            folder = self._plan.folder
            states = (state_of(folder, name) for name in dict.fromkeys(names) if is_video_name(name))
            return [state for state in states if state is not None]

        return await asyncio.to_thread(look) if names else []

    async def _announce(self, files: Sequence[FileState], completion: Completion) -> None:
        for file in files:
            if await self._announce_file(file):
                completion.done(file)

    async def _announce_file(self, file: FileState) -> bool:
        """Announce a complete file; False where it has changed or gone meanwhile."""
        plan, status = self._plan, self._status
        segments = await plan.segmenter.segments(plan.stream.stream_id, plan.folder / file.name)
        now = await asyncio.to_thread(state_of, plan.folder, file.name)
        if now is None:
            status.count(Counter(lost=1))
            log.warning("%s lost %s: it was deleted before it was read", plan.stream.stream_id, printable(file.name))
            return False
        if now.signature != file.signature:
            return False
        if segments.problem:
            log.warning("%s: %s is announced as it is: %s", plan.stream.stream_id, printable(file.name), segments.problem)
        assert self._known is not None
        known = self._known + file
        events = events_of(plan.stream, status.position.sequence + 1, file, segments, self._services.times.now())
        for begin in range(0, len(events), MOST_EVENTS):
            part = events[begin : begin + MOST_EVENTS]
            is_last = begin + MOST_EVENTS >= len(events)
            # The sequence rises with each part, so that it never goes back where a restart sends the file again.
            status.position = replace(status.position, sequence=part[-1].sequence)
            await self._keep(part, known if is_last else self._known)
            status.announced += len(part)
        self._known = known
        status.target, status.changed = events[-1].duration, self._services.times.monotonic()
        return True

    async def _keep(self, events: Sequence[SegmentEvent], known: KnownFiles) -> None:
        """Send events, then the position after them."""
        saved = SavedPosition(self._status.position, self._source, known)
        await self._services.publish(self._plan.stream, events, saved)


def events_of(stream: Stream, sequence: int, file: FileState, segments: Segments, now: datetime) -> list[SegmentEvent]:
    """The events of a file. sequence: of the first. now: UTC.

    The recording ended when the file was last written. Where that time cannot be (it is ahead of this machine's clock by over a
    minute, or before 1970), it ended now, and the label `clock` says so.
    """
    length = timedelta(seconds=segments.length)
    end, labels = _time_of(file, now), stream.labels
    if end is None or (end - length).year not in YEARS:
        end, labels = now, labels | {"clock": "arrival"}
    stem = printable(Path(file.name).stem)[:LONGEST_STEM]
    name = f"{stream.stream_id}/{stem}-{file.digest}"
    is_whole = len(segments.segments) == 1
    return [
        SegmentEvent(
            stream_id=stream.stream_id,
            segment_id=name if is_whole else f"{name}/{number}",
            sequence=sequence + number,
            uri=segment.path.resolve().as_uri(),
            start=end - length + timedelta(seconds=segment.start),
            duration=segment.duration,
            labels=labels,
        )
        for number, segment in enumerate(segments.segments)
    ]


def _time_of(file: FileState, now: datetime) -> datetime | None:
    """When a file was last written, None where that cannot be."""
    try:
        time = datetime.fromtimestamp(file.modified / 1e9, UTC)
    except (ValueError, OverflowError):
        return None
    return time if time - now <= timedelta(seconds=MOST_SKEW) and time.year in YEARS else None
