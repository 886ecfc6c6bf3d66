"""Export: copies the queue's clips into a folder, with a table in which people fill in the column `mos`."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from streams.errors import MediaError
from streams.events import TrainingExample
from streams.queue.clips import ClipStore
from streams.text import csv_text

COLUMNS = ("path", "mos", "stream_id", "example_id", "segment_id", "start", "score", "uncertainty", "reason", "model")


def export_queue(examples: Sequence[TrainingExample], store: ClipStore, folder: Path) -> list[str]:
    """Copy clips into FOLDER/clips and list them in FOLDER/queue.csv; returns why clips are missing, one sentence for each.

    folder: made if it is missing. Raises `OSError` where the store does not answer, or the folder cannot be written.
    """
    clips = folder / "clips"
    clips.mkdir(parents=True, exist_ok=True)
    missing = []
    with (folder / "queue.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for example in examples:
            try:
                data = store.read(example.clip_uri)
            except MediaError as error:
                missing.append(error.reason)
                continue
            # Two streams may have the same clip, so the name has the beginning of the stream's folder in it.
            name = f"{example.example_id}-{example.clip_uri.split('/')[-2][:8]}.{example.clip_uri.rsplit('.', 1)[-1]}"
            (clips / name).write_bytes(data)
            cells = {"path": f"clips/{name}", "mos": "", "start": example.start.isoformat(), "model": example.model.version}
            row = example.model_dump(include=set(COLUMNS) - set(cells)) | cells
            writer.writerow({column: csv_text(value) if isinstance(value, str) else value for column, value in row.items()})
    return missing
