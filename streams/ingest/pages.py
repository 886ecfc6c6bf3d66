"""The ingester's pages: `/metrics`, `/healthz` and `/status`; and `fvq ingest status`, which asks the last one."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Sequence
from typing import Any

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from streams.addresses import http_address
from streams.connections import BoundedRunner
from streams.errors import FvqError, reason_of
from streams.ingest import metrics
from streams.ingest.base import Status
from streams.text import aligned, printable

ASK_SECONDS = 10.0
LARGEST_ANSWER = 64 * 2**20


class PageError(FvqError):
    """The running process does not tell its status."""


def status_of(statuses: Sequence[Status], now: float) -> list[dict[str, Any]]:
    """What `/status` says: for each rendition its state and numbers. now: monotonic time."""
    return [
        {
            "stream": status.stream,
            "rendition": status.rendition,
            "state": status.state,
            "reason": status.reason,
            "source": status.source,
            "age_seconds": round(now - status.changed, 3) if status.changed is not None else None,
            "target_seconds": status.target,
            "announced": status.announced,
            "epoch": status.position.epoch,
            "media_sequence": status.position.number,
            "sequence": status.position.sequence,
            "clock_skew_seconds": round(status.skew, 3) if status.skew is not None else None,
            "counts": {what: count for what, count in sorted(status.counts.items()) if count},
        }
        for status in sorted(statuses, key=lambda status: (status.stream, status.rendition or ""))
    ]


def make_app(
    statuses: Callable[[], Sequence[Status]], show_metrics: Callable[[], None], now: Callable[[], float]
) -> web.Application:
    """The application with the pages. show_metrics: brings the gauges up to date. now: monotonic time."""

    async def metrics_page(_: web.Request) -> web.Response:
        show_metrics()
        return web.Response(body=generate_latest(metrics.REGISTRY), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def healthz(_: web.Request) -> web.Response:
        return web.json_response({"status": "alive", "sources": len(statuses())})

    async def status(_: web.Request) -> web.Response:
        return web.json_response({"sources": status_of(statuses(), now())})

    app = web.Application()
    app.add_routes([web.get("/metrics", metrics_page), web.get("/healthz", healthz), web.get("/status", status)])
    return app


async def start_pages(app: web.Application, host: str, port: int) -> BoundedRunner:
    """Serve the pages; the caller ends them by the runner's `cleanup`. Raises OSError where the address cannot be listened on."""
    runner = BoundedRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError:
        await runner.cleanup()
        raise
    return runner


def ask_status(host: str, port: int) -> list[dict[str, Any]]:
    """The status of the process that runs at an address. Raises `PageError`."""
    url = f"{http_address(host, port)}/status"
    # No proxy: the pages are on this machine, or on one that the operator names.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=ASK_SECONDS) as answer:
            sources = json.loads(answer.read(LARGEST_ANSWER))["sources"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = printable(reason_of(error))
        raise PageError(
            f"no `fvq ingest` of live sources answers at {url} ({reason}): start it, or set FVQ_INGEST_HOST and FVQ_INGEST_PORT"
        ) from error
    return list(sources)


def table_of(sources: Sequence[dict[str, Any]]) -> list[str]:
    """The status as lines of a table for people."""
    rows = [("stream", "rendition", "state", "age", "announced", "lost", "why")]
    for source in sources:
        age = source["age_seconds"]
        rows.append(
            (
                printable(source["stream"]), printable(source["rendition"] or "-"), source["state"],
                "-" if age is None else f"{age:.1f} s", str(source["announced"]), str(source["counts"].get("lost", 0)),
                printable(source["reason"]),
            )
        )  # fmt: skip
    return aligned(rows)
