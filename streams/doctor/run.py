"""`fvq doctor`: whether all that the settings name works, a fix for what does not, and what differs from the defaults."""

from __future__ import annotations

import asyncio
import ctypes
import ctypes.util
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Literal

from streams import parts
from streams.doctor.check import Check, attempt, quiet, timed
from streams.doctor.rights import check_rights, check_rights_of
from streams.doctor.setup import (
    check_access,
    check_data_folder,
    check_media,
    check_policy,
    check_variables,
)
from streams.doctor.view import print_check, print_settings, said, shown
from streams.errors import BrokerError, MediaError, ModelError, ScorerError, SettingsError, SinkError
from streams.events import SEGMENTS_TOPIC
from streams.kafka.clients import check_broker
from streams.kafka.embedded import broker_binary
from streams.media.shown import shown_store
from streams.privacy.statement import kept_lines
from streams.settings import Settings

if TYPE_CHECKING:
    from scorer.load import LoadedModel

LIBRARIES = {
    "libGL.so.1": "libgl1",
    "libgthread-2.0.so.0": "libglib2.0-0",
}
"""Shared libraries that OpenCV loads, and the Debian packages that hold them."""

CHILD_SECONDS, CHILD_MB = 60.0, 2048
"""What looking for faces and a person in a black picture may take."""

UNLOADED = (ModelError, ImportError, OSError, ValueError)
"""Errors of a model that cannot be loaded; the last two are a registry's that does not answer, or has a wrong address."""

WITHOUT_FFMPEG = (
    "no program ffmpeg, which `fvq up` and `fvq ingest files` of files, `fvq ingest push`, cutting long files and clips on web "
    "pages need: pip install 'fvq-monitor[demo]', or install your system's ffmpeg"
)


BROKER = "broker"
"""The name of the check of the brokers."""

Role = Literal["worker", "ingest", "web", "rate"]


def run_doctor(
    settings: Settings,
    as_json: bool,
    setup: bool = False,
    role: Role | None = None,
    uri: str | None = None,
    init_uri: str | None = None,
) -> int:
    """Print checks and settings; the exit code is 1 where a check failed.

    setup: make what InfluxDB needs first. role: check what this command needs; None for what any needs. uri, init_uri: of a
    segment that is fetched, decoded and scored; without a role nothing else is checked then.
    """
    with quiet():
        done = _checks(settings, setup, role, uri, init_uri)
        checks = list(done) if as_json else [print_check(check) for check in done]
    if as_json:
        values = {name: shown(value) for name, value in said(settings)}
        sources = {name: str(settings.source(name)) for name in values}
        report = {"settings": values, "checks": [asdict(check) for check in checks], "sources": sources}
        print(json.dumps(report | {"kept": kept_lines(parts.keeping(settings))}))
    else:
        print_settings(settings)
        print("\n".join(kept_lines(parts.keeping(settings))))
    return 0 if all(check.ok for check in checks) else 1


def _checks(settings: Settings, setup: bool, role: Role | None, uri: str | None, init_uri: str | None) -> Iterator[Check]:
    chosen = CHECKS if role is None else ROLES[role]
    answers = True
    for check in (*((_set_up,) if setup else ()), *(chosen if uri is None or role is not None else ())):
        if check in RIGHTS.values() and not answers:
            continue  # it would wait as long for the same brokers, and say the same
        done = timed(partial(check, settings))
        answers = answers and (done.ok or done.name != BROKER)
        yield done
    if uri is not None:
        from streams.doctor.uri import walk

        yield from walk(settings, uri, init_uri)


def _libraries(_: Settings) -> Check:
    missing = []
    for library, package in LIBRARIES.items():
        try:
            ctypes.CDLL(library)
        except OSError:
            missing.append(package)
    if missing:
        return Check("system libraries", False, f"missing: {', '.join(missing)}", f"apt-get install -y {' '.join(missing)}")
    return Check("system libraries", True, ", ".join(LIBRARIES))


