"""Streams with incidents of known cause, made from measured pictures, to find out how often an alert names it.

`causes.csv` has the shipped model's scores and signals of real clips (`tests/bench/causes.py` makes it): each clip as usual in
three renditions, with incidents in the source or in one rendition, without a face, and so bad that the face may be lost. A
stream is one clip. It is as usual for a minute, and then as in the incident. The segments of its renditions come mixed, each
some seconds late.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import resources

import numpy as np

from streams.events import FaceSummary, SegmentScore, Signals

SEGMENT_SECONDS = 2.0
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)

USUAL_SEGMENTS, INCIDENT_SEGMENTS = 30, 20
"""Segments of each rendition before the incident, and in it."""

LATEST_SECONDS = 5.0
"""A segment's score comes up to so much later than that of another rendition's segment of the same time."""

SCORE_NOISE = 1.0
"""Standard deviation of what is added to the scores, points: a clip has only four windows, which would repeat."""

LOST_SEGMENTS = 0.4
"""Share of the segments that are missing where the network loses whole segments."""

FAMILIES = {"light": ("luma", "contrast", "black"), "detail": ("blur", "blockiness"), "noise": ("noise",), "motion": ("freeze",)}
"""What a signal is about."""

EXPECTED = {
    "light": ("light",),
    "focus": ("detail",),
    "night": ("noise", "light"),
    "black": ("light",),
    "frozen": ("motion",),
    "weak-feed": ("detail", "motion"),
    "packet-loss": tuple(FAMILIES),
    "overload": ("detail", "motion"),
    "re-encode": ("detail",),
}
"""The families of signals that may lead, for each incident. A damaged picture can be damaged in any way."""


@dataclass(frozen=True)
class Picture:
    """One measured window. score: points. faces: of the segment."""

    score: float
    faces: FaceSummary
    signals: Signals


@dataclass(frozen=True)
class Measured:
    """What was measured: windows by clip, where the incident is, the incident's name and the rendition."""

    pictures: dict[tuple[str, str, str, str], list[Picture]]

    def clips(self) -> list[str]:
        """The clips that show a person."""
        return sorted({clip for clip, where, _, _ in self.pictures if where == "usual"})

    def renditions(self, clip: str) -> list[str]:
        """The renditions of a clip."""
        return sorted(name for of_clip, where, _, name in self.pictures if (of_clip, where) == (clip, "usual"))

    def usual(self, clip: str, rendition: str) -> list[Picture]:
        """The windows of a clip without any incident."""
        return self.pictures[clip, "usual", "usual", rendition]

    def of(self, where: str, clip: str | None = None) -> list[tuple[str, str, str]]:
        """Clip, incident and rendition of everything that was measured at one place, of one clip or of all."""
        keys = [key for key in self.pictures if key[1] == where and clip in (None, key[0])]
        return [(of_clip, incident, rendition) for of_clip, _, incident, rendition in keys]


@dataclass(frozen=True)
class Incident:
    """One incident of a stream.

    where: where its cause is. rendition: the one that has it, None for all. shown: the windows in it, by rendition; a rendition
    that is not here shows its usual windows. lost: share of the segments that are missing.
    """

    name: str
    where: str
    rendition: str | None
    shown: dict[str, list[Picture]]
    lost: float = 0.0


def load_measured() -> Measured:
    """The measurements that the package ships."""
    pictures: dict[tuple[str, str, str, str], list[Picture]] = {}
    with resources.files("streams.alerts").joinpath("causes.csv").open() as file:
        for row in csv.DictReader(file):
            signals = Signals(**{name: float(row[name]) for name in Signals.model_fields})
            faces = FaceSummary(count=float(row["faces"]), area=float(row["face"]))
            key = row["clip"], row["where"], row["incident"], row["rendition"]
            pictures.setdefault(key, []).append(Picture(float(row["score"]), faces, signals))
    return Measured(pictures)


def incidents_of(measured: Measured, clip: str) -> Iterator[Incident]:
    """All incidents of one clip."""
    names = measured.renditions(clip)
    for incident in dict.fromkeys(incident for _, incident, _ in measured.of("source", clip)):
        shown = {name: measured.pictures[clip, "source", incident, name] for name in names}
        yield Incident(incident, "source", None, shown)
        if incident == "packet-loss":
            yield Incident(incident, "network", None, shown, LOST_SEGMENTS)
    for _, incident, name in measured.of("rendition", clip):
        shown = {name: measured.pictures[clip, "rendition", incident, name]}
        yield Incident(incident, "rendition", name, shown)


def scores_of(measured: Measured, clip: str, incident: Incident, dice: np.random.Generator) -> list[SegmentScore]:
    """The scores of a stream of one clip with one incident, in the order in which they come."""
    coming: list[tuple[float, SegmentScore]] = []
    for name in measured.renditions(clip):
        arrived = 0.0
        for sequence in range(USUAL_SEGMENTS + INCIDENT_SEGMENTS):
            begun = sequence >= USUAL_SEGMENTS
            windows = incident.shown.get(name) if begun else None
            if begun and dice.random() < incident.lost:
                continue
            score = made_score(sequence, windows or measured.usual(clip, name), dice, name)
            # The scores of one rendition keep their order.
            arrived = max(arrived, (sequence + 1) * SEGMENT_SECONDS + dice.uniform(0, LATEST_SECONDS))
            coming.append((arrived, score))
    return [score for _, score in sorted(coming, key=lambda pair: pair[0])]


def made_score(
    sequence: int, windows: Sequence[Picture], dice: np.random.Generator, rendition: str | None = None
) -> SegmentScore:
    """The score of a segment that shows one of these windows."""
    picture = windows[int(dice.integers(len(windows)))]
    # Not validated: it is made of values that were.
    return SegmentScore.model_construct(
        stream_id="stream",
        segment_id=f"{rendition}/{sequence}",
        sequence=sequence,
        uri="",
        start=BEGIN + timedelta(seconds=sequence * SEGMENT_SECONDS),
        duration=SEGMENT_SECONDS,
        rendition=rendition,
        labels={},
        ended=False,
        status="scored",
        score=float(np.clip(picture.score + dice.normal(scale=SCORE_NOISE), 0, 100)),
        faces=picture.faces,
        signals=picture.signals,
    )
