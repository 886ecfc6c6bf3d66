"""For tests of the pipeline without Kafka: messages of segments, and what fetches and samples them; URIs say what happens."""

from __future__ import annotations

import json
import math
from concurrent.futures import Future
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from scorer.errors import MediaError
from scorer.spec import Preview, SamplerSpec
from streams.events import SegmentEvent
from streams.letter import Message
from streams.media.fetch import LocalMedia
from tests.support.doubles import SPEC, make_clip

BRIGHTNESS = [str(light) for light in range(256)]


class Media:
    """Stands for `streams.media.fetch.Fetcher` and for the sampler's pool of processes. The URI says what happens.

    failing_starts: number of calls in which no child process can start, for the URI `unlucky`.
    durations: what the sampler was told of each segment's length, s. fetched: the number of fetches. previews: of clips with one.
    inbox: folder for a file of each segment, as the real fetcher writes them; None for no files.
    """

    failing_starts = 2
    broken = "broken"

    def __init__(self, inbox: Path | None = None) -> None:
        self.durations: list[float | None] = []
        self.fetched = self.previews = 0
        self.inbox = inbox

    async def fetch_segment(self, segment: SegmentEvent) -> LocalMedia:
        uri = segment.uri
        self.fetched += 1
        if uri == "gone":
            raise MediaError("not there", kind="not-found")
        if self.inbox is None:
            return LocalMedia(Path(uri), temporary=False)
        folder = self.inbox / str(self.fetched)
        folder.mkdir()
        (folder / uri).touch()
        return LocalMedia(folder / uri, temporary=True)

    def files(self) -> int:
        """How many fetched files there are now."""
        assert self.inbox is not None
        return sum(path.is_file() for path in self.inbox.rglob("*"))

    def submit(
        self, path: Path, duration: float | None = None, spec: SamplerSpec = SPEC, preview: str | None = None
    ) -> Future[Any]:
        self.durations.append(duration)
        assert self.inbox is None or path.exists()
        answer: Future[Any] = Future()
        if path.name == "slow":
            return answer
        if path.name == self.broken:
            answer.set_exception(MediaError("damaged", kind="undecodable"))
            return answer
        if path.name == "unlucky" and self.failing_starts:
            self.failing_starts -= 1
            answer.set_exception(MediaError("no child can start", kind="setup"))
        elif path.name == "bug":
            answer.set_exception(KeyError("oops"))
        elif path.name == "out-of-range":
            clip = make_clip(100)
            signals = clip.signals | {"freeze": -0.02, "luma": math.nan}
            answer.set_result([(None, replace(clip, signals=signals, face_summary=replace(clip.face_summary, area=2.93)))])
        else:
            clip = make_clip(int(path.name) if path.name in BRIGHTNESS else 100, spec=spec)
            self.previews += preview is not None
            answer.set_result([(None, replace(clip, preview=Preview(b"\xff\xd8\xff", 160, 90) if preview else None))])
        return answer


def message(uri: str, ago: float = 0.0, segment: str = "s/1", **changes: object) -> Message:
    """A segment's message. ago: seconds since the segment ended. changes: other fields of the event."""
    start = datetime.now(UTC) - timedelta(seconds=ago + 2)
    event = {"stream_id": "s", "segment_id": segment, "sequence": 1, "uri": uri, "start": start.isoformat(), "duration": 2}
    return Message(b"s", json.dumps(event | changes).encode(), "video-segments", 3, 42)
