"""The signals: what people read about a clip's pictures. They mean the same for every model, size and stream.

They are measured on the pictures that the sampler makes anyway, at a scale of their own, so that neither the model's
specification nor the picture's size changes what a value means. `lines` is the shorter side of a picture, px. Blur and noise are
measured with `LINES` lines; a larger picture is scaled down to that, a smaller one is taken as it is. Blockiness is measured at
native size, because scaling takes the grid away.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from scorer.sampling.features import BLACK_LUMA, BRIGHT_LUMA
from scorer.sampling.images import Image, luma_of, scaled_down
from scorer.sampling.statistics import centre_crop

LINES = 360
"""Scale of blur and noise: the shorter side of the picture, px. Every live stream but the smallest renditions has as many."""

CENTRE_SHARE = 2 / 3
"""Side of the square in the middle that blur, blockiness and noise are measured in, as a share of the shorter side."""

DETAIL_PICTURES = 2
"""Sampled pictures of a clip in which they are measured."""

LIGHT_LINES = 180
"""Lines of a picture in which black, luma and contrast are measured."""

STRIPES = 36.0
"""Pairs of a dark and a light stripe across the shorter side: the detail whose loss is `blur`. Each stripe is as wide as 10 lines
of 720, about an eyelid of a face that fills half of the picture's height."""

EDGE_SHARE = 0.01
"""Share of the pixels that are taken for edges: those with the strongest gradients."""

OWN_WIDTH = 1 / 3
"""What a perfectly sharp edge measures, px^2: a pixel is an area, and a difference takes two of them. Found with a drawn disc."""

FEW_LINES, STRIDE = 160, 3
"""A plane of no more lines has few edges: all lines are taken. The edges' least gradient is found from every so many-th pixel."""

WIDE = 2.0
"""An edge that is wider, px, is measured at half the size."""

LEAST_GRADIENT = 0.25
"""Least mean square of the edges' gradient, (levels / px)^2, in which a width can be measured. No edge: all detail is lost."""

GRID = 8
"""Pixels between two lines of the coding grid, where it was made."""

SCALES = (1.0, 1.25, 4 / 3, 1.5, 15 / 8, 2.0, 9 / 4, 5 / 2, 8 / 3, 3.0, 4.0, 9 / 2)
"""By how much a picture may have been scaled up after it was coded: from one usual height to another (270, 360, 480, 540, 576,
720, 1080, 2160)."""

LEAST_CODED_LINES = 180
"""A picture is not taken for one that was scaled up from fewer lines."""

LEAST_CELLS = 12
"""Cells of the grid across the middle square that it takes to find it."""

FLAT_SHARE = 0.2
"""Share of the 8x8 blocks, the flattest ones, in which noise is measured."""

FLATTEST_READ_LESS = 0.79
"""What the flattest fifth of the blocks shows of white noise: they are chosen because they show little."""

LEAST_BLOCKS = 32
"""With fewer blocks that are neither black nor bright, all blocks are taken."""

Steps = tuple[NDArray[Any], NDArray[Any]]
"""Mean size of the step from each pixel to the next, levels, float32: (w - 1,) across and (h - 1,) down."""


class ClipSignals:
    """Collects the signals of one clip, picture by picture."""

    def __init__(self) -> None:
        self._light: list[tuple[float, float, float]] = []
        self._detail: list[tuple[float, float]] = []
        self._steps: list[Steps] = []
        self._lines = 0

    def add(self, picture: Image, has_detail: bool, times: int = 1) -> None:
        """Take a sampled picture, (H, W, 3) uint8 RGB.

        has_detail: whether blur, blockiness and noise are measured in it; it needs to be so in one picture at least. times: how
        many of the clip's sampled pictures it stands for.
        """
        self._light += [light(picture)] * times
        if not has_detail:
            return
        self._lines = min(picture.shape[:2])
        native = luma_of(centre_crop(picture, max(1, round(CENTRE_SHARE * self._lines))))
        plane = at_scale(native, self._lines)
        noise = noise_of(plane)
        self._detail.append((blur_of(plane, min(LINES, self._lines), noise), noise))
        self._steps.append(steps_of(native))

    def finish(self, freeze: float) -> dict[str, float]:
        """The signals by name, of `scorer.spec.SIGNALS_VERSION`.

        freeze: share of the clip's time in which the picture stands still, 0-1.
        """
        black, luma, contrast = np.mean(self._light, axis=0).tolist()
        blur, noise = np.mean(self._detail, axis=0).tolist()
        return {
            "black": black,
            "freeze": freeze,
            "blur": blur,
            "blockiness": grid_strength(self._steps, self._lines),
            "noise": noise,
            "luma": luma,
            "contrast": contrast,
        }


