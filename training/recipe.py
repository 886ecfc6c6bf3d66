"""Recipes: what a training run depends on besides its data, read from YAML. No torch here, and no code that trains.

`NanoRecipe` trains a whole small model (`training.nano`), `TuneRecipe` an adapter on a base (`training.adapter`). The
recipes that ship are in `training/recipes/`. `training.run` decides by the key `base` which of the two a file is.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import ConfigDict, Field, ValidationError, field_validator
from pydantic.dataclasses import dataclass
from pydantic_core import ErrorDetails

from scorer.errors import in_own_words
from scorer.spec import SPECIFICATIONS, SamplerSpec
from scorer.written import WrittenValues
from scorer.yaml_text import load_yaml

STREAMS = ("frames", "portrait", "faces", "motion", "statistics")
"""The model's token streams. Written out here because `scorer.model.configuration` imports torch; a test compares the two."""

MOST_BLOCKS = 5
"""Blocks of the small model's vision encoder (`scorer.model.configuration.LiteEncoderConfig.blocks`)."""

WARM_UP = 0.1
"""Share of the steps of a whole small model's training in which the learning rates rise."""


Count = Annotated[int, Field(ge=0)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]  # a signed number of 64 bits
Positive = Annotated[int, Field(ge=1)]
Number = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]


# Strict: a count that is written as 2.0, and a rate as 3e-4, which is a text in YAML, are told of and not guessed.
@dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True, allow_inf_nan=False))
class NanoRecipe:
    """The recipe of a whole small model."""

    name: str
    seed: Seed
    stage1_steps: Count
    stage2_steps: Count
    contents_per_batch: Positive
    clips_per_content: Positive
    learning_rate: Annotated[float, Field(gt=0)]
    encoder_learning_rate: Number
    """Of the vision encoder's blocks that are trained."""
    frozen_blocks: Annotated[int, Field(ge=0, le=MOST_BLOCKS)]
    """Blocks of the vision encoder that stay as they are, counted from the picture: edges are the same everywhere."""
    weight_decay: Number
    statistics_noise: Number
    """Standard deviation of the noise on the standardised statistics. The contents are few, and a network learns such a
    table of numbers by heart easily."""
    image_noise: Number
    """Standard deviation of the noise on the standardised outputs of the vision encoder. It hides what tells two people
    apart, but not what a degradation does to all of them."""
    stream_dropout: Share
    """Share of the clips that are seen without their statistics, and without their motion, so that the network learns to
    look at the pictures too."""
    image_dropout: Share
    """Share of the clips that are seen without each of frames, portrait and faces, because a stranger's picture may be
    unlike all in the training data."""
    folds: Annotated[int, Field(ge=2)]
    """Models that are fitted on parts of the people, for the errors that the uncertainty learns."""
    dev_looks: Count
    """How often figures on dev were looked at while the recipe was made; the model card says it."""
    threads: Positive = 1
    """CPU threads of torch. More cost more than they bring for a network of this size, and the sampling children need the
    cores."""
    sampler: str = "standard"
    """What the model sees of a clip: a name in `scorer.spec.SPECIFICATIONS`."""

    kept_pictures: bool = False
    """Show each clip always as it is, all of its pictures, and keep what the encoder's frozen blocks say of them: a step takes a
    fraction of the time. Otherwise it shows one picture in place of all, mirrored and lit a little differently. Where all blocks
    are frozen, it is kept in any case, mirrored too."""

    settling_steps: Count = 0
    """Last steps of stage II in which nothing is hidden and no noise added, as the model serves. Where it sees less than it will,
    it keeps away from both ends of the scale."""

    start_share: Share = 0.0
    """Share of the weights to start from in the model that is made, 0 to 1, with `fvq train --start`."""

    runs: Positive = 1
    """Trainings from the same start, with seeds one after another, whose weights' mean is the model, with `fvq train --start`."""

    steady_weight: Number = 1.0
    """Weight of `training.losses.unsteadiness`, against L1 in levels, with `fvq train --steady`."""

    teacher_weight: Share = 0.5
    """Share of the teacher's score in what a labelled clip teaches, 0 to 1, with `fvq train --teacher`."""

    @property
    def keeps_pictures(self) -> bool:
        """Whether what the frozen blocks say of the pictures is kept."""
        return self.kept_pictures or self.frozen_blocks == MOST_BLOCKS

    @property
    def single_runs(self) -> list[NanoRecipe]:
        """The recipe of each of its trainings."""
        return [replace(self, seed=self.seed + number, runs=1) for number in range(self.runs)]

    @property
    def settling(self) -> NanoRecipe:
        """The recipe of the settling steps."""
        return replace(self, statistics_noise=0.0, image_noise=0.0, stream_dropout=0.0, image_dropout=0.0)

    @property
    def spec(self) -> SamplerSpec:
        """The sampler's specification, which is saved with the model."""
        return SPECIFICATIONS[self.sampler]


