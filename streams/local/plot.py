"""The picture of `fvq score --plot`: score over time, with a strip of thumbnails under it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.figure import Figure

from scorer.spec import LEVELS
from streams.errors import SettingsError
from streams.local.windows import ScoredWindow, record
from streams.text import printable

LEVEL_COLOURS = ("#c0392b", "#e67e22", "#f1c40f", "#9acd32", "#2e8b57")
THUMBNAILS = 12
WIDTH, PANEL = 11.0, 3.4
"""Width of the picture, and height of one file's panel in it, inches."""

COURSE = (0.65, 1.15, 9.7, 1.95)
"""Left, bottom, width and height of the course in its panel, inches. Ticks are left of it, levels right, a title above."""

STRIP = (0.65, 0.05, 9.7, 0.58)
"""The same for the thumbnails below it."""

DOTS = 110
"""Dots in an inch."""

MOST_DOTS = 65_500
"""Height of a picture: JPEG takes no more."""

MOST_WEBP = 16_383
"""The same for WebP."""


def check_picture(path: Path, option: str = "--plot", endings: Collection[str] = FigureCanvasBase.filetypes) -> None:
    """Refuse a path where no picture can be written, before anything is scored or made for it.

    option: that names the path. endings: without their point, of what the picture is written by. Raises SettingsError for an
    ending that no picture has, ValueError where its folder is missing.
    """
    if path.suffix.removeprefix(".").lower() not in endings:
        known = " ".join(sorted(f".{name}" for name in endings))
        raise SettingsError(option, f"{path}: pictures have one of the endings {known}")
    if not path.absolute().parent.is_dir():
        raise ValueError(f"{option} {path}: there is no folder {path.parent}: make it first")


def check_panels(path: Path, files: int) -> None:
    """Refuse more files than one picture has room for, before they are scored. Raises SettingsError."""
    most = int((MOST_WEBP if path.suffix.lower() == ".webp" else MOST_DOTS) / (PANEL * DOTS))
    if files > most:
        raise SettingsError("--plot", f"a picture has room for {most} files, and these are {files}: name fewer of them")


def plot_courses(courses: Sequence[tuple[str, Sequence[ScoredWindow]]], path: Path) -> None:
    """Write one picture with a panel for each file: each segment's score and uncertainty over time, and thumbnails below.

    courses: each file's path or address, with its windows in order. path: of `check_picture`; its suffix gives the format.
    """
    height = PANEL * len(courses)
    figure = Figure(figsize=(WIDTH, height))

    def place(box: tuple[float, float, float, float], number: int) -> Axes:
        left, bottom, width, tall = box
        # By hand: matplotlib's own layouts compare all axes with each other, which takes minutes for a hundred files.
        return figure.add_axes((left / WIDTH, 1 - (PANEL * (number + 1) - bottom) / height, width / WIDTH, tall / height))

    for number, (file, windows) in enumerate(courses):
        axes, strip = place(COURSE, number), place(STRIP, number)
        starts = np.array([scored.window.start for scored in windows])
        ends = starts + [scored.clip.info.duration for scored in windows]
        scores = np.array([scored.score.score for scored in windows])
        spread = np.array([scored.score.uncertainty for scored in windows])
        for i, (level, colour) in enumerate(zip(LEVELS, LEVEL_COLOURS, strict=True)):
            axes.axhspan(20 * i, 20 * i + 20, color=colour, alpha=0.12, linewidth=0)
            axes.text(1.005, (20 * i + 10) / 100, level, transform=axes.transAxes, va="center", fontsize=8)
        edges = np.append(starts, ends[-1])
        axes.stairs(scores, edges, color="#1f3a5f", linewidth=2)
        axes.stairs(
            np.minimum(scores + spread, 100),
            edges,
            baseline=np.maximum(scores - spread, 0),
            fill=True,
            color="#1f3a5f",
            alpha=0.15,
        )
        axes.set(ylim=(0, 100), xlim=(edges[0], edges[-1]), ylabel="score")
        # A name is no formula, whatever signs it has.
        axes.set_title(f"{printable(Path(file).name)}: {record(file, windows)['score']:.0f}", parse_math=False)
        shown = np.unique(np.linspace(0, len(windows) - 1, THUMBNAILS).astype(int))
        strip.imshow(np.concatenate([windows[i].clip.thumbnail for i in shown], axis=1), aspect="equal")
        strip.axis("off")
        axes.set_xlabel("seconds")
    figure.savefig(path, dpi=DOTS)
