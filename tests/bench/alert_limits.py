"""Choose the default limits of the alerts on scores, and those of the policy for many cameras, from the models' ladders.

    python -m tests.bench.alert_limits [LADDERS.csv ...]

Without a file it takes the ladders that the package ships. Name several models' ladders to find limits that fit more than one
model (`git show COMMIT:streams/alerts/ladders.csv` has those of a model before). It tries all limits of a grid on made streams
(`streams.alerts.incidents`). The people are split into two halves: the limits that are chosen on one half are measured on the
other one, which says how well the choice carries over; then limits are chosen on all of them. The tables show those, and the
present ones. Some minutes on one core.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, median

import numpy as np

from streams.alerts.backtest import GRACE_SECONDS, LONGEST_STREAM_DAYS, firing
from streams.alerts.incidents import DAY_SECONDS, SEGMENT_SECONDS, Incident, Ladder, load_ladders, make_stream
from streams.alerts.limits import Alerts
from streams.alerts.policy import load_policy
from tests.bench import many_limits
from tests.bench.arguments import parser_of

POLICY = Path("examples/alert-policy.yaml")

STREAMS = {"steady": 56, "cuts": 56}
"""Streams of a quarter of a day for each framing, or, where they cut between framings, for each person: 280 and 70 days."""

DEPTH = 15.0
"""Points of the drops that the goals are about."""

DEFAULTS = {"slack": (7.0, 7.5), "noise_slack": (1.2, 1.3, 1.4, 1.5, 1.6, 1.7), "noise_limit": (4.0, 4.5, 5.0, 5.5, 6.0, 7.0)}
MANY = {"noise_slack": (1.0, 1.1, 1.25, 1.4, 1.5), "noise_limit": (10.0, 11.0, 12.0, 13.0, 14.0, 16.0, 18.0), "noise": (3600.0,)}
"""The limits to try, of `quality_drop`; of the policy for many cameras the others are as in `examples/alert-policy.yaml`."""

TOGETHER = 3000
"""Streams times limits that are judged at once: more do not fit into the processor's cache."""


@dataclass
class Tally:
    """What alerts did to streams. delays: segments until each drop of `DEPTH` points was found; None for one that was missed."""

    days: float = 0.0
    false_alarms: int = 0
    delays: list[int | None] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Add the alerts of other streams."""
        self.days, self.false_alarms = self.days + other.days, self.false_alarms + other.false_alarms
        self.delays += other.delays

    def found(self) -> list[int]:
        """The delays of the drops that were found."""
        return [delay for delay in self.delays if delay is not None]

    def missed(self) -> float:
        """The share of the drops that no alert found, 0-1."""
        return self.delays.count(None) / len(self.delays)

    def weekly(self) -> float:
        """False alarms per stream-week."""
        return 7 * self.false_alarms / self.days


@dataclass(frozen=True)
class Goal:
    """What limits should reach on one sort of streams: at most so many false alarms a stream-week, missed drops, and delay."""

    weekly: float
    missed: float = 1.0
    delay: float = 1000.0

    def excess(self, tally: Tally) -> float:
        """By how much the alerts fall short of the goal: 1 for each figure that is twice as large as it may be."""
        figures = (tally.weekly(), self.weekly), (tally.missed(), self.missed), (median(tally.found()), self.delay)
        return sum(max(0.0, value / most - 1) for value, most in figures)


GOALS = {
    "defaults": {"steady": Goal(weekly=0.1, missed=0.01, delay=3), "cuts": Goal(weekly=30)},
    "cameras: many": {"cuts": Goal(weekly=0.7, missed=0.06)},
}
"""For the defaults a false alarm in 70 days, and for streams that cut 43 in 10; for the policy for many cameras 1 in 10."""

Tallies = dict[tuple[int, str, str], list[Tally]]
"""By file of ladders, sort of streams and person: a tally for each of the limits that were tried."""


def grid(base: Alerts, values: dict[str, tuple[float, ...]]) -> list[Alerts]:
    """The limits to try: first the present ones, then all combinations of values of `quality_drop`."""
    made = [dict(zip(values, combination, strict=True)) for combination in itertools.product(*values.values())]
    changed = [base.quality_drop.model_copy(update=update) for update in made]
    return [base, *(base.model_copy(update={"quality_drop": drop}) for drop in changed)]


def streams_of(ladder: Ladder, sort: str, seed: list[int]) -> list[tuple[np.ndarray, list[Incident]]]:
    """The made streams of one person: (segments,) points, and their incidents."""
    ladders = [ladder] if sort == "cuts" else ladder.by_framing()
    return [
        make_stream(one, LONGEST_STREAM_DAYS, np.random.default_rng([*seed, number, stream]))
        for number, one in enumerate(ladders)
        for stream in range(STREAMS[sort])
    ]


def judged(streams: Sequence[tuple[np.ndarray, list[Incident]]], limits: Sequence[Alerts]) -> Iterator[Tally]:
    """What each of the limits did to these streams."""
    scores = np.array([values for values, _ in streams]).T
    step = max(1, TOGETHER // len(streams))
    for first in range(0, len(limits), step):
        tried = limits[first : first + step]
        alerts: dict[tuple[int, int], list[int]] = {}
        for segment, place, stream, _ in many_limits.firing(scores, tried):
            alerts.setdefault((place, stream), []).append(segment)
        for place in range(len(tried)):
            total = Tally()
            for stream, (values, incidents) in enumerate(streams):
                total.add(counted(alerts.get((place, stream), []), incidents, len(values)))
            yield total


def counted(alerts: Sequence[int], incidents: Sequence[Incident], count: int) -> Tally:
    """The tally of one stream of `count` segments. alerts: the segments in which one fired, in their order."""
    grace = int(GRACE_SECONDS / SEGMENT_SECONDS)
    inside = [any(incident.first <= alert < incident.end + grace for incident in incidents) for alert in alerts]
    found = [
        next((alert - incident.first + 1 for alert in alerts if incident.first <= alert < incident.end), None)
        for incident in incidents
        if incident.depth == DEPTH
    ]
    return Tally(count * SEGMENT_SECONDS / DAY_SECONDS, inside.count(False), found)


def check(ladder: Ladder, limits: Alerts) -> None:
    """Raise `SystemExit` where the arrays raise other alerts than the detector."""
    scores, _ = make_stream(ladder, 0.1, np.random.default_rng(1))
    together = [(segment, kind) for segment, _, _, kind in many_limits.firing(scores[:, None], [limits])]
    if together != list(firing(scores, limits)):
        raise SystemExit("tests/bench/many_limits.py no longer does what streams/alerts/rendition.py does: mend it first")


def total_of(tallies: Tallies, file: int, sort: str, people: Sequence[str], place: int) -> Tally:
    """What the limits at a place did to some people's streams."""
    total = Tally()
    for person in people:
        total.add(tallies[file, sort, person][place])
    return total


