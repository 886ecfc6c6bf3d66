"""The metrics: the reference page is what the code makes, and what is known from the start is shown from the start."""

from __future__ import annotations

import re
from importlib.metadata import version
from typing import Any, get_args

import pytest
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, generate_latest

from scorer.exposition import from_zero, new_registry
from scorer.remote.metrics import ReplicaMetrics
from streams import metrics
from streams.events import AlertKind, SegmentScore, TrainingExample
from streams.events.scores import FullReason, TierReason
from streams.ingest import metrics as ingest_metrics
from streams.ingest.states import State
from streams.metrics_page import Described, processes, reference
from streams.web import metrics as web_metrics
from tests.support.deploy import series_of
from tests.support.processes import ROOT
from tests.unit.test_docs import METRIC_FILES

PAGES = {
    "worker": generate_latest(REGISTRY).decode(),
    "ingest": generate_latest(ingest_metrics.REGISTRY).decode(),
    "scorer": ReplicaMetrics().page().decode(),
    "web": generate_latest(web_metrics.REGISTRY).decode(),
}
DECLARED = [metric for metrics_of in processes().values() for metric in metrics_of]


def values_of(metric: Any) -> set[tuple[str, ...]]:
    """The labels' values of the series that a metric has."""
    return {tuple(sample.labels.values()) for family in metric.collect() for sample in family.samples}


def test_the_reference_page_is_current() -> None:
    assert (ROOT / "docs/metrics.md").read_text() == reference(), "run: python -m streams.metrics_page > docs/metrics.md"


def test_every_metric_that_is_declared_is_on_the_page() -> None:
    declared = {name for file in METRIC_FILES for name in re.findall(r'"(fvq_\w+)"', (ROOT / file).read_text())}
    assert {metric.name.removesuffix("_total") for metric in DECLARED} == declared


@pytest.mark.parametrize("metric", DECLARED, ids=lambda metric: metric.name)
def test_a_meaning_is_a_sentence_that_names_a_unit_or_its_labels(metric: Described) -> None:
    assert metric.meaning.endswith("."), metric.meaning
    assert "|" not in metric.meaning
    assert metric.kind in ("counter", "gauge", "histogram")


def test_a_histogram_has_the_series_that_prometheus_sees() -> None:
    (lag,) = (metric for metric in DECLARED if metric.name == "fvq_event_lag_seconds")
    shown = set(re.findall(r"^(fvq_event_lag_seconds_\w+)", PAGES["worker"], re.MULTILINE))
    assert set(series_of(lag)) == shown
    assert series_of(lag)["fvq_event_lag_seconds_bucket"] == {"le"}


@pytest.mark.parametrize("process", PAGES)
def test_a_process_shows_its_build_and_itself_and_no_times_of_creation(process: str) -> None:
    assert f'fvq_build_info{{version="{version("fvq-monitor")}"}} 1.0' in PAGES[process]
    assert "process_resident_memory_bytes" in PAGES[process]
    assert "process_cpu_seconds_total" in PAGES[process]
    assert "_created" not in PAGES[process]


def test_a_series_from_zero_is_there_before_its_first_event() -> None:
    registry = CollectorRegistry()
    counter = from_zero(Counter("c", "Of a test.", ["kind", "state"], registry=registry), ("a", "on"), ("b", "off"))
    assert registry.get_sample_value("c_total", {"kind": "a", "state": "on"}) == 0
    counter.labels("b", "off").inc()
    assert registry.get_sample_value("c_total", {"kind": "b", "state": "off"}) == 1
    assert from_zero(Gauge("g", "Of a test.", ["kind"], registry=registry), "a").labels("a")._value.get() == 0


def test_known_values_are_those_of_the_events() -> None:
    assert set(metrics.ALERT_KINDS) == set(get_args(AlertKind))
    assert set(metrics.DEEP_REASONS) == set(get_args(TierReason))
    assert set(metrics.FULL_REASONS) == set(get_args(FullReason))
    reasons = get_args(TrainingExample.model_fields["reason"].annotation)
    assert {reason for (reason,) in values_of(metrics.HARVESTED)} == {*reasons, "vanished"}
    assert {status for (status,) in values_of(metrics.SEGMENTS)} >= {
        *get_args(SegmentScore.model_fields["status"].annotation),
        "dead-letter",
    }
    assert {state for (state,) in values_of(ingest_metrics.SOURCES)} == set(get_args(State))


def test_known_kinds_of_dead_letters_are_those_of_the_documentation() -> None:
    text = (ROOT / "docs/dead-letters.md").read_text()
    table = text.split("| kind | |\n", 1)[1].split("\n\n", 1)[0]
    documented = {kind for row in table.splitlines()[1:] for kind in re.findall(r"`([a-z-]+)`", row.split("|")[1])}
    assert documented == set(metrics.DEAD_LETTER_KINDS)


def test_two_registries_do_not_share_their_build() -> None:
    assert new_registry() is not new_registry()
