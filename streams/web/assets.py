"""The page's files, from the package's folder `page`."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web

PAGE = Path(__file__).parent / "page"

MEDIA = {
    ".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml",
    ".png": "image/png", ".ico": "image/x-icon", ".webmanifest": "application/manifest+json",
}  # fmt: skip
"""What is served, by suffix; other files of the folder, as licences, are not."""

VIEWS = {
    "./": ("/", "/streams", "/alerts", "/clips"),
    "../": [f"/{view}/{end}" for view in ("streams", "alerts", "clips") for end in ("", "{id:[^/]+}")],
}
"""Addresses that the page itself turns into views, by the way from them to the page's other files."""

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
    " img-src 'self' data:; media-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none';"
    " require-trusted-types-for 'script'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def add_assets(app: web.Application) -> None:
    """Serve the page's files, which are listed now: an address is never made into a path."""
    for path in sorted(PAGE.rglob("*")):
        if path.is_file() and path.suffix in MEDIA:
            app.router.add_get(f"/{path.relative_to(PAGE).as_posix()}", _server_of(path))
    for root, views in VIEWS.items():
        for view in views:
            app.router.add_get(view, _server_of(PAGE / "index.html", root))


def _server_of(path: Path, root: str = "") -> Callable[[web.Request], Awaitable[web.Response]]:
    """root: of a view, what the addresses in it begin with: they are relative, so that a proxy may serve all below a path."""

    async def serve(request: web.Request) -> web.Response:
        try:
            body = await asyncio.to_thread(path.read_bytes)
        except FileNotFoundError:
            raise web.HTTPNotFound from None
        if root:
            body = body.replace(b'="/', f'="{root}'.encode())
        tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        headers = {"ETag": tag, "Cache-Control": "no-cache"}
        if tag in request.headers.get("If-None-Match", ""):
            return web.Response(status=304, headers=headers)
        return web.Response(body=body, content_type=MEDIA[path.suffix], charset="utf-8", headers=headers)

    return serve