def _detectors(_: Settings) -> Check:
    def act() -> str:
        from scorer.sampling import SamplerPool
        from scorer.spec import SamplerSpec

        # In a child, as a worker runs them.
        with SamplerPool(SamplerSpec(), 1, CHILD_SECONDS, CHILD_MB) as pool:
            pool.submit_task(find_nobody).result()
        return "face detector and person matte load and run"

    return attempt("detectors", act, "reinstall with `make setup`", MediaError)


def find_nobody() -> None:
    """Look for faces and a person in a black picture; runs in a sampling child."""
    import numpy as np

    from scorer.sampling.detectors import process_detectors

    black = np.zeros((64, 64, 3), np.uint8)
    process_detectors().faces.find(black)
    process_detectors().person.mask(black)


def _ffmpeg(_: Settings) -> Check:
    def act() -> str:
        import av

        from streams.media import ffmpeg

        try:
            return f"{ffmpeg.version()}; PyAV {av.__version__}"
        except MediaError:
            return f"PyAV {av.__version__}, which decodes; {WITHOUT_FFMPEG}"

    return attempt("ffmpeg", act, "reinstall with `make setup`", ImportError, OSError, RuntimeError, subprocess.SubprocessError)


def _model(settings: Settings) -> Check:
    if settings.scorer_url and not settings.scorer_fallback:
        return Check("model", True, "FVQ_SCORER_URL is set: a worker loads none")

    def act() -> str:
        engine = _loaded(settings, settings.scorer_fallback or settings.model)
        return f"{engine.model}{', while no served scorer answers' if settings.scorer_fallback else ''}"

    fix = "pip install 'fvq-monitor[serve]', or correct FVQ_MODEL or FVQ_SCORER_FALLBACK, FVQ_REGISTRY and FVQ_DEVICE"
    return attempt("model", act, fix, *UNLOADED)


def _loaded(settings: Settings, name: str) -> LoadedModel:
    """A model in this process. Raises one of `UNLOADED`."""
    from scorer.load import load_engine

    return load_engine(name, settings.device, parts.registry(settings))


def _second_model(settings: Settings) -> Check:
    if settings.second_model is None:
        return Check("second model", True, "none set: clips to rate are chosen without one")

    def act() -> str:
        from streams.worker_models import second_model

        return str(second_model(settings, _loaded(settings, settings.model)).model)

    return attempt("second model", act, "correct FVQ_SECOND_MODEL, FVQ_REGISTRY and FVQ_DEVICE", *UNLOADED, SettingsError)


def _scorer(settings: Settings) -> Check:
    if not settings.scorer_url:
        return Check("scorer", True, "FVQ_SCORER_URL is not set: the model runs in the worker")
    return _served("scorer", settings, settings.scorer_url)


def _large_model(settings: Settings) -> Check:
    if settings.deep_url:
        return _served("large model", settings, settings.deep_url)
    name = settings.deep_model
    if name is None:
        return Check("large model", True, "none set: the worker's model scores every segment alone")

    fix = "correct FVQ_DEEP_MODEL, FVQ_REGISTRY and FVQ_DEVICE"
    return attempt("large model", lambda: str(_loaded(settings, name).model), fix, *UNLOADED)


def _served(what: str, settings: Settings, addresses: str) -> Check:
    details, ok = [], True
    for url in addresses.split(","):
        scorer = parts.remote_scorer(settings, [url])
        try:
            scorer.connect()
            started = time.monotonic()
            scorer.probe()
            details.append(f"{url} {scorer.model}, a score in {(time.monotonic() - started) * 1000:.0f} ms")
        except ScorerError as error:
            details.append(str(error))
            ok = False
        finally:
            scorer.close()
    variable = "FVQ_SCORER_URL" if what == "scorer" else "FVQ_DEEP_URL"
    return Check(what, ok, "; ".join(details), f"start `fvq serve` there, or correct {variable} and FVQ_SCORER_TOKEN")


def _embedded() -> str:
    """What `fvq up` does without a broker's address."""
    try:
        broker_binary()
    except BrokerError as error:
        return f"`fvq up` cannot start one ({error})"
    return "`fvq up` starts the embedded one"


