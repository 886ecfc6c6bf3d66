"""`make bench-overload`: a worker gets twice what it can score for minutes: who is served, how late, how soon it recovers.

    python -m tests.bench.overload [--minutes 5] [--streams 40] [--json] [--write]

The worker is the real one with nano, on a real Apache Kafka. First its rate is measured with a backlog. Then the streams, one in
five with the label `priority`, play in real time at twice that rate, their segments of 2 s not aligned. At the end they play at
half of the rate, until a segment is answered within 3 s of its end again. Answers are counted from the topic: lag in event time,
the share of each stream's segments that was scored, and Jain's index of fairness over the ordinary streams' shares (1 means all
equal; Jain, Chiu and Hawe, DEC-TR-301, 1984). --write puts the table into docs/scoring.md.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from streams.events import SCORES_TOPIC, SEGMENTS_TOPIC, SegmentEvent, SegmentScore
from streams.kafka.connection import Connection
from streams.kafka.topics import create_topics
from tests.bench.arguments import parser_of
from tests.bench.pipeline import make_segments
from tests.bench.progress import say
from tests.support.documentation import replace_marked
from tests.support.processes import ROOT, Worker
from tests.support.servers import KafkaServer
from tests.support.topics import Follower, produce
from tests.support.waiting import wait_for

PAGE = ROOT / "docs/scoring.md"
SECONDS = 2.0
"""Length of a segment."""
LIVE_WINDOW = 60.0
OVERLOAD = 2.0
CALM_LAG = 3.0
"""Seconds from a segment's end to its answer from which the worker has recovered."""


@dataclass(frozen=True)
class Result:
    """What was seen. Rates: segments a second; lags: seconds, of scored segments, after the first minute; shares: 0-1."""

    rate: float
    offered: int
    lost: int
    lag_p50: float
    lag_p99: float
    lag_most: float
    priority_share: float
    ordinary_share: float
    ordinary_least: float
    jain: float
    recovery: float


class Show:
    """Streams that play in real time. segments: media files of the streams, in turn. streams: how many."""

    def __init__(self, broker: str, segments: Sequence[Path], streams: int) -> None:
        self._broker, self._segments, self._streams = broker, segments, streams
        self._sequence = 0

    def play(self, per_second: float, seconds: float) -> int:
        """Send the events of some seconds, each when its segment has ended; returns how many. per_second: of all streams."""
        started, sent = time.monotonic(), 0
        while (passed := time.monotonic() - started) < seconds:
            due = int(passed * per_second) - sent
            produce(self._broker, SEGMENTS_TOPIC, self.events(due))
            sent += due
            time.sleep(0.1)
        return sent

    def events(self, count: int) -> Iterator[SegmentEvent]:
        """The next events, stream by stream, of segments that end now."""
        for _ in range(count):
            number, self._sequence = self._sequence, self._sequence + 1
            stream = number % self._streams
            yield SegmentEvent(
                stream_id=f"channel-{stream}",
                segment_id=f"channel-{stream}/{number}",
                sequence=number,
                uri=self._segments[number % len(self._segments)].as_uri(),
                start=datetime.now(UTC) - timedelta(seconds=SECONDS),
                duration=SECONDS,
                labels={"priority": "high"} if stream % 5 == 0 else {},
            )


