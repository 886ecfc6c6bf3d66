"""Damage by lens, sensor and processing: focus, sharpening, ringing, enlargement, a mosaic, a rolling shutter, a blurred face, a
filmed screen."""

from __future__ import annotations

import random
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from scorer.sampling.faces import Face, FaceFinder
from training.data.damage.ladder import STEPS, Ladder
from training.data.damage.pictures import Picture, rewrite, shape_of
from training.data.degradations import NEAR_LOSSLESS
from training.data.ffmpeg import run_ffmpeg

RINGING_BORDER = 32
"""Mirrored border around a picture, px: a spectrum is cyclic, and the left edge must not ring at the right."""


def over_sharpening(step: int, source: Path, target: Path, seed: str) -> None:
    """Halos around every edge, and skin like leather: a camera's or an editor's sharpening set too high."""
    amounts = ((1.0,), (2.0,), (3.5,), (5.0,), (5.0, 2.0))[step]
    chain = ",".join(f"unsharp=7:7:{amount}:7:7:0" for amount in amounts)
    run_ffmpeg("-i", source, "-vf", chain, "-pix_fmt", "yuv420p", *NEAR_LOSSLESS, target)


def upscaling(step: int, source: Path, target: Path, seed: str) -> None:
    """A small picture sold as a large one: digital zoom, an old camera. The kernel is drawn by the seed."""
    share = (0.65, 0.45, 0.32, 0.23, 0.16)[step]
    shape = shape_of(source)
    small = [max(8, round(side * share / 2) * 2) for side in (shape.width, shape.height)]
    kernel = random.Random(f"upscaling/{seed}").choice(("bilinear", "bicubic", "lanczos", "neighbor"))  # noqa: S311
    chain = f"scale={small[0]}:{small[1]}:flags=area,scale={shape.width}:{shape.height}:flags={kernel}"
    run_ffmpeg("-i", source, "-vf", chain, "-pix_fmt", "yuv420p", *NEAR_LOSSLESS, target)


def pixelation(step: int, source: Path, target: Path, seed: str) -> None:
    """Squares of one colour each: a camera's digital zoom, a decoder that leaves out what is fine."""
    side = (2, 3, 4, 6, 10)[step]
    rng = random.Random(f"pixelation/{seed}")  # noqa: S311 - reproducible data, not secrets
    left, top = rng.randrange(side), rng.randrange(side)

    def change(picture: Picture, time: float) -> Picture:
        height, width = picture.shape[:2]
        below, right = -(top + height) % side, -(left + width) % side
        whole = cv2.copyMakeBorder(picture, top, below, left, right, cv2.BORDER_REPLICATE)
        rows, columns = whole.shape[0] // side, whole.shape[1] // side
        squares = whole.reshape(rows, side, columns, side, 3).mean(axis=(1, 3))
        coarse = np.rint(squares).astype(np.uint8).repeat(side, axis=0).repeat(side, axis=1)
        return coarse[top : top + height, left : left + width]

    rewrite(source, target, change)


def rolling_shutter(step: int, source: Path, target: Path, seed: str) -> None:
    """A camera that vibrates: its sensor reads line after line, so straight things wobble like jelly and heads lean."""
    share = (0.0012, 0.0027, 0.0052, 0.009, 0.016)[step]
    rng = random.Random(f"rolling-shutter/{seed}")  # noqa: S311
    shakes = [(rng.uniform(6, 22), rng.random(), strength) for strength in (0.7, 0.3)]
    shape = shape_of(source)
    column, row = (np.asarray(grid, np.float32) for grid in np.meshgrid(np.arange(shape.width), np.arange(shape.height)))
    # The lines are read one after another in the time that a picture has.
    late = row / (shape.height * float(shape.rate))

    def change(picture: Picture, time: float) -> Picture:
        reach = share * shape.height
        swing = sum(strength * np.sin(2 * np.pi * (rate * (time + late) + phase)) for rate, phase, strength in shakes)
        moved = np.asarray(column + reach * swing, np.float32)
        return cv2.remap(picture, moved, row, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT).astype(np.uint8)

    rewrite(source, target, change)


def autofocus_hunting(step: int, source: Path, target: Path, seed: str) -> None:
    """The focus is lost and found again, about once in a second."""
    share = (0.0025, 0.005, 0.009, 0.015, 0.025)[step]
    rng = random.Random(f"autofocus-hunting/{seed}")  # noqa: S311 - reproducible data, not secrets
    frequency, phase = rng.uniform(0.8, 1.3), rng.random()

    def change(picture: Picture, time: float) -> Picture:
        sigma = share * picture.shape[0] * (1 - np.cos(2 * np.pi * (frequency * time + phase))) / 2
        # Below a tenth of a pixel a blur changes nothing, and OpenCV refuses zero.
        return picture if sigma < 0.1 else cv2.GaussianBlur(picture, (0, 0), sigma).astype(np.uint8)

    rewrite(source, target, change)


