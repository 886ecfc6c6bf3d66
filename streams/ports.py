"""Free TCP ports of this machine."""

from __future__ import annotations

import socket


def free_port(host: str) -> int:
    """A TCP port of the host on which no program listens now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
