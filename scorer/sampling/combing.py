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

MIDDLE_LINES = 576
"""Lines in the middle of a picture in which `woven` looks: faces are there, and higher pictures would cost more."""

LEAST_BLOCKS = 12
"""Fewer blocks with strong combing prove nothing."""

LEAST_MOVING = 0.8
"""Least share of these blocks whose brightness changes by more than `WEAK`: where nothing moves are stripes, and no combing."""

LEAST_AGREEMENT, LEAST_CORRELATION = 0.7, 0.5
"""Of combing and movement in these blocks: least share with the same sign, and correlation. Real combing has 0.75 and 0.6."""

MOST_COMBING = 2.0
"""Largest ratio of combing to movement: the field between two pictures differs by about half of what both differ."""


def combed(luma: Image) -> Mask | None:
    """Where the two fields of an (H, W) luma show different moments, (H, W) booleans; None where the picture is not combed.

    The second field is compared with what the first field's lines above and below make of it. Where something moved
    between the fields, all lines of a block differ to the same side; in a progressive picture the sides alternate.
    """
    height, width = luma.shape
    if height < BLOCK[1] or width < BLOCK[0]:
        return None
    difference, size = _field_differences(luma)
    mean = _means(difference, size)
    amount, square = np.abs(mean), mean * mean
    if np.count_nonzero(amount > STRONG) < LEAST_SHARE * mean.size:
        return None
    energy = _means(cv2.multiply(difference, difference), size)
    if np.count_nonzero((amount > STRONG) & (square > STRONG_COHERENCE * energy)) < LEAST_SHARE * mean.size:
        return None
    blocks = ((amount > WEAK) & (square > WEAK_COHERENCE * energy)).astype(np.uint8)
    mended = np.asarray(cv2.dilate(blocks, MARGIN), np.bool_)
    return mended.repeat(BLOCK[1], axis=0).repeat(BLOCK[0], axis=1)[:height, :width]


def woven(before: Image, luma: Image) -> bool:
    """Whether the fields of an (H, W) luma certainly show two moments, told from the luma of the picture before.

    Stripes look like combing in a single picture. But combing comes from movement: where the later field is brighter, the
    picture grows brighter, and where it is darker, darker. In stripes that move, the two have nothing to do with each other.
    """
    height, width = luma.shape
    if before.shape != luma.shape or height < BLOCK[1] or width < BLOCK[0]:
        return False
    difference, size = _field_differences(luma)
    mean = _means(difference, size)
    # Nearly every progressive picture is done here, or at the next return.
    strong = np.abs(mean) > STRONG
    if np.count_nonzero(strong) < LEAST_BLOCKS:
        return False
    energy = _means(cv2.multiply(difference, difference), size)
    strong &= mean * mean > STRONG_COHERENCE * energy
    if np.count_nonzero(strong) < LEAST_BLOCKS:
        return False
    change = _block_means(luma) - _block_means(before)
    moving = strong & (np.abs(change) > WEAK)
    count = np.count_nonzero(moving)
    if count < max(LEAST_BLOCKS, LEAST_MOVING * np.count_nonzero(strong)):
        return False
    combing, movement = mean[moving], change[moving]
    sizes = cv2.norm(combing), cv2.norm(movement)
    correlation = float(combing @ movement) / (sizes[0] * sizes[1])
    if abs(correlation) < LEAST_CORRELATION or sizes[0] > MOST_COMBING * sizes[1]:
        return False
    # Each sign of movement by itself: a fade over stripes changes all blocks to one side.
    agrees = (combing * movement > 0) == (correlation > 0)
    shares = [float(agrees[side].mean()) if side.any() else 0.0 for side in (movement > 0, movement < 0)]
    return min(shares) >= LEAST_AGREEMENT


def middle(luma: Image) -> Image:
    """The lines of an (H, W) luma in which `woven` looks; the first one is of the first field."""
    top = max(0, len(luma) - MIDDLE_LINES) // 4 * 2
    return luma[top : top + MIDDLE_LINES]


def _field_differences(luma: Image) -> tuple[Image, tuple[int, int]]:
    """The second field's difference from the first field's lines around it, float32, and the number of blocks across and down."""
    width = luma.shape[1]
    first, second = luma[0::2], luma[1::2]
    below = np.concatenate([first[1:], first[-1:]])[: len(second)]
    difference = cv2.addWeighted(first[: len(second)], -0.5, below, -0.5, 0, dtype=cv2.CV_32F)
    difference = cv2.add(difference, second, dtype=cv2.CV_32F)
    columns, rows = _blocks(luma)
    return _extended(difference, rows * BLOCK[1] // 2 - len(difference), columns * BLOCK[0] - width), (columns, rows)


def _block_means(luma: Image) -> Image:
    """The mean of each block, float32."""
    height, width = luma.shape
    columns, rows = _blocks(luma)
    whole = _extended(luma, rows * BLOCK[1] - height, columns * BLOCK[0] - width)
    return _means(whole.astype(np.float32), (columns, rows))


def _means(plane: Image, size: tuple[int, int]) -> Image:
    """The means of a plane's parts, size (across, down) of them."""
    return np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_AREA))


def _extended(plane: Image, below: int, beside: int) -> Image:
    """The plane with its last line and column repeated to whole blocks."""
    return cv2.copyMakeBorder(plane, 0, below, 0, beside, cv2.BORDER_REPLICATE) if below or beside else plane


def _blocks(luma: Image) -> tuple[int, int]:
    """The number of blocks across and down."""
    height, width = luma.shape
    return -(-width // BLOCK[0]), -(-height // BLOCK[1])


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
