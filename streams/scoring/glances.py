"""Glances in the worker: each rendition's segments are planned in their order, and a glance's answer rests on a full look's.

`tiers.py` decides. A full look that is planned is not scored yet when the next segment comes, so a glance is answered in two
steps: while segments are sampled it is compared with the full look's numbers, and where batches are scored, in order, it gets
the full look's score, or has to be looked at fully after all, because of what that score asks for.

All of it is in memory. A worker that takes a partition over starts its streams with a full look.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from scorer.spec import ModelId
from streams.errors import OWN_FAULTS, MediaError
from streams.events import FullReason, SegmentEvent, SegmentScore
from streams.letter import DeadLetter
from streams.remembered import remember
from streams.scoring.distance import FloatArray
from streams.scoring.tiers import (
    Facts,
    StreamTier,
    TierLimits,
    asked_by,
    differences_to,
    is_repeat,
    plan,
    with_full_look,
    with_glance,
    with_score,
    with_skipped,
)

if TYPE_CHECKING:
    from scorer.sampling.glance import Glance

MOST_STREAMS = 20_000
"""Renditions that are remembered; the one that was silent for longest is forgotten first, and starts with a full look."""


class GlancePool(Protocol):
    """Looks at files in child processes: `scorer.sampling.SamplerPool`."""

    def glance(self, path: Path, picture: bool = True, sound: bool = True) -> Future[Glance]:
        """A file's packets, a keyframe where `picture` says so, and the sound where `sound` does."""


class Outlook(Protocol):
    """What the alerts make of a stream: `streams.alerts.course.Courses`."""

    def __call__(self, score: SegmentScore, now: datetime) -> str:
        """Take in a score, in its turn; returns `no-picture` for a black or frozen segment."""

    def is_undecided(self, score: SegmentScore) -> bool:
        """Whether an alert of the score's rendition is open, or may be about to open or to end."""


@dataclass(eq=False)
class FullLook:
    """A full look at one segment, from its plan to its score.

    line: whose reference it is; None for one that glances do not rest on. differences: to the full look before. answer: None
    until it is scored. asks: what the segments after it get instead of a glance.
    """

    reason: FullReason
    line: _Line | None = None
    before: FullLook | None = None
    differences: FloatArray | None = None
    answer: SegmentScore | None = None
    asks: FullReason | None = "unanswered"


@dataclass(frozen=True)
class Rest:
    """A glance that found a segment as `look` was."""

    glance: Glance
    look: FullLook


@dataclass(eq=False)
class _Line:
    """One rendition: its state, its last full look, and the end of the turn of its last segment."""

    state: StreamTier | None = None
    look: FullLook | None = None
    turn: asyncio.Future[None] | None = None


@dataclass
class Turn:
    """A segment's turn in its rendition: it is planned after the segments before it. Enter it when the segment comes."""

    tiers: Tiers
    segment: SegmentEvent
    _line: _Line = field(init=False)
    _before: asyncio.Future[None] | None = field(init=False)
    _over: asyncio.Future[None] = field(init=False)
    _planned: FullLook | Rest | None = field(init=False, default=None)

    def __enter__(self) -> Self:
        self._line = self.tiers.line(self.segment)
        self._before, self._over = self._line.turn, asyncio.get_running_loop().create_future()
        self._line.turn = self._over
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if not self._over.done():
            self._over.set_result(None)

    async def look(self, path: Path) -> FullLook | Rest:
        """Which look the segment gets. A second call, after the sampling has failed, gives the same. Raises `MediaError`.

        path: its file.
        """
        if self._before is not None:
            # Shielded: a task that is cancelled here must not cancel the turn of another segment.
            await asyncio.shield(self._before)
        if self._planned is None:
            self._planned = await self.tiers.plan(self._line, self.segment, path)
        return self._planned


