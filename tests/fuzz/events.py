"""Mutated events through the worker's own path, without Kafka: pipeline, fetcher and checkpoint are the product's.

Sampling and scoring take no time (`tests.support.free_worker`), the producer keeps what it gets in memory, and no socket is
opened: the real check decides about each address, and a connection that it allows fails.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import socket
import time
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from streams.errors import EventError
from streams.events import DEAD_LETTER_TOPIC, SCORES_TOPIC, SegmentScore
from streams.kafka.connection import Connection
from streams.letter import LETTER_KEY_BYTES, LETTER_VALUE_BYTES, DeadLetter, Message
from streams.media import checks
from streams.media.fetch import Fetcher, FetchLimits
from streams.scoring.answer import Answered
from streams.scoring.checkpoint import checkpoint
from streams.scoring.pipeline import SegmentPipeline
from streams.sinks.sqlite import SqliteSink
from tests.fuzz.report import Finding, Report
from tests.support.free_worker import FreePool, FreeScorer

BATCH = 50
BATCH_SECONDS = 30.0
"""A batch of this number of events that takes longer counts as one that hangs, s."""

LIVE_WINDOW = 20 * 365 * 86400.0
"""Segments that ended longer ago are skipped, s: those whose `start` was mutated to the seventies are."""

LARGEST_MESSAGE = 2**20
"""What a broker takes by default, bytes."""

VALUES: Sequence[Any] = (
    None, True, False, 0, -1, 1, 2**31, 2**63 - 1, 2**63, -(2**63), 10**30, 10**400, 0.1, -0.0, 1e-320, 1e308, float("nan"),
    float("inf"),
    "", " ", "\0", "x", "0", "1e400", "NaN", "\ud800", "\udfff\ud800", "\u202e", "\r\nERROR forged=1", "\x1b[31m", "[/b]",
    "{}", "%s%n", "é" * 300,
    "x" * 257, "x" * 9000, [], {}, [[]], {"": ""}, {"a": {"b": 1}}, {"x" * 300: "y"}, {str(i): "v" for i in range(40)},
    "2026-01-31T20:15:04Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "1970-01-01T00:00:00Z",
    "2199-12-31T23:59:59Z",
    "2026-02-30", "20260131", "1769890504", "1769890504000", "1769890504.25", "-1", "٣٤٥", "１７６９", "2026-W05-6", "24:00",
    "1" * 5000,
)  # fmt: skip
URIS = (
    "file:///etc/passwd", "file:///dev/zero", "file:///proc/self/mem", "file://localhost{root}/segment.ts",
    "file:{root}/segment.ts",
    "file:///{root}/../../../etc/shadow", "file://{root}/%2e%2e/x", "file://{root}/segment.ts%00", "file://{root}",
    "file://{root}/pipe",
    "file://{root}/loop", "file://{root}/" + "a" * 300, "file://{root}/" + "d/" * 2100, "file://{root}/\udc80",
    "{root}/segment.ts", "segment.ts",
    "http://127.0.0.1/", "http://①②⑦.⓪.⓪.①:80/x", "http://0x7f.1/", "http://2130706433/", "http://[::1]/",
    "http://[fe80::1%25eth0]/",
    "http://[::ffff:10.0.0.1]/", "http://8.8.8.8:99999/", "http://8.8.8.8/a", "http://public.test/a b",
    "http://private.test/x", "http://u@h/",
    "http://u:p@public.test/", "http://public.test:/", "http:///x", "http://", "//x", "https://public.test/?" + "q=1&" * 2000,
    "http://ａ.test/", "http://xn--/",
    "http://" + "a." * 200 + "test/", "http://[", "http://]", "http://a\\b/", "http://a%00b/", "HTTP://PUBLIC.TEST/%zz",
    "http://-.test/",
    "http://" + "é" * 70 + ".test", "ftp://public.test/x", "gopher://x", "data:video/mp4;base64,AAAA", "concat:a|b",
    "javascript:x", "http://public.test/::file:///etc/passwd", "file", "file:", "file:/", "file:////", ":", "?", "#", "http:x",
)  # fmt: skip
PIECES = (
    b"\0", b"\xff", b"\xed\xa0\x80", b"\\ud800", b"\\u0000", b'"', b"\\", b"{", b"}", b"[" * 500, b"null", b"1e999", b"-",
    b",", b"\xef\xbb\xbf", b"\n",
)  # fmt: skip
FIELDS = ("stream_id", "segment_id", "sequence", "uri", "init_uri", "start", "duration", "rendition", "labels", "ended")


class MemoryProducer:
    """In place of Faust's producer: keeps the messages that it acknowledged."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes | None, bytes, dict[str, bytes]]] = []

    async def send(
        self, topic: str, key: bytes | None, value: bytes, partition: None, timestamp: None, headers: dict[str, bytes]
    ) -> Awaitable[None]:
        async def acknowledged() -> None:
            self.sent.append((topic, key, value, headers))

        return acknowledged()


