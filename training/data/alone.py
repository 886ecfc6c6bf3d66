"""One run at a time in a folder: what two of them write there at once would be mixed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from scorer.own_folder import locked


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Make the folder, and hold it for this run. Raises ValueError where another run of this machine has it.

    The folder itself is locked: the lock goes with the process, however that ends.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        try:
            held.enter_context(locked(folder, wait=False))
        except BlockingIOError:
            raise ValueError(f"{folder}: another run writes into it; wait for its end, or take another folder") from None
        yield
