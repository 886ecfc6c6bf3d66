"""From settings to the parts of a process: the one file in which `Settings` become the few values that each part takes.

Each function imports its part when it is called, so that a command loads only what it uses.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from streams.addresses import http_address
from streams.errors import SettingsError
from streams.topic_names import PICTURES_TOPIC, Named, prefixed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from scorer.registry import Registry
    from scorer.remote.client import RemoteScorer
    from scorer.remote.replica import Limits
    from scorer.spec import ModelId
    from streams.events import ModelUpdate
    from streams.history.base import History
    from streams.ingest.files import CutLimits
    from streams.ingest.push.source import PushMeans
    from streams.kafka.connection import Connection
    from streams.kafka.consumer import Group
    from streams.kafka.rights import Right
    from streams.media.fetch import FetchLimits
    from streams.media.read import Reader
    from streams.privacy.forget import Places
    from streams.privacy.statement import Keeping
    from streams.privacy.sweep import FolderLimits
    from streams.queue.clips import ClipStore
    from streams.queue.selection import HarvestLimits
    from streams.queue.topic import QueuePlace
    from streams.rating.data import RatingData
    from streams.scoring.deep_plan import DeepLimits
    from streams.scoring.flood import FloodLimits
    from streams.scoring.pictures import PictureLimits
    from streams.settings import Settings
    from streams.sinks.base import Sink
    from streams.sinks.influx import InfluxBucket
    from streams.web.access.gate import AccessOptions
    from streams.web.ask import WallAddress


def connection(settings: Settings) -> Connection:
    """How to connect to the brokers. Raises `SettingsError` where none are named, or the password cannot be read."""
    from streams.kafka.connection import Connection

    if not settings.broker:
        reason = "is not set: name the Kafka servers as host:port, as in FVQ_BROKER=kafka-1:9092,kafka-2:9092"
        raise SettingsError("FVQ_BROKER", reason)
    has_user = settings.kafka_security.startswith("SASL")
    return Connection(
        servers=settings.broker,
        security=settings.kafka_security,
        mechanism=settings.kafka_sasl,
        user=settings.kafka_user if has_user else None,
        password=settings.kafka_secret() if has_user else None,
        ca_file=settings.kafka_ca_file,
        cert_file=settings.kafka_cert_file,
        key_file=settings.kafka_key_file,
        prefix=settings.topic_prefix,
    )


def group(settings: Settings) -> Group:
    """The workers' consumer group."""
    from streams.kafka.consumer import Group

    return Group(prefixed(settings.topic_prefix, settings.group), settings.session_timeout)


def named(settings: Settings) -> Named:
    """What puts the environment's prefix before a name."""
    return partial(prefixed, settings.topic_prefix)


def worker_rights(settings: Settings) -> list[Right]:
    """What a worker with these settings needs on Kafka. Raises `SettingsError` where the alert policy is wrong."""
    from streams.alerts.policy import load_policy
    from streams.kafka.rights import WORKER, rights_of, together

    models = [settings.model] if not settings.scorer_url else []
    models += [settings.deep_model] if settings.deep_model and not settings.deep_url else []
    used = {
        "scores": True,
        "alerts": settings.alerts,
        "harvest": settings.harvest,
        "pictures": settings.pictures is not None,
        # Only a model by its name is replaced when another version is promoted.
        "models": any("@" not in model and "/" not in model for model in models),
    }
    receivers = [receiver.name for receiver in load_policy(settings.alert_policy).receivers] if settings.alerts else []
    needs = together(WORKER[part] for part, wanted in used.items() if wanted)
    return rights_of(needs, settings.group, receivers, named=named(settings))


def flood_limits(settings: Settings) -> FloodLimits | None:
    """From which share of dead letters on a worker waits; None for never."""
    from streams.scoring.flood import FloodLimits

    return FloodLimits(settings.flood_share, settings.flood_window) if settings.flood_share is not None else None


def picture_limits(settings: Settings) -> PictureLimits | None:
    """How often a stream gets a picture for the wall; None for never."""
    from streams.scoring.pictures import PictureLimits

    return PictureLimits(settings.pictures, settings.pictures_faces) if settings.pictures is not None else None


