"""What damage does to the numbers of a glance: makes `streams/scoring/damage_directions.json`. No model is needed.

    python -m tests.bench.tier_directions FOLDER --source CLIP_OR_FOLDER [--streams 400] > streams/scoring/damage_directions.json

FOLDER gets streams that are damaged in the middle (`tests/bench/tier_streams.py`) and their glances; a second run makes what is
missing. Give it other people than `python -m tests.bench.tiers`, so that its table says what holds for people not seen here.

A direction says how much each number counts, so that the weighted sum of the differences is large for one kind of damage and
small for what an unchanged stream does: the kind's mean difference, multiplied by the inverse of the covariance of unchanged
segments' differences (Fisher's linear discriminant).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scorer.sampling.glance import glance
from streams.errors import MediaError
from streams.media.videos import find_videos
from streams.scoring.distance import LARGEST, FloatArray, names, usual_deviations, values_of
from tests.bench.arguments import parser_of
from tests.bench.tier_streams import Made, hash_of, make

KINDS: dict[str, tuple[str, ...]] = {
    "blur": ("blur-1", "blur-2", "blur-3"),
    "upscaled": ("upscaled-2", "upscaled-3"),
    "noise": ("noise-2", "noise-3"),
    "stutter": ("stutter",),
}
"""Each direction's events, of all sizes. Too few bits move many numbers at once: that is what the distance is for."""

ENCODED = ("x264", "cbr", "vbr", "x265", "open-gop")
COUNT = 5
"""Segments of each half of a stream."""

SHRINK, FLOOR = 0.3, 0.05
"""The covariance is shrunk to its diagonal by the first, and the second is added to each variance: the people are few."""


@dataclass(frozen=True)
class Halves:
    """The numbers of a stream's segments, (segments, numbers), before and after its event."""

    event: str
    before: FloatArray
    after: FloatArray


def halves_of(folder: Path, sources: list[Path], most: int) -> list[Halves]:
    """At most so many streams' numbers, each person's and event's share about the same."""
    streams = [
        Made(source, ENCODED[(number + place) % len(ENCODED)], event, COUNT)
        for number, event in enumerate(event for events in KINDS.values() for event in events)
        for place, source in enumerate(sources)
    ]
    halves = []
    for stream in sorted(streams, key=lambda stream: hash_of(stream.name))[:most]:
        file = folder / f"{stream.name}.npy"
        if not file.exists():
            other = sources[(sources.index(stream.source) + 1) % len(sources)]
            try:
                np.save(file, [values_of(glance(path, sound=False)) for path in make(stream, other, folder)])
            except MediaError as error:
                print(f"{stream.name} is left out: {error}", file=sys.stderr)
                continue
            print(stream.name, file=sys.stderr)
        values = np.load(file)
        halves.append(Halves(stream.event, values[:COUNT], values[COUNT:]))
    return halves


def directions_of(streams: Sequence[Halves]) -> dict[str, dict[str, float]]:
    """For each kind of damage the weights of differences in usual ones; of two unchanged segments the sum's variance is 1."""
    unchanged = np.concatenate(
        [_in_usual(stream.before[a] - stream.before[:a]) for stream in streams for a in range(1, len(stream.before))]
    )
    covariance = unchanged.T @ unchanged / len(unchanged)
    shrunk = (1 - SHRINK) * covariance + SHRINK * np.diag(np.diag(covariance)) + FLOOR * np.eye(len(covariance))
    directions = {}
    for kind, events in KINDS.items():
        sizes = [_mean_change([stream for stream in streams if stream.event == event]) for event in events]
        mean = np.mean([change / np.linalg.norm(change) for change in sizes], axis=0)
        weights = np.linalg.solve(shrunk, mean)
        weights /= np.sqrt(weights @ covariance @ weights)
        directions[kind] = {name: round(float(weight), 2) for name, weight in zip(names(), weights, strict=True)}
    return directions


def _mean_change(streams: Sequence[Halves]) -> FloatArray:
    """The mean difference that an event makes, in usual differences."""
    changes = [_in_usual(stream.after - np.nanmean(stream.before, axis=0)) for stream in streams]
    return np.asarray(np.mean(np.concatenate(changes), axis=0), np.float64)


def _in_usual(differences: FloatArray) -> FloatArray:
    return np.clip(np.nan_to_num(differences / usual_deviations()), -LARGEST, LARGEST)


def main() -> int:
    """Make, look, print."""
    parser = parser_of(__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--source", type=Path, action="append", required=True)
    parser.add_argument("--streams", type=int, default=400)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    streams = halves_of(given.folder, list(find_videos(given.source)), given.streams)
    print(json.dumps(directions_of(streams), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
