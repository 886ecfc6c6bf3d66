"""Attacks on a real server on 127.0.0.1: whatever the URI is, no request of a worker reaches it."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.errors import MediaError
from streams.media import checks
from streams.media.checks import is_public
from streams.media.fetch import Fetcher, FetchLimits
from tests.support.fetching import refused

SPELLINGS = [
    "127.0.0.1", "127.1", "127.0.0.1.", "2130706433", "0x7f000001", "0x7F.1", "017700000001", "0177.0.0.1", "127.0.0.2",
    "0", "0.0.0.0", "①②⑦.⓪.⓪.①", "１２７.０.０.１", "127。0．0｡1", "⑫7.0.0.1", "𝟏𝟐𝟕.𝟎.𝟎.𝟏", "0ⅹ7f.1", "127.0.0.\u00ad1",
    "localhost", "LOCALHOST", "ⓛocalhost", "localho\u017ft", "[::1]", "[::ffff:127.0.0.1]", "[::]", "[::ffff:7f00:1]",
    "[::1%lo]", "[64:ff9b::127.0.0.1]", "%31%32%37.0.0.1", "8.8.8.8@127.0.0.1", "127.0.0.1\\.example.com",
    "localhost.localdomain", socket.gethostname(),
]  # fmt: skip
"""Hosts that lead to this machine, in one reading or another."""


@dataclass
class Listener:
    """A port of 127.0.0.1 and ::1 that counts who connects, whatever is sent."""

    port: int = 0
    connections: int = 0
    servers: list[asyncio.Server] = field(default_factory=list)

    async def start(self) -> None:
        def count(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.connections += 1
            writer.close()

        self.servers.append(await asyncio.start_server(count, "0.0.0.0", 0))
        self.port = self.servers[0].sockets[0].getsockname()[1]
        with contextlib.suppress(OSError):  # a machine without IPv6
            self.servers.append(await asyncio.start_server(count, "::1", self.port))

    def stop(self) -> None:
        for server in self.servers:
            server.close()


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    running = Listener()
    await running.start()
    yield running
    running.stop()


async def test_no_spelling_of_loopback_reaches_a_server(listener: Listener, tmp_path: Path) -> None:
    for host in SPELLINGS:
        error = await refused(tmp_path, f"http://{host}:{listener.port}/media.ts", private=False)
        # A name that this machine does not know is unreachable; nothing else may be.
        assert error.kind == "refused" or host in ("localhost.localdomain", socket.gethostname()), host
    assert listener.connections == 0


async def test_no_redirect_reaches_loopback(listener: Listener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """origin.example stands for a public server of an attacker, which redirects to the listener."""
    locations = [f"{scheme}{host}:{listener.port}/x" for host in SPELLINGS for scheme in ("http://", "//")]
    waiting = list(locations)

    async def redirect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: " + waiting.pop(0).encode() + b"\r\n\r\n")
        writer.close()

    origin = await asyncio.start_server(redirect, "127.0.0.1", 0)
    port = origin.sockets[0].getsockname()[1]

    class Resolver(checks.CheckedResolver):
        async def resolve(self, host: str, port: int = 0, family: Any = socket.AF_UNSPEC) -> Any:
            if host != "origin.example":
                return await super().resolve(host, port, family)
            return [{"hostname": host, "host": "127.0.0.1", "port": port, "family": socket.AF_INET, "proto": 6, "flags": 0}]

    def opened(info: Any) -> socket.socket:
        return socket.socket(*info[:3]) if info[4] == ("127.0.0.1", port) else checks.public_socket(info)

    monkeypatch.setattr("streams.media.client.CheckedResolver", Resolver)
    monkeypatch.setattr("streams.media.client.public_socket", opened)
    monkeypatch.setattr("streams.media.fetch.ATTEMPTS", 1)
    for location in locations:
        error = await refused(tmp_path, f"http://origin.example:{port}/", private=False)
        assert error.kind == "refused" or "localdomain" in location or socket.gethostname() in location, location
    assert waiting == []
    assert listener.connections == 0
    origin.close()


async def test_the_address_of_the_socket_is_checked_where_no_resolver_was_asked(
    listener: Listener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Stands for a path around the other checks, such as another reading of the host.
    monkeypatch.setattr("streams.media.client.check_literal_address", lambda uri: None)
    error = await refused(tmp_path, f"http://127.0.0.1:{listener.port}/", private=False)
    assert (error.kind, "not a public address" in error.reason) == ("refused", True)
    assert listener.connections == 0


HOSTS = st.one_of(
    st.text(min_size=1),
    st.from_regex(r"[0-9a-fx.。０-９①-⑨ⓐ-ⓩ:\[\]%@\\-]{1,20}", fullmatch=True),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(lambda address: f"[{address}]"),
    st.integers(0, 2**32).map(str),
    st.integers(0, 2**32).map(hex),
    st.ip_addresses(v=4, network="127.0.0.0/8").map(lambda address: f"[::ffff:{address}]"),
    st.ip_addresses(v=4, network="127.0.0.0/8").map(
        lambda address: ".".join(f"{int(part):#o}" for part in str(address).split("."))
    ),
    st.sampled_from(["localhost", "a.example", "127.0.0.1", "１２７.０.０.１", "①②⑦.⓪.⓪.①", "[::1]"]),
)
BEFORE = st.one_of(
    st.just(""), st.text(max_size=8), st.sampled_from(["8.8.8.8@", "8.8.8.8\\@", "a:b@", "8.8.8.8#@", "8.8.8.8?@", "\t", "//"])
)
AFTER = st.one_of(
    st.just("/"), st.text(max_size=8), st.sampled_from(["@8.8.8.8/", "\\@8.8.8.8/", "#@8.8.8.8", "%00.example/", ".nip.example/"])
)


class Network:
    """Stands for the internet: notes each address a socket was asked for, and connects none that is public.

    Names resolve to loopback with every second look-up, as an attacker's name server would answer.
    """

    def __init__(self) -> None:
        self.reached: list[str] = []
        self.lookups = 0

    async def getaddrinfo(self, host: Any, port: int, **_: Any) -> list[Any]:
        self.lookups += 1
        with contextlib.suppress(OSError):
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (socket.inet_ntoa(socket.inet_aton(host)), port))]
        address = "127.0.0.1" if self.lookups % 2 or "localhost" in host else "8.8.8.8"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    def socket(self, info: Any) -> socket.socket:
        checks.public_socket(info).close()  # raises where the address is not public
        self.reached.append(info[4][0])
        raise OSError("no internet here")


@given(before=BEFORE, host=HOSTS, after=AFTER, scheme=st.sampled_from(["http://", "https://", "HTTP:", "http:/\\", "http:///"]))
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_uri_is_refused_or_leads_to_a_public_address(
    before: str, host: str, after: str, scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.media.fetch.ATTEMPTS", 1)
    network = Network()
    monkeypatch.setattr("streams.media.client.public_socket", network.socket)

    async def attack() -> tuple[MediaError, int]:
        asyncio.get_running_loop().getaddrinfo = network.getaddrinfo  # type: ignore[method-assign, assignment]
        listener = Listener()
        await listener.start()
        try:
            async with Fetcher(FetchLimits(seconds=5), tmp_path / "inbox") as fetcher:
                with pytest.raises(MediaError) as refusal:
                    await fetcher.fetch(f"{scheme}{before}{host}:{listener.port}{after}")
            return refusal.value, listener.connections
        finally:
            listener.stop()

    error, connections = asyncio.run(attack())
    assert connections == 0
    assert all(is_public(ipaddress.ip_address(address)) for address in network.reached)
    assert error.kind == ("unreachable" if network.reached else "refused"), error.reason
    assert error.reason.isprintable()
