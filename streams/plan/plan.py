"""The plan: from a demand and the costs of the stages to workers, scorers, partitions, memory and traffic. Pure functions."""

from __future__ import annotations

import math
from dataclasses import dataclass

from streams.errors import SettingsError
from streams.plan.chance import busiest, least
from streams.plan.costs import StageCosts
from streams.plan.simulate import Service, arrivals, capacity, simulate

BUSIEST = 0.95
"""Highest load of the worker to which chance gives most streams."""

MOST_SIMULATED = 8
"""Workers of one simulation at most."""

LEAST_LOAD = 1e-9
"""Seconds of a scorer or a GPU for a segment under which it is never full."""

SIMULATED_SEGMENTS = 4000
"""Segments of one simulation, about: a second of work."""


@dataclass(frozen=True)
class Demand:
    """What is to be scored. height: of the pictures. deep_share: share of segments that the large model scores too, 0-1.

    aligned: whether the segments of all streams end together, as those of one packager do. served: whether the small model is
    in scorers of its own, not in the workers. full_share: share of segments that get a full look, 0-1; the others get a glance.
    """

    streams: int
    segment_seconds: float
    height: int = 720
    deep_share: float = 0.0
    aligned: bool = True
    served: bool = False
    full_share: float = 1.0

    @property
    def rate(self) -> float:
        """Segments per second."""
        return self.streams / self.segment_seconds


