"""What is known of a source at one time: its state, why, and since when. It is published, so that an alert can say it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, ValidationError, ValidatorFunctionWrapHandler, WrapValidator

State = Literal["starting", "waiting", "live", "stale", "failing", "encrypted", "ended"]
STATES: tuple[State, ...] = ("starting", "waiting", "live", "stale", "failing", "encrypted", "ended")
"""waiting: for an encoder to connect (`fvq ingest push`)."""

STALE_TARGETS = 1.5
"""Target durations without a new segment, from which a playlist is stale (RFC 8216bis, 6.2.2)."""


@dataclass(frozen=True)
class SourceState:
    """The state of a rendition, or of a source whose renditions are not known yet.

    since: when it began, UTC; of a stale one when its newest segment came, of a failing one the first failure in a row. kind: of
    the failure, as in the metric of loads. findings: what its playlists showed since the last announced segment, as
    `streams.ingest.hls.tracker.Notes` calls it.
    """

    state: State
    since: AwareDatetime
    kind: str = ""
    reason: str = ""
    findings: tuple[str, ...] = ()

    def is_as(self, other: SourceState | None) -> bool:
        """Whether the other says the same in other words: numbers in a reason change with each load."""
        return other is not None and (self.state, self.kind, self.findings) == (other.state, other.kind, other.findings)


def _or_none(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    try:
        return validate(value)
    except ValidationError:
        return None


KeptState = Annotated[SourceState | None, WrapValidator(_or_none)]
"""A state in a message; None also where it cannot be read: a later version may know others, and the position beside it counts."""
