"""The folder of a worker's fetched segments, in the inbox of its data folder.

Workers may share a data folder from several containers, in each of which they have the same process number, and see no process of
another one. So a worker locks its folder: the lock goes with the process, however that ends.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import secrets
import shutil
from pathlib import Path

log = logging.getLogger(__name__)
FOLDER = re.compile(r"[0-9]+(-[0-9a-f]{8})?")
"""The name of a worker's folder; without a lock and the second part in versions before."""


class OwnInbox:
    """This process's folder, locked as long as the process runs. path: of the folder.

    inbox: where all workers of a data folder have theirs. Those that no worker has any more are deleted. Raises `OSError`.
    """

    def __init__(self, inbox: Path) -> None:
        inbox.mkdir(parents=True, exist_ok=True)
        # One worker at a time: none takes a folder that is not locked yet for one that nobody has.
        starting = _locked(inbox)
        try:
            for other in inbox.iterdir():
                if FOLDER.fullmatch(other.name) and (other.name == str(os.getpid()) or not is_used(other)):
                    shutil.rmtree(other, ignore_errors=True)
            self.path = inbox / f"{os.getpid()}-{secrets.token_hex(4)}"
            self.path.mkdir()
            self._lock = _locked(self.path)
        finally:
            _unlock(starting)

    def delete(self) -> None:
        """Delete the folder, and what is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        _unlock(self._lock)


def is_used(folder: Path) -> bool:
    """Whether a worker that runs has this folder. Where there are no locks, and of a version before, its number tells."""
    runs = Path("/proc", folder.name.partition("-")[0]).exists()
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
    return runs and "-" not in folder.name


def _locked(folder: Path) -> int | None:
    """The open folder, locked; None where its file system has no locks."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX)
    except OSError as error:
        log.debug("%s cannot be locked: %s", folder, error)
        os.close(opened)
        return None
    return opened


def _unlock(opened: int | None) -> None:
    if opened is not None:
        os.close(opened)