def make_event(chance: random.Random, root: Path) -> dict[str, Any]:
    """A good event of some stream. root: folder with the segment that it names."""
    number = chance.randrange(1000)
    event = {
        "stream_id": f"channel-{number % 20}", "segment_id": f"channel-{number % 20}/{number}", "sequence": number,
        "uri": f"file://{root}/segment.ts", "start": "2026-01-31T20:15:04Z", "duration": 2.0,
    }  # fmt: skip
    if chance.random() < 0.4:
        event |= {"init_uri": f"file://{root}/init.mp4", "rendition": "720p", "labels": {"tier": "premium"}, "ended": False}
    return event


def mutated_message(chance: random.Random, root: Path, offset: int, sent: float) -> Message:
    """A good event with up to four of its fields and up to six places of its bytes changed. sent: Unix time of the message, s."""
    event = make_event(chance, root)
    if chance.random() < 0.5:
        _mutate_uri(event, chance, root)
    for _ in range(chance.choice([0, 0, 0, 1, 1, 3])):
        _mutate_field(event, chance)
    data = bytearray(json.dumps(event, ensure_ascii=chance.random() < 0.5).encode(errors="surrogatepass"))
    if chance.random() < 0.3:
        for _ in range(chance.choice([1, 1, 2, 6])):
            _mutate_bytes(data, chance)
    if chance.random() < 0.002:
        data += b" " * chance.choice([499_000, 600_000, 1_100_000])
    key = chance.choice([None, b"", b"channel", chance.randbytes(8), b"k" * 20_000])
    return Message(key, bytes(data), "video-segments", chance.randrange(8), offset, sent=sent)


def _mutate_uri(event: dict[str, Any], chance: random.Random, root: Path) -> None:
    """Give the event a hostile URI, or write odd characters into the one that it has."""
    field = "uri" if chance.random() < 0.7 else "init_uri"
    if chance.random() < 0.6:
        event[field] = chance.choice(URIS).replace("{root}", str(root))
    if chance.random() < 0.6:
        uri = list(event.get(field, ""))
        for _ in range(chance.randrange(1, 5)):
            uri.insert(chance.randrange(len(uri) + 1), chance.choice("/\\:@?#%[]. \0\n\t\u202e\udc80é①．。\u200b"))
        event[field] = "".join(uri)


def _mutate_field(event: dict[str, Any], chance: random.Random) -> None:
    field = chance.choice(FIELDS)
    match chance.randrange(6):
        case 0:
            event.pop(field, None)
        case 1:
            event["labels"] = {str(chance.choice(VALUES)): chance.choice(VALUES) for _ in range(chance.randrange(4))}
        case 2:
            event["start"] = chance.choice([1, -1]) * 10 ** chance.uniform(0, 25)
        case 3:
            event["labels"] = {f"name {i}": "é\0" * chance.randrange(512) for i in range(chance.randrange(33))}
        case _:
            event[field] = chance.choice(VALUES)


def _mutate_bytes(data: bytearray, chance: random.Random) -> None:
    place = chance.randrange(len(data) + 1)
    match chance.randrange(5):
        case 0 if place < len(data):
            data[place] = chance.randrange(256)
        case 1 if place < len(data):
            data[place] ^= 1 << chance.randrange(8)
        case 2:
            del data[place : place + chance.randrange(20)]
        case 3:
            data[place:place] = data[chance.randrange(len(data) + 1) :][: chance.randrange(60)]
        case _:
            data[place:place] = chance.choice(PIECES)


def _resolved(host: str | bytes, port: Any, *_: Any, **__: Any) -> list[Any]:
    """In place of the name servers: names with `private` in them lead to this machine, all others to a public address."""
    name = host.decode() if isinstance(host, bytes) else host
    address = "127.0.0.1" if "private" in name else "93.184.215.14"
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, int(port or 0)))]


def _no_socket(info: Any) -> socket.socket:
    """In place of `checks.public_socket`: the real check, and then no connection."""
    checks.public_socket(info).close()
    raise OSError("the fuzzer opens no connection")


