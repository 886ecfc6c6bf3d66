"""`fvq plan --measure`: what each stage costs on this machine, with the parts that a worker runs.

The sampling children work all at once, and the model beside them, as in a worker that is full: cores that share caches and clocks
are slower than one alone, and a plan is about full machines.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import platform
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import mean, median, stdev

from scorer.registry import Registry
from scorer.sampling import SamplerPool
from scorer.spec import MODEL_INPUTS, ClipScore, SampledClip, Scorer
from streams.events import FaceSummary, ModelRef, SegmentEvent, SegmentScore, Signals
from streams.media.fetch import Fetcher, FetchLimits
from streams.plan.costs import GlanceCost, MemoryCost, ModelCost, SamplingCost, StageCosts, StreamCost, mean_cost
from streams.plan.footage import Piece, cut_pieces, make_up
from streams.plan.timing import memory_mb, timed_glance, timed_sample
from streams.sinks.sqlite import SqliteSink

ROUNDS = 8
"""How often each child samples each piece."""

BATCHES = (1, 8)
BATCH_SECONDS = 4.0
"""Time that each batch size is measured for."""

KEYFRAME_EVERY = 3
"""Glances of which one decodes a keyframe, where the packets stay as they are: `streams.scoring.tiers.TierLimits.seen`."""

FETCHES, FLUSHES = 40, 30
TASK_SECONDS = 60.0
EVENTS_PER_SECOND = 1470.0
"""Not measured here, for it needs a Kafka: the slowest row of docs/delivery.md, with InfluxDB and all agents."""

SERVED_CLIP_SECONDS = 0.0025
"""Not measured here: the most that the serving layer may cost (`make bench-serve`)."""

WORKER_MB = 150.0
"""Not measured here: a worker without a model, docs/delivery.md."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Measured:
    """The small model, which is measured on the CPU, and its registry. memory_mb: MiB that sampling one segment may take."""

    model: str
    registry: Registry
    memory_mb: int = 2048


def measure(clips: Sequence[Path], options: Measured, say: Say) -> StageCosts:
    """The costs on this machine; takes half a minute or more.

    clips: files of the user's own, each measured at its own height; none: pictures that are made up. say: is told what is
    being done. Raises `MediaError` where a clip cannot be used, and `ModelError`.
    """
    say(f"loading the model {options.model}")
    before = memory_mb(os.getpid())
    from scorer.load import load_engine  # most of what a model in the process takes

    engine = load_engine(options.model, "cpu", options.registry)
    cores = len(os.sched_getaffinity(0))
    with (
        tempfile.TemporaryDirectory(prefix="fvq-plan-") as name,
        SamplerPool(engine.spec, cores, TASK_SECONDS, options.memory_mb) as pool,
    ):
        folder = Path(name)
        if not clips:
            say("making clips, because no --source is given")
        pieces = []
        for number, clip_path in enumerate(clips or make_up(folder)):
            # A folder for each: clips of one name may come from several folders.
            place = folder / str(number)
            place.mkdir()
            pieces.append(cut_pieces(clip_path, place, lambda path: pool.probe(path).result()))
        sampling, spreads, clip = {}, [], None
        for height in sorted({short.height for short, _ in pieces}):
            say(f"sampling at {height}p in {cores} processes")
            pairs = [pair for pair in pieces if pair[0].height == height]
            sampling[height], spread, clip = _sampling(pool, engine, pairs, cores)
            spreads.append(spread)
        assert clip is not None
        child = max(memory_mb(pid) for pid in pool.pids())
        say("scoring in batches, while all cores sample")
        with _sampling_beside(pool, engine, pieces[0][0], cores):
            batch_s, clip_s = _model(engine, clip)
        model_mb = memory_mb(os.getpid()) - before
        say("fetching over HTTP from this machine")
        fetch_cpu, fetch = _fetch(pieces[0][0], folder)
        say("writing scores to SQLite")
        event, score = example(engine.score([clip])[0], clip)
        flush, points = _flush(score, folder / "sink")
    source = ", ".join(path.name for path in clips) or "made-up pictures without a face"
    return StageCosts(
        machine=f"{processor()}, {cores} cores, on {source}"[:500],
        measured=datetime.now(UTC).strftime("%Y-%m-%d"),
        sampling=sampling,
        sampling_cv=round(mean(spreads), 3),
        model=ModelCost(
            batch_s=batch_s,
            clip_s=clip_s,
            served_clip_s=SERVED_CLIP_SECONDS,
            clip_bytes=sum(getattr(clip, array).nbytes for array in MODEL_INPUTS),
        ),
        stream=StreamCost(
            events_per_second=EVENTS_PER_SECOND,
            event_bytes=len(event.to_bytes()),
            score_bytes=len(score.to_bytes()),
            fetch_cpu_s=fetch_cpu,
            fetch_s=fetch,
            flush_s=flush,
            sink_points_per_second=points,
        ),
        memory=MemoryCost(worker_mb=WORKER_MB, model_mb=max(1.0, model_mb), child_mb=child),
    )


