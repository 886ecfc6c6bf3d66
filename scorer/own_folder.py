"""A folder that one process has for itself, in a folder that several share.

Processes may share a folder from several containers, in each of which they have the same process number, and see no process of
another one. So each locks its folder: the lock goes with the process, however that ends.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger(__name__)
FOLDER = re.compile(r"([0-9]+)(-[0-9a-f]{8})?")
"""The name of a process's folder, without its prefix; without a lock and the second part in versions before."""


class OwnFolder:
    """This process's folder, locked as long as the process runs. path: of the folder.

    parent: where all processes have theirs. prefix: what the names of this kind begin with. Those of the same kind that no
    process has any more are deleted. Raises `OSError`.
    """

    def __init__(self, parent: Path, prefix: str = "") -> None:
        parent.mkdir(parents=True, exist_ok=True)
        # One process at a time: none takes a folder that is not locked yet for one that nobody has.
        with locked(parent):
            for other in parent.glob(f"{prefix}*"):
                name = other.name.removeprefix(prefix)
                if FOLDER.fullmatch(name) and (name == str(os.getpid()) or not is_used(other, prefix)):
                    shutil.rmtree(other, ignore_errors=True)
            self.path = parent / f"{prefix}{unique()}"
            self.path.mkdir()
            self._lock = _lock(self.path)

    def delete(self) -> None:
        """Delete the folder, and what is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        _unlock(self._lock)


def unique() -> str:
    """A name that no other process gives, nor this one again: its number, and what tells it from those of other containers."""
    return f"{os.getpid()}-{secrets.token_hex(4)}"


def is_used(folder: Path, prefix: str = "") -> bool:
    """Whether a process that runs has this folder. Where there are no locks, and of a version before, its number tells."""
    number, _, token = folder.name.removeprefix(prefix).partition("-")
    runs = Path("/proc", number).exists()
    try:
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return runs
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return runs
    finally:
        os.close(opened)
    return runs and not token


@contextmanager
def locked(folder: Path, wait: bool = True) -> Iterator[None]:
    """No other process that asks for this has the folder meanwhile, unless its file system has no locks. Raises `OSError`,
    `BlockingIOError` where another one has it and `wait` is False.
    """
    opened = _lock(folder, wait)
    try:
        yield
    finally:
        _unlock(opened)


def _lock(folder: Path, wait: bool = True) -> int | None:
    """The open folder, locked; None where its file system has no locks."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(opened)
        raise
    except OSError as error:
        log.debug("%s cannot be locked: %s", folder, error)
        os.close(opened)
        return None
    return opened


def _unlock(opened: int | None) -> None:
    if opened is not None:
        os.close(opened)