async def fuzz_events(count: int, seed: int, folder: Path) -> Report:
    """Answer `count` mutated events, and hold each answer against the promise. folder: for media, store and temporary files."""
    root = folder / "media"
    root.mkdir(parents=True)
    (root / "segment.ts").write_bytes(b"G" * 188)
    (root / "init.mp4").write_bytes(b"\0\0\0\x08ftyp")
    os.mkfifo(root / "pipe")
    (root / "loop").symlink_to(root / "loop")
    report = Report("events", seed)
    limits = FetchLimits(roots=(root,), seconds=5, megabytes=1)
    pool: Any = FreePool()
    with (
        mock.patch("streams.media.fetch.ATTEMPTS", 1),
        mock.patch("streams.media.client.public_socket", _no_socket),
        mock.patch("socket.getaddrinfo", _resolved),
    ):
        async with Fetcher(limits, folder / "inbox") as fetcher:
            pipeline = SegmentPipeline(fetcher, pool, FreeScorer(), live_window=LIVE_WINDOW)
            try:
                for first in range(0, count, BATCH):
                    numbers = range(first, min(count, first + BATCH))
                    # As in Kafka: without a time a mutated `start` counts as a wait, and others are skipped for it.
                    sent = time.time()
                    messages = [
                        mutated_message(random.Random(f"event {seed} {number}"), root, number, sent) for number in numbers
                    ]
                    started = time.monotonic()
                    await _try_batch(messages, pipeline, SqliteSink(folder), report)
                    report.add_time(
                        (time.monotonic() - started) / len(messages), f"events {first} to {first + len(messages) - 1}"
                    )
            finally:
                pipeline.close()
    left = list((folder / "inbox").iterdir())
    if left:
        report.findings.append(Finding("left", f"{len(left)} files were left in the inbox", left[0].read_bytes()))
    return report


async def _try_batch(messages: list[Message], pipeline: SegmentPipeline, sink: SqliteSink, report: Report) -> None:
    """Answer a batch. Where that raises or hangs, find the message that is the cause by trying them one by one."""
    try:
        async with asyncio.timeout(BATCH_SECONDS):
            answers, sent = await _answers(messages, pipeline, sink)
    except Exception as error:
        if len(messages) == 1:
            report.outcomes["exception"] += 1
            words = f"message {messages[0].offset}: {type(error).__name__}: {error}"
            report.findings.append(Finding("event", words, messages[0].value))
            return
        for message in messages:
            await _try_batch([message], pipeline, SqliteSink(sink.path.parent), report)
        return
    for message, answered, record in zip(messages, answers, sent, strict=True):
        answer = answered.answer
        letter = isinstance(answer, DeadLetter)
        report.outcomes[f"dead letter: {answer.headers['kind']}" if isinstance(answer, DeadLetter) else answer.status] += 1
        wrong = wrong_letter(message, record) if letter else wrong_score(record)
        if answered.message is not message:
            wrong = "the answer belongs to another message"
        if wrong is not None:
            report.findings.append(Finding("event", f"message {message.offset}: {wrong}", message.value))


async def _answers(messages: list[Message], pipeline: SegmentPipeline, sink: SqliteSink) -> tuple[list[Answered], list[Any]]:
    """The answers, and what was sent for them, in order."""
    producer = MemoryProducer()
    acknowledged = 0

    async def acknowledge() -> None:
        nonlocal acknowledged
        acknowledged += 1

    answers = await pipeline.score(await pipeline.sample(messages))
    await checkpoint(answers, producer, Connection("none:1").named, sink, acknowledge)
    if acknowledged != 1 or len(producer.sent) != len(messages):
        raise AssertionError(f"{len(messages)} messages gave {len(producer.sent)} answers and {acknowledged} acknowledgements")
    return answers, producer.sent


def wrong_letter(message: Message, record: tuple[str, bytes | None, bytes, dict[str, bytes]]) -> str | None:
    """What is wrong with the dead letter of a message, None where nothing is."""
    topic, key, value, headers = record
    if topic != DEAD_LETTER_TOPIC:
        return f"the dead letter went to {topic}"
    if headers["kind"] == b"internal":
        return f"kind internal: {headers['reason'].decode()}"
    if value != message.value[:LETTER_VALUE_BYTES] or key != (message.key and message.key[:LETTER_KEY_BYTES]):
        return "the dead letter has other bytes"
    if not headers["reason"] or headers["offset"] != str(message.offset).encode():
        return "the dead letter names no reason, or another offset"
    return _too_large(record)


def wrong_score(record: tuple[str, bytes | None, bytes, dict[str, bytes]]) -> str | None:
    """What is wrong with a score or a skip as it was sent, None where nothing is."""
    topic, _, value, _ = record
    if topic != SCORES_TOPIC:
        return f"the score went to {topic}"
    try:
        SegmentScore.from_bytes(value)
    except EventError as error:
        return f"the score cannot be read again: {error}"
    return _too_large(record)


def _too_large(record: tuple[str, bytes | None, bytes, dict[str, bytes]]) -> str | None:
    _, key, value, headers = record
    size = len(key or b"") + len(value) + sum(len(name) + len(text) for name, text in headers.items())
    return f"the answer has {size} bytes, more than a broker takes" if size > LARGEST_MESSAGE - 1000 else None
