"""A worker's scorer that follows the registry: a promoted version takes over between two batches.

Only the registry says which version is current; an announcement on `model-updates` just says that it is time to check. The agent
checks when the worker starts, at each announcement, and once a minute in case an announcement was missed. `scorer.reloading` has
how a version takes over.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from scorer.registry import Registry
from scorer.reloading import ReloadingEngine, ReloadListener
from scorer.spec import ClipScore, ModelId, ModelInput, SamplerSpec
from streams import metrics
from streams.errors import EventError
from streams.events import MODELS_TOPIC, ModelUpdate
from streams.kafka.agent import Agent
from streams.kafka.clients import reading
from streams.kafka.connection import Connection
from streams.kafka.consumer import TopicPartition, assign_at_end

log = logging.getLogger(__name__)

POLL_SECONDS = 1.0

CHECK_SECONDS = 60.0
"""How often the registry is checked without an announcement."""


class ReloadingScorer(ReloadingEngine):
    """Scores with the current version of a model; implements `scorer.spec.Scorer`.

    model: a name, `name@version`, or the path of a model. device: `auto`, `cpu` or `cuda`. show: is told of each version that
    takes over. Raises `ModelError` where the model cannot be loaded.
    """

    def __init__(self, model: str, device: str, registry: Registry, show: Callable[[ModelId], None] = metrics.show_model) -> None:
        def loaded(model: ModelId) -> None:
            metrics.MODEL_UPDATES.labels("loaded").inc()
            show(model)

        refused = metrics.MODEL_UPDATES.labels("refused").inc
        super().__init__(model, device, registry, ReloadListener(loaded, refused))
        show(self.model)

    @property
    def spec(self) -> SamplerSpec:
        """How clips are sampled; the same for every version that is served."""
        return self.engine.spec

    def score(self, clips: Sequence[ModelInput]) -> list[ClipScore]:
        """One score per clip, all by the same version."""
        return self.engine.score(clips)


def follow_agent(scorer: ReloadingScorer, connection: Connection, name: str = "model updates") -> Agent:
    """The agent that refreshes the scorer at each announcement, and once a minute. name: of the agent, in pages and metrics."""

    def run(stop: threading.Event) -> None:
        with ExitStack() as stack:
            try:
                reader = stack.enter_context(reading(connection))  # in no group, so that every worker reads all announcements
                assign_at_end(reader, [TopicPartition(connection.named(MODELS_TOPIC), 0)])
            finally:
                # Refresh after the reader has its position, so that no announcement is missed in between. Refresh also if no
                # broker answers: the registry does not need one.
                scorer.refresh()
            checked_at = time.monotonic()
            while not stop.is_set():
                batches = reader.poll(timeout_ms=int(POLL_SECONDS * 1000)).values()
                announced = any(_is_about(scorer.name, record.value) for records in batches for record in records)
                if announced or time.monotonic() - checked_at > CHECK_SECONDS:
                    checked_at = time.monotonic()
                    scorer.refresh()

    return Agent(name, run)


def _is_about(model: str, value: bytes | None) -> bool:
    """Whether a message announces a version of this model."""
    try:
        return ModelUpdate.from_bytes(value).name == model
    except EventError as error:
        log.warning("an announcement of a model cannot be read: %s", error)
        return False
