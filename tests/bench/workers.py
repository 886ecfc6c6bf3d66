"""A real worker on an embedded broker, for benchmarks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from streams.events import SCORES_TOPIC
from streams.kafka.connection import Connection
from streams.kafka.embedded import EmbeddedBroker
from streams.kafka.topics import create_topics
from streams.ports import free_port
from tests.support.pages import read_page
from tests.support.processes import Worker
from tests.support.topics import Follower
from tests.support.waiting import wait_for


@contextmanager
def ready_worker(
    name: str, folder: Path, command: list[str] | None = None, **settings: str
) -> Iterator[tuple[str, Worker, Follower]]:
    """The broker's address, a worker that is ready, with one sampling child, and its scores.

    command: in place of `fvq worker`. The worker's log is printed where the block fails.
    """
    port = free_port("127.0.0.1")
    with EmbeddedBroker() as broker:
        create_topics(Connection(broker.address), partitions=4, replication=1)
        own = {
            "FVQ_BROKER": broker.address,
            "FVQ_MEDIA_ROOTS": str(folder),
            "FVQ_WEB_PORT": str(port),
            "FVQ_SAMPLER_WORKERS": "1",
        }
        worker = Worker(f"{name}-{port}", folder, command=command, **own, **settings).start()
        try:
            wait_for("the worker is ready", lambda: read_page(port, "/readyz")[0] == 200, 120)
            with closing(Follower(broker.address, SCORES_TOPIC)) as follower:
                yield broker.address, worker, follower
        except BaseException:
            print(worker.tail())
            raise
        finally:
            worker.kill()
