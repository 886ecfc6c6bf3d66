"""Simulates workers over some minutes, to tell the lag that formulas do not give: groups, batches, bursts, a backlog.

Each worker does what `streams/scoring` does, with the same limits: it takes up to a batch of events or what came within the
batch's wait, fetches them, samples them in its children, and scores what is sampled in one batch at a time, in order.
Sampling children and the model's threads share the worker's cores. The same seed gives the same course.
"""

from __future__ import annotations

import functools
import math
from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import simpy
from numpy.typing import NDArray

from streams.plan.cores import Cores

BACKLOG_SEGMENTS, BACKLOG_BATCHES = 240, 20
"""Length of the backlog that tells a worker's capacity: the larger of the two."""

MOST_WAITING = 16
"""Groups that wait at most, as in `streams.scoring.batcher`."""

SEGMENTS_FOR_A_CHILD = 2
"""Segments that may wait for each sampling child, as in `streams.scoring.app`."""

Steps = Generator[simpy.Event, Any, None]


@dataclass(frozen=True)
class Service:
    """A worker's size and what a segment costs it; times in seconds.

    cores, children: cores of the worker, and its sampling children. threads: cores that the model uses at once. live_window:
    None for off. sample_s, sample_cv: CPU time of sampling a segment, and its standard deviation as a share of it. full_share:
    share of segments that are sampled and scored; the others get a glance, which takes glance_s of CPU time. event_s: CPU
    time of an event's way through Kafka and the sink. batch_s, clip_s: CPU time of a batch of n clips is batch_s + n x clip_s.
    flush_s: time until a batch's answers are stored. scorers: served scorers for each worker, which all workers share; 0 where
    the model is in the worker.
    """

    cores: int
    children: int
    sample_s: float
    batch_s: float
    clip_s: float
    threads: int = 1
    batch_size: int = 8
    batch_wait: float = 0.25
    live_window: float | None = 60.0
    sample_cv: float = 0.0
    full_share: float = 1.0
    glance_s: float = 0.0
    fetch_s: float = 0.0
    event_s: float = 0.0
    flush_s: float = 0.0
    scorers: float = 0.0


@dataclass(frozen=True)
class Course:
    """What came out. lags: (N,) seconds from a segment's end to its score, of the scored segments that arrived after the warm-up.

    skipped: segments that the live window skipped, share of all after the warm-up. mean_batch: clips. growth: of the
    backlog (segments that have arrived and have no answer), segments per second over the second half of the run.
    """

    lags: NDArray[np.float64]
    skipped: float
    mean_batch: float
    growth: float

    def lag(self, share: float) -> float:
        """The lag that this share (0-1) of the scored segments keeps; infinite where none was scored."""
        return float(np.quantile(self.lags, share)) if len(self.lags) else math.inf


def arrivals(streams: int, segment_seconds: float, duration: float, aligned: bool, seed: int) -> list[float]:
    """When segments end, in order, over `duration` seconds. aligned: those of all streams together, else spread at random."""
    phases = np.zeros(streams) if aligned else np.random.default_rng(seed).uniform(0, segment_seconds, streams)
    count = max(1, int(duration / segment_seconds))
    return sorted((phases[:, None] + np.arange(count) * segment_seconds).ravel().tolist())


def simulate(
    times: Sequence[Sequence[float]], service: Service, warm_up: float = 0.0, seed: int = 0, counted: int | None = None
) -> Course:
    """The course of workers until every segment is answered. times: for each worker when its segments arrive, s, in order.

    warm_up: seconds; segments that arrive before are not counted. counted: the worker whose segments are counted; None for
    all. Raises ValueError where no segment arrives.
    """
    env = simpy.Environment()
    total = sum(len(worker) for worker in times)
    if not total:
        raise ValueError("no segment arrives")
    record = _Record(env, total)
    scorer = _Scorer(env, service, service.scorers * len(times)) if service.scorers else None
    for number, worker in enumerate(times):
        _Worker(env, number, worker, service, scorer, record, np.random.default_rng([seed, number]))
    env.run(until=record.complete)
    return record.course(warm_up, counted)


@functools.cache
def capacity(service: Service) -> float:
    """Segments per second that one worker answers at most: those of a long backlog.

    Less than cores / CPU time where children wait: a group of segments goes on when the last of it is sampled, and only about a
    batch is sampled at once. Served scorers: the worker has the whole of one.
    """
    service = replace(service, live_window=None, scorers=1.0 if service.scorers else 0.0)
    times = simulate([[0.0] * max(BACKLOG_SEGMENTS, BACKLOG_BATCHES * service.batch_size)], service).lags
    ends, counts = np.unique(times, return_counts=True)
    first, last = len(ends) // 10, len(ends) - 1 - len(ends) // 10
    return float(counts[first + 1 : last + 1].sum() / (ends[last] - ends[first]))


@dataclass
class _Segment:
    worker: int
    arrived: float
    skipped: bool = False
    glanced: bool = False


@dataclass
class _Group:
    segments: list[_Segment]
    sampled: bool = False

    @property
    def places(self) -> int:
        """Places in a batch: of segments that need none, skipped or glanced at, it is known only when all are sampled."""
        if not self.sampled:
            return len(self.segments)
        return sum(not (segment.skipped or segment.glanced) for segment in self.segments)


