"""A scorer whose batches a test holds and counts, in place of an engine of a served scorer."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from scorer.errors import ModelError
from scorer.spec import ClipScore, ModelId, ModelInput
from tests.support.doubles import BrightnessScorer


class HeldScorer(BrightnessScorer):
    """Scores by brightness when it is let go. A clip whose last statistic is 13 fails; with `broken` every clip fails.

    go: set at the start; a test that clears it holds the next batch. at_work: set as soon as a batch is held or scored.
    """

    def __init__(self, version: str = "1") -> None:
        super().__init__()
        self.model = ModelId("brightness", version)
        self.go = threading.Event()
        self.go.set()
        self.at_work = threading.Event()
        self.broken = False
        self.checks = 0

    def score(self, clips: Sequence[ModelInput]) -> list[ClipScore]:
        self.at_work.set()
        if not self.go.wait(20):
            raise TimeoutError("the test did not let the scorer go")
        if self.broken or any(clip.statistics[-1] == 13 for clip in clips):
            self.batches.append(-len(clips))
            raise ModelError("the model gave a score that is not a finite number")
        return super().score(clips)

    def check(self) -> None:
        self.checks += 1
        if self.broken:
            raise ModelError("the model gave a score that is not a finite number")
