"""The served scorer in a worker: waiting for it, and the small model that answers while it is away."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client import REGISTRY

from scorer.errors import ModelError, ScorerError, SpecChangedError
from scorer.remote.address import Address, Reply
from scorer.remote.client import RemoteScorer
from streams import worker_models
from streams.scoring.served import PATIENCE_SECONDS, PROBE_EVERY, FallbackScorer, connected
from streams.settings import load_settings
from tests.support.doubles import SPEC, BrightnessScorer, make_clip
from tests.support.scripted_scorer import ScriptedScorer
from tests.support.waiting import wait_for

OTHER = replace(SPEC, frames=6)
OWN_CLIP, SERVED_CLIP = make_clip(), make_clip(spec=OTHER)


class Clock:
    """Monotonic seconds that pass only when a test says so."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def server() -> Iterator[ScriptedScorer]:
    with ScriptedScorer(spec=OTHER) as scripted:
        yield scripted


def test_the_own_model_answers_while_no_scorer_does_and_says_so(server: ScriptedScorer) -> None:
    clock = Clock()
    scorer = FallbackScorer(RemoteScorer([server.url], clock=clock), BrightnessScorer(), clock)
    scorer.connect()
    assert scorer.spec == OTHER
    assert not scorer.score([SERVED_CLIP])[0].fallback
    server.behave(fault="500")
    with pytest.raises(ScorerError):
        scorer.score([SERVED_CLIP])
    assert scorer.problem
    clock.now += PATIENCE_SECONDS
    with pytest.raises(SpecChangedError):
        scorer.score([SERVED_CLIP])
    assert (scorer.spec, str(scorer.model), scorer.problem) == (SPEC, "brightness@1", "")
    assert REGISTRY.get_sample_value("fvq_scorer_fallback") == 1
    for _ in range(3):
        clock.now += PROBE_EVERY
        (score,) = scorer.score([OWN_CLIP])
        assert score.fallback
        assert str(score.model) == "brightness@1"
    server.behave()
    clock.now += 20
    with pytest.raises(SpecChangedError):
        scorer.score([OWN_CLIP])
    assert (scorer.spec, str(scorer.model)) == (OTHER, "scripted@1")
    assert not scorer.score([SERVED_CLIP])[0].fallback
    assert REGISTRY.get_sample_value("fvq_scorer_fallback") == 0
    assert REGISTRY.get_sample_value("fvq_model", {"name": "scripted", "version": "1"}) == 1


def test_a_short_outage_is_waited_for(server: ScriptedScorer) -> None:
    clock = Clock()
    scorer = FallbackScorer(RemoteScorer([server.url], clock=clock), BrightnessScorer(), clock)
    scorer.connect()
    for _ in range(5):
        server.behave(fault="503")
        with pytest.raises(ScorerError):
            scorer.score([SERVED_CLIP])
        server.behave()
        clock.now += PATIENCE_SECONDS - 1
        assert not scorer.score([SERVED_CLIP])[0].fallback, "the time counts from the first failure in a row"


def answered_by_its_own_model(server: ScriptedScorer, clock: Clock) -> FallbackScorer:
    """A scorer whose served one has failed for long enough. server: answers a failure."""
    scorer = FallbackScorer(RemoteScorer([server.url], clock=clock), BrightnessScorer(), clock)
    scorer.connect()
    with pytest.raises(ScorerError):
        scorer.score([SERVED_CLIP])
    clock.now += PATIENCE_SECONDS
    with pytest.raises(SpecChangedError):
        scorer.score([SERVED_CLIP])
    return scorer


def test_a_scorer_that_is_overloaded_is_not_back_before_it_gives_a_score(server: ScriptedScorer) -> None:
    clock = Clock()
    server.behave(fault="503", retry_after="1", only="/v1/score")
    scorer = answered_by_its_own_model(server, clock)
    for specification in (OTHER, replace(OTHER, frames=7)):
        server.behave(fault="503", retry_after="1", only="/v1/score", spec=specification)
        for _ in range(10):
            clock.now += PROBE_EVERY
            assert scorer.score([OWN_CLIP])[0].fallback


def test_a_clip_that_the_scorer_refuses_is_not_for_the_own_model(server: ScriptedScorer) -> None:
    scorer = FallbackScorer(RemoteScorer([server.url]), BrightnessScorer())
    scorer.connect()
    server.behave(refused=round(SERVED_CLIP.frames.mean()))
    with pytest.raises(ModelError):
        scorer.score([SERVED_CLIP])


