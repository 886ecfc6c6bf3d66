"""Free TCP ports of this machine."""

from __future__ import annotations

import socket


def free_port(host: str) -> int:
    """A TCP port of the host on which no program listens now."""
    family = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0][0]
    with socket.socket(family) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