@dataclass(frozen=True)
class Limits:
    """How large and how full the parts may be.

    utilisation: target load of everything, 0-1. worker_cores: cores, and so sampling children, of one worker. batch_size,
    batch_wait, live_window: the workers' settings. partitions_per_worker: each worker's partitions, so that a dead worker's
    load is spread. outage: seconds until a dead worker's partitions are with others. copies: of each message in Kafka.
    """

    utilisation: float = 0.8
    worker_cores: int = 8
    batch_size: int = 8
    batch_wait: float = 0.25
    live_window: float | None = 60.0
    partitions_per_worker: int = 8
    outage: float = 15.0
    copies: int = 3

    @property
    def model_threads(self) -> int:
        """Cores that the model in a worker uses at once; the rule of `scorer.answer.model_threads`."""
        return max(1, min(4, self.worker_cores // 2))


@dataclass(frozen=True)
class Lag:
    """The simulated lag of one worker, s, and what comes with it. load: share of its capacity. See `simulate.Course`."""

    load: float
    p50: float
    p95: float
    p99: float
    mean_batch: float
    skipped: float


@dataclass(frozen=True)
class Bound:
    """What stops at how many streams, with the planned machines."""

    what: str
    streams: int


@dataclass(frozen=True)
class Plan:
    """How many of what. Times in s, memory in MiB, traffic in bytes/s; loads are shares of the capacity.

    worker_capacity: segments per second that one worker answers at most. core_share: the cores' time that it uses then.
    gpus: None where a deep share is asked for and its cost is not known. catch_up: after the loss of a worker; None where its
    streams overload the others until a new worker has come. average, crowded: the lag on a worker with the average number of
    streams, and on the one to which chance gives most. bounds: what breaks first comes first.
    """

    demand: Demand
    limits: Limits
    rate: float
    segment_cpu: float
    worker_capacity: float
    core_share: float
    workers: int
    worker_load: float
    busiest_streams: int
    busiest_load: float
    sampling_cores: int
    scorers: int
    scorer_load: float
    gpus: int | None
    partitions: int
    memory_mb: float
    kafka_in: float
    kafka_out: float
    kafka_copies: float
    points: float
    media: float
    scorer_traffic: float
    catch_up: float | None
    average: Lag
    crowded: Lag
    bounds: tuple[Bound, ...]


@dataclass(frozen=True)
class _Loads:
    """Seconds of a segment. cpu: CPU time of a worker. model: CPU time of a clip in a full batch. event: of the thread that talks
    to Kafka. worker: of a whole worker, which is the inverse of its capacity.
    """

    cpu: float
    model: float
    event: float
    worker: float


def plan(demand: Demand, costs: StageCosts, limits: Limits, seed: int = 0) -> Plan:
    """The smallest plan that keeps every load under the target, and the lag that it leads to.

    Raises `SettingsError` where one stream alone is too much for a worker, where the large model gets more segments than have a
    full look, and where a glance's cost is not known.
    """
    if demand.deep_share > demand.full_share:
        raise SettingsError("--deep-share", f"is more than --full-share, {demand.full_share:g}: a glance gets no second look")
    loads = _loads(demand, costs, limits)
    workers = workers_for(demand, costs, limits)
    crowded_streams = busiest(demand.streams, workers)
    worker_load = demand.rate / workers * loads.worker
    scorers = _enough(demand.rate * loads.model, limits) if demand.served else 0
    gpus = _gpus(demand, costs, limits)
    partitions = limits.partitions_per_worker * workers
    stream, memory, rate = costs.stream, costs.memory, demand.rate
    worker_mb = memory.worker_mb + limits.worker_cores * memory.child_mb + (0 if demand.served else memory.model_mb)
    service = service_of(demand, costs, limits, scorers / workers)
    mean_streams = max(1, round(demand.streams / workers))
    kafka_in = rate * (stream.event_bytes + stream.score_bytes)
    deep_traffic = demand.deep_share * (costs.model.deep_clip_bytes or 0.0)
    return Plan(
        demand=demand,
        limits=limits,
        rate=rate,
        segment_cpu=loads.cpu,
        worker_capacity=1 / loads.worker,
        core_share=loads.cpu / loads.worker / limits.worker_cores,
        workers=workers,
        worker_load=worker_load,
        busiest_streams=crowded_streams,
        busiest_load=crowded_streams / demand.segment_seconds * loads.worker,
        sampling_cores=_enough(rate * sampling_of(demand, costs), limits),
        scorers=scorers,
        scorer_load=rate * loads.model / scorers if scorers else 0.0,
        gpus=gpus,
        partitions=partitions,
        memory_mb=workers * worker_mb + scorers * memory.scorer_mb,
        kafka_in=kafka_in,
        # The alert and the harvest agents read every score.
        kafka_out=rate * (stream.event_bytes + 2 * stream.score_bytes),
        kafka_copies=kafka_in * (limits.copies - 1),
        points=rate,
        media=rate * costs.sampling_at(demand.height).bytes_per_second * demand.segment_seconds,
        scorer_traffic=rate * ((demand.full_share * costs.model.clip_bytes if demand.served else 0.0) + deep_traffic),
        catch_up=catch_up(workers, worker_load, limits),
        average=_lag(demand, service, loads, mean_streams, mean_streams, workers, seed),
        crowded=_lag(demand, service, loads, crowded_streams, mean_streams, workers, seed),
        bounds=_bounds(demand, costs, limits, workers, scorers, gpus),
    )


def workers_for(demand: Demand, costs: StageCosts, limits: Limits) -> int:
    """The least number of workers whose loads are under the target, and whose busiest one is under `BUSIEST`.

    Raises `SettingsError` where one stream alone is too much for a worker.
    """
    each = _loads(demand, costs, limits).worker
    most = max(BUSIEST, limits.utilisation)
    if each / demand.segment_seconds > most:
        raise SettingsError(
            "--worker-cores",
            f"one stream alone is {each / demand.segment_seconds:.2f} of what a worker of {limits.worker_cores} cores can do: "
            "give a worker more cores",
        )

    def fits(workers: int) -> bool:
        crowded = busiest(demand.streams, workers) / demand.segment_seconds
        return demand.rate / workers * each <= limits.utilisation and crowded * each <= most

    return least(fits)


def sampling_of(demand: Demand, costs: StageCosts) -> float:
    """CPU seconds of a segment's sampling, the mean of full looks and glances."""
    share = demand.full_share
    return share * _full_look(demand, costs) + (1 - share) * glance_of(demand, costs)


def glance_of(demand: Demand, costs: StageCosts) -> float:
    """CPU seconds of a glance; 0 where there are none. Raises `SettingsError` where its cost is not known."""
    if demand.full_share == 1:
        return 0.0
    seconds = costs.glance_seconds(demand.height, demand.segment_seconds)
    if seconds is None:
        height = min(costs.sampling, key=lambda known: abs(known - demand.height))
        raise SettingsError("--full-share", f"the costs have no sampling.{height}.glance: measure them again (--measure)")
    return seconds


def _full_look(demand: Demand, costs: StageCosts) -> float:
    """CPU seconds of a full look's sampling, the mean: one by the large model samples it again, by another specification."""
    once = costs.sampling_seconds(demand.height, demand.segment_seconds)
    deep = demand.deep_share / demand.full_share if demand.full_share else 0.0
    return once * (1 + deep * costs.model.deep_sampling)


def service_of(demand: Demand, costs: StageCosts, limits: Limits, scorers: float) -> Service:
    """A worker as the simulation takes it. scorers: served scorers for each worker, as a share."""
    model, stream = costs.model, costs.stream
    layer = model.served_clip_s if demand.served else 0.0
    event = 1 / stream.events_per_second + stream.fetch_cpu_s
    return Service(
        cores=limits.worker_cores,
        children=limits.worker_cores,
        sample_s=_full_look(demand, costs),
        glance_s=glance_of(demand, costs),
        full_share=demand.full_share,
        sample_cv=costs.sampling_cv,
        batch_s=model.batch_s,
        clip_s=model.clip_s + layer,
        threads=limits.model_threads,
        batch_size=limits.batch_size,
        batch_wait=limits.batch_wait,
        live_window=limits.live_window,
        fetch_s=stream.fetch_s,
        event_s=event + demand.full_share * layer,
        flush_s=stream.flush_s,
        scorers=scorers,
    )


def catch_up(workers: int, load: float, limits: Limits) -> float | None:
    """Seconds from the end of the outage until a dead worker's segments are answered, without a new worker.

    Its partitions go to the others, one each as far as there are enough. A worker that gets more has a backlog of what arrived
    during the outage, and works it off with the capacity that it has left. None where none is left.
    """
    if workers == 1:
        return None
    more = math.ceil(limits.partitions_per_worker / (workers - 1)) / limits.partitions_per_worker * load
    left = 1 - load - more
    return more * limits.outage / left if left > 0 else None


def _loads(demand: Demand, costs: StageCosts, limits: Limits) -> _Loads:
    model, event = costs.model, 1 / costs.stream.events_per_second
    clip = demand.full_share * (model.clip_s + model.batch_s / limits.batch_size)
    layer = demand.full_share * model.served_clip_s
    in_worker = layer if demand.served else clip
    return _Loads(
        cpu=sampling_of(demand, costs) + costs.stream.fetch_cpu_s + event + in_worker,
        model=clip + (layer if demand.served else 0.0),
        event=event,
        # A worker talks to Kafka in one thread, which the simulation does not know.
        worker=max(1 / capacity(service_of(demand, costs, limits, 1.0 if demand.served else 0.0)), event),
    )


def _enough(load: float, limits: Limits) -> int:
    """Cores, scorers or GPUs of which each may have the target load."""
    return max(1, math.ceil(load / limits.utilisation - 1e-9))


def _gpus(demand: Demand, costs: StageCosts, limits: Limits) -> int | None:
    if not demand.deep_share:
        return 0
    if costs.model.deep_clip_s is None:
        return None
    return _enough(demand.rate * demand.deep_share * costs.model.deep_clip_s, limits)


def _lag(demand: Demand, service: Service, loads: _Loads, streams: int, others: int, workers: int, seed: int) -> Lag:
    """The lag of a worker that has that many streams, over at least six segments of each.

    others: streams of each of the other workers, with which it shares the served scorers.
    """
    counts = [streams] + [others] * (_sharing(service.scorers, workers) - 1)
    rounds = min(200, max(6, math.ceil(SIMULATED_SEGMENTS / sum(counts))))
    duration = rounds * demand.segment_seconds
    times = [
        arrivals(count, demand.segment_seconds, duration, demand.aligned, seed + number) for number, count in enumerate(counts)
    ]
    course = simulate(times, service, warm_up=2 * demand.segment_seconds, seed=seed, counted=0)
    load = streams / demand.segment_seconds * loads.worker
    return Lag(load, course.lag(0.5), course.lag(0.95), course.lag(0.99), course.mean_batch, course.skipped)


def _sharing(scorers: float, workers: int) -> int:
    """Workers that are simulated together: so few that their scorers are about a whole number. scorers: for each worker."""
    if not scorers:
        return 1

    def error(count: int) -> float:
        return abs(max(1, round(count * scorers)) / (count * scorers) - 1)

    return min(range(1, min(MOST_SIMULATED, workers) + 1), key=error)


def _bounds(demand: Demand, costs: StageCosts, limits: Limits, workers: int, scorers: int, gpus: int | None) -> tuple[Bound, ...]:
    """At how many streams each part is full; what breaks first comes first."""
    loads, seconds = _loads(demand, costs, limits), demand.segment_seconds
    rates = {
        "the workers, on average": workers / loads.worker,
        "the workers' Kafka path": workers / loads.event,
        "partitions: no more workers can join": workers * limits.partitions_per_worker * limits.utilisation / loads.worker,
    }
    if scorers and loads.model > LEAST_LOAD:
        rates["the scorers"] = scorers / loads.model
    deep_load = demand.deep_share * costs.model.deep_clip_s if costs.model.deep_clip_s else 0.0
    if gpus and deep_load > LEAST_LOAD:
        rates["the GPUs"] = gpus / deep_load
    bounds = [Bound(what, int(rate * seconds)) for what, rate in rates.items()]
    full = seconds / loads.worker
    too_many = least(lambda streams: busiest(streams, workers) > full)
    bounds.append(Bound("the worker to which chance gives most streams", too_many - 1))
    return tuple(sorted(bounds, key=lambda bound: bound.streams))
