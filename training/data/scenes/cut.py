"""Changes in time: cuts, fades, wipes and whip-pans between two shots, and bars round a picture."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from training.data.scenes.camera import ease
from training.data.scenes.material import Floats
from training.data.scenes.shot import Set, Shot, Size

BLUR_STEPS = 12
"""Moments of an open shutter whose mean is one picture of a whip-pan."""


def _hard(first: Shot, second: Shot, stage: Set) -> Shot:
    at = int(stage.count * stage.rng.uniform(0.25, 0.75))
    return lambda number: first(number) if number < at else second(number)


def _mixed(stage: Set, seconds: tuple[float, float]) -> Callable[[float], float]:
    """Number of the picture -> share of the second shot, 0-1: it rises within that time, which the scene has room for."""
    length = min(stage.rng.uniform(*seconds), 0.8 * stage.count / stage.fps)
    start = stage.rng.uniform(0, stage.count / stage.fps - length)
    return lambda number: min(max((number / stage.fps - start) / length, 0.0), 1.0)


def _fade(first: Shot, second: Shot, stage: Set) -> Shot:
    share = _mixed(stage, (0.3, 1.0))

    def picture(number: int) -> Floats:
        weight = share(number)
        if weight in (0.0, 1.0):
            return second(number) if weight else first(number)
        return np.asarray(first(number) * (1 - weight) + second(number) * weight, np.float32)

    return picture


def _black(first: Shot, second: Shot, stage: Set) -> Shot:
    """To black, and from black to the other shot. Not so long that most of the scene is black."""
    share = _mixed(stage, (0.5, 1.0))

    def picture(number: int) -> Floats:
        weight = share(number)
        shown = first(number) if weight < 0.5 else second(number)
        return np.asarray(shown * abs(1 - 2 * weight), np.float32)

    return picture


def _wipe(first: Shot, second: Shot, stage: Set) -> Shot:
    share = _mixed(stage, (0.3, 0.8))

    def picture(number: int) -> Floats:
        weight = share(number)
        if weight in (0.0, 1.0):
            return second(number) if weight else first(number)
        shown = first(number).copy()
        edge = round(weight * shown.shape[1])
        shown[:, :edge] = second(number)[:, :edge]
        return shown

    return picture


def _whip(first: Shot, second: Shot, stage: Set) -> Shot:
    """The camera is torn round to another place; while it turns, the open shutter blurs the picture along its way."""
    share = _mixed(stage, (0.2, 0.4))

    def picture(number: int) -> Floats:
        # The shutter is open for half of a picture's time.
        ways = [ease(w) for w in np.linspace(share(number), share(number + 0.5), BLUR_STEPS)]
        if ways[-1] == 0:
            return first(number)
        if ways[0] == 1:
            return second(number)
        both = np.concatenate([first(number), second(number)], axis=1)
        height, width = both.shape[0], both.shape[1] // 2
        total = np.zeros((height, width, 3), np.float32)
        for way in ways:
            left = way * width
            whole = int(left)
            part = both[:, whole : whole + width + 1]
            if part.shape[1] == width:
                total += part
            else:
                total += part[:, :-1] * (1 - (left - whole)) + part[:, 1:] * (left - whole)
        return np.asarray(total / len(ways), np.float32)

    return picture


CUTS: dict[str, Callable[[Shot, Shot, Set], Shot]] = {
    "hard-cut": _hard, "fade": _fade, "through-black": _black, "wipe": _wipe, "whip-pan": _whip,
}  # fmt: skip
"""Name -> function of (shot before, shot after, set)."""


BARS = {"letterbox": (16 / 9, 2.35), "pillarbox": (16 / 9, 1.0), "blurred-sides": (16 / 9, 9 / 16)}
"""Name -> (shape of the outer picture, of the inner one), width to height."""


def inner_size(name: str, size: Size) -> Size:
    """The size of the picture inside bars of that name, even px."""
    shape = BARS[name][1]
    width, height = min(size[0], size[1] * shape), min(size[1], size[0] / shape)
    return int(width) // 2 * 2, int(height) // 2 * 2


def with_bars(name: str, shot: Shot, size: Size) -> Shot:
    """The shot, of `inner_size`, in the middle of a picture of that size: black bars, or the picture itself out of focus."""
    inner = inner_size(name, size)
    x, y = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2

    def picture(number: int) -> Floats:
        shown = shot(number)
        if name == "blurred-sides":
            # Out of focus, the scaled-up picture has no details that scaling up could have cost.
            small = cv2.resize(shown, (32, 18), interpolation=cv2.INTER_AREA)
            ground = 0.6 * cv2.GaussianBlur(cv2.resize(small, size, interpolation=cv2.INTER_CUBIC), (0, 0), size[0] / 40)
        else:
            ground = np.zeros((size[1], size[0], 3), np.float32)
        ground[y : y + inner[1], x : x + inner[0]] = shown
        return np.asarray(ground, np.float32)

    return picture
