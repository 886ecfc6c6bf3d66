"""Who asks, and whether they may: by a token, a session's cookie, a trusted proxy, or because the wall is on loopback alone."""

from __future__ import annotations

import ipaddress
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

from aiohttp import web

from streams.addresses import is_loopback, origin_of
from streams.errors import SettingsError
from streams.text import printable
from streams.web.access.tokens import SCOPES, Scope, Token, Tokens

log = logging.getLogger(__name__)

SECURE_COOKIE, PLAIN_COOKIE = "__Host-fvq", "fvq"
"""A browser keeps `__Host-` cookies only from https. On plain loopback there is no https."""

COOKIE_SECONDS = 30 * 24 * 3600
REFRESH_SECONDS = 1.0
"""How often the tokens' file is looked at."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class AccessOptions:
    """host: the address that is listened on. tokens: None without a file. url: the wall's address for people, '' for none.

    user_header: the header in which a trusted proxy names the person. proxies: their networks. origins: other sites whose
    pages may call the API with a token.
    """

    host: str
    tokens: Tokens | None = None
    url: str = ""
    user_header: str = ""
    proxies: tuple[Network, ...] = ()
    origins: tuple[str, ...] = ()


@dataclass(frozen=True)
class Who:
    """Who asks. by: how that is known. labels: only streams that carry these are seen."""

    name: str
    scopes: tuple[Scope, ...]
    by: Literal["token", "cookie", "proxy", "local"]
    labels: Mapping[str, str] = field(default_factory=dict)
    token: Token | None = None

    @property
    def is_ambient(self) -> bool:
        """Whether a browser says who asks by itself, also for another site's page."""
        return self.by != "token"


class Gate:
    """Decides who asks. Raises `SettingsError` where nobody could be told from anybody."""

    def __init__(self, options: AccessOptions) -> None:
        self.options = options
        self._refreshed_at = 0.0
        self._is_local = is_loopback(options.host.strip("[]"))
        if not self._is_local and options.tokens is None and not options.user_header:
            raise SettingsError(
                "FVQ_WEB_TOKENS_FILE",
                f"is not set, and {options.host} can be reached from other machines: add a token with `fvq web token add`, or "
                "listen on 127.0.0.1",
            )
        if options.user_header and not options.proxies:
            raise SettingsError("FVQ_WEB_USER_HEADER", "is set: name the proxies that set it in FVQ_WEB_TRUSTED_PROXIES")

    def host_problem(self, request: web.Request) -> str:
        """Why a request's Host is refused, '' where it is not.

        A page of another site can point its own name at this machine (DNS rebinding). Where no token is asked, only a name
        that no other site can have is answered.
        """
        host = host_of(request.headers.get("Host", ""))
        if is_loopback(host) or (self.options.url and host == host_of(urlsplit(self.options.url).netloc)):
            return ""
        if not self._is_local:
            return ""  # a cookie or a token is bound to its site or its client
        return f"the wall does not answer for {printable(host[:100])!r}: use 127.0.0.1, or set FVQ_WEB_URL"

    def who(self, request: web.Request) -> Who | None:
        """Who asks; None where nobody is known."""
        scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self.of_secret(secret.strip(), "token")
        if (user := self._proxy_user(request)) is not None:
            return Who(user, SCOPES, "proxy")
        if self.options.tokens is not None:  # else a cookie is another wall's on this host: cookies know no port
            for name in (SECURE_COOKIE, PLAIN_COOKIE):
                if secret := request.cookies.get(name, ""):
                    return self.of_secret(secret, "cookie")
        return Who("local", SCOPES, "local") if self._speaks_locally(request) else None

    def of_secret(self, secret: str, by: Literal["token", "cookie"]) -> Who | None:
        """Who has this token; None where nobody has."""
        tokens = self._tokens()
        token = tokens.find(secret) if tokens is not None else None
        return Who(token.name, token.scopes, by, token.labels, token) if token is not None else None

    def still_holds(self, who: Who) -> bool:
        """Whether somebody who was known is known still: a token may be removed while its socket is open."""
        tokens = self._tokens()
        return who.token is None or (tokens is not None and tokens.holds(who.token))

    def origin_problem(self, request: web.Request, who: Who | None) -> str:
        """Why a request that changes something, or a socket, must not come from the page that sent it; '' where it may."""
        origin = request.headers.get("Origin")
        site = request.headers.get("Sec-Fetch-Site")
        if who is not None and not who.is_ambient:
            return ""  # a page of another site does not have the token
        if origin is not None and not self.is_own_origin(request, origin):
            return "the request comes from a page of another site"
        if site is not None and site not in ("same-origin", "none"):
            return "the request comes from a page of another site"
        if who is not None and who.by == "cookie" and origin is None and site is None:
            return "a session's request has neither Origin nor Sec-Fetch-Site: scripts send a token as Authorization: Bearer"
        return ""

    def is_own_origin(self, request: web.Request, origin: str) -> bool:
        """Whether an Origin is this wall's."""
        if self.options.url and origin == origin_of(self.options.url):
            return True
        host = request.headers.get("Host", "")
        return bool(host) and origin in (f"http://{host}", f"https://{host}")

    def allows_origin(self, origin: str | None) -> bool:
        """Whether pages of another site may call the API with a token."""
        return origin is not None and origin in map(origin_of, self.options.origins)

    def cookie(self, request: web.Request) -> tuple[str, bool]:
        """The session cookie's name for this request, and whether it is for https alone."""
        host = host_of(request.headers.get("Host", ""))
        forwarded = self._is_from_proxy(request) and request.headers.get("X-Forwarded-Proto") == "https"
        plain = is_loopback(host) and not request.secure and not forwarded
        return (PLAIN_COOKIE, False) if plain else (SECURE_COOKIE, True)

    def _tokens(self) -> Tokens | None:
        tokens = self.options.tokens
        if tokens is not None and time.monotonic() - self._refreshed_at > REFRESH_SECONDS:
            self._refreshed_at = time.monotonic()
            try:
                tokens.refresh()
            except SettingsError as error:
                log.warning("the tokens stay as they were: %s", error)
        return tokens

    def _speaks_locally(self, request: web.Request) -> bool:
        """Whether a request comes from this machine itself, where no token is asked."""
        if not self._is_local or self.options.tokens is not None or self.options.user_header:
            return False
        forwarded = any(name in request.headers for name in ("X-Forwarded-For", "Forwarded", "X-Forwarded-Host"))
        return is_loopback(host_of(request.headers.get("Host", ""))) and not forwarded

    def _proxy_user(self, request: web.Request) -> str | None:
        name = self.options.user_header
        if not name or not self._is_from_proxy(request):
            return None
        user = printable(request.headers.get(name, "").strip())[:128]
        return user or None

    def _is_from_proxy(self, request: web.Request) -> bool:
        try:
            peer = ipaddress.ip_address(request.remote or "")
        except ValueError:
            return False
        return any(peer in network for network in self.options.proxies)


def host_of(netloc: str) -> str:
    """The host of a Host header, without its port, in lower case."""
    try:
        return (urlsplit(f"//{netloc}").hostname or "").rstrip(".").lower()
    except ValueError:
        return ""
