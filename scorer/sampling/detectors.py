"""The face detector and the person segmenter of a process."""

from __future__ import annotations

import threading
from functools import cache
from types import TracebackType
from typing import Self

from scorer.sampling.faces import FaceFinder
from scorer.sampling.portrait import PersonMatte


class Detectors:
    """The face detector and the person segmenter, loaded. The caller closes them; `sample` uses `process_detectors`."""

    def __init__(self) -> None:
        self.faces = FaceFinder()
        self.person = PersonMatte()

    def close(self) -> None:
        """Free both: MediaPipe raises an error when the interpreter ends while they are open."""
        self.faces.close()
        self.person.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


@cache
def process_detectors() -> Detectors:
    """The detectors of this process, loaded by the first call: loading takes longer than sampling a segment."""
    detectors = Detectors()
    # `atexit` is too late to close them: MediaPipe's own thread, which closes them, has ended by then. Callbacks that
    # are registered here run earlier.
    threading._register_atexit(detectors.close)  # type: ignore[attr-defined]
    return detectors
