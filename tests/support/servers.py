"""Real Kafka and InfluxDB servers on free ports, started by the scripts under scripts/, and their fixtures."""

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

TOOL_MISSING = 3  # exit code of a script whose tool (Java, Go) is not installed


def free_ports(count: int) -> int:
    """The first of `count` adjacent ports on which nothing listens now.

    All are below the range from which the kernel takes ports for outgoing connections. In that range, a client that connects
    again and again while a test keeps its server down could be given the server's port.
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


def takes_datagrams(port: int) -> bool:
    """Whether a process has this UDP port. That it runs says less: an SRT encoder gives up where nobody answers for 3 s."""
    lines = Path("/proc/net/udp").read_text().splitlines()[1:]
    return any(line.split()[1].endswith(f":{port:04X}") for line in lines)


class Server:
    """A real server that a script under scripts/ starts; a call runs one of the script's commands.

    The server's data survive `stop` and `kill`.
    """

    def __init__(self, script: Path, environment: dict[str, str]) -> None:
        self.script = script
        self.environment = environment

    def __call__(self, command: str, seconds: float = 120) -> subprocess.CompletedProcess[str]:
        # To a file, not a pipe: the server inherits the output, so `subprocess.run` would wait for the end of a pipe for ever.
        log = Path(next(iter(self.environment.values()))).with_suffix(".script.log")
        with log.open("w") as output:
            finished = subprocess.run(
                [self.script, command], env=os.environ | self.environment, stdout=output, stderr=output, timeout=seconds
            )
        return subprocess.CompletedProcess(finished.args, finished.returncode, log.read_text())

    def start(self, seconds: float = 120) -> None:
        """Start the server and wait until it answers. Where a tool is missing, skip the test; with CI=true, fail it."""
        started = self("start", seconds)
        if started.returncode == TOOL_MISSING and os.environ.get("CI") != "true":
            pytest.skip(started.stdout.strip())
        assert started.returncode == 0, started.stdout

    def stop(self) -> None:
        """Stop the server with SIGTERM and wait for its end."""
        self("stop")

    def kill(self) -> None:
        """Stop the server with SIGKILL."""
        self("kill")


class KafkaServer(Server):
    """A real Apache Kafka on a free port. secure: with TLS and the user `fvq`; acls: and with an authorizer.

    See `scripts/kafka/kafka`. inner: the address without TLS and user of a secure one; who comes there may do everything.
    """

    def __init__(self, folder: Path, secure: bool = False, acls: bool = False) -> None:
        port = free_ports(3)
        self.folder = folder
        environment = {"FVQ_KAFKA_DIR": str(folder), "FVQ_KAFKA_PORT": str(port), "FVQ_KAFKA_SECURE": str(int(secure))}
        super().__init__(ROOT / "scripts/kafka/kafka", environment | {"FVQ_KAFKA_ACLS": str(int(acls))})
        self.broker = f"127.0.0.1:{port}"
        self.inner = f"127.0.0.1:{port + 2 if secure else port}"

    @property
    def pid(self) -> int:
        return int(self.folder.joinpath("pid").read_text())

    def remove_topics(self) -> None:
        """Delete all topics but Kafka's own. A new consumer group would else read the messages of an earlier test."""
        admin = KafkaAdminClient(bootstrap_servers=self.broker)
        topics = [topic for topic in admin.list_topics() if not topic.startswith("__")]
        if topics:
            admin.delete_topics(topics)
            wait_for("topics are deleted", lambda: not set(topics) & set(admin.list_topics()), 120)
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
    """One Apache Kafka for all tests. Tests use `kafka`, which is this server without topics."""
    server = KafkaServer(tmp_path_factory.mktemp("kafka") / "data")
    server.start()
    yield server
    server.kill()


@pytest.fixture
def kafka(kafka_server: KafkaServer) -> KafkaServer:
    """A running Apache Kafka without topics."""
    if kafka_server("status").returncode != 0:
        kafka_server.start()  # an earlier test stopped it
    kafka_server.remove_topics()
    return kafka_server


@pytest.fixture(scope="session")
def influxdb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InfluxServer]:
    """One InfluxDB for all tests."""
    server = InfluxServer(tmp_path_factory.mktemp("influxdb") / "data")
    server.start(seconds=1200)  # the first start builds InfluxDB
    yield server
    server.kill()
