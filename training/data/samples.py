"""Labelled clips as the serving sampler sees them, sampled once and kept on disk.

Sampling takes most of an experiment's time. Its results are kept in memory-mapped arrays, and every encoder, fold and
ablation reads those.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from scorer.errors import OWN_FAULTS, MediaError
from scorer.model.modeling import ClipBatch
from scorer.sampling.pool import SamplerPool
from scorer.spec import MODEL_INPUTS, SampledClip, SamplerSpec
from scorer.storage import write_whole
from training.data.alone import alone
from training.data.digests import digests_of
from training.data.measures import parts_of_kind
from training.data.progress import Progress
from training.data.remarks import remark

ENCODE_BATCH = 8
"""Clips that go through a network at once where no gradients are kept."""

HEADS = "heads.sha256"
"""Name of the file that tells the contents of a folder's clips; a folder of an earlier version has none."""

COMPLETE = "complete"
"""Name of the file that says that all clips of a folder are sampled."""

OTHER_FOLDER = "take another folder, or remove this one"

Part = tuple[float | None, float]
"""(length, start) of a part of a segment, seconds; a length of None is the whole segment."""

WHOLE: Part = (None, 0.0)
TIMED = {
    *("freeze", "drop", "loss", "motion-blur", "stalls", "jitter", "judder", "concealment", "bitrate-oscillation"),
    *("exposure-hunting", "white-balance-hunting", "autofocus-hunting", "rolling-bands", "missing-slices", "spoiled-pictures"),
}
"""Kinds whose damage is at some time in the segment: a part of the segment may have none of it."""

PARTS_SHARE = 0.4
"""Share of the training segments that are cut to a part, because not all streams have segments of two seconds."""


def is_timed(kind: str) -> bool:
    """Whether one of a kind's damages is in `TIMED`."""
    return bool(TIMED & set(parts_of_kind(kind)))


def parts_of(rows: Sequence[Mapping[str, Any]], seed: int) -> list[Part]:
    """Which part of each training segment is sampled, one for each row; kinds in `TIMED` are never cut."""
    rng = random.Random(seed)  # noqa: S311 - reproducible data, not secrets
    drawn = [(rng.random() < PARTS_SHARE, round(rng.uniform(0.5, 1.5), 2), round(rng.uniform(0, 0.5), 2)) for _ in rows]
    return [
        (length, start) if cut and not is_timed(row["kind"]) else WHOLE
        for row, (cut, length, start) in zip(rows, drawn, strict=True)
    ]


def sample_all(
    rows: Sequence[Mapping[str, Any]], spec: SamplerSpec, jobs: int, parts: Sequence[Part] | None = None
) -> Iterator[tuple[int, SampledClip]]:
    """(place of the row, clip) for every row, in order; a clip that cannot be sampled is reported and left out.

    rows: `path` of each clip. jobs: sampling processes. parts: which part of each clip; None: the whole. Raises MediaError where
    this machine cannot sample now, whatever the clip.
    """
    with SamplerPool(spec, workers=jobs, timeout=120, memory_mb=4096) as pool:
        # Sample only a few batches ahead of the reader: all clips at once would fill the memory.
        futures: dict[int, Any] = {}
        asked = 0
        for i in Progress(range(len(rows)), "sampling"):
            while asked < min(i + 8 * jobs, len(rows)):
                length, start = parts[asked] if parts else WHOLE
                futures[asked] = pool.submit(rows[asked]["path"], window_seconds=length, start=start, limit=1)
                asked += 1
            try:
                windows = futures.pop(i).result()
            except MediaError as error:
                if error.kind in OWN_FAULTS:
                    raise
                remark(f"{rows[i]['path']}: left out, {error.reason}")
                continue
            if windows:
                yield i, windows[0][1]
            else:
                remark(f"{rows[i]['path']}: left out, it is shorter than the part that is to be sampled")


def in_batches(sampled: Iterator[tuple[int, SampledClip]]) -> Iterator[list[tuple[int, SampledClip]]]:
    """What `sample_all` gives, in lists of `ENCODE_BATCH`; the last may be shorter."""
    while batch := list(islice(sampled, ENCODE_BATCH)):
        yield batch


@dataclass
class Samples:
    """Sampled clips. arrays: name of `MODEL_INPUTS` -> (N, ...) memory-mapped; rows: (N,) the label row of each clip."""

    arrays: dict[str, NDArray[Any]]
    rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, places: Sequence[int] | NDArray[np.int64]) -> ClipBatch:
        """The clips at those places."""
        return ClipBatch(**{name: torch.from_numpy(np.array(array[places])) for name, array in self.arrays.items()})


