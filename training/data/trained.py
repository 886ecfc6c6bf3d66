"""Which contents a model was trained on: what is judged later must have none of them, also where the splits are drawn anew.

Where a set has few contents, their splits depend on the clips that are there: after some were deleted, or more were rated, a
content that was trained on may be among those that are for test.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from training.data.rated import RatedClip
from training.data.records import write_record

TRAINED_ON = Path("work/trained_on.json")
"""In a model's folder. It has digests of the contents' names: `fvq forget` need not look for streams in it."""


def note_trained_on(model: Path, clips: Sequence[RatedClip]) -> None:
    """Note the contents of the clips that a model is trained on."""
    write_record(model / TRAINED_ON, sorted({_digest(clip) for clip in clips}))


def not_trained_on(model: Path, clips: Sequence[RatedClip]) -> list[RatedClip]:
    """The clips of contents that the model was not trained on; all, where nothing was noted."""
    file = model / TRAINED_ON
    trained_on = set(json.loads(file.read_text())) if file.exists() else set()
    return [clip for clip in clips if _digest(clip) not in trained_on]


def _digest(clip: RatedClip) -> str:
    return hashlib.sha256(clip.content.encode()).hexdigest()[:16]
