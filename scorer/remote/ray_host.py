"""The served scorer on Ray Serve: the same application as on uvicorn, in as many replicas as there are GPUs or are asked for.

A Ray of our own takes nobody without its token, has no dashboard and sends no telemetry; it listens on loopback as far as it can
be told to. Ray's proxy reads a body before the application sees the request, so Ray's queue is bounded too.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.applications import Starlette

from scorer.errors import FvqError
from scorer.remote.app import make_app
from scorer.remote.batching import MOST_WAITING
from scorer.remote.metrics import ReplicaMetrics
from scorer.remote.replica import FollowedModel, Limits, Replica

log = logging.getLogger(__name__)

ATTEMPTS = 3
"""Times that a Ray of our own is started. On a slow machine its processes wait for each other for a time that cannot be set."""

APPLICATION = "fvq-scorer"
SAFE_ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token"}
OBJECT_STORE_BYTES = 256 << 20
DRAIN_SECONDS = 20.0
REQUEST_SECONDS = 120.0
"""The most time that Ray's proxy gives a request."""

CHECK_SECONDS = 10.0
_REASON_LINES = 4


class RayStartError(FvqError):
    """Ray cannot start; the reason has what its own logs say."""


@dataclass(frozen=True)
class ReplicaSource:
    """What each replica is made of. load, token: called in the replica's process, so they must be importable there.

    token: what clients must send. needs_token: whether a replica that finds none must not start.
    """

    load: Callable[[ReplicaMetrics], FollowedModel]
    token: Callable[[], str | None]
    needs_token: bool
    limits: Limits


class ScorerDeployment:
    """One replica, as Ray makes it. It is ready when its model is."""

    async def __init__(self, source: ReplicaSource) -> None:  # type: ignore[misc]  # Ray awaits it
        metrics = ReplicaMetrics()
        self._token = source.token()
        if source.needs_token and self._token is None:
            raise RayStartError("the replica's process has no token: set FVQ_SCORER_TOKEN or FVQ_SCORER_TOKEN_FILE on each node")
        model = await asyncio.to_thread(source.load, metrics)
        self._replica = Replica(lambda: model, source.limits, metrics)

    def __serve_build_asgi_app__(self) -> Starlette:
        return make_app(self._replica, self._token)

    def check_health(self) -> None:
        """Raise where the replica is not ready: Ray then replaces it."""
        if problem := self._replica.problem():
            raise RuntimeError(problem)


def application(source: ReplicaSource, replicas: int, cpus: float = 1.0, gpus: float = 0.0) -> Any:
    """The Ray Serve application. replicas: how many; each gets so many processors and GPUs."""
    from ray import serve
    from ray.serve.config import BackpressureConfig

    deployment: Any = serve.deployment(
        serve.ingress()(ScorerDeployment),
        name="scorer",
        num_replicas=replicas,
        ray_actor_options={"num_cpus": cpus, "num_gpus": gpus},
        # The replica is what answers 503. Each request in its queue has a clip at least, so Ray's limits are behind it.
        max_ongoing_requests=source.limits.queue + MOST_WAITING + source.limits.batch,
        max_queued_requests=source.limits.batch,
        backpressure_config=BackpressureConfig(retry_after_s=1.0),
        health_check_period_s=10.0,
        graceful_shutdown_timeout_s=DRAIN_SECONDS,
    )
    return deployment.bind(source)


