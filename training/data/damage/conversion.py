"""Damage by a wrong conversion on the way in: colour, range, gamma, shape of the picture, interlacing, HDR shown as SDR."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from training.data.damage.ladder import STEPS, Ladder
from training.data.damage.pictures import DISPLAY_GAMMA, Picture, read, rewrite, shape_of, write
from training.data.degradations import NEAR_LOSSLESS
from training.data.ffmpeg import run_ffmpeg

BT709_TO_BT2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])
"""Linear RGB of BT.709 in the primaries of BT.2020 (ITU-R BT.2087)."""

HDR_STEPS = (("hlg", 1.0, False), ("hlg", 0.265, True), ("pq", 1000.0, True), ("pq", 203.0, True), ("pq", 100.0, True))
"""(curve, light of white, primaries of BT.2020). The light is HLG's share of its peak, or PQ's nits; 0.265 and 203 nits are the
reference white of ITU-R BT.2408."""


def wrong_colour_matrix(step: int, source: Path, target: Path, seed: str) -> None:
    """BT.601 and BT.709 mistaken for each other, once to five times: each converter that makes the mistake adds to it."""
    # The filter says what it has made, and a viewer told so would see the right colours again.
    named = "bt709" if shape_of(source).is_bt709 else "unknown"
    chain = ",".join([*["colormatrix=bt601:bt709"] * (step + 1), f"setparams=colorspace={named}"])
    run_ffmpeg("-i", source, "-vf", chain, "-pix_fmt", "yuv420p", *NEAR_LOSSLESS, target)


def wrong_range(step: int, source: Path, target: Path, seed: str) -> None:
    """Full and limited range mistaken for each other, once to five times: washed out, or blacks and whites cut off."""
    is_washed = random.Random(f"wrong-range/{seed}").random() < 0.5  # noqa: S311 - reproducible data, not secrets
    levels = np.arange(256, dtype=np.float64)
    for _ in range(step + 1):
        levels = np.clip(16 + levels * 219 / 255 if is_washed else (levels - 16) * 255 / 219, 0, 255)
    table = np.rint(levels).astype(np.uint8)
    _replace_levels(source, target, table)


def wrong_gamma(step: int, source: Path, target: Path, seed: str) -> None:
    """A curve that the display does not undo: middle tones sink into black or are washed out; black and white stay."""
    power = (1.2, 1.5, 1.95, 2.6, 3.6)[step]
    is_dark = random.Random(f"wrong-gamma/{seed}").random() < 0.5  # noqa: S311 - reproducible data, not secrets
    table = np.rint(255 * (np.arange(256) / 255) ** (power if is_dark else 1 / power)).astype(np.uint8)
    _replace_levels(source, target, table)


def coarse_colour(step: int, source: Path, target: Path, seed: str) -> None:
    """Colour with few lines and few columns, as of a video tape or of scalers one after another: it runs over the edges."""
    share = (0.009, 0.018, 0.034, 0.06, 0.1)[step]
    rng = random.Random(f"coarse-colour/{seed}")  # noqa: S311
    is_smooth, wide, shift = rng.random() < 0.6, rng.uniform(0.8, 2), rng.uniform(-0.3, 0.3)

    def change(picture: Picture, time: float) -> Picture:
        height, width = picture.shape[:2]
        side = max(2.0, share * height)
        planes = cv2.cvtColor(picture, cv2.COLOR_BGR2YCrCb)
        small = max(1, round(width / (wide * side))), max(1, round(height / side))
        coarse = cv2.resize(planes[..., 1:], small, interpolation=cv2.INTER_AREA)
        whole = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR if is_smooth else cv2.INTER_NEAREST)
        planes[..., 1:] = np.roll(whole, round(shift * wide * side), axis=1)
        return cv2.cvtColor(planes, cv2.COLOR_YCrCb2BGR).astype(np.uint8)

    rewrite(source, target, change)


def _replace_levels(source: Path, target: Path, table: Picture) -> None:
    """Write the clip with each level of its colours replaced. table: (256,) the new ones."""

    def change(picture: Picture, time: float) -> Picture:
        return table[picture]

    rewrite(source, target, change)


def wrong_aspect(step: int, source: Path, target: Path, seed: str) -> None:
    """The picture stretched, in width or in height as the seed has it; the last step is 16:9 out of 1:1."""
    ratio = (1.06, 1.14, 1.25, 1.42, 1.78)[step]
    shape = shape_of(source)
    is_wide = random.Random(f"wrong-aspect/{seed}").random() < 0.5  # noqa: S311 - reproducible data, not secrets
    # Cut what would not fit, and more below than above: heads are in the upper half.
    crop = f"iw:ih/{ratio}:0:(ih-oh)/4" if is_wide else f"iw/{ratio}:ih:(iw-ow)/2:0"
    chain = f"crop={crop}:exact=1,scale={shape.width}:{shape.height}:flags=bicubic,setsar=1"
    run_ffmpeg("-i", source, "-vf", chain, "-pix_fmt", "yuv420p", *NEAR_LOSSLESS, target)


def interlacing(step: int, source: Path, target: Path, seed: str) -> None:
    """Interlacing left in: every other line is of an earlier picture, so that what moves has combs."""
    # Talking heads move little: a longer time between the fields stands for faster motion.
    delay = (1, 2, 4, 7, 11)[step]

    def woven(pictures: Iterator[Picture]) -> Iterator[Picture]:
        earlier: deque[Picture] = deque(maxlen=delay + 1)
        for picture in pictures:
            earlier.append(picture)
            both = picture.copy()
            both[1::2] = earlier[0][1::2]
            yield both

    write(woven(read(source)), shape_of(source), target)


def hdr_as_sdr(step: int, source: Path, target: Path, seed: str) -> None:
    """HDR that is shown as if it were SDR: grey, flat, pale. From HLG, which was made to be shown so, to PQ at 100 nits."""
    curve, white, is_wide = HDR_STEPS[step]
    light = ((np.arange(256) / 255) ** DISPLAY_GAMMA).astype(np.float32)
    # The table's places are square roots of light: the curves are steep near black.
    places = np.linspace(0, 1, 4096) ** 2
    signal = hlg_signal(places * white) if curve == "hlg" else pq_signal(places * white)
    table = np.rint(255 * signal).astype(np.uint8)

    def change(picture: Picture, time: float) -> Picture:
        linear = light[picture]
        if is_wide:
            # Pictures are BGR, the matrix is RGB.
            linear = np.asarray(cv2.transform(linear, BT709_TO_BT2020[::-1, ::-1]), np.float32)
        return table[np.rint(np.sqrt(np.clip(linear, 0, 1)) * 4095).astype(np.int32)]

    rewrite(source, target, change)


def hlg_signal(light: NDArray[np.float64]) -> NDArray[np.float64]:
    """Signal 0-1 of scene light 0-1 by hybrid log-gamma, ITU-R BT.2100."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(light <= 1 / 12, np.sqrt(3 * light), a * np.log(np.maximum(12 * light - b, 1e-9)) + c)