def load_nano_recipe(path: Path) -> NanoRecipe:
    """The recipe of a whole small model from YAML; raises ValueError that names the file and every key that is wrong."""
    content = {str(key): value for key, value in read_mapping(path).items()}
    try:
        recipe = NanoRecipe(**content)
    except ValidationError as error:
        raise ValueError(f"{path}: {faults_of(error)}") from error
    if recipe.sampler not in SPECIFICATIONS:
        raise ValueError(f"{path}: sampler is {recipe.sampler!r}, not {' or '.join(SPECIFICATIONS)}")
    if (steps := recipe.stage1_steps + recipe.stage2_steps) * WARM_UP <= 1:
        raise ValueError(
            f"{path}: stage1_steps and stage2_steps are {steps} together; a tenth of them warms up, so it takes 11 or more"
        )
    if recipe.settling_steps > recipe.stage2_steps:
        raise ValueError(f"{path}: settling_steps is {recipe.settling_steps}, more than stage2_steps, whose last ones they are")
    return recipe


class _Part(WrittenValues):
    # A key that no field reads is a typing error, and a recipe does not change while it runs.
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False)


class BasePart(_Part):
    """The base that is tuned: local paths or hub ids, see `scorer.model.bases.Base`."""

    model: str
    motion: str | None = None
    face: str | None = None
    image_size: int | None = Field(default=None, gt=0)
    """Side of frames and portrait, px; None: the vision encoder's own. Not for a whole FVQ-Rater."""
    frames: int = Field(default=8, gt=0)
    """Frames of the spatial stream. Not for a whole FVQ-Rater."""
    portrait_frames: int | None = Field(default=None, gt=0)
    """Frames of the portrait stream; None: half of `frames`. Each costs as much as one of `frames`. Not for a whole FVQ-Rater."""
    streams: tuple[str, ...] = STREAMS

    @field_validator("streams")
    @classmethod
    def _are_streams(cls, streams: tuple[str, ...]) -> tuple[str, ...]:
        if not streams or len(set(streams)) < len(streams) or not set(streams) <= set(STREAMS):
            raise ValueError(f"must be one or more of {', '.join(STREAMS)}, each once")
        return streams


class LoraPart(_Part):
    """See `scorer.model.adapters.Lora`."""

    rank: int = Field(gt=0)
    alpha: float = Field(gt=0)
    dropout: float = Field(ge=0, lt=1)
    targets: str

    @field_validator("targets")
    @classmethod
    def _is_pattern(cls, text: str) -> str:
        # Else it is found out after the clips are sampled and encoded.
        try:
            re.compile(text)
        except re.error as error:
            raise ValueError(f"must be a regular expression ({error})") from None
        return text


class StagePart(_Part):
    """One stage: AdamW with a linear warm-up, then a cosine to zero."""

    epochs: float = Field(gt=0)
    batch_size: int = Field(gt=0)
    """Clips in a step, over all devices and gradient accumulation."""
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(ge=0)
    warmup: float = Field(ge=0, lt=1)
    """Share of the steps that warm up."""