def choose(tallies: Tallies, files: int, people: Sequence[str], goals: dict[str, Goal]) -> int:
    """The place of the limits that fall least short of the goals with these people, and of those the quickest."""
    count = len(next(iter(tallies.values())))
    costs = []
    for place in range(count):
        totals = [(goal, total_of(tallies, file, sort, people, place)) for file in range(files) for sort, goal in goals.items()]
        costs.append(
            (round(sum(goal.excess(total) for goal, total in totals), 2), mean(mean(total.found()) for _, total in totals))
        )
    return costs.index(min(costs))


def rows(
    tallies: Tallies, files: Sequence[str], limits: Sequence[Alerts], goals: dict[str, Goal], values: Iterable[str]
) -> Iterator[str]:
    """The table, line by line. values: names of the limits that differ."""
    people = sorted({person for _, _, person in tallies})
    halves = {"first half": people[::2], "second half": people[1::2], "all": people}
    chosen = {name: choose(tallies, len(files), half, goals) for name, half in halves.items()}
    other = {"first half": "second half", "second half": "first half", "all": "all"}
    yield "| limits | chosen on | measured on | ladders | streams | missed | median delay | mean | false alarms | a stream-week |"
    yield f"|{'---|' * 10}"
    for chosen_on, place, measured_on in [("-", 0, "all"), *((name, chosen[name], other[name]) for name in halves)]:
        drop = limits[place].quality_drop
        named = ", ".join(f"{name} {getattr(drop, name):g}" for name in values)
        for (number, file), sort in itertools.product(enumerate(files), goals):
            total = total_of(tallies, number, sort, halves[measured_on], place)
            delays = f"{median(total.found()):g} | {mean(total.found()):.1f}"
            missed = f"{total.delays.count(None)} of {len(total.delays)}"
            false_alarms = f"{total.false_alarms} in {total.days:g} days | {total.weekly():.2f}"
            yield f"| {named} | {chosen_on} | {measured_on} | {file} | {sort} | {missed} | {delays} | {false_alarms} |"


def main(paths: Sequence[Path]) -> None:
    """Try all limits on all ladders, and print the tables."""
    files = [path.stem for path in paths] or ["shipped"]
    ladders = [load_ladders(path) for path in paths] or [load_ladders()]
    policy = load_policy(POLICY)
    bases = {"defaults": (Alerts(), DEFAULTS), "cameras: many": (policy.of({"cameras": "many"}), MANY)}
    for name, (base, values) in bases.items():
        limits, tallies = grid(base, values), Tallies()
        check(ladders[0][0], base)
        for file, of_file in enumerate(ladders):
            for (number, ladder), sort in itertools.product(enumerate(of_file), GOALS[name]):
                tallies[file, sort, ladder.person] = list(judged(streams_of(ladder, sort, [number]), limits))
        print(
            f"\n### {name}: {len(limits)} limits tried\n",
            *rows(tallies, files, limits, GOALS[name], values),
            sep="\n",
            flush=True,
        )


if __name__ == "__main__":
    parser = parser_of(__doc__)
    parser.add_argument("ladders", type=Path, nargs="*")
    main(parser.parse_args().ladders)
