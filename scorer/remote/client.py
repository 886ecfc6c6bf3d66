"""The worker's side of a served scorer: a batch of clips goes to one of its addresses, and comes back as scores.

Whatever an address does wrong (it is away, it hangs, it answers garbage or NaN) is held against the address and never against a
clip: the next address is asked, and where none answers, the caller waits and asks again. A clip is refused only where the same
address answers for another clip.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import TypeVar

from scorer.errors import FvqError, ModelError, ScorerError, SpecChangedError
from scorer.remote.address import Address, NoReplyError, Reply
from scorer.remote.answers import (
    MODEL_BYTES,
    AnswerError,
    ServedModel,
    most_answer_bytes,
    read_model,
    read_other_spec,
    read_scores,
    words_of,
)
from scorer.remote.circuit import LONGEST_PAUSE, OTHER_SPEC_PAUSE, Circuit
from scorer.remote.comeback import RETURN_SECONDS, Comeback
from scorer.remote.rollover import Rollover
from scorer.remote.wire import MEDIA_TYPE, pack
from scorer.spec import ClipScore, ModelId, ModelInput, SamplerSpec, made_up_input

log = logging.getLogger(__name__)
REFUSALS = {400, 413, 422}
"""Statuses with which a server refuses clips. Where it refuses any clip, it is the server that is wrong."""

PROBE_SECONDS = 3.0
"""Longest time of each question that tries an address, for which a batch waits."""

Answer = TypeVar("Answer")


class RemoteScorer:
    """Scores at one of several addresses; implements `scorer.spec.Scorer`. For one thread at a time.

    urls: base URLs. token: reads the bearer token, again after an answer 401; None for no token. seconds: the longest time of one
    request. notice: is told of the model that scores, when it is another than before. clock: monotonic seconds.
    """

    def __init__(
        self,
        urls: Sequence[str],
        token: Callable[[], str] | None = None,
        seconds: float = 30.0,
        notice: Callable[[ModelId], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._seconds, self._notice, self._clock = seconds, notice, clock
        self._read_token, self._token = token, ""
        self._replicas = [_Replica(Address(url)) for url in urls]
        # Each worker stays with an address as long as it answers: so the workers must begin with different ones.
        random.shuffle(self._replicas)
        self._present: _Replica | None = None
        self._return_at = clock() + RETURN_SECONDS
        self._rollover: Rollover | None = None
        self._model: ModelId | None = None
        self._closed = False
        self.problem = "the scorer has not answered yet"
        """Why there are no scores now; '' where there are. Any thread may read it."""

    @property
    def spec(self) -> SamplerSpec:
        """The sampler's specification by which clips have to be sampled now. Known after `connect`."""
        assert self._rollover is not None
        return self._rollover.spec

    @property
    def model(self) -> ModelId:
        """The model that answered last. Known after `connect`."""
        assert self._model is not None
        return self._model

    def connect(self) -> None:
        """Learn the model and its specification from an address. Raises `ScorerError` where none tells them."""
        served = self._first_answer(lambda replica: self._learn(replica, self._seconds))
        self._take(served.spec)
        self._show(served.model)

    def score(self, clips: Sequence[ModelInput]) -> list[ClipScore]:
        """One score per clip, in order, of clips that are sampled by `spec`; in one request where the scorer takes as many.

        Raises `ModelError` where the scorer refuses one of the clips, `SpecChangedError` where they have to be sampled by `spec`,
        which is another one now, and `ScorerError` where no address answers.
        """
        if not clips:
            return []
        self._return_if_due()
        scores = self._first_answer(lambda replica: self._score_at(replica, clips))
        assert self._rollover is not None
        self._rollover = self._rollover.answered(self._clock())
        self._show(scores[-1].model)
        return scores

    def probe(self) -> None:
        """Take over an address that gives scores again, with its specification: a clip that is made up is scored there.

        Raises `ScorerError` where no address gives a score.
        """
        served = self._first_answer(self._try)
        self._take(served.spec)
        self._show(served.model)

    def close(self) -> None:
        """Ask no more, from any thread. A request under way ends now, as one that is broken."""
        self._closed = True
        for replica in self._replicas:
            replica.address.abort()

    def _try(self, replica: _Replica) -> ServedModel:
        """What an address serves that gives a score of a made-up clip. Raises `_FailedError` and `ModelError`."""
        served = self._learn(replica, PROBE_SECONDS)
        self._post(replica, [made_up_input(served.spec, served.statistics)], served.spec, PROBE_SECONDS)
        return served

    def _return_if_due(self) -> None:
        """Once a minute, go back to the first address of this worker's own order that gives scores again, of a made-up clip.

        Without this all workers stay at one address after each of them was replaced in turn. One that fails costs time while a
        batch waits: only one of them is tried at once, and less and less often.
        """
        now = self._clock()
        if now < self._return_at and self._present is not self._replicas[0]:
            return
        self._return_at = now + RETURN_SECONDS
        for replica in takewhile(lambda replica: replica is not self._present, self._replicas):
            if self._closed or replica.circuit.wait(now) > 0 or not replica.comeback.is_due(now):
                continue
            replica.comeback = replica.comeback.tried(now)
            try:
                if self._try(replica).spec == self.spec:
                    self._prefer(replica)
                    break
            except _FailedError as failure:
                replica.note(failure, self._clock())
                if not failure.alive:
                    break
            except ModelError:
                continue  # of the made-up clip

    def _first_answer(self, ask: Callable[[_Replica], Answer]) -> Answer:
        """The answer of the first address that has one; those that left a failure behind are passed over for a while."""
        for replica in sorted(self._replicas, key=lambda entry: (self._takes_another_spec(entry), entry is not self._present)):
            if self._closed:
                break
            if replica.circuit.wait(self._clock()) > 0:
                continue
            try:
                answer = ask(replica)
            except _FailedError as failure:
                replica.note(failure, self._clock())
                continue
            except ModelError:
                self._prefer(replica)
                raise
            self._prefer(replica)
            return answer
        self._change_spec_if_due()
        self.problem = "; ".join(f"{replica.address.url} {replica.problem}" for replica in self._replicas)
        wait = min(replica.circuit.wait(self._clock()) for replica in self._replicas)
        # Not all workers at the same moment.
        raise ScorerError(self.problem, retry_after=max(0.05, wait) * random.uniform(1, 1.25))  # noqa: S311  # no secret

    def _prefer(self, replica: _Replica) -> None:
        if replica.circuit.failures:
            log.info("the scorer at %s answers again", replica.address.url)
        replica.circuit, replica.problem, self.problem = replica.circuit.answered(), "", ""
        replica.comeback = replica.comeback.answered(self._clock())
        self._present = replica

    def _takes_another_spec(self, replica: _Replica) -> bool:
        return self._rollover is not None and replica.served is not None and replica.served.spec != self._rollover.spec

    def _change_spec_if_due(self) -> None:
        """Raise `SpecChangedError` where an address takes another specification, and none has answered by this one lately."""
        other = next((replica.served for replica in self._replicas if self._takes_another_spec(replica)), None)
        if other is not None and self._rollover is not None and self._rollover.wait(self._clock()) == 0:
            self._take(other.spec)
            raise SpecChangedError(f"the scorer's model {other.model} takes clips that are sampled by another specification")

    def _take(self, spec: SamplerSpec) -> None:
        if self._rollover is None:
            self._rollover = Rollover.begin(spec, self._clock())
        elif spec != self._rollover.spec:
            self._rollover = self._rollover.take(spec, self._clock())

    def _show(self, model: ModelId) -> None:
        if model != self._model:
            self._model = model
            self._notice(model)

    def _learn(self, replica: _Replica, seconds: float) -> ServedModel:
        """What an address serves."""
        reply = self._request(replica, "GET", "/v1/model", b"", seconds, MODEL_BYTES)
        if reply.status != 200:
            raise _FailedError(_status(reply))
        replica.served = _checked(reply, read_model)
        return replica.served

    def _score_at(self, replica: _Replica, clips: Sequence[ModelInput]) -> list[ClipScore]:
        served = replica.served
        if served is None or served.spec != self.spec:
            # One that failed may hang again, and another address may have room before it answers.
            is_tried = replica.circuit.failures and len(self._replicas) > 1
            served = self._learn(replica, PROBE_SECONDS if is_tried else self._seconds)
        if served.spec != self.spec:
            raise _other_spec(replica)
        parts = [clips[start : start + served.most_clips] for start in range(0, len(clips), served.most_clips)]
        return [score for part in parts for score in self._post(replica, part, served.spec, self._seconds)]

    def _post(
        self, replica: _Replica, clips: Sequence[ModelInput], spec: SamplerSpec, seconds: float, is_last: bool = False
    ) -> list[ClipScore]:
        """The scores of clips in one request. Raises `_FailedError` and `ModelError`. is_last: whether a refusal is believed."""
        reply = self._request(replica, "POST", "/v1/score", pack(clips, spec), seconds, most_answer_bytes(len(clips)))
        if reply.status == 200:
            return _checked(reply, lambda body: read_scores(body, len(clips)))
        if reply.status == 409:
            other = _checked(reply, read_other_spec)
            if replica.served is None or other == spec:
                raise _FailedError("answered 409, but names the specification that it got")
            replica.served = replace(replica.served, spec=other)
            raise _other_spec(replica)
        if len(clips) == 1 and not is_last:
            self._check_blame(replica, clips[0], spec, reply, seconds)
            # Behind the address there may be several replicas, and a refusal ends the connection. That of the other clip is
            # kept: the replica that took that one is asked for this one.
            return self._post(replica, clips, spec, seconds, is_last=True)
        replica.served = None  # its limits may be others now
        raise ModelError(f"the scorer {_status(reply)}")

    def _check_blame(self, replica: _Replica, clip: ModelInput, spec: SamplerSpec, reply: Reply, seconds: float) -> None:
        """Raise `_FailedError` where the address refuses a clip in which nothing is wrong, too."""
        body = pack([made_up_input(spec, len(clip.statistics))], spec)
        other = self._request(replica, "POST", "/v1/score", body, seconds, most_answer_bytes(1))
        if other.status != 200:
            raise _FailedError(f"refuses every clip: it {_status(reply)}")
        _checked(other, lambda body: read_scores(body, 1))

    def _request(self, replica: _Replica, method: str, path: str, body: bytes, seconds: float, most_bytes: int) -> Reply:
        """An answer that is about the clips: status 200, 409 or one of `REFUSALS`. Raises `_FailedError` for any other."""
        reply = self._send(replica, method, path, body, seconds, most_bytes)
        if reply.status == 401 and self._reread_token():
            reply = self._send(replica, method, path, body, seconds, most_bytes)
        if reply.status in REFUSALS | {200, 409}:
            return reply
        if reply.status in (401, 403):
            wrong = "the token in FVQ_SCORER_TOKEN or FVQ_SCORER_TOKEN_FILE is not the scorer's"
            words = wrong if self._token else "it asks for a token: set FVQ_SCORER_TOKEN or FVQ_SCORER_TOKEN_FILE"
            raise _FailedError(f"answered {reply.status}: {words}", pause=LONGEST_PAUSE)
        if reply.status in (429, 503) and reply.retry_after is not None:
            raise _FailedError(f"asks to wait: it {_status(reply)}", pause=reply.retry_after, alive=True)
        raise _FailedError(_status(reply), pause=reply.retry_after or 0.0)

    def _send(self, replica: _Replica, method: str, path: str, body: bytes, seconds: float, most_bytes: int) -> Reply:
        if self._read_token is not None and not self._token:
            self._reread_token()
        headers = {"Accept": "application/json", "User-Agent": "fvq"}
        if body:
            headers["Content-Type"] = MEDIA_TYPE
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        try:
            return replica.address.request(method, path, body, headers, seconds, most_bytes)
        except NoReplyError as error:
            # One that hangs costs a whole time-out each time it is asked.
            raise _FailedError(f"gave no answer: {error.reason}", pause=LONGEST_PAUSE if error.late else 0.0) from None

    def _reread_token(self) -> bool:
        """Read the token again; whether it is another one now."""
        if self._read_token is None:
            return False
        before = self._token
        try:
            self._token = self._read_token()
        except FvqError as error:
            raise _FailedError(f"was not asked: {error}") from None
        if before and self._token != before:
            log.info("the token for the scorer is read again, because it refused the one before")
        return self._token != before


