"""Why a stream is silent, as the ingesters know it: their states on `ingest-state`, and a sentence made of them.

Every worker keeps the newest message of each rendition, as bytes: alerts that ask are rare, messages are not.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Literal

from pydantic import AwareDatetime, Field

from streams.errors import EventError
from streams.events import INGEST_STATE_TOPIC, Event, Name
from streams.ingest.positions import RenditionKey
from streams.ingest.states import KeptState, SourceState
from streams.kafka.agent import Agent
from streams.kafka.clients import no_broker_errors, reading
from streams.kafka.connection import Connection
from streams.kafka.consumer import TopicPartition
from streams.kafka.records import Unreadable
from streams.text import printable

POLL_SECONDS = 0.5

MISSING_SECONDS = 30.0
"""Before the topic is looked for again: it is missing where topics were created by a version without ingesters."""

LONGEST_REASON = 400
"""Characters of an ingester's own words in a sentence."""

Where = Literal["source", "network", "unknown"]

_FAILURES: Mapping[str, tuple[Where, str]] = {
    "not-found": ("source", "the playlist has not answered since {since}"),
    "unreachable": ("network", "the playlist has not answered since {since}"),
    "timeout": ("network", "the playlist has not answered in time since {since}"),
    "busy": ("source", "the origin has asked for fewer requests since {since}"),
    "too-large": ("source", "the playlist has been too large since {since}"),
    "refused": ("source", "the playlist's address has been refused since {since}"),
    "folder": ("source", "the recorder's folder has not been readable since {since}"),
    "encoder": ("source", "no pictures have come from the encoder since {since}"),
    "no-playlist": ("source", "what has come since {since} is no playlist"),
}
"""By the kind of a failed load: where the fault is, and what to say."""

_FINDINGS = {
    "backsteps": "its numbers went back, as in an old copy of another server",
    "content-changed": "it names other files under the same numbers",
    "size-changed": "it has lost segments without moving on",
    "discontinuity-sequence": "its discontinuity numbers do not fit",
    "lost": "segments left it before they were seen",
    "gaps": "its segments are marked as missing (EXT-X-GAP)",
    "dropped": "tags or segments in it cannot be read",
    "restarts": "its encoder has restarted",
}
"""What playlists showed while no segment was announced."""


class KnownState(Event):
    """What a message on `ingest-state` says of a rendition. saved: when it was written."""

    stream_id: Name
    rendition: Name | None = None
    source: str = Field(max_length=1024)
    saved: AwareDatetime
    state: KeptState = None


def explain_silence(stream_id: str, rendition: str | None, known: Mapping[RenditionKey, KnownState]) -> tuple[Where, str] | None:
    """Where the reason for a stream's silence is, and a sentence that says it; None where no ingester has said anything of it.

    rendition: only this one; None for the stream as a whole. known: of at least this stream.
    """
    states = [
        state
        for (stream, name), state in known.items()
        if stream == stream_id and rendition in (None, name) and state.state is not None
    ]
    if not states:
        return None
    # A rendition that the source no longer has keeps its last state for ever: the newest message counts.
    newest = max(states, key=lambda state: state.saved)
    assert newest.state is not None
    where, text = _words_of(newest.state, newest.saved)
    return where, printable(text)


def _words_of(state: SourceState, saved: datetime) -> tuple[Where, str]:
    since = _time(state.since)
    reason = f": {state.reason[:LONGEST_REASON]}" if state.reason else ""
    findings = "".join(f"; {_FINDINGS[name]}" for name in state.findings if name in _FINDINGS)
    match state.state:
        case "failing":
            where, text = _FAILURES.get(state.kind, ("unknown", "the ingester has failed since {since}"))
            return where, text.format(since=since) + reason
        case "stale":
            return "source", f"the playlist answers, and has had no new segment since {since}{findings}"
        case "encrypted":
            return "source", f"the segments have been encrypted since {since} by a method that is not supported"
        case "waiting":
            return "source", f"no encoder has been connected since {since}"
        case "ended":
            return "source", f"the playlist has been complete since {since}"
        case "live" if findings:
            return "source", f"the playlist answers, and no segment in it could be announced{findings}"
    return "unknown", f"the source was {state.state} when `fvq ingest` last said so, at {_time(saved)}: does it still run?"


def _time(time: datetime) -> str:
    return f"{time:%H:%M:%S} UTC"


class IngestStates:
    """The newest states of all sources that are ingested."""

    def __init__(self) -> None:
        self._values: dict[str, dict[bytes, bytes]] = defaultdict(dict)

    def take(self, messages: Iterable[tuple[bytes | None, bytes | None]]) -> None:
        """Keep newer messages. messages: keys and values in their order."""
        for key, value in messages:
            of_stream = self._values[_stream_of(key or b"")]
            if value is None:
                of_stream.pop(key or b"", None)
            elif not isinstance(value, Unreadable):
                of_stream[key or b""] = value

    def explain(self, stream_id: str) -> tuple[Where, str] | None:
        """Why a stream is silent, as `explain_silence` says it. Any thread may ask."""
        known: dict[RenditionKey, KnownState] = {}
        for value in list(self._values.get(stream_id, {}).values()):
            try:
                state = KnownState.from_bytes(value)
            except EventError:
                continue  # damaged, or of another version: an alert without an explanation is still right
            known[state.stream_id, state.rendition] = state
        return explain_silence(stream_id, None, known)

    def agent(self, connection: Connection) -> Agent:
        """The supervised thread that follows the topic."""

        def run(stop: threading.Event) -> None:
            self._follow(connection, stop)

        return Agent("ingest states", run)

    def _follow(self, connection: Connection, stop: threading.Event) -> None:
        """Read the topic from its beginning until `stop` is set. Raises `BrokerError` or `KafkaError`."""
        topic = connection.named(INGEST_STATE_TOPIC)
        with reading(connection) as reader:
            with no_broker_errors(connection):
                numbers = reader.partitions_for_topic(topic)
            if not numbers:
                stop.wait(MISSING_SECONDS)  # the agent calls this again
                return
            partitions = [TopicPartition(topic, number) for number in sorted(numbers)]
            reader.assign(partitions)
            reader.seek_to_beginning(*partitions)
            while not stop.is_set():
                for records in reader.poll(timeout_ms=int(POLL_SECONDS * 1000), max_records=2000).values():
                    self.take((record.key, record.value) for record in records)


def _stream_of(key: bytes) -> str:
    """The stream id in a message's key, as `streams.ingest.positions.key_of` makes it; empty where it is another's."""
    length, slash, rest = key.decode(errors="replace").partition("/")
    return rest[: int(length)] if slash and length.isascii() and length.isdigit() and len(length) < 5 else ""
