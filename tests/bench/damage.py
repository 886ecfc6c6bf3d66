"""A contact sheet of ladders of damage: a row for each, the reference and then a picture of every step.

    python -m tests.bench.damage CLIP SHEET.png [LADDER...]

Look at it after a change of a ladder: figures do not show that a picture looks like what its ladder is named after. Damage over
time shows only in part.
"""

from __future__ import annotations

import tempfile
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from tests.bench.arguments import parser_of
from training.data.damage.catalogue import LADDERS
from training.data.damage.first import first_ladders
from training.data.damage.ladder import apply
from training.data.damage.pictures import Picture, read
from training.data.references import make_reference

SECONDS, SHOWN = 1.0, 14
"""Length of the clips, and which picture of them is shown."""

WIDTH = 200
"""Of a picture in the sheet, px."""


def picture(clip: Path) -> Picture:
    """The picture of a clip that is shown, scaled down."""
    shown = next(islice(read(clip), SHOWN, None))
    height = round(shown.shape[0] * WIDTH / shown.shape[1])
    return cv2.resize(shown, (WIDTH, height), interpolation=cv2.INTER_AREA).astype(np.uint8)


def main(source: Path, sheet: Path, names: list[str]) -> None:
    """Write the sheet."""
    with tempfile.TemporaryDirectory() as work:
        reference, clip = Path(work) / "face.reference.mkv", Path(work) / "clip.mkv"
        make_reference(source, reference, SECONDS, 0, "0")
        rows = []
        for name in names:
            pictures = [picture(reference)]
            for step in range(LADDERS[name].steps):
                apply(LADDERS[name], step, reference, clip)
                pictures.append(picture(clip))
            row = np.hstack(pictures)
            cv2.putText(row, name, (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 3)
            cv2.putText(row, name, (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1)
            rows.append(row)
    widest = max(row.shape[1] for row in rows)
    cv2.imwrite(str(sheet), np.vstack([np.pad(row, ((0, 0), (0, widest - row.shape[1]), (0, 0))) for row in rows]))


if __name__ == "__main__":
    first = {ladder.name for ladder in first_ladders()}
    parser = parser_of(__doc__)
    parser.add_argument("clip", type=Path)
    parser.add_argument("sheet", type=Path)
    parser.add_argument("ladders", nargs="*", default=[name for name in LADDERS if name not in first])
    options = parser.parse_args()
    main(options.clip, options.sheet, options.ladders)
