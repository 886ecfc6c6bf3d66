"""A short hash of a picture, which is similar for pictures that look alike."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def fingerprint(picture: NDArray[np.uint8]) -> str:
    """Perceptual hash of an (H, W, 3) picture: 64 bits of its lowest frequencies (Zauner 2010), 16 hexadecimal digits."""
    import cv2  # a worker is ready before it needs it

    return bytes(cv2.img_hash.pHash(picture)[0]).hex()