def kept_samples(
    folder: Path, rows: Sequence[Mapping[str, Any]], spec: SamplerSpec, jobs: int, parts: Sequence[Part] | None = None
) -> Samples:
    """The samples of all rows, kept in `folder`; a run that was killed goes on after its last sample.

    The folder is only for these clips, this specification and one run at a time: raises ValueError where its samples are of
    others, while another run samples, and where none of the clips can be sampled. Their labels may change. Parameters and errors
    as of `sample_all`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # What is complete is only read, by several processes at once where an adapter is trained on several GPUs.
    with nullcontext() if (folder / COMPLETE).exists() else alone(folder):
        return _kept(folder, rows, spec, jobs, parts)


def _kept(folder: Path, rows: Sequence[Mapping[str, Any]], spec: SamplerSpec, jobs: int, parts: Sequence[Part] | None) -> Samples:
    digest, of_clips = _digest_of(rows, parts), folder / "clips.sha256"
    heads, of_heads = _digest_of_heads(rows), folder / HEADS
    if of_clips.exists():
        if SamplerSpec.load(folder) != spec:
            raise ValueError(f"{folder}: its samples are of another sampler's specification; {OTHER_FOLDER}")
        if of_clips.read_text() != digest or (of_heads.exists() and of_heads.read_text() != heads):
            raise ValueError(f"{folder}: its samples are of other clips; {OTHER_FOLDER}")
    else:  # written once: other processes read what is complete, and a file that is written anew is empty for a moment
        spec.save(folder)
        write_whole(of_heads, (heads.encode(),))
        write_whole(of_clips, (digest.encode(),))
    progress = folder / "rows.txt"
    done = [int(line) for line in progress.read_text().split()] if progress.exists() else []
    arrays: dict[str, NDArray[Any]] = {}
    if done:
        arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r+") for name in MODEL_INPUTS}
    complete = folder / COMPLETE
    if not complete.exists():
        first = done[-1] + 1 if done else 0
        rest = sample_all(rows[first:], spec, jobs, parts[first:] if parts else None)
        with progress.open("a") as log:
            for i, clip in rest:
                if not arrays:
                    arrays = _created(folder, len(rows), clip)
                for name, array in arrays.items():
                    array[len(done)] = getattr(clip, name)
                done.append(first + i)
                print(done[-1], file=log, flush=True)
        if rows and not done:
            raise ValueError(f"{folder}: none of the {len(rows)} clips can be sampled")
        complete.touch()
    return Samples({name: array[: len(done)] for name, array in arrays.items()}, np.array(done))


def _digest_of(rows: Sequence[Mapping[str, Any]], parts: Sequence[Part] | None) -> str:
    """What tells the clips of one run from those of another, also after they were moved: names, sizes and parts."""
    files = [Path(row["path"]) for row in rows]
    sizes = [file.stat().st_size if file.is_file() else None for file in files]
    about = [[file.name for file in files], sizes, None if parts is None else [list(part) for part in parts]]
    return hashlib.sha256(json.dumps(about).encode()).hexdigest()


def _digest_of_heads(rows: Sequence[Mapping[str, Any]]) -> str:
    """What tells a clip from another one that was put in its place and is as large."""
    return hashlib.sha256("\n".join(digests_of(Path(row["path"]) for row in rows)).encode()).hexdigest()


def _created(folder: Path, count: int, example: SampledClip) -> dict[str, NDArray[Any]]:
    """Arrays for so many clips like the example. Raises ValueError where the disk has no room for them."""
    arrays: dict[str, NDArray[Any]] = {}
    try:
        for name in MODEL_INPUTS:
            array, file = getattr(example, name), folder / f"{name}.npy"
            arrays[name] = np.lib.format.open_memmap(file, mode="w+", dtype=array.dtype, shape=(count, *array.shape))
            # A write into a hole of a memory-mapped file ends the process by SIGBUS, without a word, where the disk is full.
            with file.open("r+b") as opened:
                os.posix_fallocate(opened.fileno(), 0, file.stat().st_size)
    except OSError as error:
        for name in MODEL_INPUTS:
            (folder / f"{name}.npy").unlink(missing_ok=True)
        size = count * sum(getattr(example, name).nbytes for name in MODEL_INPUTS) / 1e6
        raise ValueError(f"{folder}: the samples of {count} clips need {size:.0f} MB there: {error.strerror}") from error
    return arrays
