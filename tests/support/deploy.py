"""What deploy/ names, held against the product: metrics with their labels in PromQL, commands and settings."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from streams.metrics_page import Described, processes
from tests.support.processes import ROOT

TARGET_LABELS = {"instance", "job", "process"}
"""Labels that Prometheus adds to whatever it scrapes; `process` only to ingesters."""

OF_THE_PROCESS = {"process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds", "process_max_fds"}
"""What prometheus-client adds about the process; all of `streams.metrics_page`'s processes have them."""


SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
"""What a metric's name ends with, in each of its series."""


def series_of(metric: Described) -> dict[str, set[str]]:
    """The names of a metric's series, each with its labels."""
    base = metric.name.removesuffix("_total")
    return {base + suffix: {*metric.labels, *(["le"] if suffix == "_bucket" else [])} for suffix in SUFFIXES[metric.kind]}


def product_metrics() -> dict[str, set[str]]:
    """Every sample that a process of the product can show, and the labels it has."""
    shown = [metric for metrics in processes().values() for metric in metrics]
    series = {name: labels | TARGET_LABELS for metric in shown for name, labels in series_of(metric).items()}
    return series | dict.fromkeys(OF_THE_PROCESS, TARGET_LABELS)


def recorded_series() -> set[str]:
    """What the rules record under a name of its own."""
    return set(re.findall(r"- record: (\S+)", (ROOT / "deploy/prometheus/rules.yaml").read_text()))


def problems_of_promql(expression: str) -> list[str]:
    """What an expression names that is not there: metrics, labels in a selector, labels in `by (...)`."""
    known = product_metrics() | {"up": TARGET_LABELS}
    selected = re.findall(r"\b(fvq_\w+|process_\w+|up)\b(?!\s*\()(?:\{([^}]*)\})?", expression)
    used = dict.fromkeys(name for name, _ in selected)
    recorded = set(re.findall(r"\bfvq:[\w:]+", expression))
    if unknown := recorded - recorded_series():
        return [f"there is no recorded {name}" for name in sorted(unknown)]
    if not used and recorded:
        return []
    if not used:
        return [f"{expression!r} names no metric"]
    problems = [f"there is no metric {name}" for name in used if name not in known]
    for name, selector in selected:
        named = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector))
        problems += [f"{name} has no label {label}" for label in sorted(named - known.get(name, named))]
    grouped = {word.strip() for group in re.findall(r"\bby\s*\(([^)]*)\)", expression) for word in group.split(",")}
    labels = set().union(*(known.get(name, set()) for name in used))
    return problems + [f"no metric of it has the label {label}" for label in sorted(grouped - labels)]


def checker(tool: str) -> str:
    """The path of promtool or amtool. Where it cannot be had, skip the test; with CI=true, fail it."""
    return str(_fetched("promtool") / tool)


def compose_loader() -> str:
    """The path of Compose's own loader. Where it cannot be built, skip the test; with CI=true, fail it."""
    return str(_fetched("compose-loader"))


def _fetched(script: str) -> Path:
    """What the script under scripts/ prints: a path."""
    found = subprocess.run([str(ROOT / "scripts" / script)], capture_output=True, text=True, timeout=600)
    if found.returncode == 3 and os.environ.get("CI") != "true":
        pytest.skip(found.stderr.strip())
    assert found.returncode == 0, found.stderr
    return Path(found.stdout.strip())