def deep_limits(settings: Settings) -> DeepLimits:
    """Which segments the large model looks at, and how many."""
    from streams.scoring.deep_plan import DeepLimits

    return DeepLimits(share=settings.deep_share, low=settings.deep_low, uncertain=settings.deep_uncertain)


def fetch_limits(settings: Settings) -> FetchLimits:
    """What may be fetched, and how much of it."""
    from streams.media.fetch import FetchLimits

    return FetchLimits(
        roots=tuple(settings.media_roots),
        hosts=tuple(settings.fetch_hosts),
        private=settings.fetch_private,
        seconds=settings.fetch_timeout,
        megabytes=settings.fetch_max_mb,
    )


def playlist_reader(settings: Settings) -> Reader:
    """Loads playlists from where media may come from."""
    from streams.media.read import Reader

    return Reader(tuple(settings.fetch_hosts), settings.fetch_private)


def cut_limits(settings: Settings) -> CutLimits:
    """What cutting one file into segments may take: memory as for sampling, and segments that a worker fetches."""
    from streams.ingest.files import CutLimits

    return CutLimits(memory_mb=settings.sample_memory_mb, segment_mb=settings.fetch_max_mb)


def push_means(settings: Settings) -> PushMeans:
    """What the sources of `fvq ingest push` share: the spool in the data folder, and what each may take there."""
    from streams.ingest.push.rtmp import RtmpServers
    from streams.ingest.push.source import PushMeans
    from streams.ingest.push.spool import SpoolLimits
    from streams.media.ffmpeg import ChildLimits

    # A worker answers a segment within the live window, and may have begun to fetch it at its end.
    keep = 60.0 + (settings.live_window if settings.live_window is not None else 3600.0)
    return PushMeans(
        settings.data_dir.resolve() / "ingest" / "push",
        RtmpServers(),
        SpoolLimits(keep, settings.push_max_mb << 20),
        ChildLimits(settings.sample_memory_mb << 20, settings.fetch_max_mb << 20),
    )


def harvest_limits(settings: Settings) -> HarvestLimits:
    """Which segments are worth a rating."""
    from streams.queue.selection import HarvestLimits

    return HarvestLimits(
        per_hour=settings.harvest_per_hour,
        score=settings.harvest_score,
        uncertainty=settings.harvest_uncertainty,
        disagreement=settings.harvest_disagreement,
    )


def clip_store(settings: Settings) -> ClipStore:
    """The clip store: `FVQ_CLIP_STORE`, or `clips` in the data folder. Raises `MediaError` where its address is wrong."""
    from streams.queue.clips import ClipStore

    return ClipStore(settings.clip_store or str(settings.data_dir.resolve() / "clips"))


def queue(settings: Settings) -> QueuePlace:
    """Where the training queue is: on its topic, or, where no broker is set, as the clip store tells it."""
    from streams.queue.topic import QueuePlace

    return QueuePlace(connection(settings) if settings.broker else None, clip_store(settings))


def registry(settings: Settings) -> Registry:
    """The model registry: `FVQ_REGISTRY`, or `models` in the data folder."""
    from scorer.registry import Registry
    from streams.media.shown import shown_store

    url = settings.registry or str(settings.data_dir / "models")
    return Registry(url, settings.data_dir / "model-cache", shown_store(url))


def remote_scorer(
    settings: Settings, urls: Sequence[str], notice: Callable[[ModelId], None] = lambda _: None, seconds: float | None = None
) -> RemoteScorer:
    """The served scorer at these addresses. notice: is told of its model. seconds: of a request; None as the settings say."""
    from scorer.remote.client import RemoteScorer

    has_token = settings.scorer_token is not None or settings.scorer_token_file is not None
    token = settings.scorer_secret if has_token else None
    return RemoteScorer(urls, token, seconds or settings.scorer_timeout, notice)


def serve_limits(settings: Settings) -> Limits:
    """What `fvq serve` takes at once."""
    from scorer.remote.replica import Limits

    return Limits(batch=settings.serve_batch, queue=settings.serve_queue)


def sink(settings: Settings) -> Sink:
    """The sink of scores: InfluxDB where its URL is set, else the SQLite store in the data folder."""
    if settings.influx_url:
        from streams.sinks.influx import InfluxSink

        return InfluxSink(influx_bucket(settings))
    from streams.sinks.sqlite import SqliteSink

    return SqliteSink(settings.data_dir, settings.store_days)


