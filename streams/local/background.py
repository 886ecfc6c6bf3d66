"""A thread of `fvq up` whose error ends the run: of a plain thread's error nobody else hears, and the run would wait on."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Background(threading.Thread):
    """Runs a function beside the main thread, and ends with the process."""

    def __init__(self, function: Callable[[], object], name: str) -> None:
        super().__init__(name=name, daemon=True)
        self._function = function
        self._error: Exception | None = None

    def run(self) -> None:
        try:
            self._function()
        except Exception as error:
            self._error = error

    def check(self) -> None:
        """Raises in the caller's thread what the function raised, if it did."""
        if self._error is not None:
            raise self._error
