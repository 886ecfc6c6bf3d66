"""Everything on one machine: `fvq up` of files.

Starts a broker and the wall, cuts the sources into segments, starts a worker, plays the segments as live streams, and shows
the scores. Worker and wall are the same commands as on a cluster, in processes of their own.
"""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from streams import parts
from streams.data_folder import own_folder
from streams.ingest.announce import announce
from streams.ingest.files import cut_all, events_of, find_sources, in_order
from streams.kafka.clients import reading
from streams.kafka.connection import Connection
from streams.kafka.consumer import poll_until
from streams.local.background import Background
from streams.local.processes import FOLLOWER_SECONDS, answer_topics, own_kafka, wait_for_agents
from streams.local.run import Run
from streams.local.view import View, print_json
from streams.local.wall import Wall, start_wall, start_worker
from streams.media import ffmpeg
from streams.settings import Settings
from streams.text import counted

ANSWER_SECONDS = 120.0
"""The run ends when, after the last segment was announced, no answer comes for this long."""


def run_up(settings: Settings, source: Path, *, fast: bool, segment_seconds: float, as_json: bool, keep: bool) -> int:
    """Play a source, show the scores as they come, then a summary; returns the exit code.

    source: a video, or a folder of them. fast: announce all segments at once. segment_seconds: length of a segment. keep: the
    wall stays until Ctrl-C, or until it or the worker ends by itself, which is exit code 1. Raises `BrokerError`, and
    `MediaError` where no source can be played, there is no ffmpeg, or the worker does not start.
    """
    ffmpeg.program("fvq up of files")
    view = View(as_json)
    sources = find_sources(source)
    with ExitStack() as stack:
        own = own_folder(settings.data_dir, "up")
        stack.callback(own.delete)
        work = own.path
        connection = own_kafka(stack, settings)
        # First, so that it starts beside the cutting: its address is the first line, and no score waits for it.
        wall = start_wall(stack, settings, connection.servers, [work], view.note) if keep or not as_json else None
        view.note(f"cutting {counted(len(sources), 'source')} into segments")
        segments, problems = cut_all(sources, work, segment_seconds, parts.cut_limits(settings))
        for unplayed, reason in problems.items():
            view.problem("not played", f"{unplayed.path}: {reason}")
        worker = start_worker(stack, settings, connection.servers, [work], fast, wall, view.note)
        start = datetime.now(UTC)
        run = Run([event for source, cuts in segments.items() for event in events_of(source, cuts, start, {})], connection.named)
        _play(settings, connection, view, run, worker, wall, fast)
        view.summary(run)
        if run.worker_exit not in (None, 0):
            view.problem(f"the worker ended with code {run.worker_exit}", "(its log lines are above)")
            return 1
        if run.interrupted:
            return 0
        kept = wall.keep(worker) if wall is not None and keep else 0
        return kept or int(not run.scores or run.answered < len(run.events) or bool(problems))


def _play(
    settings: Settings,
    connection: Connection,
    view: View,
    run: Run,
    worker: subprocess.Popen[bytes],
    wall: Wall | None,
    fast: bool,
) -> None:
    """Announce the run's segments and show the answers, until each has one and the agents have read the last scores.

    Raises what announcing or showing them raises, such as `BrokenPipeError` where who reads the output has gone.
    """
    done = threading.Event()
    follower = Background(partial(_follow, connection, run, done, view.as_json), "answers")
    follower.start()
    events = in_order(list(run.events.values()), fast)
    player = Background(partial(announce, events, connection, lambda _: None, done.is_set), "player")
    player.start()
    try:
        try:
            with view.shown(run) as refresh:
                for _ in _until_ended(run, worker, player):
                    follower.check()
                    player.check()
                    refresh()
                    if wall is not None:
                        wall.check()
            if run.worker_exit is None:
                wait_for_agents(settings, connection, run.ends)
        finally:
            done.set()
            follower.join(FOLLOWER_SECONDS)
    except KeyboardInterrupt:  # also while the last answers are read
        run.interrupted = True
    follower.check()


def _follow(connection: Connection, run: Run, done: threading.Event, as_json: bool) -> None:
    """Read answers and alerts into the run until `done` is set. as_json: print the line of each."""
    with reading(connection) as consumer:
        consumer.subscribe(answer_topics(connection))
        for message in poll_until(consumer, done):
            line = run.take(message)
            if as_json and line is not None:
                print_json(line)


def _until_ended(run: Run, worker: subprocess.Popen[bytes], player: threading.Thread) -> Iterator[None]:
    """Yields every 0.1 s until each segment has an answer, the worker has ended, or no answer comes any more."""
    answered, last_change = 0, time.monotonic()
    while True:
        if run.answered != answered or player.is_alive():
            answered, last_change = run.answered, time.monotonic()
        run.worker_exit = worker.poll()
        if run.answered == len(run.events) or run.worker_exit is not None or time.monotonic() - last_change > ANSWER_SECONDS:
            return
        yield
        time.sleep(0.1)
