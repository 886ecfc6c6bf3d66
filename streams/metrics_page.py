"""The reference page of the metrics, made from their code: `python -m streams.metrics_page > docs/metrics.md`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.metrics import MetricWrapperBase

from scorer.exposition import build_info
from scorer.remote.metrics import ReplicaMetrics
from streams import metrics as worker_metrics
from streams.ingest import metrics as ingest_metrics
from streams.web import metrics as web_metrics

INTRODUCTION = """# Metrics

What each process tells Prometheus. Made by `python -m streams.metrics_page > docs/metrics.md`.

Each process shows its own at `/metrics`, in Prometheus' text format. A histogram `NAME` is the series `NAME_bucket` (with the
label `le`), `NAME_sum` and `NAME_count`. Counters whose label values are known are there from the start, with 0: `rate` and
`increase` see the first event too. All times are seconds, all shares 0 to 1. Rules and
dashboards use them: [deploy.md](deploy.md#alerts-about-the-monitor). How each type is asked for:

    sum by (status) (rate(fvq_segments_total[5m]))                                 # a counter: events a second
    histogram_quantile(0.95, sum by (le) (rate(fvq_event_lag_seconds_bucket[5m]))) # a histogram: what 95 % stay under
    sum(fvq_alerts_open)                                                           # a gauge: as it is now"""

PROCESS = """Every process also has `process_cpu_seconds_total`, `process_resident_memory_bytes`, `process_open_fds` and the
other `process_...` of prometheus-client. A worker's leave out its sampling children, which `fvq_sampler_busy_seconds_total`
is for."""


@dataclass(frozen=True)
class Described:
    """One metric. name: as it is asked for, with `_total` of a counter."""

    name: str
    kind: str
    labels: tuple[str, ...]
    meaning: str


def processes() -> dict[str, list[Described]]:
    """The metrics by the processes that show them; first those that every process has."""
    return {
        "Every process": list(_of([build_info(CollectorRegistry())])),
        "`fvq worker`": list(_of(vars(worker_metrics).values())),
        "`fvq serve`": list(_of(vars(ReplicaMetrics()).values())),
        "`fvq ingest hls`, `dash`, `push`, `folder`": list(
            _of([*vars(ingest_metrics).values(), *ingest_metrics.COUNTERS.values()])
        ),
        "`fvq web`": list(_of(vars(web_metrics).values())),
    }


def reference() -> str:
    """The page, Markdown."""
    lines = [INTRODUCTION]
    for process, described in processes().items():
        lines += ["", f"## {process}", "", "| metric | type | meaning |", "|---|---|---|"]
        for metric in described:
            labels = f"{{{','.join(metric.labels)}}}" if metric.labels else ""
            lines.append(f"| `{metric.name}{labels}` | {metric.kind} | {metric.meaning} |")
        if process == "Every process":
            lines += ["", PROCESS]
    return "\n".join(lines) + "\n"


def _of(values: Iterable[object]) -> Iterator[Described]:
    for metric in values:
        if isinstance(metric, MetricWrapperBase):
            (family,) = metric.describe()
            name = family.name + "_total" if isinstance(metric, Counter) else family.name
            yield Described(name, family.type, tuple(metric._labelnames), family.documentation)


if __name__ == "__main__":
    print(reference(), end="")