def serve_on_ray(
    source: ReplicaSource,
    host: str,
    port: int,
    replicas: int,
    address: str | None,
    use_gpus: bool,
    listening: Callable[[str, int], None],
    stopping: Callable[[int, float], None],
) -> None:
    """Serve on Ray until SIGTERM or SIGINT.

    host, port: of Ray's HTTP proxy. address: of a running Ray; None starts one of our own on this machine. use_gpus: whether
    each replica gets a GPU where Ray has some. listening: called when clients can connect. stopping: called with the signal that
    stops it, and with the seconds in which that is done. Raises `RayStartError`.
    """
    stop = threading.Event()
    with _connected(address, replicas) as ray:

        def obey(number: int, _: object) -> None:
            stopping(number, DRAIN_SECONDS)
            stop.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, obey)
        from ray import serve

        gpus = 1.0 if use_gpus and ray.cluster_resources().get("GPU") else 0.0
        try:
            serve.start(
                proxy_location="HeadOnly" if address is None else "EveryNode",
                http_options={"host": host, "port": port, "request_timeout_s": REQUEST_SECONDS},
            )
            serve.run(application(source, replicas, gpus=gpus), name=APPLICATION, route_prefix="/")
        except Exception as error:
            raise RayStartError(f"Ray Serve cannot start the scorer: {first_line(error)}") from error
        listening(host, port)
        try:
            while not stop.wait(CHECK_SECONDS):
                _check(serve)
        finally:
            with suppress(Exception):
                serve.delete(APPLICATION)
                serve.shutdown()


def _check(serve: Any) -> None:
    """Log where the application is not well; raises `RayStartError` where Ray does not answer any more."""
    try:
        state = serve.status().applications[APPLICATION]
    except Exception as error:
        raise RayStartError(f"Ray does not answer any more: {first_line(error)}") from error
    if state.status != "RUNNING":
        log.warning("Ray Serve says that the scorer is %s: %s", state.status, state.message)


@contextmanager
def _connected(address: str | None, replicas: int) -> Iterator[Any]:
    """Ray, connected to; a Ray of our own ends with the context. Raises `RayStartError`."""
    os.environ.update(SAFE_ENVIRONMENT)
    if address is None:
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    import ray

    if address is not None:
        try:
            ray.init(address=address, configure_logging=False, log_to_driver=False)
        except Exception as error:
            raise RayStartError(f"there is no Ray at {address}: {first_line(error)}") from error
        try:
            yield ray
        finally:
            ray.shutdown()
        return
    folder = Path(tempfile.mkdtemp(prefix="fvq-ray-"))
    try:
        _start(ray, folder, replicas)
        yield ray
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def _start(ray: Any, folder: Path, replicas: int) -> None:
    """Start a Ray of our own. folder: for its logs and sockets; its path must be short. Raises `RayStartError`."""
    for attempt in range(1, ATTEMPTS + 1):
        logs = folder / str(attempt)
        try:
            ray.init(
                address="local",
                # One more than the replicas need, for Serve's controller and proxy.
                num_cpus=replicas + 1,
                include_dashboard=False,
                object_store_memory=OBJECT_STORE_BYTES,
                configure_logging=False,
                log_to_driver=False,
                _node_ip_address="127.0.0.1",
                _temp_dir=str(logs),
            )
            return
        except Exception as error:
            ray.shutdown()
            reasons = reasons_in(logs / "session_latest" / "logs") or [first_line(error)]
            log.warning("Ray did not start, attempt %d of %d: %s", attempt, ATTEMPTS, first_line(error))
    raise RayStartError("Ray does not start. Its own logs say: " + " | ".join(reasons))


def reasons_in(logs: Path) -> list[str]:
    """The lines with which Ray's processes say why they ended, newest last; empty where they say nothing.

    logs: folder of the logs of a session.
    """
    reasons: list[str] = []
    for name in ("gcs_server.err", "gcs_server.out", "raylet.err", "raylet.out"):
        try:
            lines = (logs / name).read_text(errors="replace").splitlines()
        except OSError:
            continue
        reasons += [f"{name}: {line.strip()[:300]}" for line in lines if _is_reason(line)][-_REASON_LINES:]
    return reasons


def _is_reason(line: str) -> bool:
    """Whether a line of a log of Ray's reports an error: E or C (critical) is its third word, as in `[date time E pid] words`."""
    words = line.split()
    return line.startswith("[") and len(words) > 2 and words[2] in ("E", "C") and "StackTrace" not in line


def first_line(error: Exception) -> str:
    """The first line of an error's words; Ray's have whole tracebacks in them."""
    return str(error).strip().partition("\n")[0][:300] or type(error).__name__
