"""What the model has to beat: no-reference measures that need no network, and full-reference ones as a yardstick."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR

from scorer.sampling.statistics import NAMES
from scorer.spec import SamplerSpec
from training.data.labels import fingerprint
from training.data.samples import sample_all

BRISQUE = [i for i, name in enumerate(NAMES) if name.startswith(("scene0_", "scene1_"))]
"""The 36 numbers of BRISQUE (Mittal, Moorthy and Bovik, IEEE TIP 2012): natural-scene statistics of the luma at two scales."""

SHARPNESS = NAMES.index("laplacian_std")


@dataclass
class Measured:
    """What baselines look at, of labelled segments.

    place: (N,) which label row each is of. statistics: (N, len(NAMES)) float32. bits_per_pixel: (N,).
    """

    place: NDArray[np.int64]
    statistics: NDArray[np.float32]
    bits_per_pixel: NDArray[np.float32]


def measure_all(rows: Sequence[Mapping[str, Any]], labels: Path, jobs: int) -> Measured:
    """Statistics of every row of a labels file, kept beside it for the next time."""
    spec = SamplerSpec()
    cache = labels.with_name(f"{labels.stem}.statistics-{spec.statistics_version}-{fingerprint(labels)}.npz")
    if not cache.exists():
        found = [(i, clip.statistics, clip.info.bits_per_pixel) for i, clip in sample_all(rows, spec, jobs)]
        places, statistics, bits = zip(*found, strict=True)
        np.savez(cache, place=np.array(places), statistics=np.stack(statistics), bits_per_pixel=np.array(bits, np.float32))
    with np.load(cache, allow_pickle=False) as kept:
        return Measured(**{name: kept[name] for name in ("place", "statistics", "bits_per_pixel")})


def regression(
    statistics: NDArray[np.float32], labels: NDArray[np.float64], wanted: NDArray[np.float32], cost: float
) -> list[float]:
    """Scores for the `wanted` statistics by a support-vector regression on the others, (N, D) -> (M,)."""
    machine = make_pipeline(StandardScaler(), SVR(C=cost, epsilon=2))
    return np.asarray(machine.fit(statistics, labels).predict(wanted)).tolist()


def baselines(rows: Sequence[Mapping[str, Any]], measured: Measured) -> dict[str, list[float]]:
    """Scores of the measured rows by measures that learn nothing, higher is better: sharpness, bits, and PSNR and SSIM
    where the labels file names them (both need the reference, which a live monitor does not have)."""
    taken = [rows[int(i)] for i in measured.place]
    found = {
        "sharpness (Laplacian)": measured.statistics[:, SHARPNESS].tolist(),
        "bits per pixel": measured.bits_per_pixel.tolist(),
    }
    for name in ("psnr", "ssim"):
        if all(row.get(name) for row in taken):
            found[f"{name.upper()} (with the reference)"] = [float(row[name]) for row in taken]
    return found


def learned_baselines(
    rows: Sequence[Mapping[str, Any]], measured: Measured, wanted: NDArray[np.float32]
) -> dict[str, list[float]]:
    """Scores for the `wanted` statistics by regressions that are fitted on the measured rows."""
    labels = np.array([float(rows[int(i)]["mos"]) for i in measured.place])
    brisque = regression(measured.statistics[:, BRISQUE], labels, wanted[:, BRISQUE], cost=30)
    return {
        "BRISQUE statistics + SVR": brisque,
        "all statistics + SVR": regression(measured.statistics, labels, wanted, cost=30),
    }
