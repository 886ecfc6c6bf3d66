"""Recipes: what a training run depends on besides its data, as YAML, and `fvq train`'s way to the pipeline that runs it.

A recipe that names a `base` tunes an adapter on it (`training.adapter.tune`); the others make a whole small model
(`training.nano.train`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from scorer.model.configuration import STREAMS


class _Part(BaseModel):
    # A key that nothing reads is a typing error, and a recipe does not change while it runs.
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class BasePart(_Part):
    """What is tuned: local paths or hub ids, see `scorer.model.bases.Base`."""

    model: str
    motion: str | None = None
    face: str | None = None
    image_size: int | None = Field(default=None, gt=0)
    """Side of frames and portrait, px; None: the vision encoder's own. Not for a whole FVQ-Rater."""
    frames: int = Field(default=8, gt=0)
    """Frames of the spatial stream; half as many portraits. Not for a whole FVQ-Rater."""
    streams: tuple[str, ...] = STREAMS


class LoraPart(_Part):
    """See `scorer.model.adapters.Lora`."""

    rank: int = Field(gt=0)
    alpha: float = Field(gt=0)
    dropout: float = Field(ge=0, lt=1)
    targets: str


class StagePart(_Part):
    """One stage: AdamW with a linear warm-up and a cosine to zero."""

    epochs: float = Field(gt=0)
    batch_size: int = Field(gt=0)
    """Clips a step, over all devices and gradient accumulation."""
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(ge=0)
    warmup: float = Field(ge=0, lt=1)
    """Share of the steps."""


class GatePart(_Part):
    """What a model has to reach, compared on the same clips, before it takes another's place (`training.evaluation.gate`)."""

    reference_srcc_drop: float = Field(default=0.01, ge=0)
    """How much lower its SRCC on the reference set may be: the old must not be forgotten."""
    reference_mae_rise: float = Field(default=1.0, ge=0)
    """How much larger its mean absolute error there may be, points."""
    rated_mae_gain: float = Field(default=0.5, ge=0)
    """How much smaller its mean absolute error on newly rated clips has to be, points."""
    rated_srcc_drop: float = Field(default=0.02, ge=0)
    """How much lower its SRCC on them may be."""


class TuneRecipe(_Part):
    """An adapter's recipe."""

    name: str
    seed: int
    base: BasePart
    lora: LoraPart
    stage1: StagePart
    stage2: StagePart
    text_weight: float = Field(ge=0)
    """Weight of the text answer's loss in stage II, against L1 in levels (20 points)."""
    uncertainty_weight: float = Field(ge=0)
    """Weight of the uncertainty's loss in stage II."""
    clips_per_device: int = Field(gt=0)
    """Clips that go through a device at once; the rest of a batch is accumulated."""
    gradient_checkpointing: bool = False
    """Compute activations twice instead of keeping them: less memory, a third more time."""
    cache_vision: bool = False
    """Keep the vision encoder's tokens in memory for stage I, where it is frozen: for small bases or small sets."""
    checkpoint_steps: int = Field(gt=0)
    """Steps between checkpoints."""
    replay_share: float = Field(default=0.5, ge=0, lt=1)
    """Share of the clips in training that is replayed from the base data, where such are given."""
    replay_clips: int = Field(default=256, gt=0)
    """How many different ones there are at most: each has to be sampled and encoded."""
    gate: GatePart = GatePart()
    """What it has to reach to be promoted."""


def load_tune_recipe(path: Path) -> TuneRecipe:
    """An adapter's recipe from YAML; raises ValueError that names the file and every key that is wrong."""
    try:
        return TuneRecipe.model_validate(_mapping(path))
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
        raise ValueError(f"{path}: " + "; ".join(faults)) from error


def run(recipe: Path, data: Path, dev: Path | None, out: Path) -> dict[str, Any]:
    """Run a recipe of either kind; returns the metrics that are beside the model in `out`, or none beside the main process.

    data: a labels file of `fvq synth`, or for an adapter any source that `training.data.rated` reads. dev: labels of other
    people; an adapter's data has its own splits. Raises ValueError where they do not fit the recipe.
    """
    if "base" not in _mapping(recipe):
        from training.nano.train import Recipe, train

        if dev is None:
            raise ValueError(f"{recipe}: it makes a whole model, and needs --dev")
        return train(Recipe.load(recipe), data, dev, out)
    from training.adapter.tune import tune

    if dev is not None:
        raise ValueError(f"{recipe}: it tunes an adapter, whose data has splits of its own; leave --dev out")
    return tune(load_tune_recipe(recipe), data, out)


def _mapping(path: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path}: not a recipe, which is a mapping of keys to values")
    return found
