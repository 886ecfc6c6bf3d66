"""Real servers on free ports: Kafka and InfluxDB, started by the scripts under scripts/."""

from __future__ import annotations

import os
import random
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka import KafkaAdminClient

from tests.support.processes import ROOT
from tests.support.waiting import wait_for

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


@pytest.fixture(scope="session")
def kafka_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    server = KafkaServer(tmp_path_factory.mktemp("kafka") / "data")
    server.start()
    yield server
    server.kill()


@pytest.fixture
def kafka(kafka_server: KafkaServer) -> KafkaServer:
    """A running Apache Kafka without topics."""
    if kafka_server("status").returncode != 0:
        kafka_server.start()  # an earlier test took it down
    kafka_server.remove_topics()
    return kafka_server


@pytest.fixture(scope="session")
def influxdb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InfluxServer]:
    server = InfluxServer(tmp_path_factory.mktemp("influxdb") / "data")
    server.start(seconds=1200)  # where it was not built before
    yield server
    server.kill()
