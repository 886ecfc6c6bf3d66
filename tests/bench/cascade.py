"""What alerts would do if they judged the score that a segment shows, whichever model made it.

    python -m tests.bench.cascade [DAYS]

Streams with known incidents (`streams/alerts/incidents.py`) go through the cascade's plan. The large model's scores differ from
the small one's by an offset. One detector gets the small model's score of each segment, as the product's does, and one the score
that is shown. DAYS: stream-days in all.
"""

from __future__ import annotations

from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from streams.alerts.backtest import BEGIN, Evaluation, judge_stream
from streams.alerts.course import Courses
from streams.alerts.incidents import DAY_SECONDS, SEGMENT_SECONDS, load_ladders, make_stream
from streams.alerts.policy import default_limits, load_policy
from streams.events import SegmentScore
from streams.scoring.deep_plan import DeepLimits, DeepPlan, Facts
from tests.bench.arguments import parser_of

DAYS = 4.0
SHARE = 0.05
OFFSETS = (-10.0, 0.0, 10.0)
UNCERTAINTY = 8.0


def deep_segments(scores: list[NDArray[np.float64]]) -> list[NDArray[np.bool_]]:
    """Which segments of which stream the large model looks at, in one worker that has all of them."""
    plan, courses = DeepPlan(DeepLimits(SHARE)), Courses(load_policy(None))
    looked = [np.zeros(len(values), bool) for values in scores]
    for number in range(min(map(len, scores))):
        start = BEGIN + timedelta(seconds=number * SEGMENT_SECONDS)
        batch = []
        for stream, values in enumerate(scores):
            score = SegmentScore.model_construct(
                stream_id=str(stream), segment_id=str(number), uri="", sequence=number, start=start, duration=SEGMENT_SECONDS,
                rendition=None, labels={}, ended=False, status="scored", score=float(values[number]), signals=None, shallow=None,
            )  # fmt: skip
            course = courses(score, start + timedelta(seconds=SEGMENT_SECONDS))
            batch.append(Facts(str(stream), number, course, float(values[number]), UNCERTAINTY))
        for stream, reason in enumerate(plan.plan(batch, len(batch))):
            looked[stream][number] = reason is not None
    return looked


def compare(days: float) -> tuple[float, dict[str, Evaluation]]:
    """The share that went deep, and what each detector found. days: of all streams together."""
    ladders = [framing for ladder in load_ladders() for framing in ladder.by_framing()]
    streams = [make_stream(ladder, days / len(ladders), np.random.default_rng([7, at])) for at, ladder in enumerate(ladders)]
    looked = deep_segments([scores for scores, _ in streams])
    found: dict[str, Evaluation] = {}
    for offset in (None, *OFFSETS):
        name = "small model's scores" if offset is None else f"shown scores, offset {offset:+g}"
        found[name] = Evaluation()
        for (scores, incidents), deep in zip(streams, looked, strict=True):
            shown = scores if offset is None else np.clip(np.where(deep, scores + offset, scores), 0, 100)
            found[name].add(judge_stream(shown, incidents, default_limits()))
    return float(np.mean(np.concatenate(looked))), found


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("days", type=float, nargs="?", default=DAYS)
    days = parser.parse_args().days
    share, found = compare(days)
    print(f"{days * DAY_SECONDS / SEGMENT_SECONDS:.0f} segments, {share:.1%} of them deep\n")
    print("| the detector judges | false alarms | missed of incidents |\n|---|---|---|")
    for name, evaluation in found.items():
        missed = sum(depth.missed for depth in evaluation.by_depth.values())
        incidents = sum(depth.incidents for depth in evaluation.by_depth.values())
        print(f"| {name} | {evaluation.false_alarms.total()} | {missed} of {incidents} |")


if __name__ == "__main__":
    main()
