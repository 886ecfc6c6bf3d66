"""Damage by light and exposure: bands, flicker, backlight, hunting for exposure or white balance, a sensor in the dark."""

from __future__ import annotations

import random
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from scorer.sampling.portrait import PersonMatte
from training.data.damage.ladder import STEPS, Damage, Ladder
from training.data.damage.pictures import Picture, multiply_light, rewrite

BLIND = "VMAF is nearly blind to brightness and colour: "


def mains_banding(step: int, source: Path, target: Path, seed: str) -> None:
    """Soft dark and bright bands that drift: a rolling shutter under lamps that pulse with the mains."""
    depth = (0.14, 0.26, 0.42, 0.6, 0.8)[step]
    rng = random.Random(f"mains-banding/{seed}")  # noqa: S311 - reproducible data, not secrets
    bands, drift, phase = rng.uniform(1.5, 4), rng.choice((-1, 1)) * rng.uniform(0.1, 1.5), rng.random()

    def change(picture: Picture, time: float) -> Picture:
        wave = np.sin(2 * np.pi * (bands * _rows(picture) + drift * time + phase))
        return multiply_light(picture, 1 + depth * wave)

    rewrite(source, target, change)


def rolling_bands(step: int, source: Path, target: Path, seed: str) -> None:
    """Dark bars with hard edges that roll through the picture: dimmed LED light, or a screen that is filmed."""
    depth = (0.2, 0.36, 0.54, 0.72, 0.9)[step]
    rng = random.Random(f"rolling-bands/{seed}")  # noqa: S311
    bands, speed, phase, width = rng.uniform(1, 3), rng.uniform(0.5, 2), rng.random(), rng.uniform(0.3, 0.5)

    def change(picture: Picture, time: float) -> Picture:
        place = (bands * _rows(picture) + speed * time + phase) % 1
        bar = np.clip((width / 2 - np.abs(place - 0.5)) * 25, 0, 1)
        return multiply_light(picture, 1 - depth * bar)

    rewrite(source, target, change)


def flicker(step: int, source: Path, target: Path, seed: str) -> None:
    """All of the picture is brighter and darker several times in a second: lamps that flicker, an exposure that never settles."""
    stops = (0.1, 0.2, 0.36, 0.62, 1.0)[step]
    rng = random.Random(f"flicker/{seed}")  # noqa: S311
    frequency, phase, unrest = rng.uniform(3, 14), rng.random(), rng.uniform(0, 0.6)

    def change(picture: Picture, time: float) -> Picture:
        wave = np.sin(2 * np.pi * (frequency * time + phase))
        return multiply_light(picture, 2.0 ** (stops * ((1 - unrest) * wave + unrest * rng.uniform(-1.5, 1.5))))

    rewrite(source, target, change)


def exposure_hunting(step: int, source: Path, target: Path, seed: str) -> None:
    """The exposure swings around the right one."""
    stops = (0.25, 0.5, 0.85, 1.3, 1.9)[step]
    swing = _Swing("exposure-hunting", seed)
    rewrite(source, target, lambda picture, time: multiply_light(picture, 2.0 ** (stops * swing.at(time))))


def white_balance_hunting(step: int, source: Path, target: Path, seed: str) -> None:
    """The white balance swings between blue and orange."""
    stops = (0.15, 0.3, 0.5, 0.8, 1.2)[step]
    swing = _Swing("white-balance-hunting", seed)

    def change(picture: Picture, time: float) -> Picture:
        warmth = stops * swing.at(time)
        return multiply_light(picture, np.array([2.0**-warmth, 1.0, 2.0**warmth]))

    rewrite(source, target, change)


def backlight(step: int, source: Path, target: Path, seed: str) -> None:
    """The camera exposes for a bright background, and the person in front is too dark. Raises ValueError without a person."""
    person, background = ((0.5, 1.15), (0.3, 1.3), (0.17, 1.5), (0.09, 1.75), (0.045, 2.0))[step]
    matte = PersonMatte()
    smooth: NDArray[np.float32] | None = None

    def change(picture: Picture, time: float) -> Picture:
        nonlocal smooth
        mask = matte.mask(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))
        if smooth is None and mask.mean() < 0.02:
            raise ValueError(f"{source}: there is no person in its first picture who could stand in backlight")
        # The mask's edge jumps from picture to picture; light does not.
        smooth = mask if smooth is None else 0.6 * smooth + 0.4 * mask
        soft = cv2.GaussianBlur(smooth, (0, 0), 0.015 * max(mask.shape))
        share = cv2.resize(soft, picture.shape[1::-1], interpolation=cv2.INTER_LINEAR)[..., None]
        return multiply_light(picture, np.exp(share * np.log(person) + (1 - share) * np.log(background)))

    rewrite(source, target, change)


