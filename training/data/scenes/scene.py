"""A scene: from a seed and sources to the pictures of a flawless reference, and the names of what was done."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from training.data.ffmpeg import pipe_to_ffmpeg
from training.data.references import LOSSLESS
from training.data.scenes.cut import CUTS, inner_size, with_bars
from training.data.scenes.drawn import BACKDROPS
from training.data.scenes.layout import LAYOUTS
from training.data.scenes.material import Material, Pixels
from training.data.scenes.overlay import OVERLAYS
from training.data.scenes.plan import Plan, draw_plan, generator, plain_plan
from training.data.scenes.shot import Set, Shot, Size

CAST = 3
"""People who appear together. Nobody of one cast is in scenes of another, so that data can be split by casts."""

MOST_PIXELS = 55_000_000
"""Pixels of a whole scene: 720p at 30 pictures a second for two seconds. Larger scenes are shorter."""

SHORTEST = 0.6
"""Seconds that a scene has at least."""


@dataclass(frozen=True)
class Scene:
    """A flawless reference."""

    size: Size
    fps: float
    count: int
    """Pictures."""
    names: tuple[str, ...]
    """What was done, the layout first; the size and the rate last."""
    people: tuple[str, ...]
    """Names of the sources of its cast."""
    shot: Shot

    def pixels(self, number: int) -> Pixels:
        """(H, W, 3) uint8 RGB of a picture. Rounded with noise of half a level, or dark gradients would have bands."""
        shown = self.shot(number)
        grain = generator("grain", number).random((64, 64, 1), np.float32)
        tiles = -(-shown.shape[0] // 64), -(-shown.shape[1] // 64), 1
        return np.clip(shown + np.tile(grain, tiles)[: shown.shape[0], : shown.shape[1]], 0, 255).astype(np.uint8)


def casts(sources: Sequence[Path], seed: int) -> list[tuple[Path, ...]]:
    """The sources in groups of `CAST`, drawn from the seed; the last may be smaller."""
    order = sorted(sources, key=lambda source: source.stem)
    random.Random(f"{seed}/casts").shuffle(order)  # noqa: S311 - reproducible data, not secrets
    return [tuple(order[start : start + CAST]) for start in range(0, len(order), CAST)]


def make_scene(seed: int, number: int, cast: Sequence[Material], seconds: float, *, plain: bool = False) -> Scene:
    """Scene `number` of a seed with these people, the first of whom leads. cast: at least one. plain: nothing but the leader."""
    plan = (plain_plan if plain else draw_plan)(seed, number, cast[0])
    length = min(seconds, max(SHORTEST, MOST_PIXELS / (plan.size[0] * plan.size[1] * plan.fps)))
    stage = Set(generator(seed, number, "scene"), plan.fps, max(4, round(length * plan.fps)))
    inner = inner_size(plan.bars, plan.size) if plan.bars else plan.size
    shot = LAYOUTS[plan.layout](cast, inner, stage, plan.style).picture
    if plan.cut:
        shot = CUTS[plan.cut](shot, _after(plan, cast, inner, stage), stage)
        stage.note(plan.cut)
    if plan.bars:
        shot = with_bars(plan.bars, shot, plan.size)
        stage.note(plan.bars)
    for name in plan.overlays:
        shot = OVERLAYS[name](shot, plan.size, stage)
        stage.note(name)
    names = (*stage.notes, f"{min(plan.size)}p", f"{plan.fps:g}fps")
    return Scene(plan.size, plan.fps, stage.count, names, tuple(material.name for material in cast), shot)


def _after(plan: Plan, cast: Sequence[Material], size: Size, stage: Set) -> Shot:
    """The shot after a cut: another person, or the same one filmed in another way."""
    others = [*cast[1:], cast[0]]
    layout = str(stage.rng.choice(["full", "virtual-background", "no-face" if stage.rng.random() < 0.2 else "full"]))
    style = replace(
        plan.style, framing=str(stage.rng.choice(["near", "medium"])), backdrop=str(stage.rng.choice(list(BACKDROPS)))
    )
    return LAYOUTS[layout](others, size, stage, style).picture


def write_scene(scene: Scene, out: Path) -> None:
    """Write a scene as a lossless `.mkv`. Raises as `pipe_to_ffmpeg`."""
    part = out.with_name(f".{out.stem}.part.mkv")
    pictures = (scene.pixels(number).tobytes() for number in range(scene.count))
    pipe_to_ffmpeg(pictures, "rgb24", *scene.size, f"{scene.fps:g}", "-vf", "format=yuv420p", *LOSSLESS, part)
    part.rename(out)
