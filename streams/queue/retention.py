"""Retention: clips are deleted after some days, because faces are personal data.

Every worker sweeps, also one that does not harvest: only its own machine sees a clip store in a folder. Deleting a clip that
another worker has deleted already is no error.
"""

from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime, timedelta

from streams.errors import MediaError
from streams.events import StreamDeletion
from streams.kafka.agent import Agent, Pauses
from streams.kafka.connection import Connection
from streams.queue.clips import ClipStore
from streams.queue.topic import QueueTopic, restore

log = logging.getLogger(__name__)

SWEEP_SECONDS = 3600.0
PAUSES = Pauses(first=300.0, longest=300.0)

STRAY_AGE = timedelta(hours=1)
"""A clip without an example that is older than this was left by a worker that was killed. A younger one may be queued soon."""


NOTE_AGE = timedelta(days=90)
"""A note that a stream was deleted is kept for so long: a rating page elsewhere that starts in this time deletes the votes."""


def sweep_agent(connection: Connection, store: ClipStore, clip_days: float) -> Agent:
    """The agent that sweeps when it starts, and then every hour. clip_days: days after which a clip is deleted, 0 for never."""

    def run(stop: threading.Event) -> None:
        while not stop.is_set():
            with QueueTopic(connection) as topic:
                # Restore first: the topic of a new broker has no examples, so the sweep would delete every clip.
                restore(topic, store)
                sweep(topic, store, clip_days, datetime.now(UTC))
            stop.wait(SWEEP_SECONDS)

    return Agent("sweep", run, PAUSES)


def sweep(topic: QueueTopic, store: ClipStore, clip_days: float, now: datetime) -> None:
    """Delete clips older than `clip_days`, clips that no example names, files half written, and old notes of deletions. now: UTC.

    clip_days: days since a clip was queued, 0 for no limit.
    """
    queue = topic.refresh()
    waiting = queue.examples()
    notes = [
        StreamDeletion(stream_id=stream_id, deleted_at=at) for stream_id, at in queue.deletions().items() if now - at > NOTE_AGE
    ]
    topic.take_back(notes)
    expired = [example for example in waiting if clip_days and now - example.queued_at > timedelta(days=clip_days)]
    topic.take_back(expired)
    for example in expired:
        try:
            store.delete(example.clip_uri)
        except MediaError as error:
            log.info("a clip is left to the worker that sees its store: %s", error.reason)
    named = {example.clip_uri for example in topic.refresh().examples()}
    strays = [uri for uri, stored in store.clips() if uri not in named and now - stored > STRAY_AGE]
    for uri in strays:
        store.delete(uri)
    parts = store.remove_parts(now - STRAY_AGE)
    if expired or strays or parts:
        log.info(
            "%d clips were deleted after %g days, %d that no example named, %d files half written",
            len(expired), clip_days, len(strays), parts,
        )  # fmt: skip