def processor() -> str:
    """The processor's name, as the kernel tells it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def example(score: ClipScore, clip: SampledClip) -> tuple[SegmentEvent, SegmentScore]:
    """An event and a score as large as those of a usual stream."""
    event = SegmentEvent(
        stream_id="channel-01234",
        segment_id="channel-01234/20260101T000000/123456/720p",
        sequence=123456,
        uri="https://media.example.com/live/channel-01234/720p/segment-00123456.ts",
        start=datetime.now(UTC),
        duration=2.0,
        rendition="720p",
        labels={"tier": "premium", "region": "eu"},
    )
    answer = SegmentScore(
        **SegmentScore.identity(event),
        status="scored",
        score=score.score,
        level=score.level,
        level_probs=score.level_probs,
        uncertainty=score.uncertainty,
        faces=FaceSummary(**asdict(clip.face_summary)),
        signals=Signals(**clip.signals),
        model=ModelRef(name=score.model.name, version=score.model.version),
        fingerprint="0" * 16,
        timing={"fetch_ms": 12.3, "sample_ms": 345.6, "score_ms": 67.8, "lag_s": 1.234},
    )
    return event, answer


def _sampling(
    pool: SamplerPool, scorer: Scorer, pairs: Sequence[tuple[Piece, Piece]], cores: int
) -> tuple[SamplingCost, float, SampledClip]:
    """What sampling costs at one height, the mean over its clips; the spread of the times as a share; and a sampled clip."""
    costs: list[SamplingCost] = []
    times: list[float] = []
    for pair in pairs:
        seconds: list[list[float]] = []
        for piece in pair:
            tasks = [pool.submit_task(timed_sample, piece.path, scorer.spec, piece.seconds) for _ in range((ROUNDS + 1) * cores)]
            answers: list[tuple[float, SampledClip]] = []
            for task in tasks:
                answers.append(task.result())
                if len(answers) % BATCHES[1] == 0:
                    # As a worker does while its children go on.
                    scorer.score([clip for _, clip in answers[-BATCHES[1] :]])
            # The first of each child loads files and fills caches.
            seconds.append([answer[0] for answer in answers[cores:]])
        fixed, per_second = _line(pair, [median(each) for each in seconds])
        glance_fixed, glance_per_second = _line(pair, [_glance(pool, piece, cores) for piece in pair])
        costs.append(
            SamplingCost(
                fixed_s=fixed,
                per_second_s=per_second,
                bytes_per_second=pair[1].size / pair[1].seconds,
                glance=GlanceCost(fixed_s=glance_fixed, per_second_s=glance_per_second),
            )
        )
        times += seconds[0]
    return mean_cost(costs), stdev(times) / mean(times), answers[0][1]


def _line(pair: tuple[Piece, Piece], seconds: Sequence[float]) -> tuple[float, float]:
    """What both pieces took, as a fixed part and a part for each second of video."""
    short, long = pair
    per_second = max(0.0, (seconds[1] - seconds[0]) / (long.seconds - short.seconds))
    return max(0.0, seconds[0] - per_second * short.seconds), per_second


def _glance(pool: SamplerPool, piece: Piece, cores: int) -> float:
    """CPU seconds of a glance, the mean of those with a keyframe and of those without."""
    packets, keyframe = (
        median(task.result() for task in [pool.submit_task(timed_glance, piece.path, picture) for _ in range(ROUNDS * cores)])
        for picture in (False, True)
    )
    return packets + (keyframe - packets) / KEYFRAME_EVERY


@contextlib.contextmanager
def _sampling_beside(pool: SamplerPool, scorer: Scorer, piece: Piece, children: int) -> Iterator[None]:
    """Keeps that number of children busy."""
    stop = threading.Event()

    def keep_busy() -> None:
        while not stop.is_set():
            pool.submit_task(timed_sample, piece.path, scorer.spec, piece.seconds).result()

    threads = [threading.Thread(target=keep_busy, daemon=True) for _ in range(children)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _model(scorer: Scorer, clip: SampledClip) -> tuple[float, float]:
    """CPU seconds of a batch and of each clip in it, from the medians of two batch sizes."""
    seconds = []
    for size in BATCHES:
        scorer.score([clip] * size)
        times: list[float] = []
        end = time.monotonic() + BATCH_SECONDS
        while len(times) < 3 or time.monotonic() < end:
            started = time.process_time()
            scorer.score([clip] * size)
            times.append(time.process_time() - started)
        seconds.append(median(times))
    each = max(1e-6, (seconds[1] - seconds[0]) / (BATCHES[1] - BATCHES[0]))
    return max(0.0, seconds[0] - each * BATCHES[0]), each


class _Quiet(SimpleHTTPRequestHandler):
    """A server of one folder that logs nothing."""

    def log_message(self, format: str, *args: object) -> None:
        pass


def _fetch(piece: Piece, folder: Path) -> tuple[float, float]:
    """CPU seconds of the thread that fetches a segment over HTTP, and seconds until it is there: the medians."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(piece.path.parent)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    uri = f"http://127.0.0.1:{server.server_port}/{piece.path.name}"

    async def fetch_all() -> tuple[list[float], list[float]]:
        cpu, wall = [], []
        async with Fetcher(FetchLimits(hosts=("127.0.0.1",), private=True), folder / "inbox") as fetcher:
            for _ in range(FETCHES):
                cpu_started, started = time.thread_time(), time.monotonic()
                media = await fetcher.fetch(uri)
                cpu.append(time.thread_time() - cpu_started)
                wall.append(time.monotonic() - started)
                media.discard()
        return cpu, wall

    try:
        cpu, wall = asyncio.run(fetch_all())
    finally:
        server.shutdown()
        server.server_close()
    return median(cpu), median(wall)


def _flush(score: SegmentScore, folder: Path) -> tuple[float, float]:
    """Seconds until a batch of 8 scores is in SQLite, the median, and scores per second."""
    sink = SqliteSink(folder)

    async def flush_all() -> list[float]:
        times = []
        for number in range(FLUSHES):
            for place in range(8):
                sink.add(score.model_copy(update={"segment_id": f"{number}/{place}"}))
            started = time.monotonic()
            await sink.flush()
            times.append(time.monotonic() - started)
        return times

    seconds = median(asyncio.run(flush_all()))
    return seconds, 8 / seconds