def light(picture: Image) -> tuple[float, float, float]:
    """The share of black pixels, 0-1, and mean and standard deviation of the luma, 8-bit levels, of a whole picture.

    picture: (H, W, 3) uint8 RGB. Every so many-th line and column is looked at, some `LIGHT_LINES` lines. The deviation is that
    of means over 4 x 4 of these, so that noise adds nothing to it.
    """
    step = max(1, min(picture.shape[:2]) // LIGHT_LINES)
    height, width = max(1, picture.shape[0] // step), max(1, picture.shape[1] // step)
    # Numpy's own picking of pixels takes three times as long.
    luma = luma_of(cv2.resize(picture, (width, height), interpolation=cv2.INTER_NEAREST))
    coarse = scaled_down(luma, (max(1, width // 4), max(1, height // 4)))
    return (
        np.count_nonzero(luma <= BLACK_LUMA) / luma.size,
        cv2.sumElems(luma)[0] / luma.size,
        float(cv2.meanStdDev(coarse)[1][0, 0]),
    )


def at_scale(luma: Image, lines: int) -> Image:
    """The (S, S) uint8 middle of a picture with so many lines, scaled down as if the picture had `LINES`."""
    side = round(len(luma) * LINES / lines)
    return scaled_down(luma, (side, side)) if lines > LINES else luma


def blur_of(plane: Image, lines: int, noise: float) -> float:
    """Share of the contrast of fine stripes (`STRIPES`) that the edges' blur has taken, 0 (sharp) to 1.

    plane: (S, S) uint8, the middle of a picture of `lines` lines, S >= 16. noise: of the plane, levels.
    A Gaussian blur of the width that the edges show (`edge_width`) leaves exp(-2 (pi * width * frequency)^2) of a pattern.
    """
    width = edge_width(plane, noise) / lines
    return float(1 - np.exp(-2 * (np.pi * width * STRIPES) ** 2))


def edge_width(plane: Image, noise: float) -> float:
    """Standard deviation of the Gaussian that blurs the strongest edges, px; 0 sharp, infinite where there is no edge.

    plane: (S, S) uint8 luma, S >= 32. noise: of the plane, levels. Wide blur is measured at half the size: at full size the
    steps of a coarse quantiser would pass for sharp edges.
    """
    side = len(plane) // 2
    coarse = 2 * _edge_width(scaled_down(plane, (side, side)), noise / 2)
    return coarse if coarse > WIDE else _edge_width(plane, noise)


def _edge_width(plane: Image, noise: float) -> float:
    """`edge_width` at one size.

    Blurred once more by a Gaussian of 1 px, a sharp edge loses more of its gradient than a soft one: for the ratio R of the
    gradients before and after, width^2 = 1 / (R^2 - 1). After Zhuo and Sim, Defocus map estimation from a single image, 2011;
    here of all edges together, and without the part of noise and of the pixel grid.
    """
    # Every second line of a larger plane: half of the work, and arrays so small that the allocator need not ask the system.
    before, after = _gradients(plane.astype(np.float32), 2 if len(plane) > FEW_LINES else 1)
    sample = after[::STRIDE]
    place = len(sample) - max(1, round(EDGE_SHARE * len(sample)))
    edges = after >= np.partition(sample, place)[place]
    gain_before, gain_after = _noise_gains()
    energy = float(before[edges].mean()) - gain_before * noise**2
    blurred = float(after[edges].mean()) - gain_after * noise**2
    if min(energy, blurred) < LEAST_GRADIENT:
        return float("inf")
    return float(np.sqrt(max(0.0, 1 / max(1e-6, energy / blurred - 1) - OWN_WIDTH)))


def noise_of(plane: Image) -> float:
    """Standard deviation of noise in the flat parts of an (S, S) uint8 luma, S >= 16, 8-bit levels.

    The mask is Immerkaer's (Fast noise variance estimation, 1996): 0 where luma is flat or rises evenly. Black and bright parts
    are left out: there noise is cut off.
    """
    mask = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    side = len(plane) // 8 * 8
    size = side // 8, side // 8
    response = np.abs(cv2.filter2D(plane, cv2.CV_32F, mask)[:side, :side])
    blocks = cv2.resize(response, size, interpolation=cv2.INTER_AREA).ravel()
    means = cv2.resize(plane[:side, :side], size, interpolation=cv2.INTER_AREA).ravel()
    inside = blocks[(means > BLACK_LUMA) & (means < BRIGHT_LUMA)]
    chosen = np.sort(inside if len(inside) >= LEAST_BLOCKS else blocks)
    flattest = chosen[: max(1, round(FLAT_SHARE * len(chosen)))]
    return float(np.sqrt(np.pi / 2) / 6 / FLATTEST_READ_LESS * flattest.mean())


def steps_of(luma: Image) -> Steps:
    """The steps of an (h, w) uint8 luma at native size."""
    across, down = cv2.absdiff(luma[:, 1:], luma[:, :-1]), cv2.absdiff(luma[1:], luma[:-1])
    return (
        np.asarray(cv2.reduce(across, 0, cv2.REDUCE_AVG, dtype=cv2.CV_32F)).ravel(),
        np.asarray(cv2.reduce(down, 1, cv2.REDUCE_AVG, dtype=cv2.CV_32F)).ravel(),
    )


def grid_strength(pictures: Sequence[Steps], lines: int) -> float:
    """How much larger the steps on a grid of 8 x 8 pixels are than beside it, relative to the mean step; 0 without a grid.

    pictures: one or more of a clip; those of another size than the last are left out. lines: of the last picture. After
    Wang, Bovik and Evans, Blind measurement of blocking artifacts in images, ICIP 2000, in the pixel domain. A picture that was
    scaled up after it was coded has a wider grid: each of `SCALES` is undone, and the strongest grid counts. Of another scale,
    or of a picture that was scaled down, the grid is not found. A grid has lines in both directions, so the geometric mean of
    both counts; and it stays where it is while the content moves, so it must be in all pictures.
    """
    sizes = [len(part) for part in pictures[-1]]
    same = [steps for steps in pictures if [len(part) for part in steps] == sizes]
    strengths = [0.0]
    for scale in SCALES:
        if scale > 1 and lines / scale < LEAST_CODED_LINES:
            break
        across, down = (_excess_on_grid([_unscaled(steps[axis], scale) for steps in same]) for axis in (0, 1))
        strengths.append(float(np.sqrt(across * down)))
    return max(strengths)


def _unscaled(steps: NDArray[Any], scale: float) -> NDArray[Any]:
    """The steps as they were before the picture was scaled up: what was one step is now spread over `scale` pixels."""
    if scale == 1:
        return steps
    sums = np.concatenate([[0.0], np.cumsum(steps)])
    return np.diff(np.interp(np.arange(0, len(steps), scale), np.arange(len(sums)), sums))


def _excess_on_grid(pictures: Sequence[NDArray[Any]]) -> float:
    """By how much the steps at the strongest of the grid's phases are over their neighbours', relative to the mean step."""
    phases = np.sort(np.min([_phases(steps) for steps in pictures], axis=0))
    return max(0.0, float((phases[-1] - phases[GRID // 2]) / (np.mean(pictures) + 0.5)))


def _phases(steps: NDArray[Any]) -> NDArray[Any]:
    """(GRID,) by how much the steps at each phase of the grid are over their neighbours'; zeros where there are too few cells."""
    # Subtract the mean of both neighbours: an edge of the picture's content is wider than one step, a grid's is not.
    excess = steps[1:-1] - (steps[:-2] + steps[2:]) / 2
    cells = len(excess) // GRID
    if cells < LEAST_CELLS:
        return np.zeros(GRID)
    # The upper of two medians: numpy's own takes five times as long for so few numbers.
    return np.asarray(np.sort(excess[: cells * GRID].reshape(cells, GRID), axis=0)[cells // 2])


def _gradients(plane: NDArray[Any], step: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """The squared gradients of a luma, and of the same luma after a Gaussian of 1 px; both flat, of every so many-th line."""
    return _squared_gradient(plane, step), _squared_gradient(np.asarray(cv2.GaussianBlur(plane, (7, 7), 1.0)), step)


def _squared_gradient(plane: NDArray[Any], step: int) -> NDArray[Any]:
    here = plane[:-1:step, :-1]
    across, down = plane[:-1:step, 1:] - here, plane[1::step, :-1] - here
    np.multiply(across, across, out=across)
    np.multiply(down, down, out=down)
    return np.asarray(np.add(across, down, out=across)).ravel()


@cache
def _noise_gains() -> tuple[float, float]:
    """The mean squared gradients of white noise with deviation 1, before and after the Gaussian: of a single pixel's answer."""
    impulse = np.zeros((17, 17), np.float32)
    impulse[8, 8] = 1
    before, after = _gradients(impulse, 1)
    return float(before.sum()), float(after.sum())
