"""A plan as a table for people and as JSON for scripts: each line with its formula in words."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, TextIO

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from streams.plan.costs import StageCosts
from streams.plan.plan import Lag, Plan, glance_of
from streams.text import printable

LOW_SHARE = 0.85
"""Below this share of its cores that a worker can use, the plan says what to try."""


@dataclass(frozen=True)
class Line:
    """One line of the plan. value: None where it is not known or never comes; `note` says which."""

    name: str
    value: float | None
    unit: str
    formula: str
    note: str = ""


def lines(plan: Plan, costs: StageCosts) -> list[Line]:
    """The lines of a plan, in the order of a segment's way."""
    demand, limits = plan.demand, plan.limits
    sampling = costs.sampling_seconds(demand.height, demand.segment_seconds)
    target = f"target load {limits.utilisation:g}"
    looks = f" + {demand.deep_share:g} x {costs.model.deep_sampling:g} x sampling for looks" if demand.deep_share else ""
    where = "serving layer" if demand.served else f"model at batches of {limits.batch_size}"
    full = _full(plan)
    glances = f" + {1 - demand.full_share:g} x glance {glance_of(demand, costs):.4f}" if full else ""
    sampled = f"{full}sampling {sampling:.3f}{glances}{looks}"
    return [
        Line("segments", plan.rate, "/s", "streams / segment seconds"),
        Line(
            "CPU of a worker for a segment", plan.segment_cpu, "s",
            f"{sampled} + fetching {costs.stream.fetch_cpu_s:.4f} + Kafka and sink "
            f"{1 / costs.stream.events_per_second:.4f} + {full}{where}",
        ),
        Line(
            "capacity of a worker", plan.worker_capacity, "/s",
            f"simulated, a long backlog: it uses {plan.core_share:.0%} of its cores, because it scores one batch at a time",
        ),
        Line(
            "workers", plan.workers, f"x {limits.worker_cores} cores",
            f"segments/s / (workers x capacity) under the {target}, and the worker with most streams under 0.95",
        ),
        Line("load of a worker", plan.worker_load, "", "segments/s / (workers x capacity)"),
        Line(
            "streams of the busiest worker", plan.busiest_streams, "",
            f"a stream's key decides its partition, so chance gives one worker more; its load is {plan.busiest_load:.2f}",
        ),
        Line(
            "sampling alone", plan.sampling_cores, "cores",
            f"segments/s x ({sampled}) / {target}",
        ),
        *_scorer_lines(plan, costs),
        Line(
            "partitions", plan.partitions, "",
            f"workers x {limits.partitions_per_worker}: Kafka cannot take any away, no worker can join beyond them, and a dead "
            "worker's load spreads over as many others",
        ),
        Line("memory", plan.memory_mb, "MiB", "workers x (worker + children + model where it is in the worker) + scorers"),
        Line("into Kafka", plan.kafka_in, "bytes/s", "segments/s x (event + score)"),
        Line("out of Kafka", plan.kafka_out, "bytes/s", "segments/s x (event + 2 x score): two agents read each score"),
        Line("between brokers", plan.kafka_copies, "bytes/s", f"into Kafka x ({limits.copies} copies - 1)"),
        Line(
            "InfluxDB", plan.points, "points/s",
            f"one for each segment; without it each worker's SQLite store could take {costs.stream.sink_points_per_second:.0f}/s",
        ),
        Line("media network", plan.media, "bytes/s", "segments/s x segment seconds x bytes of a second of video"),
        Line("network to scorers", plan.scorer_traffic, "bytes/s", _traffic_formula(plan, costs)),
        Line(
            "time to catch up when a worker dies", plan.catch_up, "s",
            f"what its partitions got in {limits.outage:g} s / the capacity that those who take them over have left",
            "" if plan.catch_up is not None else "never without a new worker: the others have no capacity left for its streams",
        ),
    ]  # fmt: skip


def _full(plan: Plan) -> str:
    """The factor of what full looks alone cost; empty where every segment gets one."""
    return f"{plan.demand.full_share:g} x " if plan.demand.full_share < 1 else ""


def _scorer_lines(plan: Plan, costs: StageCosts) -> list[Line]:
    demand, limits = plan.demand, plan.limits
    scorer_lines = []
    if demand.served:
        scorer_lines.append(
            Line(
                "scorers, one core each",
                plan.scorers,
                "",
                f"segments/s x {_full(plan)}(clip + batch / {limits.batch_size} + serving layer) / target load; their load is "
                f"{plan.scorer_load:.2f}",
            )
        )
    if demand.deep_share:
        known = costs.model.deep_clip_s is not None
        scorer_lines.append(
            Line(
                "GPUs for the large model",
                plan.gpus,
                "",
                "segments/s x deep share x GPU seconds of a clip / target load",
                ""
                if known
                else "not known: the costs have no model.deep_clip_s; measure it on your GPU and write it into the file",
            )
        )
    return scorer_lines


