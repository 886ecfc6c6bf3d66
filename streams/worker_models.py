"""The models of a worker, from its settings: its scorer, in the process or served, and those that may be there beside it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scorer.remote.client import RemoteScorer
from scorer.remote.url import sends_in_clear
from scorer.spec import ModelId, Scorer
from streams import metrics, parts
from streams.alerts.course import Courses
from streams.alerts.policy import load_policy
from streams.errors import SettingsError
from streams.kafka.agent import Agent
from streams.kafka.connection import Connection
from streams.scoring.cascade import Cascade
from streams.scoring.deep import DeepScorer
from streams.scoring.deep_plan import DeepPlan
from streams.scoring.served import FallbackScorer, ServedScorer
from streams.settings import Settings

if TYPE_CHECKING:
    from scorer.sampling import SamplerPool
    from streams.scoring.glances import Tiers

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Models:
    """The models of a worker: the one that scores every segment, and those that may be there beside it.

    served: the scorer, where it is elsewhere; None for one in this process. glances, looks: what the alerts make of the scores,
    for the choice of glances and of the large model's looks; None without these. Each takes in every score, so there are two.
    """

    scorer: Scorer
    served: ServedScorer | None
    second: Scorer | None
    deep: Scorer | None
    glances: Courses | None
    looks: Courses | None

    def courses(self) -> list[Courses]:
        """Those that go by the alert policy."""
        return [courses for courses in (self.glances, self.looks) if courses is not None]


def models_of(settings: Settings, connection: Connection) -> tuple[Models, list[Agent]]:
    """The models that the settings name, and the agents that replace those in this process when the registry has others."""
    served = served_scorer(settings) if settings.scorer_url else None
    scorer, followers = (served, []) if served is not None else own_scorer(settings, connection)
    second = second_model(settings, scorer) if settings.second_model else None
    deep: Scorer | None = None
    if settings.deep_model or settings.deep_url:
        deep, more = deep_model(settings, connection)
        followers += more
    glances = courses_of(settings) if settings.tiers == "on" else None
    looks = courses_of(settings) if deep is not None else None
    return Models(scorer, served, second, deep, glances, looks), followers


def own_scorer(settings: Settings, connection: Connection) -> tuple[Scorer, list[Agent]]:
    """The model of `FVQ_MODEL` in this process, and the agent that replaces it when the registry has another version."""
    from streams.models.follow import ReloadingScorer, follow_agent

    scorer = ReloadingScorer(settings.model, settings.device, parts.registry(settings))
    log.info("model %s", scorer.model)
    return scorer, [follow_agent(scorer, connection)] if scorer.follows else []


def served_scorer(settings: Settings) -> ServedScorer:
    """The scorer at `FVQ_SCORER_URL`, which is not asked yet."""
    assert settings.scorer_url
    remote = _remote(settings, settings.scorer_url, settings.scorer_timeout, _note_served_model)
    if settings.scorer_fallback is None:
        return remote
    from scorer.load import load_engine

    own = load_engine(settings.scorer_fallback, settings.device, parts.registry(settings))
    log.info("model %s answers while no served scorer does", own.model)
    return FallbackScorer(remote, own)


def _remote(settings: Settings, addresses: str, seconds: float, notice: Callable[[ModelId], None]) -> RemoteScorer:
    """The scorer that is served at these addresses. seconds: that one request may take. notice: is told of its model."""
    urls = addresses.split(",")
    for url in urls:
        if sends_in_clear(url):
            token = " and the scorer's token" if settings.scorer_token or settings.scorer_token_file else ""
            log.warning("pictures%s can be read on their way to %s: use https or a private network", token, url)
    return parts.remote_scorer(settings, urls, notice, seconds)


def _note_served_model(model: ModelId) -> None:
    log.info("the served model is %s", model)
    metrics.show_model(model)


def _note_deep_model(model: ModelId) -> None:
    log.info("the large model is %s", model)


def _note_served_deep_model(model: ModelId) -> None:
    log.info("the served large model is %s", model)


def second_model(settings: Settings, first: Scorer) -> Scorer:
    """The second model, which scores the same clips as the first.

    Raises `SettingsError` where it needs clips that are sampled in another way.
    """
    from scorer.load import load_engine

    assert settings.second_model
    second = load_engine(settings.second_model, settings.device, parts.registry(settings))
    if second.spec != first.spec:
        reason = f"{settings.second_model} needs clips that are sampled in another way than for {settings.model}"
        raise SettingsError("FVQ_SECOND_MODEL", reason)
    log.info("second model %s@%s", second.model.name, second.model.version)
    return second


def deep_model(settings: Settings, connection: Connection) -> tuple[Scorer, list[Agent]]:
    """The large model of the cascade, in this process or at `FVQ_DEEP_URL`, which is not asked yet; and its agent.

    The agent replaces a model in this process when the registry has another version of it.
    """
    if settings.deep_url:
        return _remote(settings, settings.deep_url, settings.deep_timeout, _note_served_deep_model), []
    from streams.models.follow import ReloadingScorer, follow_agent

    assert settings.deep_model
    deep = ReloadingScorer(settings.deep_model, settings.device, parts.registry(settings), _note_deep_model)
    log.info("model %s looks at %.3g of the segments at most", deep.model, settings.deep_share)
    return deep, [follow_agent(deep, connection, "large model updates")] if deep.follows else []


def courses_of(settings: Settings) -> Courses:
    """Where the scores of the worker's streams are going, by the same policy as the alert agent's."""
    return Courses(load_policy(settings.alert_policy))


def tiers_of(pool: SamplerPool, scorer: Scorer, courses: Courses) -> Tiers:
    """Which look each segment gets. courses: say of which streams an alert is open, or may be about to open or to end."""
    from streams.scoring.glances import Tiers
    from streams.scoring.tiers import TierLimits

    return Tiers(pool, courses, lambda: scorer.model, TierLimits())


def cascade_of(settings: Settings, deep: Scorer, courses: Courses) -> Cascade:
    """The looks by the large model. courses: say of which streams an alert is open, or may be about to open."""
    connect = deep.connect if isinstance(deep, RemoteScorer) else None
    looks = DeepScorer(deep, settings.deep_timeout, settings.batch_size, connect)
    return Cascade(looks, DeepPlan(parts.deep_limits(settings)), courses, settings.live_window)
