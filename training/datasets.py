"""Labelled clips as tensors: each clip goes through the serving sampler once, the encoders once, and is cached.

The frozen streams are what is dear; with them cached, the rest of the model trains in minutes on a CPU.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm

from scorer.engine import collate
from scorer.errors import MediaError
from scorer.model.modeling import ClipBatch, FVQRater
from scorer.sampling.pool import SamplerPool
from scorer.spec import SampledClip, SamplerSpec

CACHED = ("frames", "portrait", "portrait_mask", "faces", "faces_mask")
"""Streams whose encoder is frozen after stage 0."""

SUBSETS: tuple[tuple[float | None, float], ...] = ((None, 0.0),)
"""(length, start) in seconds of the parts of a segment that training sees; None is the whole."""

ENCODE_BATCH = 8


def read_labels(labels: Path) -> list[dict[str, Any]]:
    """Rows of a labels file (`path,content,kind,step,mos,...`), with `path` made absolute and numbers parsed.

    Raises ValueError that names the file and the line where a column is missing or a number is wrong.
    """
    rows: list[dict[str, Any]] = []
    with labels.open(newline="") as file:
        for number, row in enumerate(csv.DictReader(file), start=2):
            try:
                name = f"{row['content']}.reference.mkv" if row["kind"] == "reference" else row["path"]
                rows.append(row | {"path": labels.parent / name, "mos": float(row["mos"]), "step": int(row["step"])})
            except (KeyError, ValueError) as error:
                raise ValueError(f"{labels}, line {number}: {error!r}; needed are path, content, kind, step, mos") from error
            if not 0 <= rows[-1]["mos"] <= 100:
                raise ValueError(f"{labels}, line {number}: mos {rows[-1]['mos']} is outside 0-100")
    if not rows:
        raise ValueError(f"{labels}: no rows")
    return rows


def sample_all(
    rows: Sequence[Mapping[str, Any]], spec: SamplerSpec, jobs: int, subsets: Sequence[tuple[float | None, float]]
) -> Iterator[tuple[int, int, SampledClip]]:
    """(row, subset, clip) for every row and subset, in order; a clip that cannot be sampled is reported and left out."""
    with SamplerPool(spec, workers=jobs, timeout=120, memory_mb=4096) as pool:
        todo = [(i, v) for i in range(len(rows)) for v in range(len(subsets))]
        # A few batches ahead of the reader: all at once would fill the memory with samples.
        futures: dict[int, Any] = {}
        for position, (i, v) in enumerate(tqdm(todo, desc="sampling", disable=None)):
            for ahead in range(position, min(position + 8 * jobs, len(todo))):
                if ahead not in futures:
                    row, subset = todo[ahead]
                    length, start = subsets[subset]
                    futures[ahead] = pool.submit(rows[row]["path"], window_seconds=length, start=start, limit=1)
            try:
                windows = futures.pop(position).result()
                futures[position] = None
            except MediaError as error:
                futures[position] = None
                tqdm.write(f"{rows[i]['path']}: left out, {error.reason}")
                continue
            if windows:
                yield i, v, windows[0][1]


@dataclass
class Features:
    """Encoded clips. tensors: stream name -> (N, ...) tensor; row: (N,) which label row each belongs to; subset, flip."""

    tensors: dict[str, Tensor]
    row: Tensor
    whole: Tensor
    """(N,) bool: the whole clip, not mirrored; what evaluation looks at."""

    def __len__(self) -> int:
        return len(self.row)

    def take(self, index: Tensor) -> dict[str, Tensor]:
        """The tensors at those places."""
        return {name: tensor[index] for name, tensor in self.tensors.items()}


@torch.inference_mode()
def encode_all(
    network: FVQRater, rows: Sequence[Mapping[str, Any]], spec: SamplerSpec, cache: Path, *, jobs: int, augment: bool
) -> Features:
    """The cached streams of every row through the network's encoders, as a safetensors file at `cache`.

    augment: also parts of each clip and mirror images (`SUBSETS`), else the whole clip only. The temporal clip and the
    statistics are kept as they were sampled, because their part of the network trains on.
    """
    if cache.exists():
        tensors = load_file(cache)
        return Features(tensors, tensors.pop("row"), tensors.pop("whole"))
    parts: dict[str, list[Tensor]] = {}
    network.eval()
    sampled = sample_all(rows, spec, jobs, SUBSETS if augment else SUBSETS[:1])
    while group := list(islice(sampled, ENCODE_BATCH)):
        batch = collate([clip for _, _, clip in group], torch.device("cpu"))
        for flip in (False, True) if augment else (False,):
            view = _mirrored(batch) if flip else batch
            encoded = network.encode(view)
            made = {name: encoded[name] for name in CACHED if name in encoded}
            made |= {"clip": view.clip, "statistics": view.statistics, "row": torch.tensor([i for i, _, _ in group])}
            made["whole"] = torch.tensor([v == 0 and not flip for _, v, _ in group])
            for name, tensor in made.items():
                parts.setdefault(name, []).append(tensor)
    tensors = {name: torch.cat(values).contiguous() for name, values in parts.items()}
    save_file(tensors, cache)
    return Features(tensors, tensors.pop("row"), tensors.pop("whole"))


def _mirrored(batch: ClipBatch) -> ClipBatch:
    images = {name: getattr(batch, name).flip(-2) for name in ("frames", "portrait", "faces", "clip")}
    rest = {name: getattr(batch, name) for name in ("portrait_mask", "faces_mask", "statistics")}
    return ClipBatch(**images, **rest)


def balanced_batches(
    contents: Sequence[str], index: np.ndarray[Any, Any], rng: np.random.Generator, groups: int, each: int
) -> Iterator[Tensor]:
    """Endless batches of places: `each` clips of each of `groups` contents.

    contents: content of every place. index: the places to draw from.
    """
    by_content: dict[str, list[int]] = {}
    for place in index:
        by_content.setdefault(contents[place], []).append(int(place))
    names = sorted(by_content)
    while True:
        chosen = rng.choice(names, min(groups, len(names)), replace=False)
        yield torch.tensor(
            [int(p) for name in chosen for p in rng.choice(by_content[name], min(each, len(by_content[name])), replace=False)]
        )