def measure(minutes: float, streams: int) -> Result:
    """Run worker and streams, and count."""
    with tempfile.TemporaryDirectory(prefix="fvq-bench-") as name:
        folder = Path(name)
        segments = make_segments(folder, 360)
        kafka = KafkaServer(folder / "kafka")
        kafka.start()
        create_topics(Connection(kafka.broker), 4, 1)
        worker = Worker(
            "bench", folder, FVQ_BROKER=kafka.broker, FVQ_MEDIA_ROOTS=str(folder), FVQ_LIVE_WINDOW=str(LIVE_WINDOW),
            FVQ_SESSION_TIMEOUT="6", FVQ_ALERTS="false", FVQ_HARVEST="false",
        ).start()  # fmt: skip
        show, follower = Show(kafka.broker, segments, streams), Follower(kafka.broker, SCORES_TOPIC)
        try:
            say("the first scores, and the rate with a backlog")
            produce(kafka.broker, SEGMENTS_TOPIC, show.events(8))
            wait_for("the first scores", lambda: len(follower.read()) == 8, 120)
            started = time.monotonic()
            produce(kafka.broker, SEGMENTS_TOPIC, show.events(80))
            wait_for("the scores of the backlog", lambda: len(follower.read()) == 88, 120)
            rate = 80 / (time.monotonic() - started)
            say(f"{OVERLOAD:g}x {rate:.1f} segments/s for {minutes:g} minutes")
            offered = show.play(OVERLOAD * rate, minutes * 60)
            say("half of the rate, until segments are answered in time again")
            began, recovery = time.monotonic(), 0.0
            while recovery < 4 * LIVE_WINDOW:
                offered += show.play(rate / 2, 1.0)
                recovery = time.monotonic() - began
                if SegmentScore.model_validate_json(follower.read()[-1]).timing["lag_s"] < CALM_LAG:
                    break
            wait_for("every answer", lambda: len(follower.read()) == 88 + offered, 4 * LIVE_WINDOW)
            scores = [SegmentScore.model_validate_json(value) for value in follower.read()]
            return count(scores[88:], rate, offered, recovery, minutes * 60)
        except BaseException:
            print(worker.tail())
            raise
        finally:
            follower.close()
            worker.kill()
            kafka.kill()


def count(scores: list[SegmentScore], rate: float, offered: int, recovery: float, seconds: float) -> Result:
    """The figures of the answers."""
    first = min(score.start for score in scores)
    full = [score for score in scores if 60 <= (score.start - first).total_seconds() < seconds]
    lags = np.array([score.timing["lag_s"] for score in full if score.status == "scored"])
    shares = {
        stream: np.mean([score.status == "scored" for score in full if score.stream_id == stream])
        for stream in {score.stream_id for score in full}
    }
    first_class = [share for stream, share in shares.items() if int(stream.split("-")[1]) % 5 == 0]
    ordinary = np.array([share for stream, share in shares.items() if int(stream.split("-")[1]) % 5])
    return Result(
        rate=round(rate, 1),
        offered=offered,
        lost=offered - len({score.segment_id for score in scores}),
        lag_p50=round(float(np.percentile(lags, 50)), 1),
        lag_p99=round(float(np.percentile(lags, 99)), 1),
        lag_most=round(float(lags.max()), 1),
        priority_share=round(float(np.mean(first_class)), 3),
        ordinary_share=round(float(ordinary.mean()), 3),
        ordinary_least=round(float(ordinary.min()), 3),
        jain=round(float(ordinary.sum() ** 2 / (len(ordinary) * (ordinary**2).sum())), 3),
        recovery=round(recovery, 0),
    )


def main() -> None:
    """Measure, and print the table."""
    parser = parser_of(__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--streams", type=int, default=40)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write", action="store_true", help="put the table into docs/scoring.md")
    arguments = parser.parse_args()
    result = measure(arguments.minutes, arguments.streams)
    if arguments.json:
        print(json.dumps(asdict(result)))
        return
    minutes, streams = arguments.minutes, arguments.streams
    lines = [
        "| | |",
        "|---|---|",
        f"| segments sent, {streams} streams at {OVERLOAD:g}x its rate for {minutes:g} minutes | {result.offered} |",
        f"| without an answer | {result.lost} |",
        f"| their lag with a live window of {LIVE_WINDOW:g} s: p50 | {result.lag_p50} s |",
        f"| p99 / most | {result.lag_p99} / {result.lag_most} s |",
        f"| share scored, streams with priority | {result.priority_share} |",
        f"| share scored, ordinary streams: mean / least | {result.ordinary_share} / {result.ordinary_least} |",
        f"| Jain's index over the ordinary streams | {result.jain} |",
        f"| at half of the rate, answered within {CALM_LAG:g} s again after | {result.recovery:g} s |",
    ]
    print("\n".join(lines))
    if arguments.write:
        replace_marked(PAGE, "make bench-overload", lines)


if __name__ == "__main__":
    main()
