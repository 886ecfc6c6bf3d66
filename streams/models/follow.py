"""A worker's scorer that follows the registry: a promoted version takes over between two batches.

The announcement on `model-updates` is a hint, the registry is the truth: it is looked at when the worker starts, when
something is announced, and now and then in case an announcement was missed. The new model is loaded and tried beside the
old one, which goes on scoring; what cannot be loaded or answers nonsense is refused, and the old one stays.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from scorer.engine import Engine, find_model, load_engine
from scorer.errors import ModelError
from scorer.registry import Registry
from scorer.spec import ClipScore, ModelId, SampledClip, SamplerSpec
from streams import metrics
from streams.events import MODELS_TOPIC, EventError, ModelUpdate
from streams.kafka.connection import client_options
from streams.settings import Settings

log = logging.getLogger(__name__)
POLL_SECONDS = 1.0
LOOK_SECONDS = 60.0
"""How often the registry is looked at without an announcement."""


def registry_of(settings: Settings) -> Registry:
    """The registry of the settings: `FVQ_REGISTRY`, or `models` in the data folder."""
    return Registry(settings.registry or str(settings.data_dir / "models"), settings.data_dir / "model-cache")


class ReloadingScorer:
    """Scores with the version that is current; implements `scorer.spec.Scorer`."""

    def __init__(self, settings: Settings, registry: Registry) -> None:
        self._settings = settings
        self._registry = registry
        self._engine: Engine = load_engine(settings.model, settings.device, registry)
        self._refused: set[str] = set()
        metrics.show_model(self.model)

    @property
    def spec(self) -> SamplerSpec:
        """What every version that is served was trained on."""
        return self._engine.spec

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
            _, wanted = find_model(self._settings.model, self._registry)
            if wanted == self.model or wanted.version in self._refused:
                return False
        except Exception as error:
            if current is not None and isinstance(error, ModelError):
                self._refuse(current, error)  # the registry answers, but the version is not whole
            else:
                log.warning("the registry cannot be read, %s goes on: %s", self.model.version, error)
            return False
        try:
            engine = load_engine(f"{wanted.name}@{wanted.version}" if self._is_published(wanted) else wanted.name,
                                 self._settings.device, self._registry)  # fmt: skip
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

    def _is_published(self, wanted: ModelId) -> bool:
        return self._registry.current(wanted.name) == wanted.version


def follow(scorer: ReloadingScorer, settings: Settings) -> None:
    """Begin to follow announcements of the model that the settings name, in a thread that ends with the process.

    A pinned version (`name@version`) and a directory never change, and are not followed.
    """
    if "@" not in settings.model and scorer.model.name == settings.model:
        threading.Thread(target=_follow, args=(scorer, settings), name="model-updates", daemon=True).start()


def announce(settings: Settings, update: ModelUpdate) -> None:
    """Tell the workers. Raises `KafkaError`."""
    assert settings.broker
    producer = KafkaProducer(bootstrap_servers=settings.broker.split(","), acks="all", **client_options(settings))
    try:
        producer.send(MODELS_TOPIC, key=update.name.encode(), value=update.to_bytes()).get(timeout=15)
    finally:
        producer.close(timeout=5)


def _follow(scorer: ReloadingScorer, settings: Settings) -> None:
    consumer: Any = None
    looked = time.monotonic()
    while True:
        try:
            if consumer is None:
                consumer = _consumer(settings)
                # What was announced before the subscription.
                scorer.refresh()
            heard = [one.value for batch in consumer.poll(timeout_ms=int(POLL_SECONDS * 1000)).values() for one in batch]
        except Exception as error:
            # Whatever it is: not to hear of new models must not end the worker.
            log.warning("announcements of models cannot be read: %s: %s", type(error).__name__, error)
            if consumer is not None:
                consumer.close(timeout_ms=1000)
                consumer = None
            heard = []
            time.sleep(5 * POLL_SECONDS)
        if any(_names(value, settings.model) for value in heard) or time.monotonic() - looked > LOOK_SECONDS:
            looked = time.monotonic()
            scorer.refresh()


def _names(value: bytes | None, model: str) -> bool:
    try:
        return ModelUpdate.from_bytes(value).name == model
    except EventError as error:
        log.warning("an announcement on %s cannot be read: %s", MODELS_TOPIC, error)
        return False


def _consumer(settings: Settings) -> Any:
    assert settings.broker
    # In no group: every worker hears everything.
    consumer = KafkaConsumer(
        bootstrap_servers=settings.broker.split(","),
        group_id=None,
        enable_auto_commit=False,
        bootstrap_timeout_ms=5000,
        **client_options(settings),
    )
    partition = TopicPartition(MODELS_TOPIC, 0)
    consumer.assign([partition])
    consumer.seek_to_end(partition)
    consumer.position(partition)
    return consumer
