"""What people wear, and what their cameras' software does to them before anything is sent: it belongs to the reference."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from training.data.scenes.material import Floats, Pixels
from training.data.scenes.shot import Set, Shot, Tile

MELANIN = np.array([0.30, 0.52, 0.80], np.float32)
"""Absorption of red, green and blue light by melanin, relative to each other: it falls with the wavelength (Jacques,
Phys. Med. Biol. 2013, gives a power of about -3.3). The factor of a reflectance is exp(-amount * absorption), after Beer and
Lambert."""


def skin(picture: Floats) -> Floats:
    """(H, W), 0-1: how much each pixel of an RGB picture has the colour of skin, of any tone. Soft, without holes."""
    r, g, b = (cv2.GaussianBlur(picture[..., channel], (0, 0), 1.5) for channel in range(3))
    light = np.maximum(r + g + b, 1.0)
    # Skin of all tones is a narrow band of hues: red over green over blue.
    red, green = r / light, g / light
    distance = ((red - 0.43) / 0.075) ** 2 + ((green - 0.315) / 0.03) ** 2
    return np.asarray(np.clip(1.6 - distance, 0, 1) * np.clip((light - 45) / 60, 0, 1), np.float32)


def _skin_tone(tile: Tile, stage: Set) -> Shot:
    """Less or more melanin in the skin; the lights on it stay."""
    amount = float(stage.rng.uniform(0.5, 1.5)) if stage.rng.random() < 0.75 else float(stage.rng.uniform(-0.35, -0.15))
    # The encoded picture is about the root of light.
    factor = np.exp(-amount * MELANIN / 2)

    def picture(number: int) -> Floats:
        shown = tile.picture(number)
        highlight = np.clip((shown.min(-1) - 190) / 50, 0, 1)
        weight = (skin(shown) * tile.matte(number) * (1 - highlight))[..., None]
        weight = cv2.GaussianBlur(weight, (0, 0), 1.0)[..., None]
        return np.clip(shown * (1 + weight * (factor - 1)), 0, 255).astype(np.float32)

    return picture


def _beauty(tile: Tile, stage: Set) -> Shot:
    """A beauty filter: skin without pores, eyes and mouth untouched."""
    strength = float(stage.rng.uniform(0.5, 0.9))

    def picture(number: int) -> Floats:
        shown = tile.picture(number)
        weight = (skin(shown) * tile.matte(number) * strength)[..., None]
        smooth = cv2.bilateralFilter(shown, 7, 22, 5)
        return np.asarray(shown + weight * (smooth - shown), np.float32)

    return picture


def _paint(shown: Floats, alpha: Floats, tone: NDArray[np.float32] | Floats) -> Floats:
    return np.asarray(shown * (1 - alpha[..., None]) + tone * alpha[..., None], np.float32)


def _share(drawn: Pixels) -> Floats:
    """What was drawn, 0-1. It is drawn in 8 bits: OpenCV smooths edges in no other type."""
    return np.asarray(drawn, np.float32) / np.float32(255)


def _curve(points: NDArray[np.float64]) -> NDArray[np.int32]:
    """Points for OpenCV, in sixteenths of a pixel."""
    return np.rint(points * 16).astype(np.int32)[:, None]


def _axes(points: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], float]:
    """(middle of the eyes, unit vector to the right, unit vector down, distance of the eyes in px) of a face."""
    left, right = points[0].astype(float), points[1].astype(float)
    along = right - left
    distance = max(1.0, float(np.hypot(*along)))
    along /= distance
    return (left + right) / 2, along, np.array([-along[1], along[0]]), distance


def _glasses(tile: Tile, stage: Set) -> Shot:
    """Glasses: two rims, a bridge, arms, lenses that are clear or tinted."""
    rng = stage.rng
    tone = np.array(rng.choice([[18, 18, 20], [70, 44, 26], [150, 150, 158], [120, 24, 30]]), np.float32)
    tint = 0.75 if rng.random() < 0.25 else 0.08
    roundness = float(rng.choice([2.0, 4.0]))

    def picture(number: int) -> Floats:
        shown, points = tile.picture(number), tile.points(number)
        if points is None:
            return shown
        middle, along, down, distance = _axes(points)
        rims, lenses = np.zeros(shown.shape[:2], np.uint8), np.zeros(shown.shape[:2], np.uint8)
        thick = max(1, round(0.055 * distance))
        turn = np.linspace(0, 2 * np.pi, 48)
        for side in (-1, 1):
            # A superellipse: 2 is round, 4 nearly square.
            x = np.sign(np.cos(turn)) * np.abs(np.cos(turn)) ** (2 / roundness) * 0.41 * distance
            y = np.sign(np.sin(turn)) * np.abs(np.sin(turn)) ** (2 / roundness) * 0.32 * distance
            outline = middle + side * 0.5 * distance * along + x[:, None] * along + (y[:, None] + 0.06 * distance) * down
            cv2.fillPoly(lenses, [_curve(outline)], 255, cv2.LINE_AA, 4)
            cv2.polylines(rims, [_curve(outline)], True, 255, thick, cv2.LINE_AA, 4)
            arm = np.array(
                [middle + side * 0.91 * distance * along, middle + side * 1.12 * distance * along - 0.03 * distance * down]
            )
            cv2.polylines(rims, [_curve(arm)], False, 255, thick, cv2.LINE_AA, 4)
        bridge = np.array([middle - 0.1 * distance * along, middle - 0.05 * distance * down, middle + 0.1 * distance * along])
        cv2.polylines(rims, [_curve(bridge)], False, 255, thick, cv2.LINE_AA, 4)
        return _paint(_paint(shown, _share(lenses) * tint, np.full(3, 24, np.float32)), _share(rims), tone)

    return picture


def _mask(tile: Tile, stage: Set) -> Shot:
    """A mask over mouth and nose, with the face's own shading on it."""
    tone = np.array(stage.rng.choice([[150, 196, 220], [238, 238, 236], [40, 42, 46], [196, 150, 160]]), np.float32)

    def picture(number: int) -> Floats:
        shown, points = tile.picture(number), tile.points(number)
        if points is None:
            return shown
        middle, along, down, distance = _axes(points)
        nose, mouth = (points[2].astype(float) - middle) @ down, (points[3].astype(float) - middle) @ down
        shift = 0.5 * (points[2].astype(float) + points[3].astype(float) - 2 * middle) @ along * along
        top, bottom = 0.7 * nose, mouth + 0.62 * distance
        shape = [(-0.82, top + 0.1 * distance), (0, top), (0.82, top + 0.1 * distance), (0.72, mouth + 0.1 * distance),
                 (0.32, bottom),                 (-0.32, bottom), (-0.72, mouth + 0.1 * distance)]  # fmt: skip
        outline = np.array([middle + shift + x * distance * along + y * down for x, y in shape])
        alpha = np.zeros(shown.shape[:2], np.uint8)
        cv2.fillPoly(alpha, [_curve(outline)], 255, cv2.LINE_AA, 4)
        folds = np.zeros(shown.shape[:2], np.uint8)
        for share in (0.35, 0.55, 0.75):
            y = top + share * (bottom - top)
            fold = np.array(
                [middle + shift + x * distance * along + (y + 0.05 * distance * (1 - x * x)) * down for x in (-0.66, 0, 0.66)]
            )
            cv2.polylines(folds, [_curve(fold)], False, 255, max(1, round(0.02 * distance)), cv2.LINE_AA, 4)
        shading = cv2.GaussianBlur(shown.mean(-1), (0, 0), max(1.0, 0.18 * distance))[..., None]
        weight = alpha > 127
        level = float(shading[weight].mean()) if weight.any() else 128.0
        cloth = np.clip(tone * (0.55 + 0.45 * shading / max(level, 1.0)) * (1 - 0.18 * _share(folds)[..., None]), 0, 255)
        return _paint(shown, _share(alpha) * np.float32(0.97), np.asarray(cloth * min(1.0, 0.35 + level / 170), np.float32))

    return picture


WORN: dict[str, Callable[[Tile, Set], Shot]] = {"skin-tone": _skin_tone, "beauty": _beauty, "glasses": _glasses, "mask": _mask}
"""Name -> function of (tile, set) that gives the tile's pictures with it."""
