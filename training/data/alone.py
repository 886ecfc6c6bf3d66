"""One run at a time in a folder: what two of them write there at once would be mixed."""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger(__name__)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Make the folder, and hold it for this run. Raises ValueError where another run of this machine has it.

    The folder itself is locked: the lock goes with the process, however that ends.
    """
    folder.mkdir(parents=True, exist_ok=True)
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"{folder}: another run writes into it; wait for its end, or take another folder") from None
        except OSError as error:
            log.debug("%s cannot be locked: %s", folder, error)
        yield
    finally:
        os.close(opened)
