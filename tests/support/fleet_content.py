"""What the seeded fleet is made of: its streams, what goes wrong with them, and the alerts, clips and pictures of that."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

import cv2
import numpy as np

from streams.alerts.detector import alert_id
from streams.events import AlertCause, AlertKind, QualityAlert, SegmentScore, SignalMove, TrainingExample

CAUSES = ("encoder", "light", "focus", "black", "frozen", "silence", "no-face")
"""What goes wrong with a stream."""


@dataclass
class Incident:
    """What goes wrong with a stream. rendition: the one that suffers; None for all. acked: somebody has seen it."""

    kind: AlertKind
    cause: str
    begin: float
    end: float
    rendition: str | None = None
    fired: QualityAlert | None = None
    over: bool = False


@dataclass
class Channel:
    """One seeded stream."""

    id: str
    labels: dict[str, str]
    renditions: tuple[str | None, ...]
    usual: float
    phase: float
    incident: Incident | None = None
    number: int = 0
    scores: list[SegmentScore] = field(default_factory=list)


def alert_of(channel: Channel, incident: Incident) -> QualityAlert:
    """The alert that an incident fires."""
    rendition = incident.rendition
    started = at_time(incident.begin)
    moves = {
        "encoder": (SignalMove(name="blockiness", value=0.6, usual=0.08), SignalMove(name="blur", value=0.41, usual=0.12)),
        "light": (SignalMove(name="luma", value=18.0, usual=104.0), SignalMove(name="noise", value=6.0, usual=1.1)),
        "focus": (SignalMove(name="blur", value=0.42, usual=0.12),),
        "no-face": (SignalMove(name="face", value=0.0, usual=0.09),),
    }.get(incident.cause, ())
    where = "rendition" if rendition else "network" if incident.cause == "silence" else "source"
    text = {
        "encoder": f"The encoder of {rendition}: the other renditions are fine." if rendition else "All renditions: the source.",
        "light": "The source: the light went out.",
        "focus": "The source: the camera is out of focus.",
        "silence": "The network: the playlist answers, its segments do not come.",
    }.get(incident.cause, "The source.")
    threshold = {"low-quality": 40.0, "black": 0.95, "frozen": 0.95, "no-segments": 20.0}.get(incident.kind)
    return QualityAlert(
        alert_id=alert_id(channel.id, rendition or "", incident.kind, started),
        stream_id=channel.id,
        rendition=rendition,
        kind=incident.kind,
        state="firing",
        started_at=started,
        value=round(channel.usual - 35, 1) if incident.kind in ("low-quality", "quality-drop") else 1.0,
        baseline=round(channel.usual, 1),
        segment_id=f"{channel.id}/{rendition or 'v'}/{channel.number}",
        labels=channel.labels,
        severity="info" if incident.kind == "no-face" else "critical" if incident.kind == "black" else "warning",
        threshold=threshold,
        summary=f"{channel.id}: {incident.kind}",
        cause=AlertCause(where=where, rendition=rendition, signals=list(moves), text=text),
    )


def example_of(score: SegmentScore, now: float) -> TrainingExample:
    """The clip of a segment, as it waits to be rated."""
    assert score.score is not None
    assert score.model is not None
    digits = f"{score.sequence:08x}{sum(score.stream_id.encode()):08x}"
    return TrainingExample(
        example_id=digits.rjust(64, "0"),
        clip_uri=f"file:///clips/{digits}.ts",
        size=100_000,
        reason="low-score" if score.score < 40 else "uncertain",
        score=score.score,
        uncertainty=score.uncertainty or 0.0,
        model=score.model,
        fingerprint="00ff00ff00ff00ff",
        stream_id=score.stream_id,
        segment_id=score.segment_id,
        sequence=score.sequence,
        start=score.start,
        duration=score.duration,
        rendition=score.rendition,
        labels=score.labels,
        queued_at=at_time(now),
    )


def pictures_by_cause() -> dict[tuple[str, int], bytes]:
    """JPEGs of 160x90 for each cause and three streams: a head before a wall, and what each fault makes of it."""
    return {(cause, look): _picture(cause, look) for cause in ("", *CAUSES) for look in range(3)}


def _picture(cause: str, look: int) -> bytes:
    picture = np.full((90, 160, 3), ((70, 60, 50), (60, 80, 60), (90, 70, 80))[look], np.uint8)
    picture[:, ::16] += 12
    if cause != "no-face":
        centre = (70 + 10 * look, 50)
        cv2.ellipse(picture, (centre[0], 96), (38, 26), 0, 0, 360, (120, 60, 40 + 40 * look), -1)
        cv2.ellipse(picture, centre, (19, 26), 0, 0, 360, (140, 170, 215), -1)
        for side in (-7, 7):
            cv2.circle(picture, (centre[0] + side, 45), 2, (40, 40, 40), -1)
        cv2.ellipse(picture, (centre[0], 60), (7, 3), 0, 0, 180, (70, 70, 160), 2)
    if cause == "black":
        picture[:] = 4
    if cause == "light":
        picture = (picture * 0.15).astype(np.uint8)
    if cause == "focus":
        picture = cv2.GaussianBlur(picture, (0, 0), 4)
    quality = 4 if cause == "encoder" else 80
    return bytes(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes())


def at_time(seconds: float) -> datetime:
    """A time of seconds since 1970, to the millisecond."""
    return datetime.fromtimestamp(round(seconds, 3), UTC)
