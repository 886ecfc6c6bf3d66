"""Everything on one machine, for live sources: `fvq up --source URL`.

Starts a broker, the wall, a worker and an ingester, each the same command as on a cluster, and shows the streams' latest scores.
"""

from __future__ import annotations

import asyncio
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streams import parts
from streams.errors import SettingsError
from streams.ingest.kinds import is_address, is_pushed, kind_of
from streams.ingest.names import folders_of, sources_of
from streams.ingest.pages import PageError, ask_status
from streams.ingest.push.address import push_sources_of
from streams.kafka.clients import open_reader
from streams.kafka.connection import Connection
from streams.kafka.consumer import TopicPartition, assign_at_end, poll_until
from streams.local.background import Background
from streams.local.live_run import LiveRun
from streams.local.live_view import LiveView
from streams.local.processes import (
    FOLLOWER_SECONDS,
    answer_topics,
    own_kafka,
    own_settings,
    running,
    tell_to_stop,
    wait_for_agents,
)
from streams.local.wall import Wall, start_wall, start_worker
from streams.ports import free_port
from streams.settings import Settings

STATUS_SECONDS = 0.5
"""Between two looks at the states of the sources."""

PICTURE_SECONDS = 0.25
"""Between two pictures of the table."""


@dataclass(frozen=True)
class Following:
    """What is followed, by which command. commands: `fvq ingest ...`. names: of the streams. folders: that hold their media.

    recorded: whether it may be as old as it likes.
    """

    commands: tuple[tuple[str, ...], ...]
    names: tuple[str, ...]
    folders: tuple[Path, ...] = ()
    recorded: bool = False


def find_live(settings: Settings, sources: Sequence[str], segment_seconds: float, watch: bool) -> Following:
    """What the sources are. watch: they are recorders' folders, else addresses.

    Raises `SettingsError` where one cannot be followed, and `MediaError` where its address may not be read or answers nothing
    that is known.
    """
    if watch:
        try:
            folders = folders_of(sources)
        except SettingsError as error:
            raise SettingsError("--source", error.reason) from None
        pieces = settings.data_dir.resolve() / "ingest" / "folder"
        command = ("folder", "--from", "start", "--segment-seconds", f"{segment_seconds:g}", *sources)
        return Following(
            (command,), tuple(folders), (*(Path(folder).resolve() for folder in folders.values()), pieces), recorded=True
        )
    pushed = [source for source in sources if is_pushed(source)]
    played = [source for source in sources if not is_pushed(source)]
    try:
        # Their names are never made from their addresses, which have keys in them.
        pushed_names = push_sources_of(pushed)
        listed = sources_of(played)
    except SettingsError as error:
        raise SettingsError("--source", error.reason) from None
    if twice := sorted(set(listed) & set(pushed_names)):
        raise SettingsError("--source", f"two sources are named {twice[0]}: give them names of their own")
    kinds = asyncio.run(_kinds(settings, list(listed.values())))
    commands: dict[str, list[str]] = {"push": pushed} if pushed else {}
    for source, kind in zip(played, kinds, strict=True):
        commands.setdefault(kind, []).append(source)
    spool = (parts.push_means(settings).spool,) if pushed else ()
    return Following(tuple((kind, *named) for kind, named in commands.items()), (*listed, *pushed_names), spool)


async def _kinds(settings: Settings, addresses: Sequence[str]) -> list[str]:
    async with parts.playlist_reader(settings) as reader:
        return [kind.command for kind in await asyncio.gather(*(kind_of(address, reader) for address in addresses))]


def run_live_up(settings: Settings, following: Following, *, seconds: float | None, as_json: bool, keep: bool) -> int:
    """Follow live sources and show their scores until Ctrl-C, or until all have ended; returns the exit code.

    seconds: end after this time. keep: the wall stays until Ctrl-C, or until it or the worker ends by itself, which is exit
    code 1. Raises `MediaError` where the worker does not start, and `BrokerError`.
    """
    view = LiveView(as_json)
    with ExitStack() as stack:
        connection = own_kafka(stack, settings)
        run = LiveRun(following.names, connection.named)
        media = following.folders
        wall = start_wall(stack, settings, connection.servers, media, view.note) if keep or not as_json else None
        # Recordings may be as old as they like, unless the user says otherwise.
        fast = following.recorded and settings.source("live_window").kind == "default"
        worker = start_worker(stack, settings, connection.servers, media, fast, wall, view.note)
        try:
            stopped = _follow(settings, connection, following, view, run, worker, wall, seconds)
        except KeyboardInterrupt:  # while the ingesters start or stop
            stopped = True
        view.summary(run)
        if run.problem:
            view.problem(run.problem)
            return 1
        return wall.keep(worker) if wall is not None and keep and not stopped else 0


@dataclass(frozen=True)
class _Ingester:
    """A process of `fvq ingest`. port: of its page."""

    process: subprocess.Popen[bytes]
    port: int


