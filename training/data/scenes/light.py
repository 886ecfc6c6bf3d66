"""Light of the scene: dark rooms, stages, coloured and moving light, backlight. All of it is how the scene was lit, not a damage.

A factor on light is a factor on the encoded picture too (gamma 2: the root of it), so each kind is one multiplication.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from training.data.scenes.material import Floats
from training.data.scenes.shot import Set, Shot, Size, Tile


def _grid(size: Size) -> tuple[Floats, Floats]:
    """x and y of every pixel, (H, W) each, -1 to 1; y by the picture's width, so that circles are round."""
    width, height = size
    x = np.linspace(-1, 1, width, dtype=np.float32)[None]
    y = np.linspace(-height / width, height / width, height, dtype=np.float32)[:, None]
    return np.broadcast_to(x, (height, width)), np.broadcast_to(y, (height, width))


def _spot(size: Size, x: float, y: float, radius: float) -> Floats:
    """(H, W, 1), 0-1: a round light with a soft edge."""
    across, down = _grid(size)
    return np.asarray(1 / (1 + (((across - x) ** 2 + (down - y) ** 2) / radius**2) ** 2), np.float32)[..., None]


def _tint(stage: Set) -> NDArray[np.float32]:
    """A strong colour, (3,), its largest channel 1."""
    tint = stage.rng.uniform(0.25, 1.0, 3)
    tint[int(stage.rng.integers(3))] = 0.25
    return np.asarray(tint / tint.max(), np.float32)


def _face(tile: Tile, stage: Set) -> tuple[float, float]:
    """Where the face is in the middle of the scene, in the units of `_grid`; the middle of the picture without one."""
    points = tile.points(stage.count // 2)
    if points is None:
        return 0.0, 0.0
    width, height = tile.size
    x, y = points.mean(0)
    return float(2 * x / width - 1), float((2 * y - height) / width)


def _dark_room(tile: Tile, stage: Set) -> Shot:
    """A room at night, lit by a lamp or a screen on one side."""
    side = stage.rng.choice([-1.0, 1.0])
    tint = np.array([1.0, 0.86, 0.66] if stage.rng.random() < 0.5 else [0.74, 0.88, 1.0], np.float32)
    fall = _spot(tile.size, 0.9 * side, -0.1, 1.1)
    # Darker, with dark skin and clothes, nobody would be seen: no reference of a high quality.
    level = stage.rng.uniform(0.45, 0.7)
    gain = level * (0.45 + 0.55 * fall) * tint
    return lambda number: tile.picture(number) * gain


def _stage(tile: Tile, stage: Set) -> Shot:
    """A spotlight on the face, beams that sweep over the dark behind it."""
    x, y = _face(tile, stage)
    spot = _spot(tile.size, x, y, stage.rng.uniform(0.35, 0.6))
    across, down = _grid(tile.size)
    beams = [(stage.rng.uniform(-1, 1), stage.rng.uniform(0.3, 1.2), stage.rng.uniform(0, 6), _tint(stage)) for _ in range(3)]

    def picture(number: int) -> Floats:
        seconds = number / stage.fps
        behind = (1 - tile.matte(number))[..., None]
        shown = tile.picture(number) * (0.22 + 0.78 * spot) * (1 - 0.5 * behind)
        for place, pace, phase, tint in beams:
            lean = 0.5 * math.sin(pace * 2 * seconds + phase)
            beam = np.exp(-(((across - place - lean * (down + 1)) / 0.12) ** 2))[..., None]
            shown = shown + 90 * beam * tint * (0.25 + 0.75 * behind)
        return np.asarray(shown, np.float32)

    return picture


def _coloured(tile: Tile, stage: Set) -> Shot:
    """Lamps of two colours from two sides."""
    across, _ = _grid(tile.size)
    share = (1 / (1 + np.exp(-4 * (across - stage.rng.uniform(-0.3, 0.3)))))[..., None].astype(np.float32)
    gain = _tint(stage) * share + _tint(stage) * (1 - share)
    return lambda number: tile.picture(number) * gain


def _moving(tile: Tile, stage: Set) -> Shot:
    """Light that travels over the scene and changes its colour, as of a screen, traffic or a dance floor."""
    pace, phase = stage.rng.uniform(0.3, 1.2), stage.rng.uniform(0, 1)
    least = stage.rng.uniform(0.35, 0.6)
    across, _ = _grid(tile.size)

    def picture(number: int) -> Floats:
        turn = pace * number / stage.fps + phase
        tint = np.array([0.8 + 0.2 * math.sin(2 * math.pi * turn + shift) for shift in (0, 2.1, 4.2)], np.float32)
        band = np.exp(-(((across - 1.6 * math.sin(2 * math.pi * turn * 0.7)) / 0.6) ** 2))[..., None]
        return np.asarray(tile.picture(number) * (least + (1 - least) * band) * tint, np.float32)

    return picture


def _backlight(tile: Tile, stage: Set) -> Shot:
    """A bright place behind a person who is in the shade."""
    shade, lift = stage.rng.uniform(0.4, 0.6), stage.rng.uniform(0.3, 0.5)

    def picture(number: int) -> Floats:
        shown, person = tile.picture(number), tile.matte(number)[..., None]
        return np.asarray(shown * shade * person + (252 - (252 - shown) * lift) * (1 - person), np.float32)

    return picture


def _side(tile: Tile, stage: Set) -> Shot:
    """Daylight from a window on one side."""
    across, _ = _grid(tile.size)
    side = stage.rng.choice([-1.0, 1.0])
    gain = (0.72 + 0.28 * across * side)[..., None] * np.array([0.97, 0.99, 1.0], np.float32)
    return lambda number: tile.picture(number) * gain


LIGHTS: dict[str, Callable[[Tile, Set], Shot]] = {
    "dark-room": _dark_room, "stage": _stage, "coloured-light": _coloured, "moving-light": _moving,
    "backlight": _backlight, "side-light": _side,
}  # fmt: skip
"""Name -> function of (tile, set) that gives the tile's pictures in that light."""
