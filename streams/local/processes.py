"""The processes of `fvq up`: the same `fvq worker`, `fvq ingest` and `fvq web` as on a cluster, as children that end with it."""

from __future__ import annotations

import http.client
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from scorer.process import die_with_parent
from streams import parts
from streams.data_folder import make_data_folder
from streams.errors import MediaError
from streams.events import ALERTS_TOPIC, DEAD_LETTER_TOPIC, SCORES_TOPIC
from streams.kafka.connection import Connection
from streams.kafka.embedded import EmbeddedBroker
from streams.kafka.progress import wait_for_groups
from streams.kafka.topics import create_topics
from streams.settings import Settings
from streams.text import printable

log = logging.getLogger(__name__)

READY_SECONDS = 90.0
"""The worker must load its model and join its group within this time."""

REASON_BYTES = 1000
"""Longest piece of the worker's page that an error repeats."""

STOP_SECONDS = 30.0
"""A process that was told to stop and still runs after this time is killed."""


FOLLOWER_SECONDS = 15.0
"""The thread that reads the answers gets this long to read the last ones."""

AGENTS_SECONDS = 30.0
"""The alert and harvest agents get this long, at most, to read the last scores."""


def own_kafka(stack: ExitStack, settings: Settings) -> Connection:
    """The user's Kafka, or an embedded broker that the stack's end ends; with all topics. Raises `BrokerError`.

    Before that the data folder is made, so that a wrong one is told at once. Raises `SettingsError`.
    """
    make_data_folder(settings.data_dir)
    if settings.broker:
        connection = parts.connection(settings)
    else:
        connection = Connection(stack.enter_context(EmbeddedBroker()).address, prefix=settings.topic_prefix)
    create_topics(connection, partitions=4, replication=1)
    return connection


def answer_topics(connection: Connection) -> list[str]:
    """The topics that say what became of segments: scores, dead letters, alerts."""
    return [connection.named(SCORES_TOPIC), connection.named(DEAD_LETTER_TOPIC), connection.named(ALERTS_TOPIC)]


def wait_for_agents(settings: Settings, connection: Connection, ends: Mapping[int, int]) -> None:
    """Return when the alert and harvest agents have answered the scores before these offsets, or after `AGENTS_SECONDS`.

    ends: by partition.
    """
    agents = {"alerts": settings.alerts, "harvest": settings.harvest}
    groups = [parts.group(settings).of(agent).name for agent, enabled in agents.items() if enabled]
    wait_for_groups(connection, groups, connection.named(SCORES_TOPIC), ends, AGENTS_SECONDS)


def own_settings(settings: Settings, broker: str, port: int) -> dict[str, str]:
    """Environment variables in which a child differs from this process. port: of its pages."""
    changes = {
        "FVQ_BROKER": broker,
        "FVQ_WEB_HOST": "127.0.0.1",
        "FVQ_WALL_HOST": "127.0.0.1",
        "FVQ_INGEST_HOST": "127.0.0.1",
        "FVQ_WEB_PORT": str(port),
        "FVQ_INGEST_PORT": str(port),
        "FVQ_DATA_DIR": str(settings.data_dir),
    }
    if not settings.broker:
        changes["FVQ_KAFKA_SECURITY"] = "PLAINTEXT"  # the embedded broker has no encryption and no users
    if settings.log_level == "info":
        changes["FVQ_LOG_LEVEL"] = "warning"  # the table shows what the info lines would say
    return changes


def worker_settings(settings: Settings, broker: str, media: Sequence[Path], port: int, fast: bool) -> dict[str, str]:
    """The same for the worker. media: folders of segments. fast: no segment is too old."""
    changes = own_settings(settings, broker, port)
    changes["FVQ_MEDIA_ROOTS"] = os.pathsep.join(str(root) for root in [*media, *settings.media_roots])
    changes["FVQ_SESSION_TIMEOUT"] = "6"
    if fast:
        changes["FVQ_LIVE_WINDOW"] = "off"
    return changes


@contextmanager
def running(command: Sequence[str], changes: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process of `fvq COMMAND` with the environment of this process and these changes; leaving the context stops it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "streams.cli", *command],
        env=os.environ | changes,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,  # Faust prints to standard output, which is for scores here
        preexec_fn=die_with_parent,
        process_group=0,  # Ctrl-C in a terminal reaches this process alone, which stops its children
    )
    try:
        yield process
    finally:
        tell_to_stop([process])
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            log.warning("`fvq %s` has not stopped within %g s of SIGTERM, and is killed", command[0], STOP_SECONDS)
            process.kill()
            process.wait()


def tell_to_stop(processes: Iterable[subprocess.Popen[bytes]]) -> None:
    """Send SIGTERM to those that run, so that they stop beside each other and not one after the other."""
    for process in processes:
        if process.poll() is None:
            process.terminate()


def wait_ready(worker: subprocess.Popen[bytes], port: int) -> None:
    """Return once the worker has its partitions, so that no segment is announced while it still loads its model.

    port: of the worker's pages. Raises `MediaError` where the worker ends, or is not ready in time.
    """
    deadline, reason = time.monotonic() + READY_SECONDS, "its pages do not answer"
    while time.monotonic() < deadline:
        if worker.poll() is not None:
            raise MediaError(f"the worker ended at once with code {worker.returncode} (its log lines are above)", kind="worker")
        with suppress(OSError, http.client.HTTPException):
            status, text = _ask_ready(port)
            if status == http.HTTPStatus.OK:
                return
            reason = f"/readyz says {printable(text)}"
        time.sleep(0.1)
    raise MediaError(f"the worker was not ready within {READY_SECONDS:.0f} s: {reason}", kind="worker")


def _ask_ready(port: int) -> tuple[int, str]:
    """Status and text of the worker's page. Raises `OSError` or `HTTPException` where there is none.

    Not by urllib: it asks a proxy, if the environment names one; and the object that it raises of an error page runs Python code
    when it goes, in which a Ctrl-C would be lost.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/readyz")
        with connection.getresponse() as answer:
            return answer.status, answer.read(REASON_BYTES).decode(errors="replace")
    finally:
        connection.close()
