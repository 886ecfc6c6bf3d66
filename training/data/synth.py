"""Degraded segments with labels, made from clean face clips and stills: the base data that `nano` learns from.

    fvq synth OUT SOURCE... [--steps 26] [--variants 1] [--seconds 2] [--jobs 2] [--seed 0]

For each source (a video, or a still that is given camera motion) a clean reference is made by scaling it down, and
from the reference a set of degradations. Each degraded segment gets a label on the scale 0-100:

- compression, scaling, blur, packet loss and their mixtures: VMAF against the reference (SSIM and PSNR beside it);
- noise, frozen and dropped frames, exposure and black: VMAF is blind to part of these (noise of sigma 20 still gets
  80-90), so their label is the step's target in the ladders below: the order is sure, the distances are an opinion.

Contents are what such data is short of. With `--variants`, further references are made of each source: another stretch,
size, crop, side and light. A network that saw one reference of each takes its sharpness for its quality.

A run can be killed and started again: finished segments are kept. The same seed makes the same files.
"""

from __future__ import annotations

import csv
import json
import random
import subprocess
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tqdm import tqdm

from training.data.degradations import KINDS, REFERENCE_LABEL, Degradation, degrade, label, ladders
from training.data.ffmpeg import FPS, run_ffmpeg
from training.data.references import make_reference


def synthesise(
    out: Path,
    sources: Sequence[Path],
    *,
    steps: int,
    kinds: Collection[str] = KINDS,
    variants: int = 1,
    seconds: float = 2.0,
    jobs: int = 2,
    seed: int = 0,
) -> Path:
    """Make the segments of all sources and `labels.csv` beside them; returns its path.

    steps: degradations taken of each reference, spread over the kinds at random; all of them if it is more than there
    are. kinds: which of `KINDS`. variants: references of each source; each is a content of its own, of the same person.
    """
    out.mkdir(parents=True, exist_ok=True)
    references = {f"{source.stem}-v{v}" if v else source.stem: (source, v) for source in sources for v in range(variants)}
    todo: list[tuple[str, Degradation | None]] = []
    for content in references:
        rng = random.Random(f"{seed}/{content}")  # noqa: S311
        chosen = [step for step in ladders() if step.kind in kinds]
        rng.shuffle(chosen)
        todo += [(content, None), *((content, how) for how in chosen[:steps])]

    def reference_of(content: str) -> None:
        if not (reference := out / f"{content}.reference.mkv").exists():
            source, variant = references[content]
            make_reference(source, reference, seconds, variant, f"{seed}/{content}")

    with ThreadPoolExecutor(jobs) as pool:
        list(tqdm(pool.map(reference_of, references), total=len(references), desc="references", disable=None))
        work = pool.map(lambda item: _one(out, item[0], references[item[0]][0].stem, item[1]), todo)
        rows = [row for row in tqdm(work, total=len(todo), desc="segments", disable=None) if row is not None]
    labels = out / "labels.csv"
    fields = [name for name in rows[0] if name != "vmaf_frames"]
    with labels.open("w", newline="") as file:
        writer = csv.DictWriter(file, fields, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return labels


def _one(out: Path, content: str, person: str, how: Degradation | None) -> dict[str, Any] | None:
    reference = out / f"{content}.reference.mkv"
    name = f"{content}.{how.kind}-{how.step}" if how else f"{content}.reference"
    clip, record = out / f"{name}.mkv", out / f"{name}.json"
    if record.exists():
        row: dict[str, Any] = json.loads(record.read_text()) | {"person": person}
        # Targets are opinions, and change more often than pictures.
        return row | {"mos": label(how, row["vmaf"])} if how else row
    row = {
        "path": clip.name,
        "content": content,
        "person": person,
        "kind": how.kind if how else "reference",
        "step": how.step if how else 0,
    }
    if how is None:
        row |= {"mos": REFERENCE_LABEL, "vmaf": 100.0, "ssim": 1.0, "psnr": 60.0, "vmaf_frames": []}
    else:
        try:
            degrade(reference, how, clip)
            scores = measure(clip, reference)
        except subprocess.CalledProcessError as error:
            # Bitstream damage can leave nothing to decode: such a segment has no picture to rate.
            tqdm.write(f"{name}: left out, ffmpeg failed ({error.returncode})")
            return None
        row |= {"mos": label(how, scores["vmaf"])} | scores
    part = record.with_suffix(".part")
    part.write_text(json.dumps(row))
    part.rename(record)
    return row


def measure(degraded: Path, reference: Path) -> dict[str, Any]:
    """VMAF (mean and per frame), SSIM and PSNR of a segment against its reference, by ffmpeg's libvmaf."""
    log = degraded.with_suffix(".vmaf.json")
    align = f"fps={FPS},setpts=N/{FPS}/TB"
    graph = (
        f"[0:v]{align}[d];[1:v]{align}[r];"
        f"[d][r]libvmaf=log_fmt=json:log_path={log}:feature=name=psnr|name=float_ssim:n_threads=1:shortest=1"
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
