"""All access to files and URLs: from an event's URI to a local file.

URIs come from outside. Allowed are http(s) to public addresses (or listed hosts), files under the media roots, s3 and
gs. A name is resolved once, every address is checked, and the connection goes to a checked address, so that neither a
redirect nor a second look-up can lead into the private network.
"""

from __future__ import annotations

import asyncio
import fnmatch
import ipaddress
import logging
import os
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast
from urllib.parse import unquote, urljoin, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from streams.errors import MediaError

log = logging.getLogger(__name__)
MAX_REDIRECTS = 3
ATTEMPTS = 3
CHUNK = 1 << 16
NAT64 = ipaddress.ip_network("64:ff9b::/96")


@dataclass(frozen=True)
class LocalMedia:
    """A segment on the local disk. temporary: the caller deletes it."""

    path: Path
    temporary: bool

    def discard(self) -> None:
        """Delete it, where it is ours. A disk that does not even do that is no fault of the segment."""
        if self.temporary:
            try:
                self.path.unlink(missing_ok=True)
            except OSError as error:
                log.warning("%s cannot be deleted: %s", self.path, error.strerror)


@dataclass(frozen=True)
class FetchLimits:
    """What may be fetched.

    roots: folders that `file:` URIs may point into; none refuses `file:`. hosts: patterns of host names that http(s) URIs
    may name; none allows every public host. private: whether addresses of private networks are allowed. seconds,
    megabytes: time and size of one segment at most, MiB.
    """

    roots: tuple[Path, ...] = ()
    hosts: tuple[str, ...] = ()
    private: bool = False
    seconds: float = 15.0
    megabytes: int = 256


class Fetcher:
    """Fetches segments into a folder, within limits. Use as an async context manager."""

    def __init__(self, limits: FetchLimits, directory: Path) -> None:
        self._limits = limits
        self._directory = directory
        self._roots = [str(root.resolve()).rstrip(os.sep) + os.sep for root in limits.roots]
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Fetcher:
        self._directory.mkdir(parents=True, exist_ok=True)
        connector = aiohttp.TCPConnector(resolver=_CheckedResolver(self._limits.private), limit=64)
        # auto_decompress off: a small compressed answer could grow without bound.
        self._session = aiohttp.ClientSession(connector=connector, auto_decompress=False, trust_env=False)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def fetch(self, uri: str, init_uri: str | None = None) -> LocalMedia:
        """The media of a segment as one local file; an init segment is put before it.

        Raises `MediaError`: kind "refused" where the settings do not allow the URI, "not-found", "too-large",
        "timeout" or "unreachable"; "setup" where this worker cannot keep what it fetches.
        """
        if init_uri is None and urlsplit(uri).scheme == "file":
            return LocalMedia(self._local(uri), temporary=False)
        try:
            async with asyncio.timeout(self._limits.seconds):
                return await self._gather(uri, init_uri)
        except TimeoutError:
            raise MediaError(f"fetching {_shown(uri)} took more than {self._limits.seconds:g} s", kind="timeout") from None

    async def _gather(self, uri: str, init_uri: str | None) -> LocalMedia:
        try:
            self._directory.mkdir(parents=True, exist_ok=True)  # it may have been cleaned away
            with tempfile.NamedTemporaryFile(dir=self._directory, prefix="segment-", delete=False) as out:
                media = LocalMedia(Path(out.name), temporary=True)
                try:
                    for part in filter(None, (init_uri, uri)):
                        await self._append(part, cast(BinaryIO, out))
                    out.flush()  # here, where a disk that is full leaves no file behind
                except BaseException:
                    media.discard()
                    raise
        except OSError as error:
            raise self._own_fault(error) from error
        return media

    def _own_fault(self, error: OSError) -> MediaError:
        """Of this worker, not of the segment: it waits until its disk can be written to again."""
        return MediaError(f"{self._directory} (FVQ_DATA_DIR) cannot be written to: {error.strerror}", kind="setup")

    async def _append(self, uri: str, out: BinaryIO) -> None:
        scheme = urlsplit(uri).scheme
        if scheme == "file":
            self._copy(self._local(uri), out)
        elif scheme in ("http", "https"):
            await self._download(uri, out)
        elif scheme in ("s3", "gs"):
            await asyncio.to_thread(self._from_object_store, uri, out)
        else:
            raise MediaError(
                f"{_shown(uri)}: the scheme {scheme or 'none'!r} is not one of file, http, https, s3, gs", kind="refused"
            )

    def _local(self, uri: str) -> Path:
        parts = urlsplit(uri)
        if parts.netloc not in ("", "localhost"):
            raise MediaError(f"{_shown(uri)}: a file URI cannot name a host", kind="refused")
        if not self._roots:
            raise MediaError(
                f"{_shown(uri)}: file URIs are refused; set FVQ_MEDIA_ROOTS to the folders that may be read", kind="refused"
            )
        # Strings, as this is asked for every segment: pathlib's way takes three times as long.
        try:
            path = os.path.realpath(unquote(parts.path))
        except (OSError, ValueError) as error:
            raise MediaError(f"{_shown(uri)}: not a path: {error}", kind="refused") from error
        if not any(path.startswith(root) for root in self._roots):
            raise MediaError(f"{_shown(uri)} is outside FVQ_MEDIA_ROOTS", kind="refused")
        if not os.path.isfile(path):
            raise MediaError(f"{_shown(uri)}: no such file", kind="not-found")
        return Path(path)

    def _copy(self, path: Path, out: BinaryIO) -> None:
        try:
            with path.open("rb") as file:
                while data := file.read(CHUNK):
                    self._write(data, out, str(path))
        except OSError as error:
            raise MediaError(f"{path} cannot be read: {error.strerror}", kind="unreachable") from error

    async def _download(self, uri: str, out: BinaryIO) -> None:
        start = out.tell()
        for attempt in range(1, ATTEMPTS + 1):
            try:
                await self._get(uri, out)
                return
            except (aiohttp.ClientError, OSError) as error:
                refused = _refusal(error)
                if refused is not None:
                    raise refused from error
                if attempt == ATTEMPTS:
                    raise MediaError(f"{_shown(uri)} cannot be reached: {error}", kind="unreachable") from error
            except _TemporaryError as error:
                if attempt == ATTEMPTS:
                    raise MediaError(str(error), kind="unreachable") from error
            out.seek(start)
            out.truncate()
            await asyncio.sleep(0.3 * 3 ** (attempt - 1))

    async def _get(self, uri: str, out: BinaryIO) -> None:
        assert self._session is not None
        for _ in range(MAX_REDIRECTS + 1):
            self._check_host(uri)
            async with self._session.get(uri, allow_redirects=False, headers={"Accept-Encoding": "identity"}) as answer:
                if answer.status in (301, 302, 303, 307, 308):
                    uri = _redirected(uri, answer.headers.get("Location", ""))
                    continue
                if answer.status in (404, 410):
                    raise MediaError(
                        f"{_shown(uri)}: not there (HTTP {answer.status}); has the segment expired?", kind="not-found"
                    )
                if answer.status >= 500 or answer.status == 429:
                    raise _TemporaryError(f"{_shown(uri)}: the server answered HTTP {answer.status}")
                if answer.status != 200:
                    raise MediaError(f"{_shown(uri)}: the server answered HTTP {answer.status}", kind="unreachable")
                async for data in answer.content.iter_chunked(CHUNK):
                    self._write(data, out, _shown(uri))
                return
        raise MediaError(f"{_shown(uri)}: more than {MAX_REDIRECTS} redirects", kind="refused")

    def _check_host(self, uri: str) -> None:
        parts = urlsplit(uri)
        host = parts.hostname
        if parts.scheme not in ("http", "https") or not host:
            raise MediaError(f"{_shown(uri)}: not an http address", kind="refused")
        allowed = self._limits.hosts
        if allowed and not any(fnmatch.fnmatch(host.lower(), pattern.lower()) for pattern in allowed):
            raise MediaError(f"{_shown(uri)}: the host is not in FVQ_FETCH_HOSTS", kind="refused")
        # The connector asks no resolver about a literal address.
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return
        if not (self._limits.private or is_public(address)):
            raise MediaError(f"{_shown(uri)}: {host} is not a public address", kind="refused")

    def _from_object_store(self, uri: str, out: BinaryIO) -> None:
        import fsspec

        try:
            with fsspec.open(uri, "rb") as file:
                while data := file.read(CHUNK):
                    self._write(data, out, _shown(uri))
        except ImportError as error:
            package = {"s3": "s3fs", "gs": "gcsfs"}[urlsplit(uri).scheme]
            raise MediaError(f"{_shown(uri)}: install {package} to read it", kind="refused") from error
        except FileNotFoundError as error:
            raise MediaError(f"{_shown(uri)}: no such object", kind="not-found") from error
        except OSError as error:
            raise MediaError(f"{_shown(uri)} cannot be read: {error}", kind="unreachable") from error

    def _write(self, data: bytes, out: BinaryIO, name: str) -> None:
        if out.tell() + len(data) > self._limits.megabytes * 2**20:
            raise MediaError(f"{name} is larger than FVQ_FETCH_MAX_MB ({self._limits.megabytes} MiB)", kind="too-large")
        try:
            out.write(data)
        except OSError as error:
            raise self._own_fault(error) from error