class Tiers:
    """The tiers of a worker's segments. Used in one event loop.

    outlook: what the alerts make of the scores. model: the model that scores now.
    """

    def __init__(self, pool: GlancePool, outlook: Outlook, model: Callable[[], ModelId], limits: TierLimits) -> None:
        self._pool, self._outlook, self._model, self._limits = pool, outlook, model, limits
        self._lines: OrderedDict[tuple[str, str], _Line] = OrderedDict()

    def turn(self, segment: SegmentEvent) -> Turn:
        """The turn of a segment that has come."""
        return Turn(self, segment)

    def line(self, segment: SegmentEvent) -> _Line:
        """What is remembered of a segment's rendition."""
        key = segment.stream_id, segment.rendition or ""
        line = self._lines.get(key) or _Line()
        remember(self._lines, key, line, MOST_STREAMS)
        return line

    def skip(self, segment: SegmentEvent) -> None:
        """Take in a segment that is skipped because the workers cannot keep up.

        It has its turn after the segments before it, which may not be planned yet; its answer waits for none of them.
        """
        line = self._lines.get((segment.stream_id, segment.rendition or ""))
        if line is None:
            return
        before, over = line.turn, asyncio.get_running_loop().create_future()

        def take_in(_: object = None) -> None:
            if line.state is not None:
                line.state = with_skipped(line.state, segment)
            over.set_result(None)

        line.turn = over
        if before is None or before.done():
            take_in()
        else:
            before.add_done_callback(take_in)

    async def plan(self, line: _Line, segment: SegmentEvent, path: Path) -> FullLook | Rest:
        """Look at a segment as far as it takes to know which look it gets. Raises `MediaError` where no child can run."""
        if line.state is not None and is_repeat(line.state, segment):
            return FullLook("repeat")
        try:
            return await self._plan(line, segment, path)
        except MediaError as error:
            if error.kind in OWN_FAULTS:
                raise
            # The sampler says what is wrong with the file, or gets more out of it.
            line.state = line.look = None
            return FullLook("unread")

    async def _plan(self, line: _Line, segment: SegmentEvent, path: Path) -> FullLook | Rest:
        facts = Facts(segment, str(self._model()))
        step = plan(line.state, facts, self._limits)
        while step.step in ("headers", "keyframe"):
            facts = await self._glance(facts, path, picture=step.step == "keyframe", sound=facts.glance is None)
            step = plan(line.state, facts, self._limits)
        if step.step == "glance":
            assert line.look is not None
            assert line.state is not None
            assert facts.glance is not None
            line.state = with_glance(line.state, facts)
            return Rest(facts.glance, line.look)
        assert step.reason is not None
        if not facts.tried:
            facts = await self._glance(facts, path, picture=True, sound=False)  # the full look hears it
        assert facts.glance is not None
        line.look = FullLook(step.reason, line, line.look, differences_to(line.state, facts.glance))
        if line.look.before is not None:
            line.look.before.before = None  # or all full looks ever made would stay in memory
        line.state = with_full_look(line.state, facts)
        return line.look

    def scored(self, look: FullLook, answer: SegmentScore | DeadLetter) -> None:
        """Take in the answer of a full look. Call it in the order of the segments, with `rest` for the glances between them."""
        if not isinstance(answer, SegmentScore):
            self._lose(look)
            return
        assert answer.score is not None
        course = self._outlook(answer, datetime.now(UTC))
        if look.line is None:
            return
        before = look.before.answer.score if look.before is not None and look.before.answer is not None else None
        look.answer = answer
        look.asks = asked_by(answer, before, self._outlook.is_undecided(answer), course != "no-picture", self._limits)
        if look.line.look is look and look.line.state is not None:
            moved = None if before is None else answer.score - before
            look.line.state = with_score(look.line.state, look.asks, moved, look.differences, self._limits)

    def rest(self, rest: Rest) -> SegmentScore | FullReason:
        """The full look's answer that a glance rests on, or why its segment needs a full look after all."""
        look = rest.look
        if look.asks is None:
            assert look.answer is not None
            return look.answer
        if look.answer is None:
            self._lose(look)
        return look.asks

    def rested(self, rest: Rest, answer: SegmentScore) -> None:
        """Take in the answer of a glance, in its turn.

        What is asked of the stream may change during glances: an alert policy that is read again has other limits.
        """
        course = self._outlook(answer, datetime.now(UTC))
        undecided = course == "no-picture" or self._outlook.is_undecided(answer)
        line = rest.look.line
        if undecided and line is not None and line.look is rest.look and line.state is not None:
            line.state = replace(line.state, asks="alert")

    @property
    def drift(self) -> float:
        """What the own scores of a segment that had a glance and of its full look may differ, points."""
        return self._limits.drift

    def _lose(self, look: FullLook) -> None:
        """Nothing can rest on a full look without a score: its stream starts anew."""
        if look.line is not None and look.line.look is look:
            look.line.state = look.line.look = None

    async def _glance(self, facts: Facts, path: Path, picture: bool, sound: bool) -> Facts:
        glance = await asyncio.wrap_future(self._pool.glance(path, picture=picture, sound=sound))
        if facts.glance is not None:
            glance = replace(glance, audio=facts.glance.audio)  # it was heard with the packets
        return Facts(facts.segment, facts.model, glance, tried=picture)