def _broker(settings: Settings) -> Check:
    if not settings.broker:
        return Check(BROKER, True, f"none set: {_embedded()}, `fvq worker` needs FVQ_BROKER")
    broker = settings.broker

    def act() -> str:
        connection = parts.connection(settings)
        check_broker(connection)
        return f"{broker}; topics as {connection.named(SEGMENTS_TOPIC)}" if settings.topic_prefix else broker

    return attempt(BROKER, act, "start the broker, or correct FVQ_BROKER and FVQ_KAFKA_*", BrokerError, SettingsError)


def _needed_broker(settings: Settings) -> Check:
    """For a command that ends without a broker's address."""
    if settings.broker:
        return _broker(settings)
    return Check(BROKER, False, "FVQ_BROKER is not set", "name the Kafka servers, as FVQ_BROKER=kafka-1:9092,kafka-2:9092")


def _codecs(_: Settings) -> Check:
    def act() -> str:
        from streams.kafka.codecs import check_codecs

        return f"messages compressed with {check_codecs()} can be read"

    return attempt("codecs", act, "reinstall with `make setup`", ImportError, OSError, ValueError)


def _clip_store(settings: Settings) -> Check:
    def act() -> str:
        next(parts.clip_store(settings).clips(), None)
        alone = f"{settings.data_dir / 'clips'}, which other machines' workers do not see"
        where = shown_store(settings.clip_store) if settings.clip_store else alone
        return f"{where}; models in {shown_store(settings.registry or str(settings.data_dir / 'models'))}"

    fix = "correct FVQ_CLIP_STORE; workers on several machines need one for all of them, and one FVQ_REGISTRY"
    return attempt("clip store", act, fix, MediaError, OSError)


def _set_up(settings: Settings) -> Check:
    if not settings.influx_url:
        return Check("set-up", True, "FVQ_INFLUX_URL is not set: the SQLite store needs none")

    def act() -> str:
        from streams.sinks.influx_setup import set_up

        return "; ".join(set_up(parts.influx_bucket(settings), settings.influx_retention_days, settings.influx_hourly_days))

    return attempt("set-up", act, "see the message; the settings are FVQ_INFLUX_*", SinkError, SettingsError)


def _sink(settings: Settings) -> Check:
    async def act() -> str:
        sink = parts.sink(settings)
        try:
            return await sink.check()
        finally:
            await sink.close()

    fix = "see the message; the settings are FVQ_INFLUX_* and FVQ_DATA_DIR"
    return attempt("sink", lambda: asyncio.run(act()), fix, SinkError, SettingsError)


CHECKS: tuple[Callable[[Settings], Check], ...] = (
    _libraries,
    _detectors,
    _ffmpeg,
    _model,
    _scorer,
    _second_model,
    _large_model,
    _codecs,
    _broker,
    check_rights,
    _sink,
    _clip_store,
    check_variables,
    check_media,
    check_policy,
    check_data_folder,
)
"""In the order in which they are shown."""

RIGHTS: dict[Role | None, Callable[[Settings], Check]] = {
    None: check_rights,
    "worker": check_rights_of("worker"),
    "ingest": check_rights_of("ingest"),
    "web": check_rights_of("web"),
    "rate": check_rights_of("rate"),
}
"""The check of what Kafka's user may do, by role."""

OF_WORKERS: dict[Callable[[Settings], Check], Callable[[Settings], Check]] = {
    _broker: _needed_broker,
    check_rights: RIGHTS["worker"],
}
"""What a worker's checks have in place of others."""

ROLES: dict[Role, tuple[Callable[[Settings], Check], ...]] = {
    "worker": tuple(OF_WORKERS.get(check, check) for check in CHECKS),
    "ingest": (check_variables, _ffmpeg, _codecs, _needed_broker, RIGHTS["ingest"], check_media, check_data_folder),
    "web": (check_variables, check_access, _codecs, _needed_broker, RIGHTS["web"], _sink, check_policy),
    "rate": (check_variables, _libraries, _detectors, _ffmpeg, RIGHTS["rate"], _clip_store, check_data_folder),
}
"""What each command needs."""