def history(settings: Settings) -> History:
    """Past scores, as the sink has them."""
    if settings.influx_url:
        from streams.history.influx import InfluxHistory

        return InfluxHistory(influx_bucket(settings))
    from streams.history.sqlite import SqliteHistory
    from streams.sinks.sqlite_file import FILE

    return SqliteHistory(settings.data_dir / FILE)


def access(settings: Settings) -> AccessOptions:
    """Who may use the wall. Raises `SettingsError` where the tokens' file cannot be read."""
    from ipaddress import ip_network

    from streams.web.access.gate import AccessOptions
    from streams.web.access.tokens import Tokens

    return AccessOptions(
        host=settings.host_of("wall"),
        tokens=Tokens(settings.web_tokens_file) if settings.web_tokens_file else None,
        url=settings.web_url or "",
        user_header=settings.web_user_header or "",
        proxies=tuple(ip_network(network) for network in settings.web_trusted_proxies),
        origins=tuple(settings.web_origins),
    )


def wall_address(settings: Settings) -> WallAddress:
    """The wall for commands that ask it: at its address for people, or on this machine."""
    from streams.web.ask import WallAddress

    has_token = settings.web_token is not None or settings.web_token_file is not None
    address = settings.web_url or http_address(settings.host_of("wall"), settings.wall_port)
    return WallAddress(address, settings.web_secret() if has_token else None)


def influx_bucket(settings: Settings) -> InfluxBucket:
    """The bucket of scores. Raises `SettingsError` where the token cannot be read. Only where `FVQ_INFLUX_URL` is set."""
    from streams.sinks.influx import InfluxBucket

    assert settings.influx_url
    token = settings.influx_secret
    return InfluxBucket(settings.influx_url, token(), settings.influx_org, settings.influx_bucket, read_token=token)


def rating_data(settings: Settings) -> RatingData:
    """The rating page's data, in the data folder."""
    from streams.rating.data import RatingData

    return RatingData(settings.data_dir)


def folder_limits(settings: Settings, scores: bool = False) -> FolderLimits:
    """How long what is in the data folder stays.

    scores: also those in SQLite. Only the workers, which write them, delete them: others may not know for how long they are kept.
    """
    from streams.privacy.sweep import FolderLimits

    return FolderLimits(
        settings.data_dir.resolve(),
        ingest_hours=settings.ingest_hours,
        inbox_hours=settings.inbox_hours,
        clip_days=settings.clip_days,
        export_days=settings.export_days,
        store_days=settings.store_days if scores and not settings.influx_url else 0.0,
    )


def keeping(settings: Settings) -> Keeping:
    """What a worker with these settings keeps of people's faces."""
    from streams.privacy.exports import exports
    from streams.privacy.statement import Keeping

    data = settings.data_dir.resolve()
    influx = f"InfluxDB {settings.influx_url}, bucket {settings.influx_bucket}" if settings.influx_url else None
    return Keeping(
        data=data,
        clips=settings.clip_store or str(data / "clips"),
        clip_days=settings.clip_days,
        harvest=settings.harvest,
        per_hour=settings.harvest_per_hour,
        pictures=settings.pictures,
        pictures_topic=prefixed(settings.topic_prefix, PICTURES_TOPIC),
        faces=settings.pictures_faces,
        influx=influx,
        store_days=settings.store_days,
        exports=tuple(str(export.path) for export in exports(data)),
        export_days=settings.export_days,
    )


def places(settings: Settings) -> Places:
    """Where something of a stream may be, as far as this process's settings tell."""
    from streams.privacy.forget import Places

    return Places(
        data=settings.data_dir.resolve(),
        connection=connection(settings) if settings.broker else None,
        group=group(settings).name,
        store=clip_store(settings),
        bucket=influx_bucket(settings) if settings.influx_url else None,
    )


def announce_update(settings: Settings, update: ModelUpdate) -> None:
    """Tell the workers of a model's update, where a broker is set. Raises `BrokerError`."""
    if settings.broker:
        from streams.models.announce import announce

        announce(connection(settings), update)
