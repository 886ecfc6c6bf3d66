"""Fixtures of the fault tests: servers and report. With `--chaos` all faults run (`make chaos`), without it a short form."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.chaos.world import Row
from tests.support.servers import influxdb, kafka, kafka_server

__all__ = ["influxdb", "kafka", "kafka_server", "report"]

MOST_GROWTH_MB = 80.0
"""MiB by which buffers and caches may grow until they are full. `test_backpressure.py` checks memory with a large backlog."""


class Report:
    """Collects the rows. full: whether the faults have their full length. rows: file to append them to, one JSON line each."""

    def __init__(self, full: bool, rows: Path | None) -> None:
        self.full = full
        self._rows = rows

    def add(self, row: Row, how: str = "") -> None:
        """Print a row and keep it for the table; fail on a lost segment or growing memory. how: follows the fault's name."""
        values = asdict(row) | {"fault": f"{row.fault}, {how}" if how else row.fault}
        print(f"\n{values}")
        if self._rows is not None:
            with self._rows.open("a") as file:
                file.write(json.dumps(values) + "\n")
        assert row.lost == 0, row.who
        assert row.glances != 0, "streams that do not change get glances, if any do"
        assert row.growth < MOST_GROWTH_MB, "memory grows during the fault"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--chaos"):
        long_tests = [item for item in items if item.get_closest_marker("long") is not None]
        config.hook.pytest_deselected(items=long_tests)
        items[:] = [item for item in items if item not in long_tests]


@pytest.fixture
def report(request: pytest.FixtureRequest) -> Report:
    rows = request.config.getoption("--chaos-rows")
    return Report(request.config.getoption("--chaos"), Path(rows) if rows else None)
