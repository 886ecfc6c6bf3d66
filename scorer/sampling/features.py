"""Features of one picture: natural-scene statistics, edges, coding grid, noise, light and colour.

Each tuple of names below lists the features of one function, in order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from scorer.sampling.images import Image
from scorer.sampling.sorts import median, percentiles

Plane = NDArray[Any]
"""(H, W) float32: luma 0-255, or coefficients made from it. `Any`, because OpenCV's type stubs do not say float32."""

GGD = ("ggd_shape", "ggd_variance")
SCENE = (*GGD, *(f"{pair}_{name}" for pair in ("h", "v", "d1", "d2") for name in ("shape", "mean", "left", "right")))
EDGES = (
    "gradient_p50",
    "gradient_p75",
    "gradient_p90",
    "gradient_p99",
    "laplacian_p50",
    "laplacian_p90",
    "laplacian_p99",
    "laplacian_std",
)
LIGHT = ("luma_mean", "luma_std", "dark_share", "bright_share")
COLOUR = ("saturation", "colourfulness", "red_green", "yellow_blue")

BLACK_LUMA = 24
"""A pixel with at most this 8-bit luma is black: limited-range black is 16, and codecs add a few levels."""

BRIGHT_LUMA = 240
"""A pixel with at least this 8-bit luma is bright."""

STRIDE = 13
"""Percentiles are taken over every 13th pixel: prime, so that the sample hits all phases of a coding grid and all columns."""


def scene_features(plane: Plane) -> list[float]:
    """`SCENE`: shape and variance of the MSCN coefficients; shape, mean, left and right deviation of neighbours' products.

    plane: luma, H and W >= 8. After Mittal, Moorthy and Bovik, BRISQUE, IEEE TIP 2012.
    """
    coefficients = mscn(plane)
    features = ggd_features(coefficients)
    c = coefficients
    for product in (c[:, :-1] * c[:, 1:], c[:-1] * c[1:], c[:-1, :-1] * c[1:, 1:], c[:-1, 1:] * c[1:, :-1]):
        features += _aggd_features(product)
    return features


def mscn(plane: Plane) -> Plane:
    """Mean-subtracted, contrast-normalised luma: (plane - local mean) / (local deviation + 1), 7x7 Gaussian window."""
    squares = np.square(plane)
    mean: Plane = cv2.GaussianBlur(plane, (7, 7), 7 / 6)
    deviation: Plane = cv2.GaussianBlur(squares, (7, 7), 7 / 6)
    # In place: a new array for each step would not fit into the processor's cache.
    deviation -= np.square(mean, out=squares)
    cv2.sqrt(np.maximum(deviation, 0, out=deviation), deviation)
    deviation += 1
    return np.divide(np.subtract(plane, mean, out=mean), deviation, out=mean)


def ggd_features(coefficients: Plane) -> list[float]:
    """`GGD`: shape and variance of the generalised Gaussian distribution that fits the coefficients, by moments."""
    variance = cv2.norm(coefficients, cv2.NORM_L2SQR) / coefficients.size
    if variance < 1e-8:
        return [10.0, 0.0]
    absolute = cv2.norm(coefficients, cv2.NORM_L1) / coefficients.size
    return [_shape_of(absolute * absolute / variance), variance]


def edge_features(plane: Plane) -> list[float]:
    """`EDGES`: log(1 + percentile) of the gradient's and of the Laplacian's size, and the Laplacian's standard deviation."""
    dx, dy = cv2.Sobel(plane, cv2.CV_32F, 1, 0, ksize=3), cv2.Sobel(plane, cv2.CV_32F, 0, 1, ksize=3)
    laplacian = cv2.Laplacian(plane, cv2.CV_32F)
    gradients = np.hypot(dx.ravel()[::STRIDE], dy.ravel()[::STRIDE])
    edges = np.abs(laplacian.ravel()[::STRIDE])
    return [
        *np.log1p(percentiles(gradients, (50, 75, 90, 99))).tolist(),
        *np.log1p(percentiles(edges, (50, 90, 99))).tolist(),
        float(cv2.meanStdDev(laplacian)[1][0, 0]),
    ]


def blockiness(luma: Image, period: int) -> float:
    """Strength of a coding grid of that period, 0 (none) upwards; slightly under 0 by chance.

    It is how much larger the steps between neighbours are at the grid's strongest phase than elsewhere, relative to the
    mean step. luma: (H, W) uint8, H and W >= 2 * period. After Wang, Bovik and Evans, ICIP 2000, in the pixel domain;
    all phases are tried, because crops and scaled pictures do not start on the grid.
    """
    return grid_strengths(luma, (period,))[0]


