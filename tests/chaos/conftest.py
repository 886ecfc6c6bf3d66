"""The servers, and the report. `--chaos`: the faults at their full length (`make chaos`); without it a short form."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.chaos.world import Row
from tests.support.servers import influxdb, kafka, kafka_server

__all__ = ["influxdb", "kafka", "kafka_server", "report"]


MOST_GROWTH_MB = 80.0
"""What buffers and caches take until they are full; `tests/integration/test_backpressure.py` has a backlog of 120 MB as well."""


class Report:
    """Collects the rows. full: whether the faults have their full length."""

    def __init__(self, full: bool, rows: Path | None) -> None:
        self.full = full
        self._rows = rows

    def add(self, row: Row, how: str = "") -> None:
        """Print a row and keep it for the table; a lost segment, or memory without a bound, fails the test."""
        values = asdict(row) | {"fault": f"{row.fault}, {how}" if how else row.fault}
        print(f"\n{values}")
        if self._rows is not None:
            with self._rows.open("a") as file:
                file.write(json.dumps(values) + "\n")
        assert row.lost == 0
        assert row.growth < MOST_GROWTH_MB, "memory grows under the fault"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--chaos"):
        left = [item for item in items if item.get_closest_marker("long") is not None]
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item not in left]


@pytest.fixture
def report(request: pytest.FixtureRequest) -> Report:
    rows = request.config.getoption("--chaos-rows")
    return Report(request.config.getoption("--chaos"), Path(rows) if rows else None)
