"""What is laid over the picture before it is sent: captions, names, logos, a chat, reactions, a clock."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from PIL import Image, ImageDraw

from training.data.scenes.drawn import colour, font, phrase
from training.data.scenes.material import Floats
from training.data.scenes.shot import Set, Shot, Size

Drawing = Callable[[ImageDraw.ImageDraw, float], None]
"""Draws on a canvas of twice the size; the number is a hundredth of the canvas's height, px."""


def _layer(size: Size, draw: Drawing) -> tuple[Floats, Floats]:
    """(colours, alpha 0-1), (H, W, 3) and (H, W, 1): a transparent layer, smooth at its edges."""
    image = Image.new("RGBA", (2 * size[0], 2 * size[1]), (0, 0, 0, 0))
    draw(ImageDraw.Draw(image), size[1] / 50)
    pixels = np.asarray(image, np.float32)
    # Colours weighted by alpha, or the black of empty pixels would edge every letter.
    weighted = pixels[..., :3] * (pixels[..., 3:] / 255)
    halves = [part.reshape(size[1], 2, size[0], 2, -1).mean((1, 3)) for part in (weighted, pixels[..., 3:] / 255)]
    return np.asarray(halves[0], np.float32), np.asarray(halves[1], np.float32)


def _over(shot: Shot, layer: Callable[[int], tuple[Floats, Floats]]) -> Shot:
    """The shot with a layer over each picture."""

    def picture(number: int) -> Floats:
        colours, alpha = layer(number)
        return np.asarray(shot(number) * (1 - alpha) + colours, np.float32)

    return picture


def _captions(shot: Shot, size: Size, stage: Set) -> Shot:
    """Two lines of subtitles, which change once."""
    boxed = stage.rng.random() < 0.5
    texts = [[phrase(stage.rng, int(stage.rng.integers(3, 6))) for _ in range(2)] for _ in range(2)]
    change = stage.rng.uniform(0.3, 0.7)

    @cache
    def layer(which: int) -> tuple[Floats, Floats]:
        def draw(pen: ImageDraw.ImageDraw, unit: float) -> None:
            letters = font(round(min(5 * unit, 2 * size[0] / 20)))
            for row, line in enumerate(texts[which]):
                width = pen.textlength(line, letters)
                x, y = size[0] - width / 2, 2 * size[1] - (16 - 7 * row) * unit
                if boxed:
                    pen.rectangle((x - unit, y - 0.3 * unit, x + width + unit, y + 6.5 * unit), (0, 0, 0, 170))
                pen.text(
                    (x, y),
                    line,
                    (255, 255, 255, 255),
                    letters,
                    stroke_width=0 if boxed else max(1, round(unit / 2)),
                    stroke_fill=(0, 0, 0, 255),
                )

        return _layer(size, draw)

    return _over(shot, lambda number: layer(int(stage.share(number) > change)))


def _name(shot: Shot, size: Size, stage: Set) -> Shot:
    """A name and a line about it in the lower third."""
    tone, name, role = colour(stage.rng, 20, 160), phrase(stage.rng, 2), phrase(stage.rng, 3)

    def draw(pen: ImageDraw.ImageDraw, unit: float) -> None:
        pen.rectangle((6 * unit, 76 * unit, 6 * unit + 50 * unit, 92 * unit), (*tone, 225))
        pen.rectangle((6 * unit, 76 * unit, 7.2 * unit, 92 * unit), (255, 255, 255, 255))
        pen.text((9 * unit, 77.5 * unit), name, (255, 255, 255, 255), font(round(6 * unit)))
        pen.text((9 * unit, 85.5 * unit), role, (230, 230, 230, 255), font(round(4 * unit)))

    layer = _layer(size, draw)
    return _over(shot, lambda _: layer)


