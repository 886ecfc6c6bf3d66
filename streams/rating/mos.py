"""From ratings to mean opinion scores (MOS): screening of raters, means with 95 % intervals, and repeats.

Screening is the kurtosis procedure of ITU-R BT.500-15, annex 1 to part 1, section 2.3.1. It leaves out raters whose votes are
too often far from those of the others, both above and below. A rater who is only stricter or milder than the others stays.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from streams.rating.order import Key
from streams.rating.values import Rating

LEVEL_POINTS = (10.0, 30.0, 50.0, 70.0, 90.0)
"""Points of bad, poor, fair, good and excellent: the middle of each level's 20 points on the scale 0-100."""

FEWEST_ALIKE = 10
"""So many clips that all got the same vote were hardly looked at."""

FAR_SHARE = 0.05
ONE_SIDED = 0.3
"""A rater is left out who has more than 5 % of the votes far off, and |above - below| / (above + below) < 0.3 (BT.500-15)."""

T_975 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip
"""Student's t, two-sided 95 %, for 1 to 30 degrees of freedom; above 30, the 1.96 of the normal distribution is within 4 %."""

Votes = Mapping[str, Mapping[Key, float]]
"""Rater -> clip -> points, 0-100."""


@dataclass(frozen=True)
class Opinion:
    """What the raters think of one clip.

    mos: points, 0-100. ci: half of the 95 % interval, points; None for a single rating. ratings: number of raters.
    """

    mos: float
    ci: float | None
    ratings: int


@dataclass(frozen=True)
class RaterReport:
    """How one rater voted.

    clips: number of rated clips. above, below: numbers of votes far above and far below those of the others. rejected:
    whether the screening leaves this rater out. bias: mean difference between this rater's votes and the clips' means, points.
    repeats: number of clips that were rated twice. self_difference: mean absolute difference between the two votes, points;
    None without repeats. all_alike: whether all votes are the same, of `FEWEST_ALIKE` clips or more.
    """

    rater: str
    clips: int
    above: int
    below: int
    rejected: bool
    bias: float
    repeats: int
    self_difference: float | None
    all_alike: bool


def votes_of(ratings: Iterable[Rating]) -> dict[str, dict[Key, float]]:
    """One vote for each rater and clip: the mean of a rating and its repeat, because both are the same person's opinion."""
    by_rater: defaultdict[str, defaultdict[Key, list[float]]] = defaultdict(lambda: defaultdict(list))
    for rating in ratings:
        by_rater[rating.rater][rating.key].append(rating.points)
    return {rater: {key: float(np.mean(points)) for key, points in clips.items()} for rater, clips in by_rater.items()}


def opinions(votes: Votes) -> dict[Key, Opinion]:
    """Mean and interval of each clip. The interval uses Student's t, as ITU-T P.1401 prescribes below 30 ratings."""
    by_clip: defaultdict[Key, list[float]] = defaultdict(list)
    for clips in votes.values():
        for key, points in clips.items():
            by_clip[key].append(points)
    return {key: _opinion(points) for key, points in by_clip.items()}


def screen(votes: Votes) -> dict[str, tuple[int, int, bool]]:
    """For each rater: (number of votes far above, number of votes far below, whether the rater is left out).

    A vote is far off if it differs from the clip's mean by at least 2 standard deviations of the clip's votes, where these
    are distributed about normally (kurtosis 2 to 4), else by at least sqrt(20). No vote can be far off with fewer than six
    raters for a clip.
    """
    by_clip: defaultdict[Key, dict[str, float]] = defaultdict(dict)
    for rater, clips in votes.items():
        for key, points in clips.items():
            by_clip[key][rater] = points
    above, below = dict.fromkeys(votes, 0), dict.fromkeys(votes, 0)
    for points_by_rater in by_clip.values():
        points_of_clip = np.array(list(points_by_rater.values()))
        differences = points_of_clip - points_of_clip.mean()
        spread = float(np.std(points_of_clip, ddof=1)) if len(points_of_clip) > 1 else 0.0
        if spread < 1e-9:
            continue  # all votes are equal: none is far off
        kurtosis = float(np.mean(differences**4) / np.mean(differences**2) ** 2)
        far = (2.0 if 2 <= kurtosis <= 4 else math.sqrt(20)) * spread
        for rater, difference in zip(points_by_rater, differences, strict=True):
            above[rater] += bool(difference >= far)
            below[rater] += bool(difference <= -far)
    return {rater: (above[rater], below[rater], _rejected(above[rater], below[rater], len(votes[rater]))) for rater in votes}


def judge(ratings: list[Rating], keys: Iterable[Key]) -> tuple[dict[Key, Opinion], list[RaterReport]]:
    """The opinions on these clips of all raters who pass the screening, and a report on each rater.

    keys: the clips. The screening uses all ratings, also those of clips that have left the queue.
    """
    votes = votes_of(ratings)
    screened = screen(votes)
    kept = {rater: clips for rater, clips in votes.items() if not screened[rater][2]}
    wanted = set(keys)
    opinions_kept = {key: opinion for key, opinion in opinions(kept).items() if key in wanted}
    means = opinions(votes)
    reports = []
    for rater, clips in sorted(votes.items()):
        above, below, rejected = screened[rater]
        bias = float(np.mean([points - means[key].mos for key, points in clips.items()]))
        pairs = _repeats(ratings, rater)
        self_difference = float(np.mean([abs(first - second) for first, second in pairs])) if pairs else None
        all_alike = len(clips) >= FEWEST_ALIKE and len(set(clips.values())) == 1
        reports.append(RaterReport(rater, len(clips), above, below, rejected, bias, len(pairs), self_difference, all_alike))
    return opinions_kept, reports


def _opinion(points: list[float]) -> Opinion:
    count = len(points)
    if count == 1:
        return Opinion(points[0], None, 1)
    quantile = T_975[count - 2] if count - 2 < len(T_975) else 1.96
    # Rounding can put the mean of equal numbers a little above or below them: min and max correct that.
    mos = min(max(float(np.mean(points)), min(points)), max(points))
    return Opinion(mos, quantile * float(np.std(points, ddof=1)) / math.sqrt(count), count)


def _rejected(above: int, below: int, clips: int) -> bool:
    far = above + below
    return far > FAR_SHARE * clips and abs(above - below) < ONE_SIDED * far


def _repeats(ratings: list[Rating], rater: str) -> list[tuple[float, float]]:
    """(first vote, second vote) for each clip that a rater has rated twice."""
    votes = {(rating.key, rating.number): rating.points for rating in ratings if rating.rater == rater}
    return [(points, votes[key, 2]) for (key, number), points in votes.items() if number == 1 and (key, 2) in votes]
