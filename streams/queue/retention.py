"""Retention: clips whose time is over are deleted. Faces are personal data.

Every worker sweeps for itself, also one that does not harvest: a clip store in a folder is seen by its own machine only.
Deleting a clip that another worker has deleted already is no error.
"""

from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime, timedelta

from streams.errors import MediaError
from streams.kafka.agent import Agent, Pauses
from streams.kafka.connection import Connection
from streams.queue.clips import ClipStore
from streams.queue.topic import QueueTopic, restore

log = logging.getLogger(__name__)
SWEEP_SECONDS = 3600.0
PAUSES = Pauses(first=300.0, longest=300.0)

STRAY = timedelta(hours=1)
"""A clip that no example names, and that was stored longer ago than this, was left by a worker that was killed."""


def sweep_agent(connection: Connection, store: ClipStore, clip_days: float) -> Agent:
    """The agent that sweeps when it starts, and then every hour. clip_days: see `sweep`."""

    def run(stop: threading.Event) -> None:
        while not stop.is_set():
            with QueueTopic(connection) as topic:
                # Restore first: for a new broker every clip is one that no example names, and would be swept.
                restore(topic, store)
                sweep(topic, store, clip_days, datetime.now(UTC))
            stop.wait(SWEEP_SECONDS)

    return Agent("sweep", run, PAUSES)


def sweep(topic: QueueTopic, store: ClipStore, clip_days: float, now: datetime) -> None:
    """Delete clips older than `clip_days` (0: none is too old), clips that no example names, and files half written."""
    waiting = topic.refresh().examples()
    expired = [example for example in waiting if clip_days and now - example.queued_at > timedelta(days=clip_days)]
    topic.take_back(expired)
    for example in expired:
        try:
            store.delete(example.clip_uri)
        except MediaError as error:
            log.info("left to the worker whose store the clip is in: %s", error.reason)
    named = {example.clip_uri for example in topic.refresh().examples()}
    strays = [uri for uri, stored in store.clips() if uri not in named and now - stored > STRAY]
    for uri in strays:
        store.delete(uri)
    parts = store.remove_parts(now - STRAY)
    if expired or strays or parts:
        log.info(
            "%d clips were deleted after %g days, %d that no example named, %d files half written",
            len(expired), clip_days, len(strays), parts,
        )  # fmt: skip