def is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether an address belongs to the public internet, also behind an IPv4-in-IPv6 notation."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
    return address.is_global and not address.is_multicast


class _TemporaryError(Exception):
    """The server may answer otherwise in a moment."""


class _RefusedAddressError(OSError):
    """A name that resolves to an address that is not allowed."""


class _CheckedResolver(AbstractResolver):
    """Resolves names and lets public addresses through only."""

    def __init__(self, private: bool) -> None:
        self._private = private

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[ResolveResult]:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
        results: list[ResolveResult] = []
        for kind, _, protocol, _, address in found:
            if not self._private and not is_public(ipaddress.ip_address(str(address[0]).split("%")[0])):
                raise _RefusedAddressError(f"{host} resolves to {address[0]}, which is not a public address")
            results.append(
                ResolveResult(
                    hostname=host, host=str(address[0]), port=port, family=kind, proto=protocol, flags=socket.AI_NUMERICHOST
                )
            )
        return results

    async def close(self) -> None:
        pass


def _refusal(error: BaseException | None) -> MediaError | None:
    """The refusal somewhere in the chain of causes: aiohttp wraps what its resolver raises."""
    while error is not None:
        if isinstance(error, _RefusedAddressError):
            return MediaError(str(error), kind="refused")
        error = error.__cause__ or error.__context__ or getattr(error, "os_error", None)
    return None


def _redirected(uri: str, location: str) -> str:
    try:
        return urljoin(uri, location)
    except ValueError as error:
        raise MediaError(f"{_shown(uri)}: redirects to what is no address", kind="refused") from error


def _shown(uri: str) -> str:
    """A URI without what may be secret in it: credentials and signed queries."""
    try:
        parts: Any = urlsplit(uri)
        host = parts.hostname or ""
    except ValueError:
        return "the URI"
    port = f":{parts.port}" if _has_port(parts) else ""
    return f"{parts.scheme}://{host}{port}{parts.path}"[:300]


def _has_port(parts: Any) -> bool:
    try:
        return parts.port is not None
    except ValueError:
        return False
