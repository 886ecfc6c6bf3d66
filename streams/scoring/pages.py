"""The worker's pages: `/metrics`, `/healthz` (is it alive) and `/readyz` (is it at work)."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import faust
from aiohttp import web
from faust.exceptions import ConsumerNotStarted
from faust.web import Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from streams.connections import BoundedRunner
from streams.errors import SinkError
from streams.kafka.agent import Agent
from streams.scoring.worst import WorstStreams
from streams.sinks.base import Sink

STUCK_SECONDS = 300.0
"""Seconds. A scorer that takes longer for a batch will not end: a driver hangs. A thread cannot be stopped, so the process
manager that watches `/healthz` has to start a new worker."""


def add_pages(
    app: faust.App,
    sink: Sink,
    scoring_seconds: Callable[[], float],
    agents: Sequence[Agent],
    scorer_problem: Callable[[], str] = str,
    listener: Callable[[], socket.socket] | None = None,
    worst: WorstStreams | None = None,
) -> None:
    """Add the pages.

    scoring_seconds: how long the scorer has been at work on its present batch. scorer_problem: why it gives no scores; '' where
    it does. listener: gives the socket that listens already, when the server starts; None listens at the app's own address.
    worst: shows its streams each time that the metrics are asked for.
    """
    # Faust makes a runner and a site of its own and has no option for them.
    app.web._runner = BoundedRunner(app.web.web_app)
    if listener is not None:
        app.web._transport_handlers["tcp"] = lambda: web.SockSite(app.web._runner, listener())

    @app.page("/metrics")
    async def show_metrics(page: Any, _request: Any) -> Response:
        if worst is not None:
            worst.show()
        return page.bytes(generate_latest(), content_type=CONTENT_TYPE_LATEST.split(";")[0])

    @app.page("/healthz")
    async def healthz(page: Any, _request: Any) -> Response:
        states = {agent.name: asdict(agent.state) for agent in list(agents)}
        if (seconds := scoring_seconds()) > STUCK_SECONDS:
            status = f"the scorer has been at work on one batch for {seconds:.0f} s"
            return page.json({"status": status, "agents": states}, status=503)
        return page.json({"status": "alive", "agents": states})

    @app.page("/readyz")
    async def readyz(page: Any, _request: Any) -> Response:
        problems = []
        if not _is_assigned(app):
            problems.append("no partition is assigned yet")
        if problem := scorer_problem():
            problems.append(f"the scorer: {problem}")
        try:
            await sink.check()
        except SinkError as error:
            problems.append(str(error))
        return page.json({"ready": not problems, "problems": problems}, status=503 if problems else 200)


def _is_assigned(app: faust.App) -> bool:
    """Whether partitions are assigned. Faust's server starts before its consumer."""
    try:
        return bool(app.consumer.assignment())
    except ConsumerNotStarted:
        return False
