"""The plan: laws, and formulas against numbers that were computed by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.errors import SettingsError
from streams.plan.costs import StageCosts
from streams.plan.plan import BUSIEST, Demand, Limits, catch_up, plan, service_of, workers_for
from streams.plan.simulate import capacity
from streams.plan.view import lines, warnings

FOUR_CORES = Limits(worker_cores=4)

COSTS = StageCosts.model_validate(
    {
        "machine": "a machine of round numbers",
        "measured": "2026-01-01",
        "sampling": {"360": {"fixed_s": 0.05, "per_second_s": 0.03, "bytes_per_second": 1e5},
                     "720": {"fixed_s": 0.1, "per_second_s": 0.1, "bytes_per_second": 4e5,
                             "glance": {"fixed_s": 0.006, "per_second_s": 0.002}}},
        "sampling_cv": 0.0,
        "model": {"batch_s": 0.08, "clip_s": 0.069, "served_clip_s": 0.0025, "clip_bytes": 700_000,
                  "deep_clip_s": 0.02, "deep_clip_bytes": 4_000_000},
        "stream": {"events_per_second": 1000, "event_bytes": 300, "score_bytes": 900, "fetch_cpu_s": 0.02, "fetch_s": 0.05,
                   "flush_s": 0.01, "sink_points_per_second": 5000},
        "memory": {"worker_mb": 150, "model_mb": 900, "child_mb": 200},
    }
)  # fmt: skip

# A segment of 2 s at 720p: sampling .1 + 2 x .1, fetching .02, Kafka 1/1000, model .069 + .08 / 8.
CPU = 0.3 + 0.02 + 0.001 + 0.079


def test_a_plan_by_hand() -> None:
    result = plan(Demand(streams=1000, segment_seconds=2.0), COSTS, FOUR_CORES)
    assert result.rate == 500
    assert result.segment_cpu == pytest.approx(CPU)
    # A worker of 4 cores could answer 10 segments/s; waiting for the last of a group takes some of that.
    assert 9 < result.worker_capacity < 10
    assert result.core_share == pytest.approx(result.worker_capacity * CPU / 4)
    # 500 segments/s at .8 of 10: 62.5 workers, and some more for chance.
    assert result.workers >= 63
    assert result.worker_load == pytest.approx(500 / (result.workers * result.worker_capacity))
    assert result.busiest_load == pytest.approx(result.busiest_streams / 2 / result.worker_capacity)
    assert result.busiest_load <= BUSIEST
    assert result.sampling_cores == 188  # 500 x .3 / .8 = 187.5
    assert result.scorers == 0
    assert result.gpus == 0
    assert result.partitions == 8 * result.workers
    assert result.memory_mb == result.workers * (150 + 4 * 200 + 900)
    assert result.kafka_in == 500 * 1200
    assert result.kafka_out == 500 * 2100
    assert result.kafka_copies == 500 * 1200 * 2
    assert result.points == 500
    assert result.media == 500 * 2 * 4e5
    assert result.scorer_traffic == 0


def test_scorers_of_their_own_by_hand() -> None:
    result = plan(Demand(streams=1000, segment_seconds=2.0, served=True), COSTS, FOUR_CORES)
    assert result.segment_cpu == pytest.approx(0.3 + 0.02 + 0.001 + 0.0025)
    assert result.scorers == 51  # 500 x (.079 + .0025) / .8 = 50.9
    assert result.scorer_load == pytest.approx(500 * 0.0815 / 51)
    assert result.memory_mb == result.workers * (150 + 4 * 200) + 51 * 900
    assert result.scorer_traffic == 500 * 700_000


def test_gpus_by_hand() -> None:
    demand = Demand(streams=1000, segment_seconds=2.0, deep_share=0.1)
    result = plan(demand, COSTS, FOUR_CORES)
    assert result.gpus == 2  # 500 x .1 x .02 / .8 = 1.25
    assert result.scorer_traffic == 500 * 0.1 * 4_000_000
    unknown = COSTS.model_copy(update={"model": COSTS.model.model_copy(update={"deep_clip_s": None})})
    assert plan(demand, unknown, FOUR_CORES).gpus is None


def test_a_look_of_the_large_model_samples_the_segment_again_by_hand() -> None:
    model = COSTS.model.model_copy(update={"deep_sampling": 3.0})
    costs = COSTS.model_copy(update={"model": model})
    without, result = (plan(Demand(1000, 2.0, deep_share=share), costs, FOUR_CORES) for share in (0.0, 0.1))
    assert result.segment_cpu == pytest.approx(CPU + 0.1 * 3 * 0.3)
    assert result.sampling_cores == 244  # 500 x (.3 + .09) / .8 = 243.75
    assert result.worker_capacity == pytest.approx(without.worker_capacity * CPU / (CPU + 0.09), rel=0.05)
    assert result.workers > without.workers
    formulas = {line.name: line.formula for line in lines(result, costs)}
    assert "0.1 x 3 x sampling" in formulas["CPU of a worker for a segment"]


def test_one_stream_that_is_too_much_for_a_worker_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"--worker-cores: one stream alone is \d\.\d\d of what a worker of 1 cores can do"):
        plan(Demand(streams=5, segment_seconds=0.2), COSTS, Limits(worker_cores=1))


def test_catching_up_by_hand() -> None:
    # Of 9 workers at .8 one dies: each of the others gets one of its 8 partitions, .1 more, and has .1 left. It works off
    # .1 x 15 s at .1.
    assert catch_up(9, 0.8, Limits()) == pytest.approx(15)
    # Two workers: the other one gets everything, and is at 1.6.
    assert catch_up(2, 0.8, Limits()) is None
    assert catch_up(2, 0.4, Limits()) == pytest.approx(0.4 * 15 / 0.2)
    assert catch_up(1, 0.1, Limits()) is None


def test_segments_that_end_together_lag_more() -> None:
    together, spread = (plan(Demand(1000, 6.0, aligned=aligned), COSTS, FOUR_CORES) for aligned in (True, False))
    assert together.workers == spread.workers
    assert together.average.p50 > 1.5 * spread.average.p50


def test_what_breaks_first_is_the_lowest_bound_and_above_the_demand() -> None:
    result = plan(Demand(1000, 2.0, served=True, deep_share=0.1), COSTS, FOUR_CORES)
    counts = [bound.streams for bound in result.bounds]
    assert counts == sorted(counts)
    assert counts[0] >= 1000
    by_name = {bound.what: bound.streams for bound in result.bounds}
    assert by_name["the scorers"] == int(51 / 0.0815 * 2)
    assert by_name["the GPUs"] == int(2 / (0.1 * 0.02) * 2)
    assert by_name["the workers' Kafka path"] == result.workers * 1000 * 2


def test_a_plan_with_glances_by_hand() -> None:
    demand = Demand(1000, 2.0, served=True, deep_share=0.05, full_share=0.1)
    glances = plan(Demand(1000, 2.0, served=True, full_share=0.0), COSTS, FOUR_CORES)
    assert "the scorers" not in {bound.what for bound in glances.bounds}, "which have nothing to do"
    result = plan(demand, COSTS, FOUR_CORES)
    # A tenth of .3 s, a twentieth of 3.3 x .3 s, and .006 + 2 x .002 s for nine tenths.
    sampling = 0.1 * 0.3 + 0.05 * 3.3 * 0.3 + 0.9 * 0.01
    assert result.sampling_cores == math.ceil(500 * sampling / 0.8)
    assert result.segment_cpu == pytest.approx(sampling + 0.02 + 0.001 + 0.1 * 0.0025)
    assert result.scorer_load * result.scorers == pytest.approx(500 * 0.1 * (0.069 + 0.01 + 0.0025))
    assert result.scorer_traffic == pytest.approx(500 * (0.1 * 700_000 + 0.05 * 4_000_000))
    assert result.gpus == plan(replace(demand, full_share=1.0), COSTS, FOUR_CORES).gpus
    assert result.media == 500 * 2 * 4e5
    formulas = {line.name: line.formula for line in lines(result, COSTS)}
    sampled = "0.1 x sampling 0.300 + 0.9 x glance 0.0100 + 0.05 x 3.3 x sampling for looks"
    assert formulas["CPU of a worker for a segment"].startswith(f"{sampled} + ")
    assert formulas["CPU of a worker for a segment"].endswith("+ 0.1 x serving layer")
    assert formulas["sampling alone"] == f"segments/s x ({sampled}) / target load 0.8"
    assert formulas["scorers, one core each"].startswith("segments/s x 0.1 x (clip + ")
    assert formulas["network to scorers"].startswith("segments/s x 0.1 x 0.70 MB; + segments/s x deep share x ")


def test_fewer_full_looks_need_fewer_workers() -> None:
    counts = [workers_for(Demand(5000, 2.0, full_share=share), COSTS, FOUR_CORES) for share in (1.0, 0.5, 0.1, 0.0)]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > 5 * counts[-1]


def test_glances_of_unknown_cost_and_more_second_looks_than_full_ones_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"--full-share.*sampling\.360\.glance"):
        plan(Demand(1000, 2.0, height=400, full_share=0.1), COSTS, FOUR_CORES)
    with pytest.raises(SettingsError, match=r"--deep-share.*more than --full-share, 0\.1"):
        plan(Demand(1000, 2.0, deep_share=0.2, full_share=0.1), COSTS, FOUR_CORES)


demands = st.builds(
    Demand,
    streams=st.integers(1, 20_000),
    segment_seconds=st.floats(1, 30),
    height=st.sampled_from([240, 360, 500, 720, 1080]),
    aligned=st.booleans(),
    served=st.booleans(),
    deep_share=st.floats(0, 1),
)


@settings(max_examples=150)
@given(demand=demands, more=st.integers(1, 5000), cores=st.integers(1, 32))
def test_more_streams_never_need_fewer_workers(demand: Demand, more: int, cores: int) -> None:
    limits = Limits(worker_cores=cores)
    try:
        fewer = workers_for(demand, COSTS, limits)
    except SettingsError:
        return  # one stream alone is too much
    assert fewer <= workers_for(replace(demand, streams=demand.streams + more), COSTS, limits)


@settings(max_examples=10)
@given(demand=demands, utilisation=st.floats(0.1, 0.95), cores=st.integers(2, 32))
def test_every_load_is_under_its_target(demand: Demand, utilisation: float, cores: int) -> None:
    limits = Limits(utilisation=utilisation, worker_cores=cores)
    try:
        result = plan(demand, COSTS, limits)
    except SettingsError:
        return  # one stream alone is too much
    assert result.worker_load <= utilisation + 1e-9
    assert result.busiest_load <= max(BUSIEST, utilisation) + 1e-9
    assert result.scorer_load <= utilisation + 1e-9
    assert result.partitions >= result.workers
    assert all(bound.streams >= demand.streams for bound in result.bounds)


@settings(max_examples=25)
@given(demand=demands, cores=st.integers(1, 32), batch_size=st.integers(1, 64))
def test_a_worker_never_does_more_than_its_cores_can(demand: Demand, cores: int, batch_size: int) -> None:
    limits = Limits(worker_cores=cores, batch_size=batch_size)
    service = service_of(demand, COSTS, limits, 1.0 if demand.served else 0.0)
    # The window over which the rate is taken may begin and end anywhere in a batch's course.
    assert capacity(service) <= 1.1 * cores / COSTS.sampling_seconds(demand.height, demand.segment_seconds)


def test_a_worker_cannot_use_any_number_of_cores() -> None:
    """It scores one batch at a time: in batches of one segment the model keeps 16 cores waiting, in batches of 8 it does not."""
    small, large = (plan(Demand(10_000, 2.0), COSTS, Limits(worker_cores=16, batch_size=size)) for size in (1, 8))
    assert small.core_share < 0.7
    assert large.core_share > 0.85
    assert small.workers > 1.5 * large.workers
    assert any("FVQ_BATCH_SIZE" in text for text in warnings(small))
    assert not any("FVQ_BATCH_SIZE" in text for text in warnings(large))
