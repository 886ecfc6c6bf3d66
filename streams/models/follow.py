"""A worker's scorer that follows the registry: a promoted version takes over between two batches.

An announcement on `model-updates` is a hint, the registry is the truth: the agent looks into it when the worker starts, when
something is announced, and once a minute in case an announcement was missed. The new model is loaded and tried beside the old
one, which goes on scoring; a version that cannot be loaded or answers nonsense is refused, and the old one stays.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from typing import Any

from kafka import TopicPartition

from scorer.engine import Engine, find_model, load_engine
from scorer.registry import Registry
from scorer.spec import ClipScore, ModelId, SampledClip, SamplerSpec
from streams import metrics
from streams.errors import EventError, ModelError
from streams.events import MODELS_TOPIC, ModelUpdate
from streams.kafka.agent import Agent
from streams.kafka.clients import open_reader
from streams.kafka.connection import Connection

log = logging.getLogger(__name__)
POLL_SECONDS = 1.0
LOOK_SECONDS = 60.0
"""How often the registry is looked at without an announcement."""


class ReloadingScorer:
    """Scores with the version that is current; implements `scorer.spec.Scorer`."""

    def __init__(self, model: str, device: str, registry: Registry) -> None:
        self._wanted, self._device = model, device
        self._registry = registry
        self._engine: Engine = load_engine(model, device, registry)
        self._refused: set[str] = set()
        metrics.show_model(self.model)

    @property
    def spec(self) -> SamplerSpec:
        """What every version that is served was trained on."""
        return self._engine.spec

    @property
    def name(self) -> str:
        """The model's name, under which versions are announced."""
        return self._engine.model.name

    @property
    def follows(self) -> bool:
        """Whether versions are followed: a pinned version (`name@version`) and a directory never change."""
        return "@" not in self._wanted and self.name == self._wanted

    @property
    def model(self) -> ModelId:
        """The version that scores now."""
        return self._engine.model

    def score(self, clips: Sequence[SampledClip]) -> list[ClipScore]:
        """One score per clip, all by the same version."""
        return self._engine.score(clips)

    def refresh(self) -> bool:
        """Load what is current if it is another version than the one that scores; whether it took over.

        Never raises: whatever is wrong with the new version or the registry, the old one goes on. Not to be called by two
        threads at a time.
        """
        current: str | None = None
        try:
            current = self._registry.current(self.model.name)
            _, wanted = find_model(self._wanted, self._registry)
            if wanted == self.model or wanted.version in self._refused:
                return False
        except Exception as error:
            if current is not None and isinstance(error, ModelError):
                self._refuse(current, error)  # the registry answers, but the version is not whole
            else:
                log.warning("the registry cannot be read, %s goes on: %s", self.model.version, error)
            return False
        try:
            published = self._registry.current(wanted.name) == wanted.version
            name = f"{wanted.name}@{wanted.version}" if published else wanted.name
            engine = load_engine(name, self._device, self._registry)
            if engine.spec != self.spec:
                raise ModelError("it was trained on another sampling of the clips: restart the workers to serve it")
        except OSError as error:
            log.warning("model %s cannot be read now, %s goes on: %s", wanted.version, self.model.version, error)
            return False
        except Exception as error:
            self._refuse(wanted.version, error)
            return False
        before = self.model.version
        # One assignment: a batch that is being scored keeps the engine that it began with.
        self._engine = engine
        metrics.MODEL_UPDATES.labels("loaded").inc()
        metrics.show_model(engine.model)
        log.info("model %s@%s scores from now on, %s did before", engine.model.name, engine.model.version, before)
        return True

    def _refuse(self, version: str, error: Exception) -> None:
        """Once: what is looked at every minute is said and counted when it is new."""
        if version not in self._refused:
            self._refused.add(version)
            metrics.MODEL_UPDATES.labels("refused").inc()
            log.error("model %s is refused, %s goes on: %s", version, self.model.version, error)


def follow_agent(scorer: ReloadingScorer, connection: Connection) -> Agent:
    """The agent that loads versions as they are announced, and looks into the registry once a minute."""

    def run(stop: threading.Event) -> None:
        try:
            reader = _open_at_end(connection)
        finally:
            # After the reader's place is fixed, so that no announcement falls in between. Also where no broker answers: the
            # registry is the truth.
            scorer.refresh()
        looked = time.monotonic()
        try:
            while not stop.is_set():
                batches = reader.poll(timeout_ms=int(POLL_SECONDS * 1000)).values()
                announced = any(_names(record.value, scorer.name) for records in batches for record in records)
                if announced or time.monotonic() - looked > LOOK_SECONDS:
                    looked = time.monotonic()
                    scorer.refresh()
        finally:
            reader.close(timeout_ms=1000)

    return Agent("model updates", run)


def _names(value: bytes | None, model: str) -> bool:
    try:
        return ModelUpdate.from_bytes(value).name == model
    except EventError as error:
        log.warning("an announcement on %s cannot be read: %s", MODELS_TOPIC, error)
        return False


def _open_at_end(connection: Connection) -> Any:
    """A reader of the announcements to come. In no group: every worker reads all of them."""
    reader: Any = open_reader(connection)
    partition = TopicPartition(MODELS_TOPIC, 0)
    reader.assign([partition])
    reader.seek_to_end(partition)
    reader.position(partition)
    return reader
