"""The sources that ingesters have followed, as they wrote it on `ingest-state`: for `fvq sources`."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import UTC
from typing import Any

from streams.errors import EventError
from streams.events import INGEST_STATE_TOPIC
from streams.ingest.silence import KnownState
from streams.kafka.clients import reading
from streams.kafka.connection import Connection
from streams.kafka.consumer import read_whole

log = logging.getLogger(__name__)

WITHOUT_STATE = "unknown"
"""The state of a source of an ingester that wrote none, or one that this version does not know."""


def read_sources(connection: Connection) -> list[KnownState]:
    """The newest state of each rendition, by stream and rendition. Raises `BrokerError`."""
    with reading(connection) as reader:
        records = read_whole(reader, connection, connection.named(INGEST_STATE_TOPIC))
        return newest((record.key, record.value) for record in records)


def newest(messages: Iterable[tuple[bytes | None, bytes | None]]) -> list[KnownState]:
    """The last message of each key, without those that are deleted. messages: keys and values in their order.

    A message that cannot be read is left out with a word in the log.
    """
    last: dict[bytes, bytes] = {}
    for key, value in messages:
        last.pop(key or b"", None)
        if value is not None:
            last[key or b""] = value
    states = []
    for key, value in last.items():
        try:
            states.append(KnownState.from_bytes(value))
        except EventError as error:
            log.warning("the state of %r cannot be read and is left out: %s", key[:100], str(error)[:300])
    return sorted(states, key=lambda state: (state.stream_id, state.rendition or ""))


def item_of(state: KnownState) -> dict[str, Any]:
    """A source for scripts: stream, rendition, source, state, kind, reason, and two times in ISO 8601, UTC."""
    now = state.state
    return {
        "stream_id": state.stream_id,
        "rendition": state.rendition,
        "source": state.source,
        "state": WITHOUT_STATE if now is None else now.state,
        "since": None if now is None else now.since.astimezone(UTC).isoformat(),
        "kind": "" if now is None else now.kind,
        "reason": "" if now is None else now.reason,
        "saved": state.saved.astimezone(UTC).isoformat(),
    }
