"""A degraded segment against its reference, by ffmpeg's libvmaf."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training.data.ffmpeg import filter_value, run_ffmpeg

FIGURES = ("vmaf", "ssim", "psnr")
"""Those of a labels file."""


def figures_of(compared: Mapping[str, Any]) -> dict[str, float]:
    """`FIGURES` of what `compare` has found, which has VMAF of each picture as well."""
    return {name: compared[name] for name in FIGURES}


def compare(degraded: Path, reference: Path, fps: float) -> dict[str, Any]:
    """A segment against its reference, by ffmpeg's libvmaf: `vmaf` 0-100, `ssim`, `psnr` in dB, `vmaf_frames` of each frame.

    fps: frames per second of both. Raises `subprocess.CalledProcessError` where ffmpeg fails.
    """
    log = degraded.with_suffix(".vmaf.json")
    align = f"fps={fps:g},setpts=N/{fps:g}/TB"
    graph = (
        f"[0:v]{align}[d];[1:v]{align}[r];"
        f"[d][r]libvmaf=log_fmt=json:log_path={filter_value(log)}:feature=name=psnr|name=float_ssim:n_threads=1:shortest=1"
    )
    run_ffmpeg("-i", degraded, "-i", reference, "-lavfi", graph, "-f", "null", "-")
    data = json.loads(log.read_text())
    log.unlink()
    pooled = data["pooled_metrics"]
    return {
        "vmaf": round(pooled["vmaf"]["mean"], 3),
        "ssim": round(pooled["float_ssim"]["mean"], 5),
        "psnr": round(pooled["psnr_y"]["mean"], 3),
        "vmaf_frames": [round(frame["metrics"]["vmaf"], 2) for frame in data["frames"]],
    }