def pq_signal(nits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Signal 0-1 of light 0-10,000 nits by the perceptual quantiser, SMPTE ST 2084."""
    m1, m2 = 2610 / 16384, 2523 / 4096 * 128
    c1, c2, c3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
    power = (nits / 10000) ** m1
    return ((c1 + c2 * power) / (1 + c3 * power)) ** m2


def conversion_ladders() -> list[Ladder]:
    """The ladders of this module."""
    return [
        Ladder(
            "wrong-colour-matrix",
            "source",
            STEPS,
            (93.0, 85.0, 76.0, 66.0, 56.0),
            "declared",
            "VMAF reads the luma only; one mistake is hardly seen without the original beside it, five make skin orange or green",
            wrong_colour_matrix,
        ),
        Ladder(
            "wrong-range",
            "source",
            STEPS,
            (91.0, 81.0, 70.0, 59.0, 47.0),
            "declared",
            "VMAF is nearly blind to contrast and colour; one mistake makes black grey or hides shadows, five leave half of the "
            "contrast, or half of the levels",
            wrong_range,
        ),
        Ladder(
            "wrong-gamma",
            "source",
            STEPS,
            (91.0, 79.0, 65.0, 50.0, 35.0),
            "declared",
            "VMAF is nearly blind to brightness; the targets are between those of `dark` and of the wrong range: the ends stay",
            wrong_gamma,
        ),
        Ladder(
            "coarse-colour",
            "source",
            STEPS,
            (93.0, 86.0, 77.0, 67.0, 56.0),
            "declared",
            "VMAF reads the luma only; the eye sees colour coarsely as well, so the first step is hardly seen; the last leaves "
            "spots of colour that have little to do with the picture",
            coarse_colour,
        ),
        Ladder(
            "wrong-aspect",
            "source",
            STEPS,
            (93.0, 82.0, 68.0, 52.0, 34.0),
            "declared",
            "a stretched picture cannot be laid over its reference; some 5 % are noticed in a face, 16:9 out of 1:1 at once",
            wrong_aspect,
        ),
        Ladder(
            "interlacing",
            "source",
            STEPS,
            None,
            "vmaf",
            "combs are false detail where something moves, which VMAF sees; how strong they are depends on the clip's motion",
            interlacing,
        ),
        Ladder(
            "hdr-as-sdr",
            "source",
            STEPS,
            (87.0, 75.0, 63.0, 51.0, 39.0),
            "declared",
            "VMAF is nearly blind to contrast and colour; the steps are in the order of the contrast that is left",
            hdr_as_sdr,
        ),
    ]
