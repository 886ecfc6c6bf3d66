"""What the integration tests are made of: real servers, real `fvq` processes, and what is on a topic."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition

from streams.events import SegmentEvent
from streams.kafka.connection import RECONNECT_MS

ROOT = Path(__file__).parents[2]
FVQ, PYTHON = str(ROOT / ".venv/bin/fvq"), str(ROOT / ".venv/bin/python")
TOOL_MISSING = 3  # exit code of the scripts under scripts/


def free_ports(count: int) -> int:
    """The first of `count` adjacent ports that nobody has now.

    From below those that outgoing connections are given: a client that looks for a server which is down must not get its port.
    """
    end = max(20_000, int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0]))
    for _ in range(100):
        first = random.randrange(10_000, end - count)
        taken = []
        try:
            for port in range(first, first + count):
                taken.append(socket.create_server(("127.0.0.1", port)))
            return first
        except OSError:
            continue
        finally:
            for server in taken:
                server.close()
    raise RuntimeError("no free ports")


def wait_for(what: str, reached: Callable[[], bool], seconds: float, every: float = 0.2) -> float:
    """Seconds it took until `reached()`; fails the test with `what` when it is not in time."""
    begin = time.monotonic()
    if not comes(reached, seconds, every):
        pytest.fail(f"{what}: not within {seconds:.0f} s")
    return time.monotonic() - begin


def comes(reached: Callable[[], bool], seconds: float, every: float = 0.2) -> bool:
    """Whether `reached()` within the time."""
    begin = time.monotonic()
    while not reached():
        if time.monotonic() - begin > seconds:
            return False
        time.sleep(every)
    return True


class Server:
    """A real server that a script under scripts/ starts. Its data survive `stop` and `kill`."""

    def __init__(self, script: Path, environment: dict[str, str]) -> None:
        self.script = script
        self.environment = environment

    def __call__(self, command: str, seconds: float = 120) -> subprocess.CompletedProcess[str]:
        # Into a file, not a pipe: the server inherits it, and a pipe would never be at its end.
        log = Path(next(iter(self.environment.values()))).with_suffix(".script.log")
        with log.open("w") as output:
            done = subprocess.run(
                [self.script, command], env=os.environ | self.environment, stdout=output, stderr=output, timeout=seconds
            )
        return subprocess.CompletedProcess(done.args, done.returncode, log.read_text())

    def start(self, seconds: float = 120) -> None:
        """Start it and wait until it answers; skips the test (with CI=true: fails) where a tool for it is missing."""
        done = self("start", seconds)
        if done.returncode == TOOL_MISSING and os.environ.get("CI") != "true":
            pytest.skip(done.stdout.strip())
        assert done.returncode == 0, done.stdout

    def stop(self) -> None:
        self("stop")

    def kill(self) -> None:
        self("kill")


class KafkaServer(Server):
    """A real Apache Kafka on a free port. secure: with TLS and a user; see `scripts/kafka/kafka`."""

    def __init__(self, folder: Path, secure: bool = False) -> None:
        port = free_ports(3)
        self.folder = folder
        environment = {"FVQ_KAFKA_DIR": str(folder), "FVQ_KAFKA_PORT": str(port), "FVQ_KAFKA_SECURE": str(int(secure))}
        super().__init__(ROOT / "scripts/kafka/kafka", environment)
        self.broker = f"127.0.0.1:{port}"

    @property
    def pid(self) -> int:
        return int(self.folder.joinpath("pid").read_text())

    def remove_topics(self) -> None:
        """Start from nothing: a group that is new would read what an earlier test left."""
        admin = KafkaAdminClient(bootstrap_servers=self.broker)
        own = [topic for topic in admin.list_topics() if not topic.startswith("__")]
        if own:
            admin.delete_topics(own)
            wait_for("topics are gone", lambda: not set(own) & set(admin.list_topics()), 30)
        admin.close()


class InfluxServer(Server):
    """A real InfluxDB 2.7 on a free port, with organisation and bucket `fvq`."""

    def __init__(self, folder: Path) -> None:
        port = free_ports(1)
        environment = {"FVQ_INFLUXDB_DIR": str(folder), "FVQ_INFLUXDB_PORT": str(port)}
        super().__init__(ROOT / "scripts/influxdb/influxdb", environment)
        self.url = f"http://127.0.0.1:{port}"
        self.token_file = folder / "token"


def fvq(*arguments: str, seconds: float = 120, **settings: str) -> subprocess.CompletedProcess[str]:
    """One `fvq` command, run to its end. settings: FVQ_ settings by their names, e.g. FVQ_BROKER=..."""
    return subprocess.run([FVQ, *arguments], env=clean_environment() | settings, capture_output=True, text=True, timeout=seconds)


def clean_environment() -> dict[str, str]:
    """The environment without anybody's settings, one thread for each process: the tests run several on few cores."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("FVQ_")}
    return ours | {"OMP_NUM_THREADS": "1"}


