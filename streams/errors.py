"""All errors that a user can act on. The command line prints the error's sentence and exits; an agent logs it.

`MediaError`, `ModelError`, `ScorerError`, `SettingsError` and `SpecChangedError` are defined in scorer/, which imports nothing
from streams/.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from scorer.errors import (
    OWN_FAULTS,
    FvqError,
    MediaError,
    ModelError,
    ScorerError,
    SettingsError,
    SpecChangedError,
    in_own_words,
)

if TYPE_CHECKING:
    from pydantic import ValidationError

__all__ = [
    "OWN_FAULTS", "BrokerError", "EventError", "FvqError", "HistoryError", "MediaError", "ModelError", "ReceiverError",
    "ScorerError", "SettingsError", "SinkError", "SpecChangedError", "reason_of",
]  # fmt: skip


def reason_of(error: Exception) -> str:
    """Why an HTTP request failed, in the system's words without the error's number."""
    cause = getattr(error, "reason", error)
    return str(getattr(cause, "strerror", None) or cause)


class EventError(FvqError):
    """A message does not have the shape of its topic's event. field: path of the first wrong field, '' for the whole event."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}" if field else reason)
        self.field = field
        self.reason = reason

    @classmethod
    def of(cls, error: ValidationError) -> Self:
        """What pydantic found first, without the wrong value."""
        first = error.errors(include_url=False, include_input=False)[0]
        return cls(".".join(map(str, first["loc"])), in_own_words(first["msg"]))


class BrokerError(FvqError):
    """Kafka cannot be reached, or refuses a request."""


class SinkError(FvqError):
    """The sink cannot take scores now. retry_after: seconds that the server asks the worker to wait, 0 for none."""

    def __init__(self, reason: str, retry_after: float = 0.0) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class HistoryError(FvqError):
    """The store cannot answer a question about past scores, or the question asks for more than it gives."""


class ReceiverError(FvqError):
    """A receiver of alerts did not take one. Its text holds no address."""