def low_light_noise(step: int, source: Path, target: Path, seed: str) -> None:
    """A dim picture with the noise of a sensor at high gain: stronger in the shadows, coarse and coloured in the chroma."""
    sigma = (4, 8, 14, 22, 34)[step]
    rng = np.random.default_rng(list(f"low-light-noise/{seed}".encode()))

    def change(picture: Picture, time: float) -> Picture:
        dim = multiply_light(picture, 0.6).astype(np.float32)
        height, width = dim.shape[:2]
        grain = rng.standard_normal((height, width, 1), np.float32)
        coarse = rng.standard_normal(((height + 1) // 2, (width + 1) // 2, 3), np.float32)
        colour = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
        shadows = 1 + (1 - dim.mean(axis=2, keepdims=True) / 255) ** 2
        return np.clip(dim + sigma * shadows * (0.7 * grain + 0.7 * colour), 0, 255).astype(np.uint8)

    rewrite(source, target, change)


def low_light_smear(step: int, source: Path, target: Path, seed: str) -> None:
    """What a camera's noise reduction leaves of a noisy picture: little noise, no fine detail, trails behind what moves."""
    sigma, memory = ((5, 0.3), (9, 0.45), (15, 0.6), (24, 0.72), (36, 0.8))[step]
    rng = np.random.default_rng(list(f"low-light-smear/{seed}".encode()))
    kept: NDArray[np.float32] | None = None

    def change(picture: Picture, time: float) -> Picture:
        nonlocal kept
        noisy = picture + sigma * rng.standard_normal(picture.shape, np.float32)
        # Over time first: what is left of the noise decides how far the filter over space has to reach.
        kept = noisy if kept is None else memory * kept + (1 - memory) * noisy
        smooth = cv2.bilateralFilter(kept, 0, 2.5 * sigma, 0.5 + sigma / 8)
        return np.clip(smooth + 0.5, 0, 255).astype(np.uint8)

    rewrite(source, target, change)


class _Swing:
    """A swing between -1 and 1, about once in a second: what a camera's control loop does that reacts too late."""

    def __init__(self, name: str, seed: str) -> None:
        rng = random.Random(f"{name}/{seed}")  # noqa: S311
        self._frequency, self._phase = rng.uniform(0.8, 1.3), rng.random()

    def at(self, time: float) -> float:
        return float(np.sin(2 * np.pi * (self._frequency * time + self._phase)))


def _rows(picture: Picture) -> NDArray[np.float64]:
    """(H, 1, 1): where each row is, from 0 (top) to 1."""
    return np.linspace(0, 1, picture.shape[0])[:, None, None]


def _declared(name: str, targets: tuple[float, ...], why: str, damage: Damage) -> Ladder:
    return Ladder(name, "source", STEPS, targets, "declared", why, damage)


def light_ladders() -> list[Ladder]:
    """The ladders of this module."""
    return [
        _declared(
            "mains-banding",
            (88.0, 76.0, 62.0, 46.0, 32.0),
            BLIND + "10 % of contrast is a visible grating, 60 % hides half of a face in turn",
            mains_banding,
        ),
        _declared(
            "rolling-bands",
            (84.0, 70.0, 55.0, 40.0, 26.0),
            BLIND + "as mains banding, some points lower because hard edges and motion catch the eye",
            rolling_bands,
        ),
        _declared(
            "flicker",
            (85.0, 71.0, 56.0, 41.0, 27.0),
            BLIND + "as exposure hunting, some points lower because light that changes so often tires the eye",
            flicker,
        ),
        _declared(
            "exposure-hunting",
            (87.0, 75.0, 60.0, 44.0, 30.0),
            BLIND + "a quarter of a stop is just seen when it swings, and two stops burn and drown a face in each second",
            exposure_hunting,
        ),
        _declared(
            "white-balance-hunting",
            (90.0, 79.0, 66.0, 52.0, 38.0),
            BLIND + "as exposure hunting, some points higher: the detail stays",
            white_balance_hunting,
        ),
        _declared(
            "backlight",
            (87.0, 73.0, 56.0, 40.0, 25.0),
            BLIND + "the targets are those of `dark` at the same light, in the part of the picture that viewers look at",
            backlight,
        ),
        _declared(
            "low-light-noise",
            (86.0, 73.0, 59.0, 45.0, 31.0),
            "VMAF gives noise of sigma 20 still 80-90; the targets are those of `noise` at the same strength in the shadows",
            low_light_noise,
        ),
        Ladder(
            "low-light-smear",
            "source",
            STEPS,
            None,
            "vmaf",
            "little noise is left: what is lost is detail, which VMAF sees as it sees blur",
            low_light_smear,
        ),
    ]
