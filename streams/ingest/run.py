"""`fvq ingest hls`, `dash`, `push` and `folder` as a process: reader, publisher, supervisor and pages, until told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from streams.addresses import cannot_listen, http_address
from streams.connections import stop_signal
from streams.errors import SettingsError
from streams.ingest.base import Plan, Services, Times
from streams.ingest.live import Supervisor, follow_list, use_all_of_the_machine
from streams.ingest.names import Listed
from streams.ingest.pages import make_app, start_pages
from streams.ingest.publisher import KafkaSender, Publisher, read_positions
from streams.kafka.allowed import check_rights
from streams.kafka.connection import Connection
from streams.kafka.rights import NEEDS, rights_of
from streams.media.read import Answer
from streams.text import counted

log = logging.getLogger(__name__)

STOP_SECONDS = 5.0
"""Time in which what was announced and reported has to be acknowledged when the process ends."""

END_SECONDS = 12.0
"""Time in which the process ends when it is told to, whatever its threads wait for: a broker or a name server that hangs."""


@dataclass(frozen=True)
class LiveOptions:
    """What is followed. sources: at the start. plan: makes the plan of a source from its name and its address or folder.

    read_list: the sources anew, where their list has changed; None where there is no list. host, port: of the pages.
    once: end when all sources have ended. stopping: is called with the signal that tells the process to stop, and with the
    seconds in which it ends.
    """

    connection: Connection
    sources: Listed
    plan: Callable[[str, str], Plan]
    host: str
    port: int
    read_list: Callable[[], Listed | None] | None = None
    once: bool = False
    stopping: Callable[[int, float], None] = lambda *_: None


class PlaylistReader(Protocol):
    """Reads playlists: from servers, or from the spool."""

    async def __aenter__(self) -> Any:
        """Open what it needs."""

    async def __aexit__(self, *error: object) -> None:
        """Close it."""

    async def read(self, address: str, seconds: float) -> Answer:
        """The resource at an address. seconds: the longest time. Raises `ReadError`."""

    def allows(self, address: str) -> bool:
        """Whether media may be fetched from an address, as far as its text tells."""


async def run_live(options: LiveOptions, reader: PlaylistReader) -> None:
    """Follow sources until SIGTERM or SIGINT; then the process itself ends within `END_SECONDS`.

    Raises `BrokerError` or `SettingsError` where it cannot start.
    """
    stop = stop_signal(lambda number: options.stopping(number, END_SECONDS))
    use_all_of_the_machine()
    async with reader, _publisher(options.connection) as (publisher, publishing):
        services = Services(
            reader.read, publisher.publish, publisher.restore, Times(),
            report=publisher.report, allowed=reader.allows, retire=publisher.retire,
            renditions=publisher.renditions,
        )  # fmt: skip
        supervisor = Supervisor(services)

        async def follow(sources: Listed) -> None:
            await supervisor.follow([options.plan(name, url) for name, url in sources.items()])
            log.info("%s followed", counted(len(sources), "source is", "sources are"))

        async with _pages(options, supervisor):
            await follow(options.sources)
            tasks: list[asyncio.Task[Any]] = [publishing, asyncio.create_task(stop.wait())]
            if options.read_list is not None:
                tasks.append(asyncio.create_task(follow_list(options.read_list, follow)))
            if options.once:
                tasks.append(asyncio.create_task(supervisor.ended()))
            try:
                await _first_of(tasks)
            finally:
                _end_after(END_SECONDS)
                for task in tasks[1:]:
                    task.cancel()
                await supervisor.stop()


def _end_after(seconds: float) -> None:
    """End this process within that time, with exit code 1: what was not acknowledged is announced after the next start."""
    timer = threading.Timer(seconds, os._exit, (1,))
    timer.daemon = True
    timer.start()


async def _first_of(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Wait until one of the tasks ends; raises what it raised."""
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()


@asynccontextmanager
async def _publisher(connection: Connection) -> AsyncIterator[tuple[Publisher, asyncio.Task[None]]]:
    """The publisher, which starts with the positions that are kept, and its task."""
    rights = rights_of(NEEDS["fvq ingest hls"], "", named=connection.named)
    await asyncio.to_thread(check_rights, connection, "fvq ingest hls", rights)
    positions = await asyncio.to_thread(read_positions, connection)
    sender = await asyncio.to_thread(KafkaSender, connection)
    publisher = Publisher(sender, connection.named, positions)
    task = asyncio.create_task(publisher.run())
    try:
        yield publisher, task
    finally:
        publisher.finish()
        # Else a segment whose position is not kept yet would be announced twice after the next start, and the last state of a
        # stream that has ended be missing.
        await asyncio.wait({task}, timeout=STOP_SECONDS)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await task
        sender.close()


@asynccontextmanager
async def _pages(options: LiveOptions, supervisor: Supervisor) -> AsyncIterator[None]:
    app = make_app(supervisor.statuses, supervisor.show_metrics, Times().monotonic)
    try:
        runner = await start_pages(app, options.host, options.port)
    except OSError as error:
        reason = f"{cannot_listen(options.host, options.port, error)}; each `fvq ingest` on a machine needs a port of its own"
        raise SettingsError("FVQ_INGEST_HOST, FVQ_INGEST_PORT", reason) from error
    log.info("the pages are at %s", http_address(*runner.addresses[0][:2]))
    try:
        yield
    finally:
        await runner.cleanup()