def _follow(
    settings: Settings,
    connection: Connection,
    following: Following,
    view: LiveView,
    run: LiveRun,
    worker: subprocess.Popen[bytes],
    wall: Wall | None,
    seconds: float | None,
) -> bool:
    """Ingest the sources and show the answers until the run is over; returns whether Ctrl-C ended it."""
    with ExitStack() as stack:
        follower = stack.enter_context(_Follower(connection, run, view))
        ingesters: list[_Ingester] = []
        for command in following.commands:
            page = free_port("127.0.0.1")
            changes = own_settings(settings, connection.servers, page)
            if settings.log_level == "info":
                changes["FVQ_LOG_LEVEL"] = "error"  # this process shows the sources' states
            ingesters.append(_Ingester(stack.enter_context(running(["ingest", *command], changes)), page))
        view.note("following " + ", ".join(following.names) + (": Ctrl-C ends it" if seconds is None else f" for {seconds:g} s"))
        try:
            with view.shown(run) as refresh:
                for _ in _until_ended(run, view, worker, ingesters, seconds):
                    follower.check()
                    refresh()
                    if wall is not None:
                        wall.check()
            if run.has_ended:
                wait_for_agents(settings, connection, run.ends)
        except KeyboardInterrupt:
            view.note("stopping")
            tell_to_stop([worker, *(ingester.process for ingester in ingesters)])
            return True
        tell_to_stop(ingester.process for ingester in ingesters)
    return False


def _until_ended(
    run: LiveRun,
    view: LiveView,
    worker: subprocess.Popen[bytes],
    ingesters: Sequence[_Ingester],
    seconds: float | None,
) -> Iterator[None]:
    """Yields again and again until the time is over, all sources have ended, or a process has."""
    deadline = time.monotonic() + seconds if seconds is not None else None
    asked = 0.0
    while deadline is None or time.monotonic() < deadline:
        if worker.poll() is not None:
            run.problem = f"the worker ended with code {worker.returncode} (its log lines are above)"
            return
        for ingester in ingesters:
            if ingester.process.poll() is not None:
                run.problem = f"the ingester ended with code {ingester.process.returncode} (its lines are above)"
                return
        if time.monotonic() - asked >= STATUS_SECONDS:
            asked = time.monotonic()
            _take_states(run, view, [ingester.port for ingester in ingesters])
        if run.has_ended:
            return
        yield
        time.sleep(PICTURE_SECONDS)
    if not run.scored:
        reasons = [f"{row['stream']} is {row['state']}: {row['reason']}" for row in run.sources.values() if row["reason"]]
        run.problem = "; ".join(["no segment was scored", *reasons])


def _take_states(run: LiveRun, view: LiveView, ports: Sequence[int]) -> None:
    """Ask the ingesters for their sources' states. One that does not answer yet, or is busy, is asked again next time."""
    rows: list[Any] = []
    try:
        for port in ports:
            rows += ask_status("127.0.0.1", port)
    except PageError:
        return
    view.states(run.take_sources(rows))


class _Follower:
    """Reads answers and alerts into the run, from the topics' ends at the start on; a context manager, whose end ends it.

    The context's end and `check` raise what showing an answer raised, such as `BrokenPipeError` where nobody reads the output.
    """

    def __init__(self, connection: Connection, run: LiveRun, view: LiveView) -> None:
        self._run, self._view, self._done = run, view, threading.Event()
        self._consumer = open_reader(connection)
        partitions = [
            TopicPartition(topic, number)
            for topic in answer_topics(connection)
            for number in sorted(self._consumer.partitions_for_topic(topic) or ())
        ]
        assign_at_end(self._consumer, partitions)
        self._thread = Background(self._read, "answers")

    def __enter__(self) -> _Follower:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._done.set()
        self._thread.join(FOLLOWER_SECONDS)
        if kind is None:
            self.check()

    def check(self) -> None:
        self._thread.check()

    def _read(self) -> None:
        try:
            for message in poll_until(self._consumer, self._done):
                self._view.take(self._run, message)
        finally:
            self._consumer.close()


def check_sources(sources: Sequence[str], watch: bool) -> bool:
    """Whether the sources are live: addresses, or folders to watch; False for a file or folder that is played.

    Raises `SettingsError` where they are mixed, several are to be played, or one is empty.
    """
    if "" in sources:  # as of a shell's variable that is not set; as a path it would be the folder that this runs in
        raise SettingsError("--source", "is empty: name a file, a folder or an address; `.` is this folder")
    if watch:
        return True
    live = [is_address(source) for source in sources]
    if any(live) != all(live):
        raise SettingsError("--source", "name live addresses, or one file or folder to play, not both")
    if not any(live) and len(sources) > 1:
        raise SettingsError("--source", "several are live addresses; of files, name one, or a folder of them")
    return all(live)
