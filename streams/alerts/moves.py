"""How far a stream's signals have moved from what is usual for it, or for clean pictures of any stream. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass

from streams.alerts.state import SIGNALS, Levels, RenditionState

VISIBLE = {
    "black": 0.2,
    "freeze": 0.4,
    "blur": 0.05,
    "blockiness": 0.04,
    "noise": 1.2,
    "luma": 20.0,
    "contrast": 10.0,
}
"""A change of a signal that people see, in its own unit: so much is one step of a move."""

CLEAN = {
    "blur": (0.0, 0.6),
    "blockiness": (0.0, 0.15),
    "noise": (0.0, 3.5),
    "luma": (19.0, 200.0),
    "contrast": (17.0, 83.0),
}
"""What 98 of 100 clean pictures have, of any stream: the first and the last percentile of docs/signals.md, made by
`python -m tests.bench.signals`."""

LEAST_STEPS = 0.4
"""A smaller move is not worth a word."""

ONLY_UP = {"black", "freeze", "blur", "blockiness", "noise"}
"""Signals of which less is no fault. Noise, for example, also goes away where a picture loses its detail."""

LIGHT = {"luma", "contrast", "black"}
"""Signals of the light."""

DARK_SHARE = 0.5
"""A picture with less than this share of its usual luma has gone dark."""

SPOILING = {"blur", "blockiness", "noise"}
"""Signals that hide a face where they are high."""

NIGHT_SHARE = 0.25
"""So does darkness: less than this share of the usual luma, and of the usual contrast less than twice the share.

Slates are dark too, but the text on them has contrast.
"""

USUAL_SECONDS = 8.0
"""Seconds of scores from which the usual signals are known."""


@dataclass(frozen=True, slots=True)
class Move:
    """One signal. steps: how far it moved, in multiples of `VISIBLE`, signed."""

    name: str
    value: float
    usual: float
    steps: float


def moves(levels: Levels, usual: Levels) -> list[Move]:
    """The signals that differ from what is usual, the largest move first.

    In a picture that has gone dark, what the light has done comes first: with the light goes the detail.
    """
    large = [
        move
        for move in _all_moves(levels, usual)
        if abs(move.steps) >= LEAST_STEPS and (move.steps > 0 or move.name not in ONLY_UP)
    ]
    dark = any(move.name == "luma" and move.value < DARK_SHARE * move.usual for move in large)
    return sorted(large, key=lambda move: (dark and move.name not in LIGHT, -abs(move.steps)))


def unlike_clean(levels: Levels) -> list[Move]:
    """The signals that are outside of what clean pictures have (`CLEAN`), the farthest first; `usual` is the limit.

    So a stream that has been bad from its beginning on, whose usual signals are those of bad pictures, can be told what is wrong.
    """
    if len(levels) != len(SIGNALS):
        return []
    values = dict(zip(SIGNALS, levels, strict=True))
    outside = []
    for name, (least, most) in CLEAN.items():
        limit = min(max(values[name], least), most)
        outside.append(Move(name, values[name], limit, (values[name] - limit) / VISIBLE[name]))
    return sorted((move for move in outside if move.steps), key=lambda move: -abs(move.steps))


def is_spoiled(state: RenditionState, levels: Levels) -> bool:
    """Whether a picture without a face may be one whose face cannot be found because the picture is bad.

    state: of the rendition before this segment. levels: the segment's signals. A stream that had no faces before is not
    spoiled: nothing says that there is one now.
    """
    if state.usual_seconds < USUAL_SECONDS or len(state.usual) != len(SIGNALS) or len(levels) != len(SIGNALS):
        return False
    if not state.usual[SIGNALS.index("face")]:
        return False
    moved = {move.name: move for move in _all_moves(levels, state.usual)}
    luma, contrast = moved["luma"], moved["contrast"]
    if luma.value < NIGHT_SHARE * luma.usual and contrast.value < 2 * NIGHT_SHARE * contrast.usual:
        return True
    return any(moved[name].steps >= 1 for name in SPOILING)


def _all_moves(levels: Levels, usual: Levels) -> list[Move]:
    if len(levels) != len(SIGNALS) or len(usual) != len(SIGNALS):
        return []
    by_name = zip(SIGNALS, levels, usual, strict=True)
    return [Move(name, value, was, (value - was) / VISIBLE[name]) for name, value, was in by_name if name in VISIBLE]