class GatePart(_Part):
    """What a model must reach before it replaces the current one, on the same clips (`training.evaluation.gate`)."""

    model_config = ConfigDict(allow_inf_nan=True)  # an infinite limit turns a check off

    reference_srcc_drop: float = Field(default=0.01, ge=0)
    """How much lower its SRCC on the reference set may be, so that it has not forgotten what was learned before."""
    reference_mae_rise: float = Field(default=1.0, ge=0)
    """How much larger its mean absolute error on the reference set may be, points."""
    rated_mae_gain: float = Field(default=0.5, ge=0)
    """How much smaller its mean absolute error on newly rated clips must be, points."""
    rated_srcc_drop: float = Field(default=0.02, ge=0)
    """How much lower its SRCC on newly rated clips may be."""


class TuneRecipe(_Part):
    """The recipe of an adapter."""

    name: str
    seed: Seed
    base: BasePart
    lora: LoraPart
    stage1: StagePart
    stage2: StagePart
    text_weight: float = Field(ge=0)
    """Weight of the text answer's loss in stage II, against L1 in levels (20 points)."""
    uncertainty_weight: float = Field(ge=0)
    """Weight of the uncertainty's loss in stage II."""
    clips_per_device: int = Field(gt=0)
    """Clips that go through a device at once; gradients of the rest of a batch are accumulated."""
    gradient_checkpointing: bool = False
    """Compute activations twice instead of keeping them: less memory, a third more time."""
    cache_vision: bool = False
    """Keep the vision encoder's tokens in memory for stage I, where it is frozen: for small bases or small sets."""
    checkpoint_steps: int = Field(gt=0)
    """Steps between checkpoints."""
    replay_share: float = Field(default=0.5, ge=0, lt=1)
    """Share of the clips in training that are replayed from the base's data, where such data is given."""
    replay_clips: int = Field(default=256, gt=0)
    """Largest number of different replayed clips: each must be sampled and encoded."""
    gate: GatePart = GatePart()
    """What the adapter must reach to be promoted."""


def check_division(recipe: TuneRecipe, processes: int) -> None:
    """Raise ValueError where a stage's batch cannot be divided among the processes, before hours of sampling."""
    for name, stage in (("stage1", recipe.stage1), ("stage2", recipe.stage2)):
        if stage.batch_size % processes:
            raise ValueError(f"{name}.batch_size: {stage.batch_size} is not divisible by {processes} processes")


def load_tune_recipe(path: Path) -> TuneRecipe:
    """The recipe of an adapter from YAML; raises ValueError that names the file and every key that is wrong."""
    try:
        return TuneRecipe.model_validate(read_mapping(path))
    except ValidationError as error:
        raise ValueError(f"{path}: {faults_of(error)}") from error


def faults_of(error: ValidationError) -> str:
    """Every key that is wrong, with the reason: `stage1.epochs: must be greater than 0, not 0.0; ...`."""
    return "; ".join(map(_fault, error.errors()))


def _fault(fault: ErrorDetails) -> str:
    # Of a key that is missing the input is all the rest, and of one that nobody knows the value does not matter.
    of_key = {"missing": "is missing", "extra_forbidden": "there is no such key"}
    of_key |= {"missing_argument": "is missing", "unexpected_keyword_argument": "there is no such key"}
    words = in_own_words(fault["msg"])
    return f"{'.'.join(map(str, fault['loc']))}: " + (of_key.get(fault["type"]) or f"{words}, not {fault['input']!r}")


def read_mapping(path: Path) -> dict[str, Any]:
    """The keys and values of a recipe file, not checked; raises ValueError where it is no YAML or no mapping."""
    try:
        content = load_yaml(path.read_text(encoding="utf-8-sig"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: not a recipe, which is a mapping of keys to values")
    return content
