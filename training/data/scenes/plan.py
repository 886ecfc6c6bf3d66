"""Which parts a scene has, drawn from a seed: everything that a scene can be is some scene's main part in turn."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from training.data.scenes.camera import CAMERAS, FACE_HEIGHT
from training.data.scenes.cut import BARS, CUTS
from training.data.scenes.drawn import BACKDROPS
from training.data.scenes.layout import LAYOUTS, Style
from training.data.scenes.light import LIGHTS
from training.data.scenes.material import Material
from training.data.scenes.overlay import OVERLAYS
from training.data.scenes.shot import Rng, Size
from training.data.scenes.worn import WORN

SIDES = {180: 0.08, 240: 0.14, 270: 0.1, 360: 0.28, 480: 0.17, 540: 0.1, 720: 0.09, 1080: 0.04}
"""Shorter side of a scene, px -> its share of the scenes."""

SHAPES = {16 / 9: 0.55, 9 / 16: 0.18, 4 / 3: 0.17, 1.0: 0.1}
"""Width to height -> its share."""

RATES = {10.0: 0.07, 12.0: 0.05, 15.0: 0.13, 20.0: 0.07, 24.0: 0.13, 25.0: 0.2, 30.0: 0.25, 50.0: 0.05, 60.0: 0.05}
"""Pictures a second -> its share."""

PARTS = {
    "layout": tuple(LAYOUTS), "framing": tuple(FACE_HEIGHT), "camera": tuple(CAMERAS), "light": tuple(LIGHTS),
    "worn": tuple(WORN), "overlay": tuple(OVERLAYS), "cut": tuple(CUTS), "bars": tuple(BARS),
}  # fmt: skip
"""Kind of part -> its names."""

MAIN_PARTS = tuple((kind, name) for kind, names in PARTS.items() for name in names)

CUT_OUT_ONLY = frozenset({"small", "cut-off"})
"""Framings that need room round the person, which close-ups do not have: the person is cut out."""

FULL = frozenset({"full", "blurred-background"})
"""Layouts that a source must fill."""


@dataclass(frozen=True)
class Plan:
    """What a scene is to be. None: without that part."""

    size: Size
    fps: float
    layout: str
    style: Style
    overlays: tuple[str, ...]
    cut: str | None
    bars: str | None


PLAIN_FRAMINGS = ("near", "medium", "small")
"""How a plain scene shows a still, which has no distance of its own."""
PLAIN_CAMERAS = ("pan", "zoom", "hand-held")
"""What moves in a plain scene of a still: a picture in which nothing moves looks like a freeze."""
PLAIN_ROOM = 1.25
"""How much larger a still must be than the plain scene, so that a camera can move over it."""


def generator(*parts: object) -> Rng:
    """Random numbers that depend only on these values."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))


def main_part(seed: int, number: int) -> tuple[str, str]:
    """The kind and name of the part that scene `number` has for certain: every part comes once in `len(MAIN_PARTS)` scenes."""
    turn, place = divmod(number, len(MAIN_PARTS))
    order = generator(seed, "parts", turn).permutation(len(MAIN_PARTS))
    return MAIN_PARTS[int(order[place])]


def draw_plan(seed: int, number: int, leading: Material) -> Plan:
    """The plan of scene `number`, for the person who leads it."""
    rng = generator(seed, number, "plan")
    kind, name = main_part(seed, number)

    def maybe(wanted: str, share: float) -> str | None:
        if kind == wanted:
            return name
        return str(rng.choice(PARTS[wanted])) if rng.random() < share else None

    layout = maybe("layout", 0.35) or ("full" if rng.random() < 0.7 else "virtual-background")
    framing = maybe("framing", 1.0) or "near"
    worn = tuple(part for part in [maybe("worn", 0.35)] if part)
    if "skin-tone" not in worn and rng.random() < 0.35:
        worn = ("skin-tone", *worn)
    if kind == "framing" and framing in CUT_OUT_ONLY and layout in FULL:
        layout = "virtual-background"
    if kind == "bars":
        layout = "full"
    elif kind in ("light", "worn", "camera") and layout == "no-face":
        layout = "virtual-background"
    style = Style(framing, maybe("camera", 0.5) or "still", maybe("light", 0.45), worn, str(rng.choice(list(BACKDROPS))))
    overlays = tuple(part for part in [maybe("overlay", 0.3)] if part)
    cut = maybe("cut", 0.2)
    bars = name if kind == "bars" else None
    size = _size(rng, leading, bars, layout)
    return Plan(size, float(_pick(rng, RATES)), layout, style, overlays, cut, bars)


def plain_plan(seed: int, number: int, leading: Material) -> Plan:
    """The plan of plain scene `number`: the person who leads it, as filmed, and nothing else; over a still the camera moves."""
    rng = generator(seed, number, "plain plan")
    is_filmed = leading.fps > 0
    size = _size(rng, leading, None, "full", 1.0 if is_filmed else PLAIN_ROOM)
    rate = float(_pick(rng, RATES))
    framing, camera = ("near", "still") if is_filmed else (str(rng.choice(PLAIN_FRAMINGS)), str(rng.choice(PLAIN_CAMERAS)))
    return Plan(size, rate, "full", Style(framing, camera, None, (), next(iter(BACKDROPS))), (), None, None)


def _pick(rng: Rng, shares: Mapping[Any, float]) -> Any:
    values = list(shares)
    weights = np.array([shares[value] for value in values])
    return values[int(rng.choice(len(values), p=weights / weights.sum()))]


def _size(rng: Rng, leading: Material, bars: str | None, layout: str, room: float = 1.0) -> Size:
    """A size; for a layout that the source must fill one that it fills, with so much room, if there is one."""
    shape = BARS[bars][0] if bars else _pick(rng, SHAPES)
    sides = dict(SIDES)
    if layout in FULL and not bars:
        fitting = [(side, form) for side in SIDES for form in SHAPES if leading.fits(size_of(room * side, form))]
        if fitting:
            forms = {form: SHAPES[form] for _, form in fitting}
            shape = shape if shape in forms else _pick(rng, forms)
            sides = {side: SIDES[side] for side, form in fitting if form == shape}
    return size_of(_pick(rng, sides), shape)


def size_of(side: float, shape: float) -> Size:
    """The size with that shorter side and shape, even px."""
    return (round(side * max(shape, 1) / 2) * 2, round(side / min(shape, 1) / 2) * 2)