def _live(shot: Shot, size: Size, stage: Set) -> Shot:
    """A channel's sign: LIVE, viewers, a logo."""
    tone, viewers = colour(stage.rng, 40, 240), int(stage.rng.integers(20, 90000))

    def draw(pen: ImageDraw.ImageDraw, unit: float) -> None:
        pen.rounded_rectangle((4 * unit, 4 * unit, 19 * unit, 11 * unit), 1.5 * unit, (214, 26, 40, 255))
        pen.text((6 * unit, 4.6 * unit), "LIVE", (255, 255, 255, 255), font(round(5 * unit)))
        pen.text(
            (21 * unit, 4.6 * unit),
            f"{viewers:,}",
            (255, 255, 255, 255),
            font(round(5 * unit)),
            stroke_width=max(1, round(unit / 4)),
            stroke_fill=(0, 0, 0, 160),
        )
        right = 2 * size[0] - 4 * unit
        pen.rounded_rectangle((right - 14 * unit, 4 * unit, right, 14 * unit), 2 * unit, (*tone, 200))
        pen.ellipse((right - 11 * unit, 5.5 * unit, right - 4 * unit, 12.5 * unit), (255, 255, 255, 220))

    layer = _layer(size, draw)
    return _over(shot, lambda _: layer)


def _chat(shot: Shot, size: Size, stage: Set) -> Shot:
    """Messages at one side; a new one moves the others up."""
    lines = [
        (phrase(stage.rng, 1), phrase(stage.rng, int(stage.rng.integers(2, 5))), colour(stage.rng, 90, 250)) for _ in range(12)
    ]

    @cache
    def layer(first: int) -> tuple[Floats, Floats]:
        def draw(pen: ImageDraw.ImageDraw, unit: float) -> None:
            for row in range(7):
                name, words, tone = lines[(first + row) % len(lines)]
                y = (54 + 6 * row) * unit
                letters = font(round(3.8 * unit))
                pen.text((3 * unit, y), name, (*tone, 255), letters)
                pen.text((3 * unit + pen.textlength(name + "  ", letters), y), words, (255, 255, 255, 235), letters)

        return _layer(size, draw)

    pace = stage.rng.uniform(0.5, 2.0)
    return _over(shot, lambda number: layer(int(pace * number / stage.fps)))


def _reactions(shot: Shot, size: Size, stage: Set) -> Shot:
    """Discs and hearts that rise, as viewers send them."""
    marks = [(stage.rng.uniform(0.7, 0.97), stage.rng.uniform(0, 1), colour(stage.rng, 80, 255)) for _ in range(7)]
    height = 2 * size[1]

    def layer(number: int) -> tuple[Floats, Floats]:
        def draw(pen: ImageDraw.ImageDraw, unit: float) -> None:
            for x, start, tone in marks:
                way = (start + 0.6 * number / stage.fps) % 1
                y, radius, alpha = height * (1 - way), 2.6 * unit, round(255 * (1 - way))
                centre = 2 * size[0] * x + 3 * unit * np.sin(9 * way + 9 * start)
                for side in (-0.5, 0.5):
                    pen.ellipse(
                        (centre + side * 1.8 * radius - radius, y - radius, centre + side * 1.8 * radius + radius, y + radius),
                        (*tone, alpha),
                    )
                pen.polygon(
                    [
                        (centre - 1.75 * radius, y + 0.5 * radius),
                        (centre + 1.75 * radius, y + 0.5 * radius),
                        (centre, y + 2.6 * radius),
                    ],
                    (*tone, alpha),
                )

        return _layer(size, draw)

    return _over(shot, layer)


def _clock(shot: Shot, size: Size, stage: Set) -> Shot:
    """A running clock with tenths, or a score."""
    start, tone = int(stage.rng.integers(0, 3600)), colour(stage.rng, 20, 120)

    @cache
    def layer(tenths: int) -> tuple[Floats, Floats]:
        def draw(pen: ImageDraw.ImageDraw, unit: float) -> None:
            seconds = start + tenths // 10
            pen.rounded_rectangle((size[0] - 14 * unit, 3 * unit, size[0] + 14 * unit, 11 * unit), unit, (*tone, 230))
            text = f"{seconds // 60:02d}:{seconds % 60:02d}.{tenths % 10}"
            pen.text((size[0] - 10 * unit, 3.8 * unit), text, (255, 255, 255, 255), font(round(5.5 * unit)))

        return _layer(size, draw)

    return _over(shot, lambda number: layer(int(10 * number / stage.fps)))


OVERLAYS: dict[str, Callable[[Shot, Size, Set], Shot]] = {
    "captions": _captions, "name": _name, "live-sign": _live, "chat": _chat, "reactions": _reactions, "clock": _clock,
}  # fmt: skip
"""Name -> function of (shot, size, set) that gives the shot with it."""
