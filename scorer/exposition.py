"""What the metrics of every process have in common: the program's version, the process itself, and values that start at zero."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TypeVar

from prometheus_client import CollectorRegistry, Gauge, ProcessCollector, disable_created_metrics
from prometheus_client.metrics import MetricWrapperBase

# Without this, each counter and histogram has a second series `..._created` with a time that nothing reads.
disable_created_metrics()

Metric = TypeVar("Metric", bound=MetricWrapperBase)


def build_info(registry: CollectorRegistry) -> Gauge:
    """Add `fvq_build_info` to a registry. Its label is the version of the package, `unknown` where that is not installed."""
    gauge = Gauge("fvq_build_info", "1; its label is the version of the program.", ["version"], registry=registry)
    try:
        gauge.labels(version("fvq-monitor")).set(1)
    except PackageNotFoundError:
        gauge.labels("unknown").set(1)
    return gauge


def new_registry() -> CollectorRegistry:
    """A registry of its own for one process, with its build and `process_...` (CPU time, memory, open files)."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    build_info(registry)
    return registry


def from_zero(metric: Metric, *values: str | tuple[str, ...]) -> Metric:
    """The metric, whose series for these label values exist from the start.

    A counter that appears with its first event is 1 from the first scrape on: `rate` and `increase` never see that event.
    values: a label's value, or a tuple with one for each label.
    """
    for value in values:
        metric.labels(*((value,) if isinstance(value, str) else value))
    return metric
