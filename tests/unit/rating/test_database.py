"""A ratings file of an earlier version gets the columns that were added since, and keeps what it holds."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from streams.rating.database import ADDED, NAME, SCHEMA
from streams.rating.store import RatingStore
from tests.support.rating import make_example

KEY = ("studio-0", make_example(stream_id="studio-0", number=0).example_id)


@pytest.fixture
def old_file(tmp_path: Path) -> Path:
    """A file as the first version has written it, with one rating; returns its folder."""
    with sqlite3.connect(tmp_path / NAME) as db:
        db.executescript(SCHEMA)
        db.execute("insert into raters (name, token_hash, seed, created) values ('ada', null, 'seed', '2026-01-01')")
        db.execute("insert into examples values (?, ?, 's3://clips/0.ts', '2026-01-01', 1)", KEY)
        db.execute("insert into presentations values ('p', 1, 0, ?, ?, 0, '2026-01-01', 0)", KEY)
        db.execute("insert into ratings values (1, 'p', 70, 'acr', 2.5, '2026-01-01', 0)")
    return tmp_path


def columns(folder: Path, table: str) -> list[str]:
    with sqlite3.connect(folder / NAME) as db:
        return [row[1] for row in db.execute(f"pragma table_info({table})")]


def test_an_old_file_keeps_its_ratings_and_takes_new_ones(old_file: Path) -> None:
    assert not any(name in columns(old_file, table) for table, name, _ in ADDED)
    store = RatingStore(old_file)
    (old,) = store.ratings()
    assert (old.key, old.points, old.factor) == (KEY, 70, None)
    ada = store.sign_in(store.add_rater("ada"))
    assert ada is not None
    assert store.progress(ada).done == 1
    store.sync([make_example(stream_id="studio-0", number=number) for number in range(2)])
    shown = store.current(ada)
    assert shown is not None
    store.rate(ada, shown.id, 30, "acr", 1, 0.5)
    assert [rating.factor for rating in RatingStore(old_file).ratings()] == [None, 0.5]


def test_processes_that_open_an_old_file_at_once_all_work(old_file: Path) -> None:
    program = (
        "import sys, pathlib; from streams.rating.store import RatingStore; RatingStore(pathlib.Path(sys.argv[1])).ratings()"
    )
    command = [sys.executable, "-c", program, str(old_file)]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    for process in processes:
        errors = process.communicate(timeout=60)[1]
        assert process.returncode == 0, errors
    for table, name, _ in ADDED:
        assert columns(old_file, table).count(name) == 1


def test_a_new_file_has_all_columns(tmp_path: Path) -> None:
    RatingStore(tmp_path)
    for table, name, _ in ADDED:
        assert name in columns(tmp_path, table)
