"""The clip store of these tests: a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.queue.clips import ClipStore


@pytest.fixture
def store(tmp_path: Path) -> ClipStore:
    return ClipStore(str(tmp_path / "clips"))
