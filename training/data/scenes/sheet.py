"""A contact sheet of scenes: two pictures of each, and what was done, for people to look at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw

from training.data.scenes.drawn import font

CELL = (400, 225)
"""Room for a scene's two pictures, px."""

CAPTION = 44
COLUMNS = 4
LETTERS = 66

ENDINGS = ("bmp", "jpeg", "jpg", "png", "tiff", "webp")
"""Of files that a sheet can be written to."""


def write_sheet(scenes: Sequence[tuple[str, Path, Sequence[str]]], out: Path) -> None:
    """Write the sheet; the ending of `out` decides the format.

    scenes: (title, clip, names) of each. Pictures are scaled down to fit, never up. out: with one of `ENDINGS`.
    """
    rows = -(-len(scenes) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * CELL[0], rows * (CELL[1] + CAPTION)), (250, 250, 250))
    pen = ImageDraw.Draw(sheet)
    for place, (title, clip, names) in enumerate(scenes):
        x, y = place % COLUMNS * CELL[0], place // COLUMNS * (CELL[1] + CAPTION)
        for half, picture in enumerate(_pictures(clip)):
            shown = Image.fromarray(picture)
            shown.thumbnail((CELL[0] // 2 - 4, CELL[1] - 4), Image.Resampling.BOX)
            sheet.paste(shown, (x + half * CELL[0] // 2 + 2, y + 2))
        for row, line in enumerate(_lines(f"{title}: {', '.join(names)}")):
            pen.text((x + 3, y + CELL[1] + 13 * row), line, (0, 0, 0), font(12))
    sheet.save(out)


def _lines(text: str) -> list[str]:
    """The text in lines of `LETTERS` letters, three at most."""
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > LETTERS:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines[:3]


def _pictures(clip: Path) -> list[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]:
    """Two pictures of a clip, at a fifth and at four fifths of it, RGB."""
    capture = cv2.VideoCapture(str(clip))
    pictures = []
    while True:
        there, picture = capture.read()
        if not there:
            break
        pictures.append(picture[..., ::-1])
    capture.release()
    return (
        [np.ascontiguousarray(pictures[int(len(pictures) * share)]).astype(np.uint8) for share in (0.2, 0.8)] if pictures else []
    )
