"""From ratings to mean opinion scores: screening of raters, means with their 95 % intervals, and repeats.

Screening is the kurtosis procedure of ITU-R BT.500-15, annex 1 to part 1, section 2.3.1: a rater is left out whose votes are
far from the others' too often, and on both sides; one who is only stricter or milder than the rest stays.
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

FAR_SHARE = 0.05
ONE_SIDED = 0.3
"""BT.500-15: left out are raters with more than 5 % of their votes far off, and |above - below| / (above + below) < 0.3."""

T_975 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip
"""Student's t, two-sided 95 %, for 1 to 30 degrees of freedom; with more the normal's 1.96 is within 4 %."""

Votes = Mapping[str, Mapping[Key, float]]
"""rater -> clip -> points."""


@dataclass(frozen=True)
class Opinion:
    """What the raters think of one clip. mos: points, 0-100. ci: half the 95 % interval, points; None of a single rating."""

    mos: float
    ci: float | None
    ratings: int


@dataclass(frozen=True)
class RaterReport:
    """How one rater voted.

    above, below: votes far above and far below the others'. rejected: whether the votes are left out. bias: mean difference
    to the clips' means, points. repeats: clips that were rated twice; self_difference: mean absolute difference between
    the two votes, points, None without repeats.
    """

    rater: str
    clips: int
    above: int
    below: int
    rejected: bool
    bias: float
    repeats: int
    self_difference: float | None


def votes_of(ratings: Iterable[Rating]) -> dict[str, dict[Key, float]]:
    """One vote for each rater and clip: a repeat is the same opinion again, so the two are averaged."""
    found: defaultdict[str, defaultdict[Key, list[float]]] = defaultdict(lambda: defaultdict(list))
    for one in ratings:
        found[one.rater][one.key].append(one.points)
    return {rater: {key: float(np.mean(points)) for key, points in clips.items()} for rater, clips in found.items()}


def opinions(votes: Votes) -> dict[Key, Opinion]:
    """Mean and interval of each clip. The interval is Student's, as ITU-T P.1401 has it below 30 ratings."""
    by_clip: defaultdict[Key, list[float]] = defaultdict(list)
    for clips in votes.values():
        for key, points in clips.items():
            by_clip[key].append(points)
    return {key: _opinion(points) for key, points in by_clip.items()}


def screen(votes: Votes) -> dict[str, tuple[int, int, bool]]:
    """rater -> (votes far above, votes far below, left out).

    Far is more than twice a clip's standard deviation from its mean where its votes are spread like a normal distribution
    (kurtosis 2 to 4), else more than the root of 20 times. That cannot happen with fewer than six raters a clip.
    """
    by_clip: defaultdict[Key, dict[str, float]] = defaultdict(dict)
    for rater, clips in votes.items():
        for key, points in clips.items():
            by_clip[key][rater] = points
    above, below = dict.fromkeys(votes, 0), dict.fromkeys(votes, 0)
    for of_clip in by_clip.values():
        votes_here = np.array(list(of_clip.values()))
        difference = votes_here - votes_here.mean()
        spread = float(np.std(votes_here, ddof=1)) if len(votes_here) > 1 else 0.0
        if spread < 1e-9:
            continue  # all alike: nobody is far off
        kurtosis = float(np.mean(difference**4) / np.mean(difference**2) ** 2)
        far = (2.0 if 2 <= kurtosis <= 4 else math.sqrt(20)) * spread
        for rater, one in zip(of_clip, difference, strict=True):
            above[rater] += one >= far
            below[rater] += one <= -far
    return {rater: (above[rater], below[rater], _rejected(above[rater], below[rater], len(votes[rater]))) for rater in votes}


def judge(ratings: list[Rating], keys: Iterable[Key]) -> tuple[dict[Key, Opinion], list[RaterReport]]:
    """The opinions on these clips by the raters that pass the screening, and how each rater voted.

    Raters are screened by all their ratings, also those of clips that have left the queue.
    """
    votes = votes_of(ratings)
    screened = screen(votes)
    kept = {rater: clips for rater, clips in votes.items() if not screened[rater][2]}
    wanted = set(keys)
    found = {key: one for key, one in opinions(kept).items() if key in wanted}
    means = opinions(votes)
    reports = []
    for rater, clips in sorted(votes.items()):
        above, below, rejected = screened[rater]
        bias = float(np.mean([points - means[key].mos for key, points in clips.items()]))
        pairs = _repeats(ratings, rater)
        own = float(np.mean([abs(first - second) for first, second in pairs])) if pairs else None
        reports.append(RaterReport(rater, len(clips), above, below, rejected, bias, len(pairs), own))
    return found, reports


def _opinion(points: list[float]) -> Opinion:
    count = len(points)
    if count == 1:
        return Opinion(points[0], None, 1)
    quantile = T_975[count - 2] if count - 2 < len(T_975) else 1.96
    # min and max: the mean of equal numbers may miss them by a rounding error.
    mos = min(max(float(np.mean(points)), min(points)), max(points))
    return Opinion(mos, quantile * float(np.std(points, ddof=1)) / math.sqrt(count), count)


def _rejected(above: int, below: int, clips: int) -> bool:
    far = above + below
    return far > FAR_SHARE * clips and abs(above - below) < ONE_SIDED * far


def _repeats(ratings: list[Rating], rater: str) -> list[tuple[float, float]]:
    """(first vote, second vote) of each clip that a rater was shown twice."""
    by_number: dict[tuple[Key, int], float] = {(one.key, one.number): one.points for one in ratings if one.rater == rater}
    return [(points, by_number[key, 2]) for (key, number), points in by_number.items() if number == 1 and (key, 2) in by_number]
