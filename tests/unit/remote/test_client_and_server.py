"""The real client against the real server."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import pytest

from scorer.errors import ModelError, ScorerError
from scorer.remote.client import RemoteScorer
from scorer.remote.replica import Limits
from tests.support.doubles import make_clip
from tests.support.served import HeldModel, HeldScorer, RunningServer, running_server

TOKEN = "a-long-token"


@pytest.fixture
def model() -> HeldModel:
    return HeldModel()


@pytest.fixture
def server(model: HeldModel) -> Iterator[RunningServer]:
    with running_server(model, TOKEN, Limits(batch=4, queue=8)) as server:
        yield server


def connected(*urls: str, token: str = TOKEN) -> RemoteScorer:
    scorer = RemoteScorer(urls, lambda: token, 20.0)
    scorer.connect()
    return scorer


def test_the_scores_are_those_of_the_model(server: RunningServer) -> None:
    scorer = connected(server.url)
    clips = [make_clip(light) for light in (20, 60, 100, 140, 180, 220, 90)]
    assert scorer.score(clips) == HeldScorer().score(clips), "more clips than a request may have are divided"
    assert (scorer.spec, str(scorer.model)) == (HeldScorer.spec, "brightness@1")


def test_an_uncertainty_over_100_is_taken_as_from_a_model_in_the_worker(
    server: RunningServer, model: HeldModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    score = HeldScorer.score
    unsure = partial(replace, uncertainty=130.25)
    monkeypatch.setattr(HeldScorer, "score", lambda scorer, clips: [unsure(known) for known in score(scorer, clips)])
    assert [known.uncertainty for known in connected(server.url).score([make_clip(), make_clip()])] == [130.25, 130.25]


def test_several_workers_share_a_server(server: RunningServer) -> None:
    def score(light: int) -> bool:
        clips = [make_clip(light + number, number) for number in range(4)]
        return connected(server.url).score(clips) == HeldScorer().score(clips)

    with ThreadPoolExecutor(2) as threads:
        assert all(threads.map(score, range(20, 200, 20)))


def test_a_clip_that_the_model_cannot_score_is_the_clips_fault(server: RunningServer) -> None:
    scorer = connected(server.url)
    bad = make_clip()
    bad.statistics[-1] = 13
    with pytest.raises(ModelError, match="not a finite number"):
        scorer.score([bad])
    assert len(scorer.score([make_clip()])) == 1


def test_a_broken_model_is_the_servers_fault(server: RunningServer, model: HeldModel) -> None:
    scorer = connected(server.url)
    model.engine.broken = True
    with pytest.raises(ScorerError, match="cannot score a test clip"):
        scorer.score([make_clip()])


def test_a_lack_of_memory_is_not_the_clips_fault(server: RunningServer, model: HeldModel) -> None:
    scorer = connected(server.url)
    large = make_clip()
    large.statistics[-1] = 12
    model.engine.memory = False
    with pytest.raises(ScorerError, match="there is no memory for a clip") as raised:
        scorer.score([large])
    assert raised.value.retry_after >= 0.4
    model.engine.memory = True
    time.sleep(raised.value.retry_after)
    assert len(scorer.score([large])) == 1


def test_a_wrong_token_is_said(server: RunningServer) -> None:
    with pytest.raises(ScorerError, match="401"):
        connected(server.url, token="wrong")