@dataclass
class _Replica:
    """An address, and what is known of it. served: None where that is not known, or may be another thing by now."""

    address: Address
    circuit: Circuit = field(default_factory=Circuit)
    comeback: Comeback = field(default_factory=Comeback)
    served: ServedModel | None = None
    problem: str = "was not asked yet"

    def note(self, failure: _FailedError, now: float) -> None:
        self.problem = failure.reason
        # Only the first failure in a row, because the caller logs each attempt for which no address answers.
        first = self.circuit.failures == 0 and not failure.alive
        log.log(logging.WARNING if first else logging.DEBUG, "the scorer at %s %s", self.address.url, failure.reason)
        if failure.alive:
            self.circuit = self.circuit.asked_to_wait(now, failure.pause)
            return
        self.circuit, self.comeback = self.circuit.failed(now, failure.pause), self.comeback.failed(now)
        self.served = None
        self.address.close()


class _FailedError(FvqError):
    """An address gave no scores. pause: seconds to leave it alone at least. alive: it is there, and only asks to wait."""

    def __init__(self, reason: str, pause: float = 0.0, alive: bool = False) -> None:
        super().__init__(reason)
        self.pause, self.alive = pause, alive


def _other_spec(replica: _Replica) -> _FailedError:
    # Behind the address there may be several replicas: the next connection may lead to one that takes our clips.
    replica.address.close()
    return _FailedError("takes clips that are sampled by another specification", pause=OTHER_SPEC_PAUSE, alive=True)


def _checked(reply: Reply, read: Callable[[bytes], Answer]) -> Answer:
    try:
        return read(reply.body)
    except AnswerError as error:
        raise _FailedError(f"answered {reply.status}, but {error.reason}") from None


def _status(reply: Reply) -> str:
    """What an answer was, for people."""
    if 300 <= reply.status < 400:
        return f"answered {reply.status}, a redirect, which is not followed: name the scorer's own address in FVQ_SCORER_URL"
    words = words_of(reply.body)
    return f"answered {reply.status}{f': {words}' if words else ''}"
