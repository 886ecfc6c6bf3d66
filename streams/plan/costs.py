"""What each stage costs on a machine: the values that a plan is computed from, and the JSON file that holds them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from scorer.errors import in_own_words
from streams.errors import SettingsError

SHIPPED = Path(__file__).with_name("costs.json")
"""The costs in the package, measured on the machine that the file describes."""

MAX_FILE_BYTES = 1_000_000

Seconds = Annotated[float, Field(ge=0, le=3600)]
Positive = Annotated[float, Field(gt=0, le=1e9)]
Mebibytes = Annotated[float, Field(gt=0, le=1e6)]


class _Values(BaseModel):
    """A misspelt name is an error, and so is NaN."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class GlanceCost(_Values):
    """What it takes to look at one segment's packets, and at one keyframe of every third segment; see `docs/tiers.md`."""

    fixed_s: Seconds = Field(description="CPU seconds for each segment, however long it is.")
    per_second_s: Seconds = Field(description="CPU seconds for each second of video.")


class SamplingCost(_Values):
    """What it takes to decode and sample one segment of one picture height: a fixed part, and a part for each second of video."""

    fixed_s: Seconds = Field(description="CPU seconds for each segment, however long it is.")
    per_second_s: Seconds = Field(description="CPU seconds for each second of video.")
    bytes_per_second: Positive = Field(description="Size of the media, bytes for each second of video.")
    glance: GlanceCost | None = Field(default=None, description="A glance instead; none where it was not measured.")


class ModelCost(_Values):
    """What the small model costs on a CPU: a batch of n clips takes `batch_s` + n x `clip_s`."""

    batch_s: Seconds = Field(description="CPU seconds for each batch.")
    clip_s: Annotated[float, Field(gt=0, le=3600)] = Field(description="CPU seconds for each clip.")
    served_clip_s: Seconds = Field(description="CPU seconds of the serving layer for each clip, where the scorer is served.")
    clip_bytes: Positive = Field(description="Size of a clip on the way to a served scorer, bytes.")
    deep_clip_s: Annotated[float, Field(gt=0, le=3600)] | None = Field(
        default=None, description="GPU seconds of the large model for each clip at a full batch; none where it was not measured."
    )
    deep_clip_bytes: Positive | None = Field(default=None, description="Size of a clip for the large model, bytes.")
    deep_sampling: Annotated[float, Field(ge=0, le=1000)] = Field(
        default=3.3, description="CPU time to sample a segment again for the large model, in times of that for the small one."
    )


class StreamCost(_Values):
    """What events, scores and the sink cost."""

    events_per_second: Positive = Field(description="Events that one worker's Kafka path takes, with its sink and its agents.")
    event_bytes: Positive = Field(description="Size of a segment's event, bytes.")
    score_bytes: Positive = Field(description="Size of a score, bytes.")
    fetch_cpu_s: Seconds = Field(description="CPU seconds to fetch one segment.")
    fetch_s: Seconds = Field(description="Seconds from the request for a segment until it is on the disk.")
    flush_s: Seconds = Field(description="Seconds until the answers of a batch are stored and acknowledged.")
    sink_points_per_second: Positive = Field(description="Scores that the local SQLite store takes in batches of 8.")


class MemoryCost(_Values):
    """Memory of each kind of process, MiB."""

    worker_mb: Mebibytes = Field(description="A worker without a model.")
    model_mb: Mebibytes = Field(description="What a model in the process adds.")
    child_mb: Mebibytes = Field(description="A sampling child.")

    @property
    def scorer_mb(self) -> float:
        """A served scorer: a process with the model and no worker."""
        return self.model_mb