@dataclass
class _Record:
    """Collects the answers of all workers."""

    env: simpy.Environment
    total: int
    answers: list[tuple[_Segment, float]] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.complete = self.env.event()

    def add(self, segments: Sequence[_Segment]) -> None:
        self.answers += [(segment, self.env.now) for segment in segments]
        if len(self.answers) == self.total:
            self.complete.succeed()

    def course(self, warm_up: float, worker: int | None) -> Course:
        counted = [
            (segment, answered)
            for segment, answered in self.answers
            if segment.arrived >= warm_up and worker in (None, segment.worker)
        ]
        scored = [answered - segment.arrived for segment, answered in counted if not segment.skipped]
        last = max(segment.arrived for segment, _ in self.answers)
        half = last / 2
        return Course(
            lags=np.array(scored),
            skipped=1 - len(scored) / len(counted) if counted else 0.0,
            mean_batch=float(np.mean(self.batches)) if self.batches else 0.0,
            growth=(self._backlog(last) - self._backlog(half)) / half if half else 0.0,
        )

    def _backlog(self, time: float) -> int:
        return sum(segment.arrived <= time < answered for segment, answered in self.answers)


class _Scorer:
    """Served scorers with one queue: each joins requests that wait into a batch.

    count: of scorers; where that is no whole number, there are as many as is nearest, a little faster or slower.
    """

    def __init__(self, env: simpy.Environment, service: Service, count: float) -> None:
        self._env, self._service = env, service
        servers = max(1, round(count))
        self._speed = count / servers
        self._requests = simpy.Store(env)
        for _ in range(servers):
            env.process(self._run())

    def score(self, clips: int) -> simpy.Event:
        """An event that comes when the clips are scored."""
        answer = self._env.event()
        self._requests.put((clips, answer))
        return answer

    def _run(self) -> Steps:
        while True:
            clips, answer = yield self._requests.get()
            answers = [answer]
            while self._requests.items and clips + self._requests.items[0][0] <= self._service.batch_size:
                more, answer = yield self._requests.get()
                clips += more
                answers.append(answer)
            yield self._env.timeout((self._service.batch_s + clips * self._service.clip_s) / self._speed)
            for answer in answers:
                answer.succeed()


class _Worker:
    """One worker: what `streams.scoring.app` and `streams.scoring.batcher` do."""

    def __init__(
        self,
        env: simpy.Environment,
        number: int,
        times: Sequence[float],
        service: Service,
        scorer: _Scorer | None,
        record: _Record,
        rng: np.random.Generator,
    ) -> None:
        self._env, self._number, self._service, self._scorer, self._record, self._rng = env, number, service, scorer, record, rng
        self._cores = Cores(env, service.cores)
        self._children = simpy.Resource(env, service.children)
        # Of a log-normal distribution with mean 1.
        self._sigma = math.sqrt(math.log1p(service.sample_cv**2))
        self._arrived: deque[_Segment] = deque()
        self._groups: deque[_Group] = deque()
        self._changed = env.event()
        for steps in (self._arrive(times), self._take(), self._finish()):
            env.process(steps)

    def _tell(self) -> None:
        changed, self._changed = self._changed, self._env.event()
        changed.succeed()

    def _arrive(self, times: Sequence[float]) -> Steps:
        for time in times:
            if time > self._env.now:
                yield self._env.timeout(time - self._env.now)
            self._arrived.append(_Segment(self._number, time))
            self._tell()

    def _take(self) -> Steps:
        """Faust's `noack_take`: a full batch, or what there is at the end of each wait."""
        size = self._service.batch_size
        room = max(size, SEGMENTS_FOR_A_CHILD * self._service.children)
        while True:
            began = self._env.now
            while not self._arrived:
                yield self._changed
            # An idle worker waits again and again: the wait that ends next began a whole number of waits after the first.
            waits = max(1, math.ceil((self._env.now - began) / self._service.batch_wait))
            wait = self._env.timeout(max(0.0, began + waits * self._service.batch_wait - self._env.now))
            while len(self._arrived) < size and not wait.processed:
                yield wait | self._changed
            segments = [self._arrived.popleft() for _ in range(min(size, len(self._arrived)))]
            self._groups.append(_Group(segments))
            self._env.process(self._sample_all(self._groups[-1]))
            self._tell()
            while sum(group.places for group in self._groups) >= room or len(self._groups) >= MOST_WAITING:
                yield self._changed

    def _sample_all(self, group: _Group) -> Steps:
        yield self._env.all_of([self._env.process(self._sample(segment)) for segment in group.segments])
        group.sampled = True
        self._tell()

    def _sample(self, segment: _Segment) -> Steps:
        service = self._service
        yield self._cores.work(service.event_s)
        if service.live_window is not None and self._env.now - segment.arrived > service.live_window:
            segment.skipped = True
            return
        yield self._env.timeout(service.fetch_s)
        factor = math.exp(self._rng.normal(-(self._sigma**2) / 2, self._sigma)) if self._sigma else 1.0
        segment.glanced = service.full_share < 1 and self._rng.random() >= service.full_share
        seconds = service.glance_s if segment.glanced else service.sample_s
        with self._children.request() as child:
            yield child
            yield self._cores.work(seconds * factor)

    def _finish(self) -> Steps:
        service = self._service
        while True:
            while not (self._groups and self._groups[0].sampled):
                yield self._changed
            segments, clips = self._next_batch()
            if clips:
                self._record.batches.append(clips)
                yield self._score(clips)
            self._record.add(segments)
            yield self._env.timeout(service.flush_s)

    def _next_batch(self) -> tuple[list[_Segment], int]:
        """The first group, which is sampled, and the groups after it that are sampled too and fit into the batch."""
        segments: list[_Segment] = []
        clips = 0
        while self._groups and self._groups[0].sampled:
            more = self._groups[0].places
            if segments and clips + more > self._service.batch_size:
                break
            segments += self._groups.popleft().segments
            clips += more
        self._tell()
        return segments, clips

    def _score(self, clips: int) -> simpy.Event:
        if self._scorer is not None:
            return self._scorer.score(clips)
        return self._cores.work(self._service.batch_s + clips * self._service.clip_s, self._service.threads)
