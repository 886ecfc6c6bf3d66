"""A seeded fleet for the wall without Kafka: streams, incidents, alerts with causes, pictures, clips, a history.

    python -m tests.support.fleet --port 8060 --streams 2000

serves the whole wall on it. The same seed makes the same fleet, only its times differ; its clock is the real one.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import random
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from scorer.spec import level_of
from streams.errors import MediaError
from streams.events import (
    AlertAcknowledgement,
    AlertKind,
    FaceSummary,
    ModelRef,
    ModelUpdate,
    OperatorRating,
    QualityAlert,
    SegmentScore,
    Signals,
    TrainingExample,
)
from streams.history.base import Bucket, step
from streams.queue.operator import problem_of
from streams.web.access.gate import AccessOptions, Gate
from streams.web.access.limits import DEFAULT_LIMITS, WebLimits
from streams.web.api.table import Wall
from streams.web.clips import Clips
from streams.web.live import Live
from streams.web.pictures import Picture
from streams.web.reading import read_score
from streams.web.server import make_app
from tests.support.fleet_content import CAUSES, Channel, Incident, alert_of, at_time, example_of, pictures_by_cause
from tests.support.processes import ROOT

CLIP = ROOT / "examples/face.mp4"
SEGMENT_SECONDS = 2.0
STEP_SECONDS = 0.25
"""Each of these steps brings the segments of every eighth stream."""
MINUTES_BEFORE = 10
OLD, NEW = ModelRef(name="nano", version="3c07d1a"), ModelRef(name="nano", version="f941046")


class Fleet:
    """The fleet and its state.

    now: the time at which it was made, seconds since 1970. played: the time up to which its segments have come.
    """

    def __init__(self, streams: int, seed: int = 7, now: float | None = None) -> None:
        self._random = random.Random(seed)
        self.now = time.time() if now is None else now
        self.live = Live()
        self.channels = [self._channel(number) for number in range(streams)]
        self._pictures = pictures_by_cause()
        self.examples: list[TrainingExample] = []
        self._plan_incidents()
        self.played = self.now - MINUTES_BEFORE * 60
        self._make_past()

    def play(self, now: float) -> None:
        """All segments that end until this time."""
        while self.played + STEP_SECONDS <= now:
            for channel in self._next_step():
                self._segment(channel, self.played)
            self._alerts(self.played)

    def _next_step(self) -> list[Channel]:
        """The channels whose segments end with the next step."""
        self.played += STEP_SECONDS
        steps = int(SEGMENT_SECONDS / STEP_SECONDS)
        return self.channels[round((self.played - self.now) / STEP_SECONDS) % steps :: steps]

    def _make_past(self) -> None:
        update = ModelUpdate(name="nano", version=NEW.version, before=OLD.version, time=at_time(self.now - 240))
        while self.played + SEGMENT_SECONDS <= self.now:
            channels, recent = self._next_step(), self.played > self.now - 50
            for channel in channels:
                # Of most streams less than a minute: a fleet of thousands is to be there soon.
                if recent or channel.incident is not None:
                    self._segment(channel, self.played)
            self._alerts(self.played)
            if (self.played - self.now).is_integer():
                self.live.pulse.note_median(self.played, 71.0 + math.sin((self.played - self.now) / 9))
        self.live.add_update(update)
        self.live.tick(self.now)
        for place, alert in enumerate(sorted(self.live.firing(), key=lambda one: one.stream_id)):
            if place % 5 == 1:
                self.live.set_ack(alert.alert_id, ack_of(alert, self.now - 60))
        self.live.changes()

    def _channel(self, number: int) -> Channel:
        pick = self._random
        name = ("studio-{}", "creator-8/{}", "shop/arg-{}", "call {}", "канал-{}")[number % 5 if number % 7 else 0].format(number)
        labels = {
            "tier": pick.choice(("premium", "standard", "standard", "free")),
            "origin": f"fra{number % 9}",
            "note": '<b>"bold"</b>' if number == 11 else "-",
        }
        return Channel(
            id=name,
            labels=labels,
            renditions=("1080p", "720p", "480p") if number % 10 == 0 else (None,),
            usual=pick.choice((84.0, 78.0, 72.0, 66.0, 58.0, 44.0)) + pick.uniform(-4, 4),
            phase=pick.uniform(0, 6.3),
        )

    def _plan_incidents(self) -> None:
        pick = self._random
        affected = self.channels[3 :: max(1, len(self.channels) // 40)][:40]
        for place, channel in enumerate(affected):
            cause = CAUSES[place % len(CAUSES)]
            kind: AlertKind = {
                "encoder": "quality-drop", "light": "low-quality", "focus": "quality-drop", "black": "black", "frozen": "frozen",
                "silence": "no-segments", "no-face": "no-face",
            }[cause]  # type: ignore[assignment]  # fmt: skip
            begin = self.now - pick.uniform(30, 400)
            rendition = "720p" if cause == "encoder" and len(channel.renditions) > 1 else None
            end = begin + 15 if place % 6 == 5 else self.now + pick.uniform(60, 3600)
            channel.incident = Incident(kind, cause, begin, end, rendition)
        # One cause for many: an origin's encoder.
        for channel in [channel for channel in self.channels if channel.labels["origin"] == "fra2"][:60]:
            if channel.incident is None:
                channel.incident = Incident("quality-drop", "encoder", self.now - 100 - pick.uniform(0, 11), self.now + 900)

    def _segment(self, channel: Channel, end: float) -> None:
        incident = channel.incident
        active = incident is not None and incident.begin <= end - SEGMENT_SECONDS < incident.end
        if active and incident is not None and incident.kind == "no-segments":
            return
        channel.number += 1
        for rendition in channel.renditions:
            hit = active and incident is not None and incident.rendition in (None, rendition)
            score = self._score(channel, rendition, end, incident if hit and incident is not None else None)
            data = score.to_bytes()
            self.live.add_score(read_score(data), data, end + 1.8)
            # Every rendition, as a real history has them: a row of any of them can be rated when it is no longer the newest.
            channel.scores = [*channel.scores[-89:], score]
            if rendition == channel.renditions[0]:
                self._picture(channel, score, hit)
                kept = channel.number % 25 == 0 if hit else channel.incident is not None and channel.number % 75 == 0
                if kept and score.score is not None and len(self.examples) < 400:
                    self.examples.append(example_of(score, self.now))

    def _score(self, channel: Channel, rendition: str | None, end: float, incident: Incident | None) -> SegmentScore:
        pick = self._random
        usual = channel.usual - {"480p": 9.0, "720p": 4.0}.get(rendition or "", 0.0)
        value = usual + 3 * math.sin((end - self.now) / 40 + channel.phase) + pick.gauss(0, 1.5)
        cause = incident.cause if incident is not None else ""
        value -= {"encoder": 38, "light": 45, "focus": 30, "frozen": 6, "no-face": 20}.get(cause, 0)
        value = min(99.0, max(1.0, value))
        signals = Signals(
            black=1.0 if cause == "black" else 0.01,
            freeze=1.0 if cause == "frozen" else 0.0,
            blur=min(1.0, 0.12 + (0.3 if cause in ("focus", "encoder") else 0.0) + abs(pick.gauss(0, 0.01))),
            blockiness=0.6 if cause == "encoder" else 0.08 + abs(pick.gauss(0, 0.02)),
            noise=6.0 if cause == "light" else 1.1 + abs(pick.gauss(0, 0.1)),
            luma=18.0 if cause in ("light", "black") else 104.0,
            contrast=6.0 if cause in ("light", "black") else 41.0,
        )
        skipped = incident is None and pick.random() < 0.002
        faces = FaceSummary(count=0 if cause in ("no-face", "black") else 1, area=0.0 if cause in ("no-face", "black") else 0.09)
        model = NEW if end > self.now - 240 else OLD
        return SegmentScore(
            stream_id=channel.id,
            segment_id=f"{channel.id}/{rendition or 'v'}/{channel.number}",
            sequence=channel.number,
            uri=f"https://origin.example/{channel.number}.ts",
            start=at_time(end - SEGMENT_SECONDS),
            duration=SEGMENT_SECONDS,
            rendition=rendition,
            labels=channel.labels,
            status="skipped" if skipped else "scored",
            reason="it waited for longer than the live window" if skipped else None,
            score=None if skipped else round(value, 2),
            level=None if skipped else level_of(value),  # type: ignore[arg-type]
            uncertainty=None if skipped else round(4 + 6 * pick.random() + (8 if cause else 0), 2),
            faces=None if skipped else faces,
            signals=None if skipped else signals,
            model=None if skipped else model,
            tier=None if skipped else ("deep" if cause and pick.random() < 0.4 else "full"),
            fingerprint=None if skipped else "00ff00ff00ff00ff",
            timing={"lag_s": round(1.4 + abs(pick.gauss(0, 0.6)), 3)},
        )

    def _picture(self, channel: Channel, score: SegmentScore, hit: bool) -> None:
        changed = channel.incident is not None and abs(score.start.timestamp() - channel.incident.begin) < SEGMENT_SECONDS
        if not changed and channel.number % 5:
            return
        cause = channel.incident.cause if hit and channel.incident is not None else ""
        jpeg = self._pictures[cause, len(channel.id) % 3]
        at = score.start.timestamp()
        self.live.add_picture(channel.id, Picture(jpeg, score.segment_id, at, score.score, 160, 90, score.rendition))

    def _alerts(self, now: float) -> None:
        for channel in self.channels:
            incident = channel.incident
            if incident is None or incident.over:
                continue
            # No alert is about a stream of which nothing has come.
            if incident.fired is None and channel.scores and now >= incident.begin + 6:
                incident.fired = alert_of(channel, incident)
                self.live.add_alert(incident.fired)
            if incident.fired is not None and now >= incident.end + 6:
                incident.over = True
                over = incident.fired.model_copy(update={"state": "resolved", "ended_at": at_time(incident.end)})
                self.live.add_alert(over)


class FleetHistory:
    """The fleet's past, made up from each stream's usual score; implements `streams.history.base.History`."""

    def __init__(self, fleet: Fleet) -> None:
        self._channels, self._begin = {channel.id: channel for channel in fleet.channels}, fleet.now

    async def stream_ids(self, start: datetime, end: datetime) -> list[str]:
        inside = (channel for channel in self._channels.values() if any(start <= score.start < end for score in channel.scores))
        return sorted(channel.id for channel in inside)

    async def course(self, stream_id: str, rendition: str | None, start: datetime, end: datetime, points: int) -> list[Bucket]:
        channel = self._channels.get(stream_id)
        if channel is None or rendition not in (None, *(name or "" for name in channel.renditions)):
            return []
        length, buckets = step(start, end, points), []
        now = datetime.now(UTC)
        for place in range(points):
            at = start + place * length
            if at >= min(end, now) or now - at > timedelta(days=2):
                continue
            seconds = at.timestamp()
            after = seconds - self._begin
            mean = channel.usual + 4 * math.sin(after / 900 + channel.phase) + 2 * math.sin(after / 37)
            if channel.incident is not None and channel.incident.begin <= seconds < channel.incident.end:
                mean -= 35
            mean = min(97.0, max(3.0, mean))
            buckets.append(Bucket(at, mean, mean - 2.5, mean + 2.5, max(1, round(length.total_seconds() / 2)), 6.0))
        return buckets

    async def segment(self, stream_id: str, segment_id: str, rendition: str | None = None) -> SegmentScore | None:
        channel = self._channels.get(stream_id)
        scores = channel.scores if channel is not None else []
        named = (score for score in reversed(scores) if score.segment_id == segment_id)
        return next((score for score in named if rendition in (None, score.rendition or "")), None)

    async def segments(
        self, stream_id: str, rendition: str | None, start: datetime, end: datetime, limit: int
    ) -> list[SegmentScore]:
        channel = self._channels.get(stream_id)
        scores = channel.scores if channel is not None else []
        inside = [
            score for score in reversed(scores) if start <= score.start < end and rendition in (None, score.rendition or "")
        ]
        return inside[:limit]

    async def close(self) -> None:
        """Nothing is held."""


def ack_of(alert: QualityAlert, at: float, by: str = "Ada") -> AlertAcknowledgement:
    """An acknowledgement of an alert."""
    return AlertAcknowledgement(
        alert_id=alert.alert_id, by=by, note="the truck is on its way", at=at_time(at), stream_id=alert.stream_id
    )


def fleet_wall(fleet: Fleet, limits: WebLimits = DEFAULT_LIMITS, gate: Gate | None = None) -> Wall:
    """The wall's parts on a fleet, with acknowledgements that are kept in memory."""

    async def write_ack(alert_id: str, ack: AlertAcknowledgement | None) -> None:
        fleet.live.set_ack(alert_id, ack)

    async def rate(score: SegmentScore, rating: OperatorRating) -> TrainingExample:
        if problem := problem_of(score):
            raise MediaError(problem, kind="refused")
        example = example_of(score, time.time()).model_copy(update={"reason": "operator", "operator": rating})
        fleet.examples.append(example)
        return example

    async def playable(_example_id: str, _clip_uri: str) -> Path:
        return CLIP

    clips = Clips(lambda: (fleet.examples, {}), playable, lambda _: None)
    clips.refresh()
    return Wall(
        live=fleet.live,
        gate=gate or Gate(AccessOptions("127.0.0.1")),
        now=time.time,
        reading=lambda: (True, ""),
        write_ack=write_ack,
        history=FleetHistory(fleet),
        clips=clips,
        rate=rate,
        limits=limits,
    )


async def serve_fleet(fleet: Fleet, port: int, limits: WebLimits = DEFAULT_LIMITS, gate: Gate | None = None) -> None:
    """Serve the wall on a fleet that goes on, until told to stop."""
    from streams.web.run import serve_wall

    async def play() -> None:
        while True:
            fleet.play(time.time() - 1.8)
            fleet.live.pulse.note_letters(time.time(), 0)
            await asyncio.sleep(0.05)

    playing = asyncio.create_task(play())
    try:
        app = make_app(fleet_wall(fleet, limits, gate))
        await serve_wall(app, "127.0.0.1", port, lambda address: print(address, flush=True), limits=limits)
    finally:
        playing.cancel()


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve a fleet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8060)
    parser.add_argument("--streams", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args(arguments)
    # Many browsers on one machine, as benchmarks have them, are all "local".
    limits = WebLimits(rate=500, burst=2000)
    asyncio.run(serve_fleet(Fleet(options.streams, options.seed), options.port, limits))


if __name__ == "__main__":
    main()
