"""The clips of the training queue, as the wall shows them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from pathlib import Path

from streams.events import TrainingExample
from streams.kafka.agent import Agent

log = logging.getLogger(__name__)

REFRESH_SECONDS = 15.0


class Clips:
    """The examples that wait, read again and again by its agent.

    load: reads the queue (`QueuePlace.read`); raises `BrokerError`. playable: a clip's MP4, by its id and its address
    (`PlayableClips.when_made`); raises `MediaError`. keep_only: deletes the MP4s of all clips but these, by their ids; raises
    OSError.
    """

    def __init__(
        self,
        load: Callable[[], tuple[list[TrainingExample], dict[str, datetime]]],
        playable: Callable[[str, str], Awaitable[Path]],
        keep_only: Callable[[set[str]], None],
    ) -> None:
        self._load, self.playable, self._keep_only = load, playable, keep_only
        self._examples: Sequence[TrainingExample] = ()

    def examples(self) -> Sequence[TrainingExample]:
        """The examples that wait, as they were read last."""
        return self._examples

    def refresh(self) -> None:
        """Read the queue, and delete the MP4s of clips that have left it. Raises `BrokerError`, OSError."""
        self._examples = self._load()[0]
        self._keep_only({example.example_id for example in self._examples})

    def agent(self) -> Agent:
        """The supervised thread that reads the queue."""

        def run(stop: threading.Event) -> None:
            while not stop.is_set():
                self.refresh()
                stop.wait(REFRESH_SECONDS)

        return Agent("clips", run)