class StageCosts(_Values):
    """The costs of all stages on one machine."""

    machine: str = Field(min_length=1, max_length=500, description="The machine, and on which media it was measured.")
    measured: str = Field(min_length=1, max_length=100, description="When it was measured.")
    sampling: dict[Annotated[int, Field(ge=16, le=8640)], SamplingCost] = Field(
        min_length=1, max_length=32, description="By the picture's height."
    )
    sampling_cv: float = Field(ge=0, le=5, description="Standard deviation of a segment's sampling time, share of the mean.")
    model: ModelCost
    stream: StreamCost
    memory: MemoryCost

    @model_validator(mode="after")
    def _something_costs(self) -> Self:
        for height, cost in self.sampling.items():
            if cost.fixed_s + cost.per_second_s == 0:
                raise ValueError(f"sampling.{height}: sampling cannot cost nothing")
        return self

    def sampling_at(self, height: int) -> SamplingCost:
        """The cost at a height: as measured, or between and beyond the measured heights in proportion to the picture's area."""
        if height in self.sampling:
            return self.sampling[height]
        heights = sorted(self.sampling)
        above = next((known for known in heights if known > height), None)
        below = next((known for known in reversed(heights) if known < height), None)
        if above is None or below is None:
            nearest = above or below
            assert nearest is not None
            return _scaled(self.sampling[nearest], (height / nearest) ** 2)
        share = (height**2 - below**2) / (above**2 - below**2)
        return _between(self.sampling[below], self.sampling[above], share)

    def sampling_seconds(self, height: int, segment_seconds: float) -> float:
        """CPU seconds to decode and sample one segment."""
        cost = self.sampling_at(height)
        return cost.fixed_s + cost.per_second_s * segment_seconds

    def glance_seconds(self, height: int, segment_seconds: float) -> float | None:
        """CPU seconds of a glance at one segment; None where the nearest heights' were not measured."""
        cost = self.sampling_at(height).glance
        return cost.fixed_s + cost.per_second_s * segment_seconds if cost is not None else None

    def to_json(self) -> str:
        """The file's text."""
        return self.model_dump_json(indent=2) + "\n"


def read_costs(path: Path) -> StageCosts:
    """The costs in a JSON file. Raises `SettingsError` that names the file and the first wrong value, and OSError."""
    if path.stat().st_size > MAX_FILE_BYTES:
        raise SettingsError(str(path), f"has more than {MAX_FILE_BYTES} bytes: it is no file of `fvq plan --measure --save`")
    try:
        return StageCosts.model_validate(json.loads(path.read_text()))
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in problem["loc"] if part != "[key]")
        reason = in_own_words(problem["msg"])
        raise SettingsError(str(path), f"{place}: {reason}" if place else reason) from None
    except (ValueError, RecursionError) as error:
        raise SettingsError(str(path), f"is no JSON: {error}; write one by `fvq plan --measure --save FILE`") from None


def _scaled(cost: SamplingCost, share: float) -> SamplingCost:
    """The fixed part stays: faces, mattes and the model's pictures have the same size at every height."""
    glance = cost.glance
    return SamplingCost(
        fixed_s=cost.fixed_s,
        per_second_s=cost.per_second_s * share,
        bytes_per_second=cost.bytes_per_second * share,
        # A keyframe is decoded whole, however large.
        glance=glance and GlanceCost(fixed_s=glance.fixed_s * share, per_second_s=glance.per_second_s * share),
    )


def _between(low: SamplingCost, high: SamplingCost, share: float) -> SamplingCost:
    glance = None
    if low.glance is not None and high.glance is not None:
        glance = GlanceCost(**_mixed(low.glance, high.glance, share))
    return SamplingCost(**_mixed(low, high, share), glance=glance)


def mean_cost(costs: Sequence[SamplingCost]) -> SamplingCost:
    """The mean of several clips' costs."""
    average = costs[0]
    for number, cost in enumerate(costs[1:], start=2):
        average = _between(average, cost, 1 / number)
    return average


def _mixed(low: _Values, high: _Values, share: float) -> dict[str, Any]:
    """The numbers of both, in proportion."""
    numbers = {name: value for name, value in low if isinstance(value, float)}
    return {name: value + share * (getattr(high, name) - value) for name, value in numbers.items()}
