"""The image of the spatial stream: fragments of a picture at native resolution."""

from __future__ import annotations

import numpy as np

from scorer.sampling.images import Image
from scorer.spec import SamplerSpec


def fragments(image: Image, spec: SamplerSpec, index: int) -> Image:
    """(frame_size, frame_size, 3): a grid of native fragments of an (H, W, 3) picture, one from each cell of the picture.

    index: the frame's number in the clip. It decides where in its cell a fragment lies, by the R2 sequence (Roberts,
    2018), so that the frames of a clip show different places. A picture smaller than its fragments is continued by
    reflection.
    """
    side = spec.frame_size // spec.grid
    height, width = image.shape[:2]
    share_x, share_y = (0.5 + index * 0.7548776662) % 1, (0.5 + index * 0.5698402910) % 1
    rows = []
    for row in range(spec.grid):
        tiles = []
        for column in range(spec.grid):
            top, bottom = height * row // spec.grid, height * (row + 1) // spec.grid
            left, right = width * column // spec.grid, width * (column + 1) // spec.grid
            y = top + round(max(0, bottom - top - side) * share_y)
            x = left + round(max(0, right - left - side) * share_x)
            y, x = min(y, max(0, height - side)), min(x, max(0, width - side))
            tile = image[y : y + side, x : x + side]
            below, beside = side - tile.shape[0], side - tile.shape[1]
            tiles.append(np.pad(tile, ((0, below), (0, beside), (0, 0)), mode="symmetric") if below or beside else tile)
        rows.append(np.concatenate(tiles, axis=1))
    return np.ascontiguousarray(np.concatenate(rows, axis=0))
