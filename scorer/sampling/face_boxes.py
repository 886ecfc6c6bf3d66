"""From the numbers of MediaPipe's face model to faces: the same arithmetic as MediaPipe's, in 32 bits too."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

SIDE = 192
"""The model's picture is (SIDE, SIDE)."""

GRID = 48
"""The model looks for a face around the centre of each of GRID x GRID squares."""

LEAST_LOGIT = 0.0
"""Below it, a confidence of .5, there is no face."""

OVERLAP = 0.3
"""Boxes that overlap by more than this (intersection over union) are one face."""

_CENTRES = ((np.stack(np.meshgrid(np.arange(GRID), np.arange(GRID)), axis=-1) + 0.5) / GRID).reshape(-1, 2).astype(np.float32)
"""(GRID * GRID, 2): x and y of the squares' centres, as shares of the model's picture."""


def decode_faces(boxes: Floats, logits: Floats) -> tuple[Floats, Floats, Floats]:
    """The faces in the model's picture, the surest first: left and top (N, 2), width and height (N, 2), points (N, 6, 2).

    All as shares of the picture, and maybe outside of it. boxes: (16, GRID, GRID), centre, size and six points in px, relative to
    each square's centre. logits: (1, GRID, GRID).
    """
    sure = np.flatnonzero(logits >= LEAST_LOGIT)
    numbers = boxes.reshape(16, -1)[:, sure].T / np.float32(SIDE)
    centres, half = numbers[:, :2] + _CENTRES[sure], numbers[:, 2:4] / 2
    # For each box: left, top, right, bottom, then x and y of six points.
    numbers = np.concatenate([centres - half, centres + half, numbers[:, 4:] + np.tile(_CENTRES[sure], 6)], axis=1)
    real = (half >= 0).all(axis=1)
    numbers, scores = numbers[real], (1 / (1 + np.exp(-logits.reshape(-1)[sure][real]))).astype(np.float32)
    faces = [np.average(numbers[group], axis=0, weights=scores[group]) for group in _faces_of(numbers[:, :4], scores)]
    merged = np.array(faces, np.float32).reshape(-1, 16)
    return merged[:, :2], merged[:, 2:4] - merged[:, :2], merged[:, 4:].reshape(-1, 6, 2)


def _faces_of(corners: Floats, scores: Floats) -> Iterator[NDArray[np.intp]]:
    """Which boxes are of one face: the surest box and all that overlap it, then the surest of the others, and so on."""
    left = np.argsort(-scores, kind="stable")
    while len(left):
        overlaps = _overlaps(corners[left[0]], corners[left]) > OVERLAP
        if not overlaps.any():
            # A box without an area does not overlap even itself, and MediaPipe ends with it.
            yield left[:1]
            return
        yield left[overlaps]
        left = left[~overlaps]


def _overlaps(box: Floats, others: Floats) -> Floats:
    """Intersection over union of a box with each of (N, 4) others, 0 where they have no area."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    shared = np.clip(sides, 0, None).prod(axis=1)
    union = (box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(axis=1) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
