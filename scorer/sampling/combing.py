"""Interlaced pictures: where both fields show different moments, and the picture of one moment that a viewer sees."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from scorer.sampling.images import Image, scaled_down

Mask = NDArray[np.bool_]

BLOCK = (4, 8)
"""Width and height, px, of the blocks in which combing is looked for."""

STRONG, WEAK = 6.0, 2.0
"""Least mean difference of the fields, 8-bit levels: of a block that shows combing; of one that is mended in a combed picture."""

STRONG_COHERENCE, WEAK_COHERENCE = 0.75, 0.4
"""Least (mean difference)^2 / mean (difference^2) of such blocks: 1 where all lines differ alike, near 0 in noise."""

MARGIN = np.ones((5, 9), np.uint8)
"""Blocks (down, across) around a combed one that are mended with it: combing ends softly, and small movement shows no combing."""

LEAST_SHARE = 0.001
"""A picture with a smaller share of blocks with strong combing is left as it is."""


def combed(luma: Image) -> Mask | None:
    """Where the two fields of an (H, W) luma show different moments, (H, W) booleans; None where the picture is not combed.

    The second field is compared with what the first field's lines above and below make of it. Where something moved
    between the fields, all lines of a block differ to the same side; in a progressive picture the sides alternate.
    """
    height, width = luma.shape
    if height < BLOCK[1] or width < BLOCK[0]:
        return None
    first, second = luma[0::2], luma[1::2]
    below = np.concatenate([first[1:], first[-1:]])[: len(second)]
    difference = cv2.addWeighted(first[: len(second)], -0.5, below, -0.5, 0, dtype=cv2.CV_32F)
    difference = cv2.add(difference, second, dtype=cv2.CV_32F)
    columns, rows = -(-width // BLOCK[0]), -(-height // BLOCK[1])
    rest = rows * BLOCK[1] // 2 - len(difference), columns * BLOCK[0] - width
    difference = cv2.copyMakeBorder(difference, 0, rest[0], 0, rest[1], cv2.BORDER_REPLICATE)
    mean = cv2.resize(difference, (columns, rows), interpolation=cv2.INTER_AREA)
    energy = cv2.resize(cv2.multiply(difference, difference), (columns, rows), interpolation=cv2.INTER_AREA)
    amount, square = np.abs(mean), mean * mean
    if np.count_nonzero((amount > STRONG) & (square > STRONG_COHERENCE * energy)) < LEAST_SHARE * mean.size:
        return None
    blocks = ((amount > WEAK) & (square > WEAK_COHERENCE * energy)).astype(np.uint8)
    mended = np.asarray(cv2.dilate(blocks, MARGIN), np.bool_)
    return mended.repeat(BLOCK[1], axis=0).repeat(BLOCK[0], axis=1)[:height, :width]


def deinterlaced(picture: Image, field: Image, mask: Mask) -> Image:
    """The (H, W, 3) picture with its combed places taken from the first field alone; elsewhere it keeps the lines of both.

    field: (H / 2, W, 3), the lines of the first field. mask: (H, W).
    """
    return np.where(mask[..., None], _between_lines(field, len(picture)), picture)


def small_deinterlaced(luma: Image, mask: Mask, size: tuple[int, int]) -> Image:
    """An (H, W) luma at size (width, height) px, made like `deinterlaced`."""
    share = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    mixed = scaled_down(luma, size) * (1 - share) + scaled_down(luma[0::2], size) * share
    return np.asarray(np.rint(mixed), np.uint8)


def _between_lines(field: Image, height: int) -> Image:
    """A picture of `height` lines from every second one. A missing line is the cubic (Catmull-Rom) of two above and two below."""
    lines = np.pad(field, ((1, 2), (0, 0), (0, 0)), "edge")
    # 16-bit sums: the far lines are taken away from more than 255.
    near = cv2.addWeighted(lines[1:-2], 9 / 16, lines[2:-1], 9 / 16, 0, dtype=cv2.CV_16S)
    far = cv2.addWeighted(lines[:-3], 1 / 16, lines[3:], 1 / 16, 0, dtype=cv2.CV_16S)
    picture = np.empty((2 * len(field), *field.shape[1:]), np.uint8)
    picture[0::2], picture[1::2] = field, np.clip(near - far, 0, 255)
    return picture[:height]
