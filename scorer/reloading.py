"""A model that follows the registry: the version that is promoted takes over between two batches.

Only the registry says which version is current. The new version is loaded and tried while the old one scores. One that cannot be
loaded, or gives no valid scores, is refused; the old one stays. One for which there is no memory, or whose files cannot be read
now, is tried again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from scorer.errors import ModelError, cannot_be_read_now, lacks_memory
from scorer.find import find_model
from scorer.load import LoadedModel, load_engine
from scorer.registry import Registry
from scorer.spec import ModelId

log = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 60.0, 3600.0
"""Seconds after which a version is loaded again for which there was no memory; twice as many after each time, up to an hour."""


def _ignore(*_: object) -> None:
    pass


@dataclass(frozen=True)
class ReloadListener:
    """What is called after a change. loaded: another version scores now. refused: a version is refused, once for each version."""

    loaded: Callable[[ModelId], None] = _ignore
    refused: Callable[[], None] = _ignore


@dataclass
class _Shortage:
    """The version for which there was no memory, and when it is tried again."""

    version: str = ""
    pause: float = 0.0
    until: float = 0.0

    def holds(self, version: str) -> bool:
        """Whether it is too early to try this version again."""
        return version == self.version and time.monotonic() < self.until

    def add(self, version: str) -> float:
        """There was no memory for this version; returns the seconds until the next try."""
        self.pause = min(2 * self.pause, LONGEST_PAUSE) if version == self.version else FIRST_PAUSE
        self.version, self.until = version, time.monotonic() + self.pause
        return self.pause


class ReloadingEngine:
    """The engine of the current version of a model.

    model: a name, `name@version`, or the path of a model. device: `auto`, `cpu` or `cuda`. any_spec: whether a version that was
    trained on another sampling of the clips may take over. Raises `ModelError` where the model cannot be loaded.
    """

    def __init__(
        self,
        model: str,
        device: str,
        registry: Registry,
        listener: ReloadListener = ReloadListener(),
        any_spec: bool = False,
    ) -> None:
        self._requested, self._device = model, device
        self._registry, self._listener, self._any_spec = registry, listener, any_spec
        self._engine: LoadedModel = load_engine(model, device, registry)
        self._refused: set[str] = set()
        self._short = _Shortage()

    @property
    def engine(self) -> LoadedModel:
        """The engine that scores now. Who keeps it goes on with its version."""
        return self._engine

    @property
    def model(self) -> ModelId:
        """The version that scores now."""
        return self._engine.model

    @property
    def name(self) -> str:
        """The model's name, without its version."""
        return self._engine.model.name

    @property
    def follows(self) -> bool:
        """Whether later versions take over: not where the model is `name@version` or a directory."""
        return "@" not in self._requested and self.name == self._requested

    def refresh(self) -> bool:
        """Load the current version if another one scores; returns whether it took over.

        Never raises: if something is wrong with the new version or the registry, the old version goes on. One thread at a time.
        """
        current: str | None = None
        try:
            current = self._registry.current(self.model.name)
            if current == self.model.version:
                self._refused.clear()  # one that was rolled back may have been mended when it is promoted again
            if self._leaves(current):
                return False  # before find_model() reads its files, one of which may be missing for a while
            _, new = find_model(self._requested, self._registry)
            if self._leaves(new.version):
                return False
        except Exception as error:
            if current is not None and isinstance(error, ModelError):
                self._refuse(current, error)  # the registry answers, but the version's files are not complete
            else:
                log.warning("the registry cannot be read, %s goes on: %s", self.model.version, error)
            return False
        try:
            engine = self._load(new)
        except Exception as error:
            if lacks_memory(error):
                pause = self._short.add(new.version)
                log.warning(
                    "no memory for model %s, %s goes on, next try in %g s: %s", new.version, self.model.version, pause, error
                )
            elif isinstance(error, OSError) or cannot_be_read_now(error):
                log.warning("model %s cannot be read now, %s goes on: %s", new.version, self.model.version, error)
            else:
                self._refuse(new.version, error)
            return False
        before = self.model.version
        # Who scores reads self._engine once, so a batch that is being scored keeps the engine with which it started.
        self._engine = engine
        self._listener.loaded(engine.model)
        log.info("model %s@%s scores from now on, %s did before", engine.model.name, engine.model.version, before)
        return True

    def _leaves(self, version: str | None) -> bool:
        """Whether a version is not to be loaded now: it scores, is refused, or had no memory a short time ago."""
        return version is not None and (version == self.model.version or version in self._refused or self._short.holds(version))

    def _load(self, new: ModelId) -> LoadedModel:
        published = self._registry.current(new.name) == new.version
        name = f"{new.name}@{new.version}" if published else new.name
        engine = load_engine(name, self._device, self._registry)
        if engine.spec != self._engine.spec and not self._any_spec:
            raise ModelError("it was trained on another sampling of the clips: restart the workers to serve it")
        return engine

    def _refuse(self, version: str, error: Exception) -> None:
        """Remember a version as refused. Logs and counts it only the first time, because it is checked again and again."""
        if version not in self._refused:
            self._refused.add(version)
            self._listener.refused()
            log.error("model %s is refused, %s goes on: %s", version, self.model.version, error)
