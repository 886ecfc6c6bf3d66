"""The sweep: clips whose time is over are deleted, whatever else a worker does. Faces are personal data.

Every worker sweeps, by itself and whether it harvests or not: a clip store in a folder is seen by its own machine alone. What
another has deleted already is no error.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from scorer.errors import MediaError
from streams.queue.clips import ClipStore
from streams.queue.topic import QueueTopic, clip_store, open_queue, restore
from streams.settings import Settings

log = logging.getLogger(__name__)
SWEEP_SECONDS, RETRY_SECONDS = 3600.0, 300.0
STRAY = timedelta(hours=1)
"""A clip that nothing names so long after it was stored was left by a worker that was killed."""

STOP_SECONDS = 5.0


@contextmanager
def running_sweep(settings: Settings) -> Iterator[None]:
    """Sweep now and every hour, as long as the context lasts. Raises `MediaError` where the clip store is none."""
    store, stop = clip_store(settings), threading.Event()
    thread = threading.Thread(target=_run, args=(settings, store, stop), name="sweep", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(STOP_SECONDS)


def _run(settings: Settings, store: ClipStore, stop: threading.Event) -> None:
    while not stop.is_set():
        wait = SWEEP_SECONDS
        try:
            with open_queue(settings) as topic:
                # Before all else: to a new broker, every clip is one that nothing names.
                restore(topic, store)
                sweep(settings, store, topic, datetime.now(UTC))
        except Exception as error:
            log.warning("clips cannot be swept now: %s: %s", type(error).__name__, error)
            wait = RETRY_SECONDS
        stop.wait(wait)


def sweep(settings: Settings, store: ClipStore, topic: QueueTopic, now: datetime) -> None:
    """Remove clips whose time is over, those that nothing names, and what killed workers left half written."""
    queue = topic.refresh()
    days = settings.clip_days
    over = [one for one in queue.examples() if days and now - one.queued_at > timedelta(days=days)]
    topic.take_back(over)
    for example in over:
        try:
            store.delete(example.clip_uri)
        except MediaError as error:
            log.info("left to the worker whose store it is in: %s", error.reason)
    named = {one.clip_uri for one in topic.refresh().examples()}
    strays = [uri for uri, stored in store.clips() if uri not in named and now - stored > STRAY]
    for uri in strays:
        store.delete(uri)
    parts = store.remove_parts(now - STRAY)
    if over or strays or parts:
        log.info(
            "%d clips were deleted after %g days, %d that nothing named, %d files half written",
            len(over), days, len(strays), parts,
        )  # fmt: skip
