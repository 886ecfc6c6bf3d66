"""A worker's scorer that follows the registry: a promoted version takes over between two batches.

Only the registry says which version is current; an announcement on `model-updates` just says that it is time to check. The agent
checks when the worker starts, at each announcement, and once a minute in case an announcement was missed. It loads and tries the
new version while the old one scores. A version that cannot be loaded, or gives no valid scores, is refused; the old one stays.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from typing import Any

from scorer.engine import Engine, find_model, load_engine
from scorer.registry import Registry
from scorer.spec import ClipScore, ModelId, ModelInput, SamplerSpec
from streams import metrics
from streams.errors import EventError, ModelError
from streams.events import MODELS_TOPIC, ModelUpdate
from streams.kafka.agent import Agent
from streams.kafka.clients import open_reader
from streams.kafka.connection import Connection
from streams.kafka.consumer import TopicPartition

log = logging.getLogger(__name__)

POLL_SECONDS = 1.0

CHECK_SECONDS = 60.0
"""How often the registry is checked without an announcement."""


class ReloadingScorer:
    """Scores with the current version of a model; implements `scorer.spec.Scorer`.

    model: a name, `name@version`, or the path of a model. device: `auto`, `cpu` or `cuda`. Raises `ModelError` where the model
    cannot be loaded.
    """

    def __init__(self, model: str, device: str, registry: Registry) -> None:
        self._requested, self._device = model, device
        self._registry = registry
        self._engine: Engine = load_engine(model, device, registry)
        self._refused: set[str] = set()
        metrics.show_model(self.model)

    @property
    def spec(self) -> SamplerSpec:
        """How clips are sampled; the same for every version that is served."""
        return self._engine.spec

    @property
    def name(self) -> str:
        """The model's name, without its version."""
        return self._engine.model.name

    @property
    def follows(self) -> bool:
        """Whether later versions take over: not where the model is `name@version` or a directory."""
        return "@" not in self._requested and self.name == self._requested

    @property
    def model(self) -> ModelId:
        """The version that scores now."""
        return self._engine.model

    def score(self, clips: Sequence[ModelInput]) -> list[ClipScore]:
        """One score per clip, all by the same version."""
        return self._engine.score(clips)

    def refresh(self) -> bool:
        """Load the current version if another one scores; returns whether it took over.

        Never raises: if something is wrong with the new version or the registry, the old version goes on. One thread at a time.
        """
        current: str | None = None
        try:
            current = self._registry.current(self.model.name)
            _, new = find_model(self._requested, self._registry)
            if new == self.model or new.version in self._refused:
                return False
        except Exception as error:
            if current is not None and isinstance(error, ModelError):
                self._refuse(current, error)  # the registry answers, but the version's files are not complete
            else:
                log.warning("the registry cannot be read, %s goes on: %s", self.model.version, error)
            return False
        try:
            published = self._registry.current(new.name) == new.version
            name = f"{new.name}@{new.version}" if published else new.name
            engine = load_engine(name, self._device, self._registry)
            if engine.spec != self.spec:
                raise ModelError("it was trained on another sampling of the clips: restart the workers to serve it")
        except OSError as error:
            log.warning("model %s cannot be read now, %s goes on: %s", new.version, self.model.version, error)
            return False
        except Exception as error:
            self._refuse(new.version, error)
            return False
        before = self.model.version
        # score() reads self._engine once, so a batch that is being scored keeps the engine with which it started.
        self._engine = engine
        metrics.MODEL_UPDATES.labels("loaded").inc()
        metrics.show_model(engine.model)
        log.info("model %s@%s scores from now on, %s did before", engine.model.name, engine.model.version, before)
        return True

    def _refuse(self, version: str, error: Exception) -> None:
        """Remember a version as refused. Logs and counts it only the first time, because it is checked every minute."""
        if version not in self._refused:
            self._refused.add(version)
            metrics.MODEL_UPDATES.labels("refused").inc()
            log.error("model %s is refused, %s goes on: %s", version, self.model.version, error)


def follow_agent(scorer: ReloadingScorer, connection: Connection) -> Agent:
    """The agent that refreshes the scorer at each announcement, and once a minute."""

    def run(stop: threading.Event) -> None:
        try:
            reader = _open_at_end(connection)
        finally:
            # Refresh after the reader has its position, so that no announcement is missed in between. Refresh also if no broker
            # answers: the registry does not need one.
            scorer.refresh()
        checked_at = time.monotonic()
        try:
            while not stop.is_set():
                batches = reader.poll(timeout_ms=int(POLL_SECONDS * 1000)).values()
                announced = any(_is_about(scorer.name, record.value) for records in batches for record in records)
                if announced or time.monotonic() - checked_at > CHECK_SECONDS:
                    checked_at = time.monotonic()
                    scorer.refresh()
        finally:
            reader.close(timeout_ms=1000)

    return Agent("model updates", run)


def _is_about(model: str, value: bytes | None) -> bool:
    """Whether a message announces a version of this model."""
    try:
        return ModelUpdate.from_bytes(value).name == model
    except EventError as error:
        log.warning("an announcement on %s cannot be read: %s", MODELS_TOPIC, error)
        return False


def _open_at_end(connection: Connection) -> Any:
    """A reader of the announcements from now on. It is in no group, so that every worker reads all announcements."""
    reader: Any = open_reader(connection)
    partition = TopicPartition(MODELS_TOPIC, 0)
    reader.assign([partition])
    reader.seek_to_end(partition)
    reader.position(partition)  # seek_to_end() is lazy: this call asks the broker
    return reader
