"""What is kept in a record once it is made."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.data.records import kept_record


def test_it_is_made_once(tmp_path: Path) -> None:
    record = tmp_path / "clip.blur-1.json"
    made = {"vmaf": 71.25, "parts": [1.0, 2.0]}
    assert kept_record(record, lambda: made) == made
    assert kept_record(record, lambda: pytest.fail("it is there")) == made
    assert [path.name for path in tmp_path.iterdir()] == [record.name]


def test_nothing_is_kept_where_nothing_could_be_made(tmp_path: Path) -> None:
    def fail() -> dict[str, float]:
        raise ValueError("no face")

    record = tmp_path / "clip.json"
    with pytest.raises(ValueError, match="no face"):
        kept_record(record, fail)
    assert kept_record(record, lambda: None) is None
    assert not any(tmp_path.iterdir())
    assert kept_record(record, lambda: [3.5]) == [3.5], "it is tried again"
