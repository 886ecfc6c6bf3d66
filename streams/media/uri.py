"""An event's URI, parsed once: the object that is checked is the object that is requested.

Two parsers that read one text differently are an attack: the first checks a host, the second connects to another one. So
nothing else in `streams.media` splits a URI, and what this parser does not understand is refused.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import unicodedata
from dataclasses import dataclass, field, replace
from urllib.parse import quote, unquote

import idna
from aiohttp import BasicAuth
from yarl import URL

from streams.addresses import bracketed
from streams.errors import MediaError
from streams.media.shown import one_line, without_secrets

SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(.*)", re.DOTALL)
AUTHORITY_END = re.compile(r"[/?#]")
PATH_END = re.compile(r"[?#]")
PORT = re.compile(r"[0-9]{1,5}")
HOST_NAME = re.compile(r"([a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}\.?")
USER_INFO = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=%-]+:[A-Za-z0-9._~!$&'()*+,;=:%-]+")
NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")

SCHEMES = ("file", "http", "https", "s3", "gs")
"""What can be fetched."""

LONGEST_HOST = 253
"""Characters of a DNS name (RFC 1035); also keeps the IDNA encoder, which is slow for long names, from vast input."""


@dataclass(frozen=True)
class Uri:
    """A URI in its parts.

    scheme: lower case. host: for http(s) the host that is checked and connected to: a DNS name in ASCII, an IPv4 address
    in four numbers, or an IPv6 address without brackets; else what stands between // and /. port: None where the URI names
    none. target: path and query, as they were written; "" for an http(s) URI without a path. user, password: for HTTP's
    basic authentication, decoded; "" for none. They are in no text that this class gives, but in `base`.
    """

    scheme: str
    host: str
    port: int | None
    target: str
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    @property
    def is_http(self) -> bool:
        """Whether it is requested by HTTP or HTTPS."""
        return self.scheme in ("http", "https")

    @property
    def path(self) -> str:
        """The path, as it was written."""
        return self.target.partition("?")[0]

    @property
    def authority(self) -> str:
        """Host and port, as they stand in a URL."""
        host = bracketed(self.host) if self.is_http else self.host
        return host if self.port is None else f"{host}:{self.port}"

    def __str__(self) -> str:
        """The URI with its query, which may hold a signature; messages use `shown`."""
        before = f"{self.scheme}://" if self.scheme else ""
        return f"{before}{self.authority}{self.target}"

    @property
    def shown(self) -> str:
        """The URI for logs and messages: without its query, which may hold a signature; 300 characters at most."""
        if self.scheme not in SCHEMES:
            return without_secrets(str(self))
        return one_line(f"{self.scheme}://{self.authority.rpartition('@')[2]}{self.path}")

    def url(self) -> URL:
        """The URL that aiohttp requests. It is built from the parts, so no other parser reads the text again."""
        # Path and query go in as one part: yarl would drop the question mark of an empty query.
        target = self.target if self.target.startswith("/") else f"/{self.target}"
        return URL.build(scheme=self.scheme, authority=self.authority, path=target, encoded=True)

    def authentication(self) -> BasicAuth | None:
        """User and password for aiohttp."""
        return BasicAuth(self.user, self.password, encoding="utf-8") if self.user else None

    @property
    def base(self) -> str:
        """The URI with user and password: what relative addresses in its answer count from. Never for logs and messages."""
        login = f"{quote(self.user, safe='')}:{quote(self.password, safe='')}@" if self.user else ""
        return f"{self.scheme}://{login}{self.authority}{self.target}"

    def redirected(self, location: str) -> Uri:
        """Where the `Location` header of this URI's answer leads, parsed as strictly as the first URI.

        User and password go along to the same server only.
        """
        uri = self._redirected(location)
        same_server = (uri.scheme, uri.host, uri.port) == (self.scheme, self.host, self.port)
        return replace(uri, user=self.user, password=self.password) if same_server and not uri.user else uri

    def _redirected(self, location: str) -> Uri:
        location = location.strip(" \t")
        if not location:
            raise refusal(f"{self.shown}: a redirect that does not say where to")
        if SCHEME.fullmatch(location):
            return parse(location)
        if location.startswith("//"):
            return parse(f"{self.scheme}:{location}")
        origin = f"{self.scheme}://{self.authority}"
        if location.startswith("/"):
            return parse(origin + location)
        if location.startswith(("?", "#")):
            return parse(origin + (self.path or "/") + location)
        end = PATH_END.search(location)
        path, rest = (location[: end.start()], location[end.start() :]) if end else (location, "")
        return parse(origin + _resolved(self.path, path) + rest)


def parse(text: str) -> Uri:
    """A URI from outside in its parts. Raises `MediaError` of kind "refused" for anything else, whatever it is.

    Path and query stay as they were written, percent-encoding too: a signature covers the exact text. Only what may not be
    sent is percent-encoded, as browsers do: spaces and what is not ASCII.
    """
    text = text.lstrip(" ")
    scheme, rest = _scheme(text)
    if CONTROL.search(text):
        raise refusal(f"{without_secrets(text)}: the URI has a control character")
    if scheme not in ("http", "https"):
        return _other(scheme, rest)
    if not rest.startswith("//"):
        raise refusal(f"{without_secrets(text)}: not an http address; it begins with {scheme}://HOST/")
    rest = rest[2:].rstrip(" ")
    end = AUTHORITY_END.search(rest)
    authority, target = (rest[: end.start()], rest[end.start() :]) if end else (rest, "")
    target = target.partition("#")[0]
    if "\\" in authority or "\\" in target.partition("?")[0]:
        # Browsers read it as a slash, other programs do not: the host would depend on the reader.
        raise refusal(f"{without_secrets(text)}: the URI has a backslash; write /, or %5C where it is part of a name")
    try:
        user, password, server = _user_info(authority)
        host, port = _server(server)
        return Uri(scheme, host, port, _encoded(target), user, password)
    except ValueError as error:
        raise refusal(f"{without_secrets(text)}: not an http address: {error}") from error


def refusal(reason: str) -> MediaError:
    """The error for what the settings or the checks do not allow."""
    return MediaError(reason, kind="refused")


def _scheme(text: str) -> tuple[str, str]:
    match = SCHEME.fullmatch(text)
    return (match[1].lower(), match[2]) if match else ("", text)


def _other(scheme: str, rest: str) -> Uri:
    """A URI that is not requested by HTTP. Its query and fragment have no meaning; a key of object storage has none."""
    host, path = "", rest
    if rest.startswith("//"):
        host, slash, path = rest[2:].partition("/")
        path = slash + path
    return Uri(scheme, host, None, path if scheme in ("s3", "gs") else PATH_END.split(path, maxsplit=1)[0])


def _user_info(authority: str) -> tuple[str, str, str]:
    """User, password and what follows them. A user without a password is refused: `http://known.example@other/` deceives."""
    info, mark, server = authority.rpartition("@")
    if not mark:
        return "", "", authority
    user, colon, password = info.partition(":")
    if not colon or not USER_INFO.fullmatch(info):
        raise ValueError("before its @ stands no user:password; percent-encode what is not a letter or a digit")
    if ":" in unquote(user):
        raise ValueError("its user has a colon, which basic authentication does not allow in front of the password")
    return unquote(user), unquote(password), server


def _server(authority: str) -> tuple[str, int | None]:
    """Host and port. Raises ValueError, whose text says what is wrong."""
    if authority.startswith("["):
        literal, bracket, after = authority[1:].partition("]")
        if not bracket:
            raise ValueError("the bracket of its IPv6 address is not closed")
        if "%" in literal:
            raise ValueError("an IPv6 address with a zone is not public")
        # The C library's notation: Python's own writes ::ffff:127.0.0.1 one way up to 3.12 and another way since.
        host = socket.inet_ntop(socket.AF_INET6, ipaddress.IPv6Address(literal).packed)
        if after and not after.startswith(":"):
            raise ValueError("its host is followed by more than a port")
        return host, _port(after[1:]) if after else None
    name, colon, port = authority.partition(":")
    return _host(name), _port(port) if colon else None


def _port(text: str) -> int:
    # int() would take "+80", "8_0" and digits of other alphabets.
    if not PORT.fullmatch(text) or not 1 <= int(text) <= 65535:
        raise ValueError("its port is not a number from 1 to 65535")
    return int(text)


def _host(name: str) -> str:
    """A host as it is looked up: a DNS name in ASCII and lower case, or an IPv4 address in four numbers."""
    if not name:
        raise ValueError("it names no host")
    if len(name) > LONGEST_HOST:
        raise ValueError(f"its host has more than {LONGEST_HOST} characters")
    host = unicodedata.normalize("NFKC", name).lower()
    if not host.isascii():
        try:
            host = idna.encode(name, uts46=True).decode()
        except UnicodeError as error:  # IDNAError is one
            raise ValueError("its host is no domain name") from error
    if len(host) > LONGEST_HOST + 1 or not HOST_NAME.fullmatch(host):
        raise ValueError("its host is no domain name")
    # The C library reads 2130706433, 0x7f.1 and 0177.0.0.1 as 127.0.0.1, browsers too: the address is named as it is meant.
    labels = host.removesuffix(".").split(".")
    if NUMBER.fullmatch(labels[-1]):
        try:
            return socket.inet_ntoa(socket.inet_aton(host.removesuffix(".")))
        except OSError:
            raise ValueError("its host is no IPv4 address") from None
    return host


def _encoded(target: str) -> str:
    """Path and query with spaces and what is not ASCII percent-encoded; all else as it is."""
    if target.isascii():
        return target.replace(" ", "%20")
    # surrogateescape: aiohttp hands the bytes of a `Location` that is not UTF-8 over like that.
    encoded = target.encode("utf-8", "surrogateescape")
    return "".join(chr(byte) if 0x20 < byte < 0x7F else f"%{byte:02X}" for byte in encoded)


def _resolved(base: str, relative: str) -> str:
    """A relative path, resolved against the path of the URI that named it (RFC 3986, 5.2)."""
    folders = (base or "/").split("/")[:-1]
    *steps, last = relative.split("/")
    if last in (".", ".."):
        steps, last = [*steps, last], ""
    for step in steps:
        if step == "..":
            folders = folders[:-1] or [""]
        elif step != ".":
            folders.append(step)
    return "/".join([*folders, last])
