"""Addresses of `fvq ingest push`: which protocol, who connects to whom, and the secrets, which no text of this module shows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from streams.addresses import is_loopback
from streams.errors import SettingsError
from streams.ingest.names import Listed, check_name, listed
from streams.ingest.push.rtmp import Place

SHORTEST_KEY = 8
"""Characters of a stream key where more than this machine can connect."""

PASSPHRASE = range(10, 80)
"""Characters of a passphrase, as SRT allows them."""

LONGEST_ADDRESS = 2048

ANALYSIS = "2000000"
"""Microseconds of a stream that ffmpeg looks at before it cuts: by default 5 s of an FLV, by which all dates would be late. What
is not pushed by RTMP may have its sound first."""

SRT_OPTIONS = ("passphrase", "streamid")
"""Options of an SRT address beside the mode. The latency is the larger of both sides' wishes: an encoder sets it."""

_NAMED = re.compile(r"(?![a-z]+://)(?P<name>[^=]*)=(?P<address>[a-z]+://.*)", re.IGNORECASE | re.DOTALL)
_SAFE = re.compile(r"[!-~]+")
_FORBIDDEN = re.compile(r"['\\\"`<>]")


@dataclass(frozen=True)
class PushAddress:
    """Where a source comes from.

    scheme: rtmp, rtmps or srt. listens: encoders connect to this process; else it connects to them. place: host and port. name:
    of RTMP, application and stream key. query: of an RTMP address to call, without the question mark. options: of SRT, without
    the mode.
    """

    scheme: str
    listens: bool
    place: Place
    name: str = field(default="", repr=False)
    query: str = field(default="", repr=False)
    options: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def shown(self) -> str:
        """The address for logs and pages: of a path its first part only, because the stream key is in the rest."""
        application = f"/{self.name.partition('/')[0]}" if self.name else ""
        return f"{self.scheme}://{self.place}{application}"

    @property
    def secrets(self) -> list[str]:
        """The texts that must not be shown, in every form in which ffmpeg may write them."""
        texts = [self.query, *(self.options.get(name, "") for name in ("passphrase", "streamid"))]
        if self.scheme != "srt":
            texts.append(self.name.partition("/")[2])
        return sorted({form for text in texts if text for form in (text, unquote(text))}, key=len, reverse=True)


def parse_address(text: str) -> PushAddress:
    """An address from its text. Raises ValueError, whose text says what is wrong and holds no secret."""
    if len(text) > LONGEST_ADDRESS or not _SAFE.fullmatch(text) or _FORBIDDEN.search(text):
        raise ValueError("it has spaces, quotes, a backslash or other characters that must be written as %XX, or is too long")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError("its host or port cannot be read") from None
    if parts.scheme not in ("rtmp", "rtmps", "srt"):
        raise ValueError("it begins with none of rtmp://, rtmps:// and srt://")
    if "@" in parts.netloc or parts.fragment or "#" in text:
        raise ValueError("it has a user, a password or a #, which these protocols do not")
    query = [pair for pair in parts.query.split("&") if pair]
    modes = [pair.partition("=")[2] for pair in query if pair.partition("=")[0] == "mode"]
    if len(modes) > 1 or any(mode not in ("listener", "caller") for mode in modes):
        raise ValueError("its mode is one of listener and caller, and given once")
    listens = modes[0] == "listener" if modes else host in (None, "0.0.0.0", "::")  # noqa: S104 - compared, not listened on
    if not host and not listens:
        raise ValueError("it names no host")
    rest = [pair for pair in query if pair.partition("=")[0] != "mode"]
    if parts.scheme == "srt":
        return _srt(host or "0.0.0.0", port, parts.path, rest, listens)  # noqa: S104 - `srt://:9000` is known to mean it
    return _rtmp(parts.scheme, host or "0.0.0.0", port, parts.path, rest, listens)  # noqa: S104


def _rtmp(scheme: str, host: str, port: int | None, path: str, query: list[str], listens: bool) -> PushAddress:
    name = path.strip("/")
    application, _, key = name.partition("/")
    if not application or not key:
        raise ValueError(f"{scheme}://HOST/APPLICATION/KEY is its form: the application or the stream key is missing")
    if listens and scheme == "rtmps":
        raise ValueError("a listener takes rtmp:// alone: for TLS, put a proxy in front that ends it")
    if listens and query:
        raise ValueError("a listener's address has no query but its mode")
    if listens and not is_loopback(host) and len(key) < SHORTEST_KEY:
        raise ValueError(
            f"other machines can connect to {host}, so the stream key must have at least {SHORTEST_KEY} characters that nobody "
            "guesses; or listen on 127.0.0.1"
        )
    place = Place(host, port or (443 if scheme == "rtmps" else 1935))
    return PushAddress(scheme, listens, place, name, "&".join(query))


