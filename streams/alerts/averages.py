"""Averages over time that forget: each value counts for the seconds that its segment lasts. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from streams.alerts.state import INITIAL_NOISE, SIGNALS, Levels, RenditionState, UsualBefore
from streams.events import SegmentScore

USUAL_KEPT = timedelta(minutes=10)
"""For so long after another model took over is it known what was usual for the one before: the baseline's half-life."""

DIGITS = 5
"""Decimal places of the signals' averages: a state is stored for each score, and has several averages."""


def averaged(average: float | None, value: float, weight: float) -> float:
    """An average with one more value in it; the value itself where there is no average yet."""
    return value if average is None else average + weight * (value - average)


def weight_of(seconds: float, half_life: float) -> float:
    """The weight of a value that holds for some seconds, in an average with this half-life in seconds; 1 for half-life 0."""
    return 1.0 - 2.0 ** (-seconds / half_life) if half_life else 1.0


def levels_of(score: SegmentScore) -> Levels:
    """The signals of a segment in the order of `SIGNALS`; empty where it has none."""
    if score.signals is None:
        return ()
    face = score.faces.area if score.faces is not None and score.faces.count else 0.0
    return (*(getattr(score.signals, name) for name in SIGNALS[:-1]), face)


def averaged_levels(average: Levels, levels: Sequence[float], weight: float) -> Levels:
    """The average of all signals with one more segment in it. Where the average knows other signals, it starts anew."""
    if not levels:
        return average
    if len(average) != len(levels):
        return tuple(round(level, DIGITS) for level in levels)
    return tuple(round(before + weight * (level - before), DIGITS) for before, level in zip(average, levels, strict=True))


def measured_alike(state: RenditionState, score: SegmentScore) -> RenditionState:
    """The state without its averages of the signals, where the score's are defined in another way: they cannot be compared.

    So it is for the scores of a worker of another version, at an upgrade and on the way back.
    """
    version = score.signals_version or 1
    if score.signals is None or version == state.signals_version:
        return state
    return replace(state, recent=(), usual=(), usual_seconds=0.0, signals_version=version)


def scored_alike(state: RenditionState, score: SegmentScore) -> RenditionState:
    """The state with what is usual of the scores of the model that gave this one: two models' scores cannot be compared.

    Nothing is known of that after a promotion, after an upgrade with another shipped model, and when a fallback begins to score:
    an open drop ends then. A model that comes back within `USUAL_KEPT` is known.
    """
    by, before = score.small_model, state.usual_before
    is_known = before is not None and score.start - before.left <= USUAL_KEPT
    if by is None or by.version == state.model:
        return state if before is None or is_known else replace(state, usual_before=None)
    left = None
    if state.baseline is not None:
        left = UsualBefore(state.model, score.start, state.baseline, state.baseline_seconds, state.variance)
    state = replace(state, model=by.version, usual_before=left)
    if before is not None and is_known and before.model == by.version:
        smoothed = None
        if state.smoothed is not None and state.baseline is not None:
            # It goes on as far from what is usual as it was by the other model.
            smoothed = min(100.0, max(0.0, state.smoothed - state.baseline + before.baseline))
        state = replace(state, smoothed=smoothed, baseline=before.baseline)
        return replace(state, baseline_seconds=before.baseline_seconds, variance=before.variance)
    return replace(state, smoothed=None, baseline=None, baseline_seconds=0.0, variance=INITIAL_NOISE**2).without_drop()
