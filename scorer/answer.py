"""From the numbers that a model gives to scores, and the clip on which a model is tried. The same for every way to run it."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from scorer.errors import ModelError
from scorer.spec import LEVELS, ClipScore, ModelId, ModelInput, SamplerSpec, Scorer, made_up_input


def clip_scores(
    model: ModelId, scores: Sequence[float], uncertainties: Sequence[float], probabilities: Sequence[Sequence[float]]
) -> list[ClipScore]:
    """The scores of some clips, rounded. probabilities: of the five levels, for each clip.

    Raises `ModelError` where a score is not finite.
    """
    if not np.isfinite(scores).all():
        raise ModelError(f"model {model} gave a score that is not a finite number")
    if wrong := next((score for score in scores if not 0 <= round(score, 2) <= 100), None):
        raise ModelError(f"model {model} gave the score {wrong:g}, which is outside 0-100")
    return [
        ClipScore(
            score=round(score, 2),
            level=LEVELS[int(np.argmax(probs))],
            level_probs={level: round(probability, 4) for level, probability in zip(LEVELS, probs, strict=True)},
            uncertainty=round(uncertainty, 2),
            model=model,
        )
        for score, uncertainty, probs in zip(scores, uncertainties, probabilities, strict=True)
    ]


def check_scorer(scorer: Scorer, statistics: int) -> None:
    """Score a test clip; raises `ModelError` where the model cannot, or a number of its answer is not finite."""
    try:
        score = scorer.score([trial_clip(scorer.spec, statistics)])[0]
    except (RuntimeError, ValueError, MemoryError) as error:
        raise ModelError(f"model {scorer.model} cannot score a test clip: {error}") from error
    if not (np.isfinite([score.uncertainty, *score.level_probs.values()]).all() and score.uncertainty > 0):
        raise ModelError(f"model {scorer.model} gave an uncertainty or levels that are not finite numbers")


def trial_clip(spec: SamplerSpec, statistics: int, seed: int = 0) -> ModelInput:
    """A made-up clip of the specification's shapes, with a person and a face in every image; the same for a seed each time.

    statistics: how many numbers they are.
    """
    rng = np.random.default_rng(seed)

    def pictures(count: int, side: int) -> NDArray[np.uint8]:
        slope = np.linspace(40, 200, side)
        noise = rng.integers(0, 24, (count, side, side, 3))
        return (slope[None, :, None, None] / 2 + slope[None, None, :, None] / 2 + noise).astype(np.uint8)

    return made_up_input(spec, statistics, pictures, present=True)


def model_threads() -> int:
    """Threads for a model on the CPU: `OMP_NUM_THREADS`, else half of the cores, at most 4.

    The other cores are the sampling children's: threads that wait for a busy core slow scoring down several times.
    """
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return int(wanted) if wanted.isdigit() and int(wanted) else max(1, min(4, len(os.sched_getaffinity(0)) // 2))