def _srt(host: str, port: int | None, path: str, query: list[str], listens: bool) -> PushAddress:
    if port is None:
        raise ValueError("srt://HOST:PORT is its form: the port is missing")
    if path not in ("", "/"):
        raise ValueError("an SRT address has no path; a stream is named by streamid")
    options = {name: unquote(value) for name, _, value in (pair.partition("=") for pair in query)}
    if len(options) < len(query) or not options.keys() <= set(SRT_OPTIONS):
        raise ValueError(f"its options are mode, {' and '.join(SRT_OPTIONS)}, each once")
    if not all(_SAFE.fullmatch(value) and not _FORBIDDEN.search(value) for value in options.values()):
        raise ValueError("an option is empty, or has spaces, quotes or a backslash")
    if "passphrase" in options and len(options["passphrase"]) not in PASSPHRASE:
        raise ValueError(f"a passphrase has {PASSPHRASE[0]} to {PASSPHRASE[-1]} characters")
    if listens and "streamid" in options:
        raise ValueError(
            "a listener does not look at the streamid: it takes one encoder on its port, and the passphrase keeps others out"
        )
    if listens and not is_loopback(host) and "passphrase" not in options:
        raise ValueError(
            f"other machines can connect to {host}, so it needs &passphrase=..., {PASSPHRASE[0]} characters or more; or listen "
            "on 127.0.0.1"
        )
    return PushAddress("srt", listens, Place(host, port), options=options)


def push_sources_of(arguments: Sequence[str], lines: Iterable[str] = ()) -> Listed:
    """Sources from `NAME=ADDRESS`, as arguments and as lines of a list.

    A name is never made from the address, whose path is a secret. Raises `SettingsError` where one cannot be read, two have the
    same name, or two would listen for the same.
    """
    sources: Listed = {}
    taken: dict[tuple[str, ...], str] = {}
    for place, text in (*(("ADDRESS", argument) for argument in arguments), *listed(lines)):
        match = _NAMED.fullmatch(text.strip())
        if match is None or not match["name"]:
            raise SettingsError(
                place, "a source is NAME=ADDRESS: its name is not made from the address, which has the stream key"
            )
        name = match["name"]
        check_name(place, name)
        if name in sources:
            raise SettingsError(place, f"two sources are named {name}: give them names of their own")
        try:
            address = parse_address(match["address"])
        except ValueError as error:
            raise SettingsError(place, f"the address of {name}: {error}") from None
        _check_free(place, name, address, taken)
        sources[name] = match["address"]
    return sources


def _check_free(place: str, name: str, address: PushAddress, taken: dict[tuple[str, ...], str]) -> None:
    """Note what a listener takes. taken: what is taken already, and by whom. Raises `SettingsError`."""
    if not address.listens:
        return
    port = str(address.place.port)
    if address.scheme == "srt":
        other = taken.setdefault(("srt", port), name)
        if other != name:
            raise SettingsError(place, f"{other} and {name} listen on SRT port {port}: each SRT listener needs a port of its own")
        return
    host = taken.setdefault(("host", port), address.place.host)
    if host != address.place.host:
        raise SettingsError(place, f"{name} listens on {address.place}, and another source on {host}:{port}: name the same host")
    other = taken.setdefault(("rtmp", port, address.name), name)
    if other != name:
        raise SettingsError(place, f"{other} and {name} have the same stream key on port {port}")


def script_of(address: PushAddress, seconds: float) -> bytes:
    """What tells ffmpeg's concat demuxer to connect. It goes through a pipe, because arguments and files can be read by others.

    seconds: the longest time without data.
    """
    place, microseconds = address.place, round(seconds * 1_000_000)
    if address.scheme == "srt":
        lines = [f"file 'srt://{place}?mode={'listener' if address.listens else 'caller'}'"]
        options = {**address.options, "timeout": str(microseconds)}
    else:
        query = f"?{address.query}" if address.query else ""
        lines = [f"file '{address.scheme}://{place}/{address.name}{query}'"]
        options = {"rtmp_live": "live", "rw_timeout": str(microseconds)}
    options["analyzeduration"] = ANALYSIS
    lines += [f"option {name} '{value}'" for name, value in options.items()]
    return "\n".join(["ffconcat version 1.0", *lines, ""]).encode()
