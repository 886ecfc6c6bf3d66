"""Workers spread over the addresses of a scorer again after some were away."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest

from scorer.errors import ScorerError
from scorer.remote.address import Address, NoReplyError, Reply
from scorer.remote.client import RemoteScorer
from scorer.remote.comeback import RETURN_SECONDS
from scorer.remote.wire import pack
from tests.support.doubles import SPEC, make_clip
from tests.support.scripted_scorer import ScriptedScorer

CLIPS = [make_clip(light) for light in (50, 100)]


class Workers:
    """Three addresses, and six workers whose own orders begin with each of them twice."""

    def __init__(self, servers: list[ScriptedScorer]) -> None:
        self.servers, self.now = servers, 1000.0
        self.scorers = [RemoteScorer([server.url for server in servers], clock=lambda: self.now) for _ in range(6)]
        for place, scorer in enumerate(self.scorers):
            order = [servers[(place + step) % 3].url for step in range(3)]
            scorer._replicas.sort(key=lambda replica, order=order: order.index(replica.address.url))
            scorer.connect()

    def play(self, seconds: float) -> list[int]:
        """A batch of each worker every 10 s. Returns how many batches of the last round each address scored."""
        for _ in range(int(seconds / 10)):
            before = [len(server.batches) for server in self.servers]
            for scorer in self.scorers:
                assert len(scorer.score(CLIPS)) == len(CLIPS)
            self.now += 10
        return [server.batches[count:].count(len(CLIPS)) for server, count in zip(self.servers, before, strict=True)]


@pytest.fixture
def workers() -> Iterator[Workers]:
    with ExitStack() as stack:
        yield Workers([stack.enter_context(ScriptedScorer()) for _ in range(3)])


def test_workers_spread_again_after_the_addresses_were_replaced_one_by_one(workers: Workers) -> None:
    assert workers.play(20) == [2, 2, 2]
    for server in workers.servers:
        server.behave(fault="reset")
        workers.play(30)
        server.behave()
        workers.play(10)
    assert workers.play(2 * RETURN_SECONDS) == [2, 2, 2]


@pytest.mark.parametrize("fault", ["reset", "503", "nan"])
def test_an_address_that_is_still_away_gets_no_batch_and_is_asked_once_a_minute(workers: Workers, fault: str) -> None:
    first = workers.servers[0]
    first.behave(fault=fault, only="/v1/score")
    workers.play(20)
    asked, batches = first.asked, first.batches.count(len(CLIPS))
    workers.play(10 * RETURN_SECONDS)
    assert first.batches.count(len(CLIPS)) == batches
    assert first.asked - asked <= 2 * 11 * 4, "two workers, up to four questions each time"


@pytest.fixture
def seconds_given(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The first of the three addresses hangs. How long each request waits for it."""
    seconds_given: list[float] = []
    request = Address.request

    def hang(address: Address, method: str, path: str, body: bytes, headers: dict[str, str], seconds: float, most: int) -> Reply:
        if address.url == workers.servers[0].url:
            seconds_given.append(seconds)
            raise NoReplyError("no answer", late=True)
        return request(address, method, path, body, headers, seconds, most)

    monkeypatch.setattr(Address, "request", hang)
    return seconds_given


def test_an_address_that_hangs_costs_little(workers: Workers, seconds_given: list[float]) -> None:
    workers.play(10)
    assert seconds_given == [30, 30]
    workers.play(10 * RETURN_SECONDS)
    assert len(seconds_given) <= 2 + 2 * 10
    assert set(seconds_given[2:]) == {3}


def test_an_address_that_hangs_costs_little_also_while_the_others_have_no_room(
    workers: Workers, seconds_given: list[float]
) -> None:
    worker, others = workers.scorers[0], workers.servers[1:]
    for _ in range(5):
        for server in others:
            server.behave(fault="503", retry_after="1")
        with pytest.raises(ScorerError):
            worker.score(CLIPS)
        for server in others:
            server.behave()
        workers.now += 10
        assert len(worker.score(CLIPS)) == len(CLIPS)
    assert seconds_given[0] == 30
    assert set(seconds_given[1:]) == {3}


def test_a_worker_does_not_return_to_an_address_that_takes_other_clips(workers: Workers) -> None:
    first = workers.servers[0]
    first.behave(fault="reset")
    workers.play(10)
    first.behave(spec=replace(SPEC, frames=6))
    before = len(first.batches)
    workers.play(3 * RETURN_SECONDS)
    assert {scorer.spec for scorer in workers.scorers} == {SPEC}
    assert not first.batches[before:].count(len(CLIPS))
    first.behave(spec=SPEC)
    assert workers.play(2 * RETURN_SECONDS) == [2, 2, 2]


def test_an_address_that_answers_one_clip_and_hangs_for_batches_is_tried_less_and_less_often(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, request = workers.servers[0].url, Address.request
    hangs, hung = True, 0

    def hang(address: Address, method: str, path: str, body: bytes, headers: dict[str, str], seconds: float, most: int) -> Reply:
        nonlocal hung
        if hangs and address.url == first and len(body) > one_clip:
            hung += 1
            raise NoReplyError("no answer", late=True)
        return request(address, method, path, body, headers, seconds, most)

    one_clip = len(pack([make_clip(0)], SPEC)) * 3 // 2
    monkeypatch.setattr(Address, "request", hang)
    workers.play(3600)
    assert 4 <= hung <= 2 * (1 + 7), "two workers, 7 returns in an hour: pauses of 1, 2, 4, 8 and 15 minutes"
    hangs = False
    assert workers.play(900) == [2, 2, 2]


def test_only_one_address_that_hangs_is_tried_at_once(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[tuple[float, str]] = []
    present = workers.servers[2].url
    request = Address.request

    def hang(address: Address, method: str, path: str, body: bytes, headers: dict[str, str], seconds: float, most: int) -> Reply:
        if address.url == present:
            return request(address, method, path, body, headers, seconds, most)
        tried.append((workers.now, address.url))
        raise NoReplyError("no answer", late=True)

    workers.scorers = workers.scorers[:1]
    monkeypatch.setattr(Address, "request", hang)
    workers.play(10)
    tried.clear()
    workers.play(5 * RETURN_SECONDS)
    assert len({now for now, _ in tried}) == len(tried)
    assert {url for _, url in tried} == {server.url for server in workers.servers[:2]}