def _traffic_formula(plan: Plan, costs: StageCosts) -> str:
    clip = f"segments/s x {_full(plan)}{costs.model.clip_bytes / 1e6:.2f} MB"
    small = clip if plan.demand.served else "none: the model is in the worker"
    if not plan.demand.deep_share:
        return small
    deep = costs.model.deep_clip_bytes
    return f"{small}; + segments/s x deep share x " + (f"{deep / 1e6:.1f} MB" if deep else "a size that is not known")


def warnings(plan: Plan) -> list[str]:
    """What the plan's reader should know."""
    texts = []
    window, lag = plan.limits.live_window, plan.crowded
    if lag.skipped:
        texts.append(f"the live window of {window:g} s skips {lag.skipped:.1%} of the busiest worker's segments")
    elif window is not None and lag.p99 > window / 2:
        texts.append(f"the lag comes near the live window of {window:g} s, beyond which segments are skipped")
    if plan.core_share < LOW_SHARE:
        texts.append(
            f"workers of {plan.limits.worker_cores} cores use {plan.core_share:.0%} of them: try a larger FVQ_BATCH_SIZE than "
            f"{plan.limits.batch_size}, or fewer --worker-cores"
        )
    if plan.demand.aligned and plan.demand.streams > 1:
        texts.append("the streams' segments are taken to end together; where they do not, --spread tells the lag")
    return texts


def as_json(plan: Plan, costs: StageCosts, origin: str) -> dict[str, Any]:
    """The plan for scripts. origin: whose costs they are."""
    return {
        "demand": asdict(plan.demand),
        "limits": asdict(plan.limits),
        "costs": {"origin": origin, **costs.model_dump()},
        "lines": [asdict(line) for line in lines(plan, costs)],
        "lag": {"average": _finite(plan.average), "busiest": _finite(plan.crowded)},
        "breaks_first": [asdict(bound) for bound in plan.bounds],
        "warnings": warnings(plan),
    }


def _finite(lag: Lag) -> dict[str, float | None]:
    """A lag for JSON, which knows no infinite numbers: None where no segment was scored."""
    return {name: value if math.isfinite(value) else None for name, value in asdict(lag).items()}


def print_plan(plan: Plan, costs: StageCosts, origin: str, out: TextIO) -> None:
    """Print the plan as tables."""
    # A pipe has no width. With rich's default of 80 columns, formulas would break into many lines.
    console = Console(file=out, width=None if out.isatty() else 160, highlight=False)
    demand = plan.demand
    arriving = "segments of all streams end together" if demand.aligned else "segments end at times spread at random"
    console.print(
        f"{demand.streams:,} streams, segments of {demand.segment_seconds:g} s at {demand.height}p, {arriving}", markup=False
    )
    console.print(Text(f"costs: {printable(origin)}"))
    table = Table("", Column("", justify="right"), Column("how it is computed", overflow="fold"), box=None)
    for line in lines(plan, costs):
        table.add_row(line.name, Text(shown(line)), Text(line.note or line.formula, "yellow" if line.note else "dim"))
    console.print(table)
    console.print(_lag_table(plan))
    console.print(_bounds_table(plan))
    for warning in warnings(plan):
        console.print(Text(warning, "yellow"))


def _lag_table(plan: Plan) -> Table:
    columns = [Column(name, justify="right") for name in ("load", "p50, s", "p95, s", "p99, s", "clips in a batch", "skipped")]
    table = Table("lag from a segment's end, simulated", *columns, box=None)
    for name, lag in (("a worker with the average number of streams", plan.average), ("the busiest worker", plan.crowded)):
        table.add_row(name, *lag_cells(lag))
    return table


def lag_cells(lag: Lag) -> list[str]:
    """The cells of a lag's row."""
    times = [f"{value:.2f}" if math.isfinite(value) else "none scored" for value in (lag.p50, lag.p95, lag.p99)]
    return [f"{lag.load:.2f}", *times, f"{lag.mean_batch:.1f}", f"{lag.skipped:.1%}"]


def _bounds_table(plan: Plan) -> Table:
    table = Table("with these machines, what breaks first", Column("at streams", justify="right"), box=None)
    for bound in plan.bounds:
        table.add_row(bound.what, f"{bound.streams:,}")
    return table


def shown(line: Line) -> str:
    """A line's value with its unit, in digits that people read."""
    if line.value is None:
        return "-"
    if line.unit == "bytes/s":
        size = next(
            ((factor, name) for factor, name in ((1e9, "GB/s"), (1e6, "MB/s"), (1e3, "kB/s")) if line.value >= factor), None
        )
        return f"{line.value / size[0]:.1f} {size[1]}" if size else f"{line.value:.0f} B/s"
    if line.unit == "MiB":
        return f"{line.value / 1024:,.1f} GiB"
    digits = f"{line.value:,.0f}" if line.value >= 100 or line.value == int(line.value) else f"{line.value:.3g}"
    return f"{digits} {line.unit}".rstrip()