def ringing(step: int, source: Path, target: Path, seed: str) -> None:
    """Ripples beside every edge: the fine detail cut off sharply, as by a scaler with a steep filter or an analogue chain."""
    share = (0.55, 0.4, 0.28, 0.2, 0.14)[step]

    def change(picture: Picture, time: float) -> Picture:
        planes = cv2.cvtColor(picture, cv2.COLOR_BGR2YCrCb)
        border = RINGING_BORDER
        luma = np.pad(planes[..., 0].astype(np.float32), border, mode="reflect")
        spectrum = np.fft.rfft2(luma)
        spectrum[np.abs(np.fft.fftfreq(luma.shape[0])) > share / 2] = 0
        spectrum[:, np.fft.rfftfreq(luma.shape[1]) > share / 2] = 0
        low = np.fft.irfft2(spectrum, luma.shape)[border:-border, border:-border]
        planes[..., 0] = np.clip(low + 0.5, 0, 255)
        return cv2.cvtColor(planes, cv2.COLOR_YCrCb2BGR).astype(np.uint8)

    rewrite(source, target, change)


def face_blur(step: int, source: Path, target: Path, seed: str) -> None:
    """The largest face out of focus, the rest sharp. Raises ValueError where the first picture has no face."""
    # In pixels, as in the ladder `blur`: VMAF, of which the targets are, sees pixels and not how large a face is.
    sigma = (0.65, 1.05, 1.6, 2.05, 2.7)[step]
    finder = FaceFinder()
    face: Face | None = None

    def change(picture: Picture, time: float) -> Picture:
        nonlocal face
        faces = finder.find(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))
        # Where the detector misses the face in a picture, it is where it was.
        face = faces[0] if faces else face
        if face is None:
            raise ValueError(f"{source}: there is no face in its first picture that could be blurred")
        x, y, width, height = face.box
        mask: NDArray[np.float32] = np.zeros(picture.shape[:2], np.float32)
        # A box of the detector ends at brow and chin, and a head is larger.
        centre = int(x + width / 2), int(y + 0.42 * height)
        cv2.ellipse(mask, centre, (int(0.62 * width), int(0.8 * height)), 0, 0, 360, 1.0, -1)
        mask = np.asarray(cv2.GaussianBlur(mask, (0, 0), 0.06 * height), np.float32)[..., None]
        blurred = cv2.GaussianBlur(picture, (0, 0), sigma)
        return np.rint(picture * (1 - mask) + blurred * mask).astype(np.uint8)

    rewrite(source, target, change)


def moire(step: int, source: Path, target: Path, seed: str) -> None:
    """A screen that is filmed: the grids of its pixels and of the camera's make a fine pattern, and waves of light and colour."""
    depth = (0.04, 0.09, 0.17, 0.28, 0.45)[step]
    rng = random.Random(f"moire/{seed}")  # noqa: S311 - reproducible data, not secrets
    pitch, angle, drift = rng.uniform(2.3, 3.4), rng.uniform(-0.2, 0.2), rng.uniform(0.2, 1.5)
    shape = shape_of(source)
    y, x = np.mgrid[: shape.height, : shape.width].astype(np.float32)
    along, across = (x * np.cos(angle) + y * np.sin(angle))[..., None], (y * np.cos(angle) - x * np.sin(angle))[..., None]
    # Red, green and blue lie beside each other on a screen.
    grid = np.sin(2 * np.pi * (along / pitch + np.arange(3) / 3)) * np.sin(2 * np.pi * across / pitch)
    length = rng.uniform(20, 60)

    def change(picture: Picture, time: float) -> Picture:
        waves = np.sin(2 * np.pi * (along / length + across / (1.7 * length) + drift * time + np.arange(3) / 8))
        return np.clip(picture * (1 + depth * (grid + 0.5 * waves)) + 0.5, 0, 255).astype(np.uint8)

    rewrite(source, target, change)


def lens_ladders() -> list[Ladder]:
    """The ladders of this module."""
    return [
        Ladder(
            "over-sharpening",
            "source",
            STEPS,
            (84.0, 71.0, 55.0, 44.0, 31.0),
            "declared",
            "VMAF rises with sharpening, all steps get 100; the targets are what its variant without that gain (vmaf_v0.6.1neg) "
            "gives, the mean of five people",
            over_sharpening,
        ),
        Ladder("upscaling", "source", STEPS, None, "vmaf", "VMAF was made for scaling", upscaling),
        Ladder(
            "pixelation", "source", STEPS, None, "vmaf", "as upscaling: detail is lost, and VMAF sees the squares", pixelation
        ),
        Ladder(
            "rolling-shutter",
            "source",
            STEPS,
            (88.0, 75.0, 61.0, 46.0, 32.0),
            "declared",
            "VMAF compares each place with what was there: a wobble of a few pixels that is hardly seen costs it most of its "
            "points, and more of it nothing",
            rolling_shutter,
        ),
        Ladder(
            "autofocus-hunting",
            "source",
            STEPS,
            None,
            "vmaf",
            "VMAF sees blur, and its mean over the pictures counts how long the focus is lost",
            autofocus_hunting,
        ),
        Ladder("ringing", "source", STEPS, None, "vmaf", "the ripples come with a loss of detail, which VMAF sees", ringing),
        Ladder(
            "face-blur",
            "source",
            STEPS,
            (87.0, 71.0, 52.0, 36.0, 18.0),
            "declared",
            "VMAF weighs the whole picture alike, and viewers look at the face: the targets are what VMAF gives to a "
            "whole picture that is blurred as much, the mean of nine people in pictures of 180 to 540 lines",
            face_blur,
        ),
        Ladder("moire", "source", STEPS, None, "vmaf", "the pattern is false detail, which VMAF sees", moire),
    ]
