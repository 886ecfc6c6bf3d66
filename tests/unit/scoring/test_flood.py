"""The flood gate: consumption stops while nearly every segment of many streams fails in the same way."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from streams.letter import Message, dead_letter
from streams.scoring import flood
from streams.scoring.answer import Answered, Sampled
from streams.scoring.flood import FloodGate, FloodLimits, failure_of
from tests.support.waiting import wait_for


class Origin:
    """In place of the pipeline: `failure` is the kind of every segment's dead letter, '' while all can be sampled."""

    def __init__(self, failure: str) -> None:
        self.failure, self.calls = failure, 0

    async def sample(self, messages: Sequence[Message]) -> list[Answered | Sampled]:
        self.calls += 1
        any_event: Any = None
        if not self.failure:
            return [Sampled(message, any_event, any_event, any_event, any_event) for message in messages]
        return [Answered(message, dead_letter(message, kind=self.failure, reason="because")) for message in messages]


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flood, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(flood, "LONGEST_PAUSE", 0.02)


def group(first: int, streams: int = 8) -> list[Message]:
    return [Message(f"s-{number % streams}".encode(), b"", "video-segments", 0, number) for number in range(first, first + 8)]


async def test_a_flood_holds_the_segments_at_hand_and_ends_by_itself(caplog: pytest.LogCaptureFixture) -> None:
    origin = Origin("unreachable")
    gate = FloodGate(FloodLimits(0.9, 600), origin.sample)
    with caplog.at_level(logging.WARNING):
        for first in (0, 8):
            assert {failure_of(result) for result in await gate.sample(group(first))} == {"unreachable"}, "too few for a flood"
        held = asyncio.create_task(gate.sample(group(16)))
        await asyncio.to_thread(wait_for, "the segments at hand are tried again", lambda: origin.calls > 4, 60, 0.01)
        assert not held.done()
        assert "dead letter of kind unreachable" in caplog.text
        assert "the origin, and this machine's network" in caplog.text
        origin.failure = ""
        assert {failure_of(result) for result in await held} == {""}, "nothing that was held is a dead letter"
        assert "the worker continues" in caplog.text
    origin.failure = "unreachable"
    assert len(await gate.sample(group(24))) == 8, "the answers before are forgotten"


async def test_a_flood_that_does_not_pass_slows_down_and_does_not_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]

    async def sleep(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr(flood, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(flood, "asyncio", SimpleNamespace(sleep=sleep))
    gate = FloodGate(FloodLimits(0.9, 0.2), Origin("refused").sample)
    for first in (0, 8):
        await gate.sample(group(first))
    for first in (16, 24):
        started = now[0]
        assert {failure_of(result) for result in await gate.sample(group(first))} == {"refused"}
        assert now[0] - started == pytest.approx(0.2), "the length of the window"


async def test_what_was_sampled_while_another_group_ended_the_flood_is_not_sampled_again() -> None:
    """A second result for a segment would leave the first one's file behind."""
    asked: list[int] = []
    both_wait = asyncio.Barrier(2)

    async def sample(messages: Sequence[Message]) -> list[Answered | Sampled]:
        asked.append(len(messages))
        any_event: Any = None
        if len(asked) <= 4:
            return [Answered(message, dead_letter(message, kind="refused", reason="because")) for message in messages]
        if len(asked) <= 6:
            await both_wait.wait()  # one of the two ends the flood before the other one's results are looked at
        return [Sampled(message, any_event, any_event, any_event, any_event) for message in messages]

    gate = FloodGate(FloodLimits(0.9, 600), sample)
    await gate.sample(group(0))
    await gate.sample(group(8))
    await asyncio.gather(gate.sample(group(16)), gate.sample(group(24)))
    assert asked == [8, 8, 8, 8, 8, 8, 0]


async def test_segments_of_a_producer_without_keys_are_of_the_streams_that_they_name() -> None:
    def without_keys(first: int, streams: int) -> list[Message]:
        return [replace(sent, key=None, value=b'{"stream_id": "%s"}' % sent.key) for sent in group(first, streams) if sent.key]

    origin = Origin("unreachable")
    gate = FloodGate(FloodLimits(0.9, 600), origin.sample)
    for first in range(0, 80, 8):
        await gate.sample(without_keys(first, 4))
    assert origin.calls == 10, "four streams are no flood"
    held = asyncio.create_task(gate.sample(without_keys(80, 8)))
    await asyncio.to_thread(wait_for, "the segments at hand are tried again", lambda: origin.calls > 12, 20, 0.01)
    origin.failure = ""
    assert {failure_of(result) for result in await held} == {""}


async def test_one_group_that_succeeds_frees_the_others() -> None:
    origin = Origin("not-found")
    gate = FloodGate(FloodLimits(0.9, 600), origin.sample)
    for first in (0, 8):
        await gate.sample(group(first))
    held = [asyncio.create_task(gate.sample(group(first))) for first in (16, 24, 32)]
    await asyncio.sleep(0.05)
    origin.failure = ""
    assert all(failure_of(result) == "" for results in await asyncio.gather(*held) for result in results)


async def test_what_failed_while_the_flood_ended_is_tried_once_more() -> None:
    origin, broken = Origin("unreachable"), Origin("undecodable")

    async def sample(messages: Sequence[Message]) -> list[Answered | Sampled]:
        """The origin comes back in the middle of the group's third attempt; one of the segments is broken."""
        results = []
        for message in messages:
            if origin.calls == 2 * 8 + 2 * 7 + 4:  # of the groups before, of two attempts, and of half of the third
                origin.failure = ""
            results += await (broken if message.offset == 17 else origin).sample([message])
        return results

    gate = FloodGate(FloodLimits(0.9, 600), sample)
    for first in (0, 8):
        await gate.sample(group(first))
    failures = {result.message.offset: failure_of(result) for result in await gate.sample(group(16))}
    assert failures == dict.fromkeys(range(16, 24), "") | {17: "undecodable"}
    assert broken.calls == 4


@pytest.mark.parametrize(
    ("kind", "streams"),
    [("event", 8), ("unreadable", 8), ("undecodable", 4)],
)
async def test_what_producers_send_or_few_streams_is_no_flood(kind: str, streams: int) -> None:
    origin = Origin(kind)
    gate = FloodGate(FloodLimits(0.9, 10), origin.sample)
    for first in range(0, 80, 8):
        await gate.sample(group(first, streams))
    assert origin.calls == 10


async def test_a_share_below_the_limit_is_no_flood() -> None:
    origin = Origin("")
    gate = FloodGate(FloodLimits(0.9, 10), origin.sample)
    for first in range(0, 160, 8):
        origin.failure = "timeout" if first % 40 else ""
        await gate.sample(group(first))
    assert origin.calls == 20
