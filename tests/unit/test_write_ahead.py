"""A SQLite file is set to a write-ahead log while others use it."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest

from streams.write_ahead import write_ahead


def file_with_writer(path: Path) -> sqlite3.Connection:
    """A connection that is writing to a file without a write-ahead log."""
    writer = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    writer.execute("create table numbers (number)")
    writer.execute("begin immediate")
    return writer


def test_it_waits_for_who_is_writing(tmp_path: Path) -> None:
    writer = file_with_writer(tmp_path / "file")
    connection = sqlite3.connect(tmp_path / "file")
    threading.Timer(0.3, writer.execute, ["commit"]).start()
    write_ahead(connection, 60)
    assert connection.execute("pragma journal_mode").fetchone() == ("wal",)


def test_who_writes_for_too_long_is_told(tmp_path: Path) -> None:
    writer = file_with_writer(tmp_path / "file")
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        write_ahead(sqlite3.connect(tmp_path / "file"), 0.1)
    writer.execute("commit")


def test_a_file_that_cannot_be_written_is_refused_at_once(tmp_path: Path) -> None:
    file_with_writer(tmp_path / "file").execute("commit")
    connection = sqlite3.connect(f"{(tmp_path / 'file').as_uri()}?mode=ro", uri=True)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        write_ahead(connection, 600)
