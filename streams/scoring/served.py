"""The served scorer in a worker: it is waited for at the start, and a small model may answer while it is away."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from scorer.remote.client import RemoteScorer
from scorer.spec import ClipScore, ModelId, ModelInput, SamplerSpec, Scorer
from streams import metrics
from streams.errors import ModelError, ScorerError, SpecChangedError

log = logging.getLogger(__name__)
PATIENCE_SECONDS = 15.0
"""Time without an answer of the served scorer after which the worker's own model answers. A restart of one replica is shorter."""

PROBE_EVERY, PROBE_SHARE = 5.0, 0.1
"""Seconds between two questions whether the served scorer is back, at least; the share of the time that the questions may take:
the worker's own model waits for them, some seconds for each address that hangs."""


class FallbackScorer:
    """Scores at the served scorer, and by the worker's own model where that has been away for a while.

    Scores of the worker's own model say so (`ClipScore.fallback`). Implements `scorer.spec.Scorer`. clock: monotonic seconds.
    """

    def __init__(self, remote: RemoteScorer, own: Scorer, clock: Callable[[], float] = time.monotonic) -> None:
        self._remote, self._own, self._clock = remote, own, clock
        self._away_since: float | None = None
        self._probe_at = 0.0
        self._uses_own = False

    @property
    def spec(self) -> SamplerSpec:
        """The sampler's specification of the model that scores now."""
        return self._own.spec if self._uses_own else self._remote.spec

    @property
    def model(self) -> ModelId:
        """The model that scores now."""
        return self._own.model if self._uses_own else self._remote.model

    @property
    def problem(self) -> str:
        """Why there are no scores now; '' where there are."""
        return "" if self._uses_own else self._remote.problem

    def connect(self) -> None:
        """Learn the served model; the worker's own one is taken where that fails for a while. Raises `ScorerError` before."""
        started = self._clock()
        try:
            self._remote.connect()
        except ScorerError as error:
            if not self._gives_up(started):
                raise
            self._use_own(error)

    def score(self, clips: Sequence[ModelInput]) -> list[ClipScore]:
        """One score per clip, in order, of clips that are sampled by `spec`. Raises as `scorer.spec.Scorer` says."""
        if self._uses_own:
            self._try_remote()
            return [replace(score, fallback=True) for score in self._own.score(clips)]
        started = self._clock()
        try:
            scores = self._remote.score(clips)
        except ScorerError as error:
            if not self._gives_up(started):
                raise
            self._use_own(error)
            raise SpecChangedError("the worker's own model answers, as no served scorer does") from error
        self._away_since = None
        return scores

    def close(self) -> None:
        """Ask the served scorer no more; a question under way ends now."""
        self._remote.close()

    def _gives_up(self, started: float) -> bool:
        """Whether the served scorer has been away for long enough. started: when it was asked."""
        if self._away_since is None:
            self._away_since = started
        return self._clock() - self._away_since >= PATIENCE_SECONDS

    def _use_own(self, error: ScorerError) -> None:
        self._uses_own, self._probe_at = True, self._clock() + PROBE_EVERY
        log.error("no served scorer has answered for a while, %s answers meanwhile: %s", self._own.model, error)
        metrics.FALLBACK.set(1)
        metrics.show_model(self._own.model)

    def _try_remote(self) -> None:
        """Raise `SpecChangedError` where the served scorer gives scores again."""
        asked = self._clock()
        if asked < self._probe_at:
            return
        try:
            self._remote.probe()
        except (ScorerError, SpecChangedError, ModelError) as error:  # the last one: of the clip that is made up, not of ours
            now = self._clock()
            self._probe_at = now + max(PROBE_EVERY, (now - asked) / PROBE_SHARE)
            log.debug("the served scorer is still away: %s", error)
            return
        self._uses_own, self._away_since = False, None
        log.warning("the served scorer answers again: %s", self._remote.model)
        metrics.FALLBACK.set(0)
        metrics.show_model(self._remote.model)
        raise SpecChangedError("the served scorer answers again")


ServedScorer = RemoteScorer | FallbackScorer


async def connected(scorer: ServedScorer) -> None:
    """Return when the scorer's specification is known, however long that takes: without it nothing can be sampled."""
    said = ""
    while True:
        try:
            await asyncio.to_thread(scorer.connect)
        except ScorerError as error:
            # Each reason once: a server that was away at first may come back and ask for another token.
            if str(error) != said:
                log.warning("no segments are taken until the scorer answers: %s", error)
            said = str(error)
            await asyncio.sleep(error.retry_after)
        else:
            if said:
                log.warning("the scorer answers: segments are taken")
            return
