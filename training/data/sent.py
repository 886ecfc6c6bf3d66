"""Flawless references as streams send them: encoded so well that nothing is seen of it.

All streams are encoded. Where of all clips only the flawless ones are lossless, a model learns to see that, and rates whatever an
encoder has touched ten points lower, however well it did.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from training.data.compare import compare, figures_of
from training.data.degradations import REFERENCE_LABEL, vmaf_label
from training.data.ffmpeg import run_ffmpeg

ENCODERS: tuple[tuple[tuple[str, ...], tuple[int, int]], ...] = (
    (("libx264", "-preset", "veryfast"), (8, 20)),
    (("libx264", "-preset", "medium"), (8, 20)),
    (("libx265", "-preset", "veryfast", "-x265-params", "log-level=error"), (8, 20)),
    (("libvpx-vp9", "-deadline", "realtime", "-cpu-used", "7", "-b:v", "0"), (8, 24)),
    (("libsvtav1", "-preset", "10"), (14, 28)),
)
"""Arguments of each encoder, and its best and worst constant rate factor. On 250 scenes VMAF is 92 to 100, the median 97."""


def send(reference: Path, fps: float, seed: str) -> dict[str, Any]:
    """Encode a lossless reference beside it, as `NAME.sent.mkv`, by an encoder and a rate factor that the seed draws.

    fps: pictures a second. Returns what a labels file says of it: `path`, `mos`, and `training.data.compare.FIGURES` against the
    lossless one. Raises `subprocess.CalledProcessError` where ffmpeg fails.
    """
    rng = random.Random(f"{seed}/sent")  # noqa: S311 - reproducible data, not secrets
    encoder, (best, worst) = rng.choice(ENCODERS)
    target = reference.with_name(f"{reference.name.removesuffix('.reference.mkv')}.sent.mkv")
    run_ffmpeg("-i", reference, "-an", "-c:v", *encoder, "-crf", rng.randint(best, worst), "-pix_fmt", "yuv420p", target)
    figures = figures_of(compare(target, reference, fps))
    return {"path": target.name, "mos": vmaf_label(figures["vmaf"])} | figures


def in_two_steps(row: dict[str, Any]) -> dict[str, Any]:
    """The row of a file whose labels are in two steps: the source is flawless, the encoder has left `relative` of it."""
    return row | {"source_grade": REFERENCE_LABEL, "relative": round(100 * row["mos"] / REFERENCE_LABEL, 3)}
