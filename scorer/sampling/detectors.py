"""The face detector and the person segmenter of a process."""

from __future__ import annotations

from functools import cache

from scorer.sampling.faces import FaceFinder
from scorer.sampling.portrait import PersonMatte


class Detectors:
    """The face detector and the person segmenter, loaded; `sample` uses `process_detectors`."""

    def __init__(self) -> None:
        self.faces = FaceFinder()
        self.person = PersonMatte()


@cache
def process_detectors() -> Detectors:
    """The detectors of this process, loaded by the first call."""
    return Detectors()
