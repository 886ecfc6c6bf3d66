"""Baselines: measures without a network that the model must beat, and full-reference measures to compare with."""

from __future__ import annotations

import io
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
from scorer.storage import write_whole
from training.data.labels import fingerprint
from training.data.samples import sample_all

BRISQUE = [i for i, name in enumerate(NAMES) if name.startswith(("scene0_", "scene1_"))]
"""The 36 numbers of BRISQUE (Mittal, Moorthy and Bovik, IEEE TIP 2012): natural-scene statistics of the luma at two scales."""

SHARPNESS = NAMES.index("laplacian_std")


@dataclass
class Measured:
    """What the baselines read of labelled segments.

    place: (N,) the label row of each segment. statistics: (N, len(NAMES)) float32. bits_per_pixel: (N,) float32.
    """

    place: NDArray[np.int64]
    statistics: NDArray[np.float32]
    bits_per_pixel: NDArray[np.float32]


def measure_all(rows: Sequence[Mapping[str, Any]], labels: Path, jobs: int) -> Measured:
    """Statistics and bits per pixel of every row that can be sampled.

    Kept in a file beside the labels file: a later call samples only the rows that are not in it. jobs: sampling processes.
    Raises ValueError where no row can be sampled.
    """
    spec = SamplerSpec()
    cache = labels.with_name(f"{labels.stem}.statistics-{spec.statistics_version}-{fingerprint(labels)}.npz")
    measures = _kept(cache) if cache.exists() else {}
    missing = [place for place in range(len(rows)) if place not in measures]
    sampled = sample_all([rows[place] for place in missing], spec, jobs) if missing else ()
    added = {missing[number]: (clip.statistics, clip.info.bits_per_pixel) for number, clip in sampled}
    measures = dict(sorted((measures | added).items()))
    if not measures:
        raise ValueError(f"{labels}: none of the {len(rows)} clips can be sampled")
    statistics, bits = zip(*measures.values(), strict=True)
    measured = Measured(np.array(list(measures)), np.stack(statistics), np.array(bits, np.float32))
    if added:
        file = io.BytesIO()
        np.savez(file, **vars(measured))
        write_whole(cache, (file.getvalue(),))  # a file that a killed run has cut off could not be read
    return measured


def _kept(cache: Path) -> dict[int, tuple[NDArray[np.float32], float]]:
    """Row -> statistics and bits per pixel, of the rows that could be sampled."""
    with np.load(cache, allow_pickle=False) as kept:
        return dict(zip(kept["place"].tolist(), zip(kept["statistics"], kept["bits_per_pixel"], strict=True), strict=True))


def regression(statistics: NDArray[np.float32], labels: NDArray[np.float64], wanted: NDArray[np.float32]) -> list[float]:
    """Scores (M,) for the `wanted` statistics (M, D), by a support-vector regression of labels (N,) on statistics (N, D)."""
    machine = make_pipeline(StandardScaler(), SVR(C=30, epsilon=2))
    return np.asarray(machine.fit(statistics, labels).predict(wanted)).tolist()


def baselines(rows: Sequence[Mapping[str, Any]], measured: Measured) -> dict[str, list[float]]:
    """Name -> scores of the measured rows, higher is better, by measures that learn nothing.

    Sharpness, bits per pixel, and PSNR and SSIM where every row names them; those two need the reference, which a live
    monitor does not have.
    """
    taken = [rows[int(place)] for place in measured.place]
    scores = {
        "sharpness (Laplacian)": measured.statistics[:, SHARPNESS].tolist(),
        "bits per pixel": measured.bits_per_pixel.tolist(),
    }
    for name in ("psnr", "ssim"):
        if all(row.get(name) for row in taken):
            scores[f"{name.upper()} (with the reference)"] = [float(row[name]) for row in taken]
    return scores


def learned_baselines(
    rows: Sequence[Mapping[str, Any]], measured: Measured, wanted: NDArray[np.float32]
) -> dict[str, list[float]]:
    """Name -> scores for the `wanted` statistics (M, D), by regressions that are fitted on the measured rows."""
    labels = np.array([float(rows[int(place)]["mos"]) for place in measured.place])
    return {
        "BRISQUE statistics + SVR": regression(measured.statistics[:, BRISQUE], labels, wanted[:, BRISQUE]),
        "all statistics + SVR": regression(measured.statistics, labels, wanted),
    }
