"""What a served scorer answers, checked: any value that is not as `fvq serve` makes it is the server's failure.

Sizes are bounded before anything is parsed (`most_answer_bytes`), and the parser bounds the depth.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from scorer.errors import FvqError, in_own_words
from scorer.remote.wire import WireError, clip_bytes, spec_of
from scorer.spec import LEVELS, ClipScore, ModelId, SamplerSpec

MODEL_BYTES = 64 << 10
"""Largest answer to `GET /v1/model`, and largest answer that reports an error."""

MOST_CLIP_BYTES = 64 << 20
"""Largest clip that a specification may ask for. A large model's has 10 MB; a worker holds some batches of them in memory."""

_SHOWN = 200
"""Longest piece of an answer that an error repeats, characters."""


class AnswerError(FvqError):
    """The answer is not as a scorer makes it."""


def most_answer_bytes(clips: int) -> int:
    """The most bytes that an answer with scores may have; one score has some 200."""
    return MODEL_BYTES + 2048 * clips


def _known_level(name: str) -> str:
    if name not in LEVELS:
        raise ValueError(f"is not one of {', '.join(LEVELS)}")
    return name


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("has a character in it that is not printable")
    return text


def _whole(probabilities: dict[str, float]) -> dict[str, float]:
    if abs(sum(probabilities.values()) - 1) > 0.05:
        raise ValueError("do not sum to 1")
    return probabilities


_Name = Annotated[str, Field(min_length=1, max_length=256), AfterValidator(_printable)]
_Level = Annotated[str, AfterValidator(_known_level)]
_Probability = Annotated[FiniteFloat, Field(ge=0, le=1)]


class _Answer(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True, frozen=True, protected_namespaces=())


class _Model(_Answer):
    name: _Name
    version: _Name


class _Score(_Answer):
    score: Annotated[FiniteFloat, Field(ge=0, le=100)]
    level: _Level
    level_probs: Annotated[dict[_Level, _Probability], AfterValidator(_whole)]
    uncertainty: Annotated[FiniteFloat, Field(ge=0)]  # points without an upper bound, as in `SegmentScore`


class _Scores(_Answer):
    model: _Model
    scores: list[_Score]


class _Limits(_Answer):
    clips: Annotated[int, Field(ge=1, le=1_000_000)]


class _ModelPage(_Model):
    spec: dict[str, Any]
    statistics: Annotated[int, Field(ge=1, le=10_000)]
    limits: _Limits


class _OtherSpec(_Answer):
    spec: dict[str, Any]


@dataclass(frozen=True)
class ServedModel:
    """What an address serves. statistics: how many numbers a clip has. most_clips: of one request."""

    model: ModelId
    spec: SamplerSpec
    statistics: int
    most_clips: int


_Read = TypeVar("_Read", bound=_Answer)


def read_scores(body: bytes, count: int) -> list[ClipScore]:
    """The scores in an answer to `count` clips. Raises `AnswerError`."""
    answer = _read(_Scores, body)
    if len(answer.scores) != count:
        raise AnswerError(f"the answer has {len(answer.scores)} scores for {count} clips")
    model = ModelId(answer.model.name, answer.model.version)
    return [ClipScore(score.score, score.level, score.level_probs, score.uncertainty, model) for score in answer.scores]


def read_model(body: bytes) -> ServedModel:
    """What an answer to `GET /v1/model` says. Raises `AnswerError`."""
    page = _read(_ModelPage, body)
    return ServedModel(ModelId(page.name, page.version), _spec(page.spec), page.statistics, page.limits.clips)


def read_other_spec(body: bytes) -> SamplerSpec:
    """The specification that an answer with status 409 names. Raises `AnswerError`."""
    return _spec(_read(_OtherSpec, body).spec)


def words_of(body: bytes) -> str:
    """What an answer that reports an error says, on one line and bounded; it comes from anyone."""
    text = body[: 4 * _SHOWN].decode(errors="replace")
    try:
        problem = json.loads(body)
        text = next(str(problem[name]) for name in ("detail", "error", "reason", "title") if problem.get(name))
    except (ValueError, RecursionError, AttributeError, StopIteration):
        pass
    line = " ".join(text.encode("ascii", "backslashreplace").decode().split())
    line = "".join(character if character.isprintable() else "?" for character in line)
    return line if len(line) <= _SHOWN else line[:_SHOWN] + "..."


def _read(kind: type[_Read], body: bytes) -> _Read:
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        # The place may hold a name from the answer.
        place = ".".join(str(part) for part in first["loc"])
        reason = in_own_words(first["msg"])
        words = f"{place}: {reason}" if place else reason
        raise AnswerError(f"the answer is no scorer's: {words_of(words.encode())}") from None


def _spec(values: dict[str, Any]) -> SamplerSpec:
    try:
        spec = spec_of(values)
    except WireError as error:
        raise AnswerError(f"the answer is no scorer's: {error.reason}") from None
    if (size := clip_bytes(spec, 0)) > MOST_CLIP_BYTES:
        raise AnswerError(f"the answer asks for clips of {size >> 20} MiB, more than {MOST_CLIP_BYTES >> 20} MiB")
    return spec