class Worker:
    """An `fvq worker` that can be killed and started again; its log is one file over all its lives.

    core: which of the processor cores is the worker's, and its children's; None for all. Two workers that both
    take all cores spend most of the time waiting for each other's threads.
    command: what is run instead of `fvq worker`.
    """

    def __init__(
        self, name: str, folder: Path, core: int | None = None, command: list[str] | None = None, **settings: str
    ) -> None:
        self.name = name
        self.command = command or [FVQ, "worker"]
        cores = sorted(os.sched_getaffinity(0))
        self.cores = set(cores) if core is None else {cores[core % len(cores)]}
        self.log = folder / f"{name}.log"
        self.environment = clean_environment() | {"FVQ_DATA_DIR": str(folder / name), "FVQ_WEB_PORT": "0"} | settings
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Worker:
        with self.log.open("ab") as log:
            # An own group, so that `kill` reaches the sampling children too, as a power cut does.
            self.process = subprocess.Popen(
                self.command, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        os.sched_setaffinity(self.process.pid, self.cores)  # long before the worker has imported anything with threads
        return self

    @property
    def pid(self) -> int:
        """Of the life that it has now, or had last."""
        assert self.process is not None
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """Kill -9 of the whole process group."""
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)

    def terminate(self, seconds: float = 30) -> int:
        """SIGTERM to the worker alone, as a service manager does; its exit status."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(seconds)

    def tail(self, lines: int = 40) -> str:
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join([f"--- {self.name}:", *text.splitlines()[-lines:]])


def produce(broker: str, topic: str, events: Iterable[SegmentEvent]) -> None:
    """Send events, keyed by stream, and wait for all acknowledgements."""
    producer = KafkaProducer(bootstrap_servers=broker)
    sent = [producer.send(topic, key=event.stream_id.encode(), value=event.to_bytes()) for event in events]
    for future in sent:
        future.get(timeout=30)
    producer.close()


class Follower:
    """Reads a topic from its beginning as it grows: what an outside reader has seen is what was delivered."""

    def __init__(self, broker: str, topic: str, **security: Any) -> None:
        options = {"bootstrap_servers": broker, "reconnect_backoff_max_ms": RECONNECT_MS} | security
        self.consumer = KafkaConsumer(auto_offset_reset="earliest", enable_auto_commit=False, **options)
        self.partitions = [TopicPartition(topic, number) for number in self.consumer.partitions_for_topic(topic) or ()]
        self.consumer.assign(self.partitions)
        self.values: list[bytes] = []

    def read(self) -> list[bytes]:
        """All values so far, up to the topic's end at the moment of the call."""
        ends = self.consumer.end_offsets(self.partitions)
        while any(self.consumer.position(partition) < ends[partition] for partition in self.partitions):
            for messages in self.consumer.poll(timeout_ms=500).values():
                self.values += [message.value for message in messages]
        return self.values

    def close(self) -> None:
        self.consumer.close()