def grid_strengths(luma: Image, periods: Sequence[int]) -> list[float]:
    """`blockiness` of each of the periods."""
    across, down = cv2.absdiff(luma[:, 1:], luma[:, :-1]), cv2.absdiff(luma[1:], luma[:-1])
    directions = (
        cv2.reduce(across, 0, cv2.REDUCE_AVG, dtype=cv2.CV_32F).ravel(),
        cv2.reduce(down, 1, cv2.REDUCE_AVG, dtype=cv2.CV_32F).ravel(),
    )
    return [_grid_strength(directions, period) for period in periods]


def _grid_strength(directions: Sequence[Plane], period: int) -> float:
    """The mean over both directions. directions: for each the mean step at each place."""
    strengths = []
    for steps in directions:
        # Subtract the mean of both neighbours: an edge of the picture's content is wider than one step, a grid's is not.
        excess = steps[1:-1] - (steps[:-2] + steps[2:]) / 2
        usable = len(excess) // period * period
        if usable < period:
            return 0.0
        phases = np.sort(median(excess[:usable].reshape(-1, period)))
        strengths.append((phases[-1] - median(phases)) / (steps.mean() + 0.5))
    return float(np.mean(strengths))


def noise_level(plane: Plane) -> float:
    """Standard deviation of noise, 8-bit levels, estimated in the flattest fifth of the 8x8 blocks. plane: luma.

    The mask is Immerkaer's (Fast noise variance estimation, 1996). Its response is 0 where luma is flat or rises evenly.
    """
    mask = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    response: Plane = cv2.filter2D(plane, cv2.CV_32F, mask)
    np.abs(response, out=response)
    height, width = (side // 8 * 8 for side in plane.shape)
    blocks = cv2.resize(response[:height, :width], (width // 8, height // 8), interpolation=cv2.INTER_AREA).ravel()
    flattest = np.sort(blocks)[: max(1, len(blocks) // 5)]
    return float(np.sqrt(np.pi / 2) / 6 * flattest.mean())


def light_features(luma: Image) -> list[float]:
    """`LIGHT`: mean and standard deviation of an (H, W) uint8 luma, and its shares of black and of bright pixels, 0-1.

    Of at most 2^24 pixels: OpenCV counts in float32, five times as fast as numpy.
    """
    mean, deviation = cv2.meanStdDev(luma)
    shares = cv2.calcHist([luma], [0], None, [256], [0, 256]).ravel().astype(np.float64) / luma.size
    return [float(mean[0, 0]), float(deviation[0, 0]), float(shares[: BLACK_LUMA + 1].sum()), float(shares[BRIGHT_LUMA:].sum())]


def colour_features(image: Image) -> list[float]:
    """`COLOUR`: mean saturation, colourfulness, and the means of both opponent colours, of an (H, W, 3) uint8 RGB picture.

    Colourfulness is after Hasler and Suesstrunk, 2003.
    """
    small = cv2.resize(image, (64, 64), interpolation=cv2.INTER_AREA).astype(np.float32)
    red, green, blue = cv2.split(small)
    opponents = cv2.merge((red - green, (red + green) / 2 - blue))
    means, deviations = (column.ravel().tolist() for column in cv2.meanStdDev(opponents))
    colourfulness = math.hypot(*deviations) + 0.3 * math.hypot(*means)
    # Numpy takes ten times as long for the largest of three neighbours.
    saturation = cv2.mean(cv2.max(cv2.max(red, green), blue) - cv2.min(cv2.min(red, green), blue))[0]
    return [saturation, colourfulness, *means]


def _aggd_features(products: Plane) -> list[float]:
    """Shape, mean, left and right deviation of the asymmetric generalised Gaussian distribution that fits, by moments."""
    negative = np.minimum(products, 0)
    below = cv2.countNonZero(negative)
    total, left_sum = cv2.norm(products, cv2.NORM_L2SQR), cv2.norm(negative, cv2.NORM_L2SQR)
    if total < 1e-8 * products.size:
        return [10.0, 0.0, 0.0, 0.0]
    left = np.sqrt(left_sum / max(1, below))
    right = np.sqrt(max(0.0, total - left_sum) / max(1, products.size - below))
    absolute = cv2.norm(products, cv2.NORM_L1) / products.size
    balance = left / (right + 1e-8)
    ratio = absolute * absolute / (total / products.size)
    ratio *= (balance**3 + 1) * (balance + 1) / (balance**2 + 1) ** 2
    return [_shape_of(float(ratio)), cv2.mean(products)[0], float(left), float(right)]


def _shape_of(ratio: float) -> float:
    ratios, shapes = _shape_table()
    return float(np.interp(ratio, ratios, shapes))


@cache
def _shape_table() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(ratios, shapes): E[|x|]^2 / E[x^2] of a generalised Gaussian for each shape, both ascending."""
    shapes = np.arange(0.2, 10.0, 0.01)
    ratios = np.array([math.gamma(2 / a) ** 2 / (math.gamma(1 / a) * math.gamma(3 / a)) for a in shapes])
    return ratios, shapes