def test_a_scorer_that_refuses_the_question_whether_it_is_back_is_held_against_no_clip(
    server: ScriptedScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    server.behave(fault="500", only="/v1/score")
    scorer = answered_by_its_own_model(server, clock)
    # Behind one address there may be a replica that refuses everything and one that answers, and a proxy asks them in turn.
    answers = iter(["400", "", "400"])
    send = Address.request

    def sent(address: Address, method: str, path: str, *arguments: Any) -> Reply:
        if path == "/v1/score":
            server.behave(fault=next(answers), only="/v1/score")
        return send(address, method, path, *arguments)

    monkeypatch.setattr(Address, "request", sent)
    clock.now += PROBE_EVERY
    assert scorer.score([OWN_CLIP])[0].fallback
    assert next(answers, None) is None, "all were asked"


def test_scorers_that_hang_leave_the_own_model_nearly_all_of_its_time(
    server: ScriptedScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    server.behave(fault="500", only="/v1/score")
    scorer = answered_by_its_own_model(server, clock)
    asked = 0.0

    def hang(_: RemoteScorer) -> None:
        nonlocal asked
        clock.now, asked = clock.now + 6, asked + 6
        raise ScorerError("gave no answer")

    monkeypatch.setattr(RemoteScorer, "probe", hang)
    began = clock.now
    while clock.now < began + 600:
        clock.now += 1
        assert scorer.score([OWN_CLIP])[0].fallback
    assert 0 < asked <= 60


def test_a_worker_that_starts_without_a_scorer_takes_the_own_model_after_a_while() -> None:
    clock = Clock()
    scorer = FallbackScorer(RemoteScorer(["http://127.0.0.1:9"], clock=clock), BrightnessScorer(), clock)
    with pytest.raises(ScorerError):
        scorer.connect()
    clock.now += PATIENCE_SECONDS
    scorer.connect()
    assert scorer.score([OWN_CLIP])[0].fallback


async def test_a_worker_waits_for_its_scorer_and_says_so_once(server: ScriptedScorer, caplog: pytest.LogCaptureFixture) -> None:
    server.behave(fault="503")
    scorer = RemoteScorer([server.url])
    with caplog.at_level(logging.WARNING):
        waiting = asyncio.create_task(connected(scorer))
        await asyncio.to_thread(wait_for, "three questions", lambda: server.asked >= 3, 20)
        assert "answered 503" in scorer.problem
        server.behave()
        await asyncio.wait_for(waiting, 10)
    assert scorer.spec == OTHER
    assert scorer.problem == ""
    assert caplog.text.count("no segments are taken until the scorer answers") == 1


async def test_a_worker_says_each_reason_for_which_it_waits(server: ScriptedScorer, caplog: pytest.LogCaptureFixture) -> None:
    server.behave(fault="reset")
    with caplog.at_level(logging.WARNING, "streams"):
        waiting = asyncio.create_task(connected(RemoteScorer([server.url])))
        await asyncio.to_thread(wait_for, "a question", lambda: "until the scorer answers" in caplog.text, 20)
        server.behave(fault="401")
        await asyncio.to_thread(wait_for, "the reason", lambda: "set FVQ_SCORER_TOKEN" in caplog.text, 20)
        server.behave()
        await asyncio.wait_for(waiting, 20)
    assert caplog.text.count("until the scorer answers") == 2


WORKER = """
import sys
from streams import worker_models
import streams.worker
from streams.settings import load_settings
scorer = worker_models.served_scorer(load_settings(scorer_url="http://scorer:8090"))
assert type(scorer).__name__ == "RemoteScorer"
heavy = sorted({"torch", "transformers", "peft", "timm", "safetensors", "uvicorn", "starlette"} & set(sys.modules))
assert not heavy, f"a worker of a served scorer loads {heavy}"
"""


def test_a_worker_of_a_served_scorer_loads_no_torch() -> None:
    done = subprocess.run([sys.executable, "-c", WORKER], timeout=120, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("url", "token", "words"),
    [
        (
            "http://scorer.example:8090",
            "s3cret",
            "pictures and the scorer's token can be read on their way to http://scorer.example",
        ),
        ("http://scorer.example:8090", None, "pictures can be read on their way to http://scorer.example:8090"),
        ("https://scorer.example", "s3cret", ""),
        ("http://10.0.0.7:8090", "s3cret", ""),
    ],
)
def test_pictures_and_a_token_in_clear_are_warned_of(
    url: str, token: str | None, words: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FVQ_SCORER_URL", raising=False)
    with caplog.at_level(logging.WARNING):
        worker_models.served_scorer(load_settings(scorer_url=url, scorer_token=token))
    assert words in caplog.text
    assert bool(words) == bool(caplog.text)
    assert "s3cret" not in caplog.text
