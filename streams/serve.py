"""Runs the served scorer: `fvq serve`, on uvicorn or on Ray Serve."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scorer.find import find_model
from streams import parts
from streams.addresses import cannot_listen, http_address, is_loopback
from streams.errors import ModelError, SettingsError
from streams.life import Life
from streams.logs import configure_logging
from streams.ports import free_port
from streams.settings import Settings, load_settings

if TYPE_CHECKING:
    from scorer.reloading import ReloadingEngine
    from scorer.remote.metrics import ReplicaMetrics
    from scorer.remote.ray_host import ReplicaSource

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelLoader:
    """Loads the model that the settings name, when it is called. It has no secrets in it: Ray sends it to its processes."""

    model: str
    device: str
    registry: str
    cache: str

    @classmethod
    def of(cls, settings: Settings) -> ModelLoader:
        """The loader for these settings."""
        data = settings.data_dir.resolve()
        registry = settings.registry or str(data / "models")
        return cls(settings.model, settings.device, registry, str(data / "model-cache"))

    def __call__(self, metrics: ReplicaMetrics) -> ReloadingEngine:
        """The model, which follows the registry and tells the metrics of its versions. Raises `ModelError`."""
        from scorer.registry import Registry

        # Imports torch, in the thread that loads: /healthz answers meanwhile.
        from scorer.reloading import ReloadingEngine, ReloadListener

        listener = ReloadListener(metrics.show_reload, metrics.count_refused)
        registry = Registry(self.registry, Path(self.cache))
        # Workers are told of another sampling by status 409 and sample anew, so a version with another one may take over.
        return ReloadingEngine(self.model, self.device, registry, listener, any_spec=True)


def run_serve(settings: Settings, life: Life) -> None:
    """Serve the model of `FVQ_MODEL` on uvicorn until told to stop, of which `life` tells.

    Raises `SettingsError` or `ModelError` where it cannot start.
    """
    from scorer.remote.serve import ListenError, serve

    life.starts()
    token = serve_token(settings)
    host, limits = settings.serve_host, parts.serve_limits(settings)

    def listening(host: str, port: int) -> None:
        log.info("the scorer listens at %s, and loads model %s", http_address(host, port), settings.model)
        _warn_without(token)

    try:
        serve(ModelLoader.of(settings), host, settings.serve_port, token, limits, listening, life.stops)
    except ListenError as error:
        raise SettingsError("FVQ_SERVE_HOST, FVQ_SERVE_PORT", error.reason) from error


def run_serve_on_ray(settings: Settings, life: Life, replicas: int, address: str | None) -> None:
    """Serve the model of `FVQ_MODEL` on Ray Serve until told to stop, of which `life` tells.

    address: of a running Ray; None starts one on this machine. Raises `SettingsError`, `ModelError` or `RayStartError`.
    """
    life.starts()
    token = serve_token(settings)
    if address is None:
        # Before Ray takes a minute to start: is there such a model?
        find_model(settings.model, parts.registry(settings))

    def listening(host: str, port: int) -> None:
        log.info("the scorer listens at %s on Ray Serve, in %d replicas", http_address(host, port), replicas)
        _warn_without(token)

    host = settings.serve_host
    try:
        port = settings.serve_port or free_port(host)
    except OSError as error:
        raise SettingsError("FVQ_SERVE_HOST, FVQ_SERVE_PORT", cannot_listen(host, 0, error)) from error
    try:
        from scorer.remote.ray_host import serve_on_ray

        serve_on_ray(_source(settings, token), host, port, replicas, address, settings.device != "cpu", listening, life.stops)
    except ImportError as error:
        raise ModelError(f"{error.name} is not installed: pip install 'fvq-monitor[ray]'") from error


def ray_app(arguments: dict[str, str]) -> Any:
    """The Ray Serve application by the settings of the process that builds it: `import_path: streams.serve:ray_app`.

    arguments: `replicas`, `cpus` and `gpus` of each replica; 1, 1 and 0 where they are missing. Raises `SettingsError` where one
    is unknown, or no token is set: where Ray listens is not known here.
    """
    from scorer.remote.ray_host import application

    defaults = {"replicas": 1.0, "cpus": 1.0, "gpus": 0.0}
    if unknown := set(arguments) - set(defaults):
        raise SettingsError(f"args.{min(unknown)}", f"there is no such argument: they are {', '.join(defaults)}")
    numbers = defaults | {name: float(value) for name, value in arguments.items()}
    settings = load_settings()
    source = _source(settings, settings.scorer_secret())
    return application(source, int(numbers["replicas"]), numbers["cpus"], numbers["gpus"])


def _source(settings: Settings, token: str | None) -> ReplicaSource:
    from scorer.remote.ray_host import ReplicaSource

    return ReplicaSource(ModelLoader.of(settings), replica_token, token is not None, parts.serve_limits(settings))


def replica_token() -> str | None:
    """The token in the settings of this process: each replica on Ray reads its own, so that Ray's store never holds it."""
    settings = load_settings()
    configure_logging(settings.log_level, settings.log_format)
    has_token = settings.scorer_token is not None or settings.scorer_token_file is not None
    return serve_token(settings) if has_token else None


def _warn_without(token: str | None) -> None:
    if token is None:
        log.info("no token is set: every program on this machine can use it")


def serve_token(settings: Settings) -> str | None:
    """The token that clients must send; None where none is set and only this machine can connect.

    Raises `SettingsError` where others could connect without one, or it has a letter that a header cannot carry.
    """
    if settings.scorer_token is None and settings.scorer_token_file is None:
        if not is_loopback(settings.serve_host):
            reason = f"is {settings.serve_host}, so others can connect: set FVQ_SCORER_TOKEN or FVQ_SCORER_TOKEN_FILE too"
            raise SettingsError("FVQ_SERVE_HOST", reason)
        return None
    token = settings.scorer_secret()
    if not token.isascii():
        raise SettingsError("FVQ_SCORER_TOKEN", "has a letter that is not ASCII, which a header cannot carry")
    return token
