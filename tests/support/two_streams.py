"""Two streams that have something in every store of one machine, for tests of forgetting one of them."""

from __future__ import annotations

import csv
import time
from dataclasses import dataclass, field
from pathlib import Path

from streams.events import TrainingExample
from streams.ingest.files import Source, folder_name
from streams.ingest.push.spool import SourceSpool
from streams.privacy.exports import note_export
from streams.queue.clips import ClipStore
from streams.queue.export import export_queue
from streams.rating.store import RatingStore
from streams.sinks.sqlite import SqliteSink
from tests.support.queue import scored, stored_example
from tests.support.sinks import make_score


@dataclass
class Machine:
    """A data folder, a clip store, and two exports beside them. examples: by stream."""

    folder: Path
    store: ClipStore
    examples: dict[str, list[TrainingExample]] = field(default_factory=dict)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def files(self) -> dict[str, bytes]:
        """Every file's bytes, by its path; but for the databases, whose bytes change with each access."""
        files = (path for path in self.folder.rglob("*") if path.is_file() and ".sqlite" not in path.name)
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in files}


async def fill(machine: Machine, *streams: str) -> None:
    """Put something of each stream into each store of the machine, and export it."""
    data, sink = machine.data, SqliteSink(machine.data)
    ratings = RatingStore(data)
    rater = ratings.sign_in(ratings.add_rater("Ada"))
    assert rater is not None
    for number, stream in enumerate(streams):
        for sequence in range(2):
            sink.add(make_score(stream_id=stream, segment_id=f"{number}/{sequence}", sequence=sequence))
        examples = [stored_example(machine.store, scored(10 * number + place, stream=stream)) for place in range(2)]
        machine.examples[stream] = examples
        for cache in ("rating", "wall-clips"):
            for example in examples:
                write(data / cache / f"{example.example_id}.mp4")
        source = Source(stream, write(machine.folder / f"{number}.mp4"))
        for place in ("ingest", "ingest/folder"):
            write(data / place / folder_name(source, 2.0) / "000000.ts")
        write(SourceSpool(data / "ingest/push", stream).new_epoch() / "0.ts")
    await sink.flush()
    await sink.close()
    everything = [example for examples in machine.examples.values() for example in examples]
    ratings.sync(everything)
    while (shown := ratings.current(rater)) is not None:
        ratings.rate(rater, shown.id, 50.0, "slider", 1.0)
    out = machine.folder / "out"
    note_export(data, "queue", out, time.time())
    export_queue(everything, machine.store, out)


def rows_of(table: Path) -> list[dict[str, str]]:
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


def write(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"a face")
    return path
