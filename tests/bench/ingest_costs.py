"""CPU time of one load of a playlist, also on a machine that does other work: the least of several repetitions.

    python -m tests.bench.ingest_costs [--write]

The ingester's own parts run in this process: reader, rendition, and the sender to an embedded broker. 800 sources of
`tests.bench.lean_origin`, whose playlists have 13 segments on average, are loaded 20 at a time, without and with one new segment.
"""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Sequence
from dataclasses import replace

import uvloop

from streams.events import INGEST_STATE_TOPIC, SEGMENTS_TOPIC, SegmentEvent
from streams.ingest.base import SavedPosition, Services, Stream
from streams.ingest.hls.rendition import Rendition
from streams.ingest.positions import to_bytes
from streams.ingest.publisher import KafkaSender, Messages
from streams.kafka.connection import Connection
from streams.kafka.embedded import EmbeddedBroker
from streams.kafka.topics import create_topics
from streams.media.read import Reader
from tests.bench.arguments import parser_of
from tests.bench.ingest import HOSTS, PAGE
from tests.support.documentation import replace_marked
from tests.support.pages import read_page
from tests.support.processes import PYTHON, ROOT
from tests.support.servers import free_ports
from tests.support.waiting import wait_for

SOURCES, AT_ONCE, REPETITIONS = 800, 20, 8


async def load_costs(port: int) -> tuple[float, float, tuple[Messages, Messages]]:
    """Microseconds of a load without and with a new segment, and the messages of `AT_ONCE` loads, events and positions."""
    announced: list[tuple[Stream, Sequence[SegmentEvent], SavedPosition]] = []

    async def publish(stream: Stream, events: Sequence[SegmentEvent], saved: SavedPosition) -> None:
        announced[AT_ONCE - 1 :] = [(stream, events, saved)]

    async with Reader(private=True) as reader:
        services, free = Services(reader.read, publish), asyncio.Semaphore(AT_ONCE)
        addresses = [f"http://127.0.1.{number % HOSTS + 1}:{port}/live/{number}.m3u8" for number in range(SOURCES)]
        renditions = [Rendition(Stream(f"s{number}"), [url], services) for number, url in enumerate(addresses)]

        async def load(rendition: Rendition, changed: bool) -> None:
            async with free:
                if changed:  # the newest segment is new once more
                    position = rendition.status.position
                    assert position.number is not None
                    rendition._digest, rendition.status.position = b"", replace(position, number=position.number - 1)
                await rendition.load()

        async def cost(changed: bool) -> float:
            began = time.process_time()
            await asyncio.gather(*(load(rendition, changed) for rendition in renditions))
            return (time.process_time() - began) / SOURCES * 1e6

        await cost(False)  # joins
        unchanged = min([await cost(False) for _ in range(REPETITIONS)])
        changed = min([await cost(True) for _ in range(REPETITIONS)])
    events = [(event.stream_id.encode(), event.to_bytes()) for _, batch, _ in announced for event in batch]
    return unchanged, changed, (events, [(stream.stream_id.encode(), to_bytes(stream, saved)) for stream, _, saved in announced])


def sending_cost(messages: tuple[Messages, Messages]) -> float:
    """Microseconds of sending the events and positions of a load, in batches of `AT_ONCE` loads."""
    with EmbeddedBroker() as broker:
        connection = Connection(broker.address)
        create_topics(connection, 4, 1)
        sender = KafkaSender(connection)
        costs = []
        for _ in range(5 * REPETITIONS):
            began = time.process_time()
            sender.send(SEGMENTS_TOPIC, messages[0])
            sender.send(INGEST_STATE_TOPIC, messages[1])
            costs.append((time.process_time() - began) / AT_ONCE * 1e6)
        sender.close()
    return min(costs)


def main() -> None:
    """Measure and print."""
    parser = parser_of(__doc__)
    parser.add_argument("--write", action="store_true", help="write the figures into docs/ingest.md")
    arguments = parser.parse_args()
    port = free_ports(1)
    began = str(time.time() - 200)
    origin = subprocess.Popen([PYTHON, "-m", "tests.bench.lean_origin", str(port), began], cwd=ROOT)
    try:
        wait_for("the origin", lambda: read_page(port, "/live/0.m3u8")[0] == 200, 20)
        unchanged, changed, messages = uvloop.run(load_costs(port))
    finally:
        origin.kill()
    sending = sending_cost(messages)
    share = (changed + sending) * 1000 / 1e6
    lines = [
        f"CPU time of a load: {unchanged:.0f} µs where nothing is new, {changed:.0f} µs with a new segment, and {sending:.0f} µs "
        f"to send its event and position in a batch of {AT_ONCE} loads: 1,000 loads a second, of 2,000 sources with segments of "
        f"2 s, take {share:.0%} of a core that does nothing else.",
    ]  # fmt: skip
    print("\n".join(lines))
    if arguments.write:
        replace_marked(PAGE, "python -m tests.bench.ingest_costs", lines)


if __name__ == "__main__":
    main()
