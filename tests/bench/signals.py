"""Percentiles of the signals over clean references, and what damage makes of them: the tables of docs/signals.md.

    python -m tests.bench.signals LABELS.csv [--clips 150] [--seed 0]

LABELS.csv is what `fvq synth --scenes N` writes beside its clips. Half of the clips are references, the others have a mild or a
severe step of one of `KINDS`, in turn. Each clip is sampled without a search for faces, which changes no signal.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scorer.errors import MediaError
from scorer.sampling import sample
from scorer.spec import SamplerSpec
from tests.bench.arguments import parser_of
from training.data.labels import read_labels

NAMES = ("blur", "blockiness", "noise", "luma", "contrast", "black", "freeze")

KINDS = (
    *("blur", "motion-blur", "scale", "upscaling", "x264", "x265", "mpeg2", "mpeg4", "hardware-blocking", "scale+x264"),
    *("noise", "low-light-noise", "over-sharpening", "dark", "bright", "backlight", "freeze", "stalls", "drop"),
)

"""Kinds of damage that a signal is about."""

SPECIFICATION = SamplerSpec(portrait_frames=0, face_frames=0, clip_frames=1, statistics_version=2, searched="crops")
"""The pictures of the sampler's default, and nothing that only a model needs."""

PERCENTILES = (1, 5, 50, 95, 99)

Row = dict[str, Any]


def sizes(rows: Sequence[Row]) -> list[str]:
    """Of each row: "reference", "mild" in the first third of its ladder's steps, "severe" in the last, "" for the others."""
    last: dict[str, int] = defaultdict(int)
    for row in rows:
        last[row["kind"]] = max(last[row["kind"]], row["step"])
    places = [row["step"] / max(1, last[row["kind"]]) for row in rows]
    named = ["mild" if place <= 1 / 3 else "severe" if place >= 2 / 3 else "" for place in places]
    return ["reference" if row["kind"] == "reference" else size for row, size in zip(rows, named, strict=True)]


def chosen(rows: Sequence[Row], clips: int, seed: int) -> list[Row]:
    """Half references, half clips that were damaged once, of all groups in turn; as many as there are, up to `clips`."""
    groups: dict[str, list[Row]] = defaultdict(list)
    sized = [row | {"size": size} for row, size in zip(rows, sizes(rows), strict=True) if size]
    for row in random.Random(seed).sample(sized, len(sized)):
        if row["kind"] in (*KINDS, "reference"):
            groups[row["size"] + row["kind"]].append(row)
    references = groups.pop("referencereference", [])[: clips // 2]
    damaged: list[Row] = []
    while len(damaged) < clips - clips // 2 and any(groups.values()):
        damaged += [group.pop() for group in groups.values() if group]
    return references + damaged[: clips - clips // 2]


def measured(rows: Sequence[Row]) -> list[tuple[Row, NDArray[np.float64]]]:
    """The signals of each clip that can be read, in the order of `NAMES`, whole clips."""
    pairs = []
    for row in rows:
        try:
            ((_, clip),) = sample(row["path"], SPECIFICATION)
        except MediaError as error:
            print(f"{row['path']}: {error}")
            continue
        pairs.append((row, np.array([clip.signals[name] for name in NAMES])))
    return pairs


def references_table(pairs: Sequence[tuple[Row, NDArray[np.float64]]]) -> list[str]:
    """Percentiles over the references, as Markdown."""
    values = np.array([signals for row, signals in pairs if row["kind"] == "reference"])
    lines = [f"Clean references: {len(values)}.", "", "| signal | " + " | ".join(f"{p} %" for p in PERCENTILES) + " |"]
    lines.append("|---|" + "---|" * len(PERCENTILES))
    for name, column in zip(NAMES, values.T, strict=True):
        lines.append(f"| {name} | " + " | ".join(shown(value) for value in np.percentile(column, PERCENTILES)) + " |")
    return lines


def damage_table(pairs: Sequence[tuple[Row, NDArray[np.float64]]]) -> list[str]:
    """Medians of the mild and of the severe steps of each kind, as Markdown."""
    groups: dict[tuple[str, str], list[NDArray[np.float64]]] = defaultdict(list)
    for row, signals in pairs:
        if row["kind"] != "reference":
            groups[row["kind"], row["size"]].append(signals)
    lines = ["| kind | steps | clips | " + " | ".join(NAMES) + " |", "|---|---|---|" + "---|" * len(NAMES)]
    for (kind, size), values in sorted(groups.items()):
        medians = " | ".join(shown(value) for value in np.median(values, axis=0))
        lines.append(f"| {kind} | {size} | {len(values)} | {medians} |")
    return lines


def shown(value: float) -> str:
    """A value with as many digits as say something."""
    return f"{value:.0f}" if value >= 10 else f"{value:.2f}"


def main() -> None:
    """Measure and print both tables."""
    parser = parser_of(__doc__)
    parser.add_argument("labels", type=Path)
    parser.add_argument("--clips", type=int, default=150, help="clips that are measured")
    parser.add_argument("--seed", type=int, default=0, help="which clips")
    arguments = parser.parse_args()
    pairs = measured(chosen(read_labels(arguments.labels), arguments.clips, arguments.seed))
    print("\n".join([*references_table(pairs), "", *damage_table(pairs)]))


if __name__ == "__main__":
    main()
