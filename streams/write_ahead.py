"""Sets a SQLite file to a write-ahead log, with which readers wait for no writer."""

from __future__ import annotations

import sqlite3
import time

PAUSE_SECONDS = 0.02


def write_ahead(connection: sqlite3.Connection, wait: float) -> None:
    """Set the file to a write-ahead log; it stays so. wait: seconds that others are waited for.

    Raises `sqlite3.Error` where the file cannot be written, or others still write after that time.
    """
    end = time.monotonic() + wait
    while True:
        try:
            connection.execute("pragma journal_mode = wal")
            return
        except sqlite3.OperationalError as error:
            # SQLite's own timeout does not hold here: where another connection writes, or sets it as well, it refuses at once.
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() >= end:
                raise
        time.sleep(PAUSE_SECONDS)
