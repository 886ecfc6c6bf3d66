"""The large model on this machine: `scripts/gpu-check` (which says how it is run) calls this.

1. Makes rated clips of a face, worse and worse, and samples them as the base wants them.
2. Trains ten steps of both stages on the base, and saves the adapter.
3. Loads the adapter, merged into its base, as a worker does, and scores the clips: alone, in batches, and in float32.
4. Serves it with `fvq serve`, and scores the clips there.
"""

from __future__ import annotations

import argparse
import csv
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from scorer.engine import Engine, chosen_device, load_model, load_network
from scorer.errors import FvqError, ScorerError
from scorer.find import version_of
from scorer.model.bases import Base, load_base
from scorer.remote.client import RemoteScorer
from scorer.sampling import SamplerPool
from scorer.spec import ModelId, ModelInput, SamplerSpec, Scorer
from streams.ports import free_port
from tests.bench.large_bases import LANGUAGE_MODELS, random_base
from tests.support.media import face_frames, write_frames
from tests.support.processes import FVQ, clean_environment
from tests.support.waiting import holds_within
from training.adapter.tune import tune
from training.recipe import BasePart, TuneRecipe, load_tune_recipe

RECIPE = Path(__file__).parents[2] / "training/recipes/fvq20k_internvl.yaml"
TRAINED, TESTED = 20, 6
"""Clips to train on and to score."""

BATCHES = (1, 4, 8, 16)
"""Clips that are scored together."""

SECONDS = 2.0
"""How long each batch size is measured."""


LOAD_SECONDS = 600.0
"""Time for `fvq serve` to load the model."""


@dataclass
class Row:
    """A row of the table."""

    name: str
    value: str


def main() -> int:
    options = parse()
    if not options.tiny and not torch.cuda.is_available():
        print("gpu-check: torch sees no GPU; --tiny runs the same on the CPU with scaled-down classes", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="fvq-gpu-check-") as folder:
        try:
            rows = list(check(options, Path(folder)))
        except (FvqError, ValueError) as error:
            print(f"gpu-check: {error}", file=sys.stderr)
            return 1
    print("| | |\n|---|---|")
    for row in rows:
        print(f"| {row.name} | {row.value} |")
    return 0


def parse() -> argparse.Namespace:
    base = load_tune_recipe(RECIPE).base
    parser = argparse.ArgumentParser(prog="scripts/gpu-check", description="Train and score with a large model; print a table.")
    parser.add_argument("--tiny", action="store_true", help="scaled-down classes with random weights, on the CPU too")
    parser.add_argument(
        "--random",
        choices=sorted(LANGUAGE_MODELS),
        help="InternVL3 of this size with random weights: speed and memory, no download",
    )
    parser.add_argument("--model", default=base.model, help=f"the base: a path or a hub name ({base.model})")
    parser.add_argument("--motion", default=base.motion, help=f"its temporal encoder ({base.motion})")
    parser.add_argument("--face", default=base.face, help=f"its face encoder, '' for the vision encoder ({base.face})")
    parser.add_argument(
        "--image-size", type=int, default=base.image_size, help=f"side of frames and portraits ({base.image_size})"
    )
    parser.add_argument("--frames", type=int, default=base.frames, help=f"frames of a clip ({base.frames})")
    parser.add_argument("--portrait-frames", type=int, default=base.portrait_frames, help=f"portraits ({base.portrait_frames})")
    return parser.parse_args()


def check(options: argparse.Namespace, folder: Path) -> Iterator[Row]:
    """The rows of the table, as they are measured."""
    recipe = ten_steps(base_of(options, folder))
    yield Row("device", device_name())
    yield Row("base", base_name(options))
    yield Row("images", f"{recipe.base.frames} frames, {recipe.base.portrait_frames} portraits")
    started = time.monotonic()
    load_base(Base(recipe.base.model, recipe.base.motion, recipe.base.face))
    yield Row("load the base", f"{time.monotonic() - started:.1f} s")
    started = time.monotonic()
    tune(recipe, rated_clips(folder), folder / "adapter")
    yield Row("ten steps of each stage, with sampling", f"{time.monotonic() - started:.0f} s, loss {losses(folder / 'adapter')}")
    started = time.monotonic()
    adapter = folder / "adapter"
    engine = load_network(adapter, ModelId("adapter", version_of(adapter)), chosen_device("auto"))
    yield Row("load, merge, test clip", f"{time.monotonic() - started:.1f} s")
    yield Row("side, dtype", f"{engine.spec.frame_size} px, {str(engine.network.dtype).removeprefix('torch.')}")
    clips = sampled(engine.spec, folder)
    together = scores_of(engine, clips, len(clips))
    yield Row("scores of clips from best to worst", ", ".join(f"{score:.1f}" for score in together))
    yield Row("in a batch against alone, at most", f"{np.abs(together - scores_of(engine, clips, 1)).max():.2f} points")
    for size in BATCHES:
        yield Row(f"batch of {size}", f"{clips_per_second(engine, clips, size):.2f} clips/s")
    yield Row("memory at most", peak_memory())
    with served(folder / "adapter") as remote:
        yield Row("served, against here", f"{np.abs(scores_of(remote, clips, len(clips)) - together).max():.2f} points at most")
        yield Row("served, batch of 8", f"{clips_per_second(remote, clips, 8):.2f} clips/s")
    exact = load_model(folder / "adapter", torch.float32).to(engine.network.device)
    apart = np.abs(together - scores_of(Engine(exact, engine.spec, engine.model), clips, len(clips)))
    yield Row("against float32", f"{apart.mean():.2f} points in the mean, {apart.max():.2f} at most")


def base_name(options: argparse.Namespace) -> str:
    if options.tiny:
        return "scaled-down InternVL"
    return f"InternVL3-{options.random.upper()}, random weights" if options.random else str(options.model)


def base_of(options: argparse.Namespace, folder: Path) -> BasePart:
    if options.tiny:
        from tests.support import tiny

        base = tiny.bases(folder / "bases")["qwen2"]
        return BasePart(model=base.model, motion=base.motion, face=base.face, frames=2, portrait_frames=1)
    base = Base(options.model, options.motion, options.face or None)
    if options.random:
        base = random_base(options.random, folder / "bases", chosen_device("auto"))
    return BasePart(
        model=base.model,
        motion=base.motion,
        face=base.face,
        image_size=options.image_size,
        frames=options.frames,
        portrait_frames=options.portrait_frames,
    )


def ten_steps(base: BasePart) -> TuneRecipe:
    """The shipped recipe, cut to ten steps of two clips in each stage."""
    recipe = load_tune_recipe(RECIPE)
    stages = {
        name: getattr(recipe, name).model_copy(update={"epochs": 1, "batch_size": TRAINED // 10}) for name in ("stage1", "stage2")
    }
    return recipe.model_copy(update={"base": base, "clips_per_device": TRAINED // 10, **stages})


def rated_clips(folder: Path) -> Path:
    """A table of clips of one face that are compressed more and more, best first, and a made-up rating of each."""
    frames = face_frames(640, 480, 1.0, 12.0)
    with (folder / "rated.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "mos", "split", "content"])
        for number in range(TRAINED + TESTED):
            split, place = ("train", number / TRAINED) if number < TRAINED else ("test", (number - TRAINED) / TESTED)
            options = ["-crf", str(20 + round(30 * place)), "-preset", "veryfast", "-pix_fmt", "yuv420p"]
            # Mirrored, so that no clip is in both splits.
            shown = frames if split == "train" else [np.ascontiguousarray(frame[:, ::-1]) for frame in frames]
            path = write_frames(folder / f"{split}-{number:02d}.mp4", shown, 12.0, options)
            writer.writerow([path.name, 85 - 60 * place, split, split])
    return folder / "rated.csv"


def sampled(spec: SamplerSpec, folder: Path) -> list[ModelInput]:
    """The test clips, sampled as a worker does."""
    with SamplerPool(spec, 2, 120.0, 4096) as pool:
        futures = [pool.submit(path) for path in sorted(folder.glob("test-*.mp4"))]
        return [future.result()[0][1] for future in futures]


@contextmanager
def served(model: Path) -> Iterator[RemoteScorer]:
    """A scorer served by `fvq serve`, when it has loaded the model. Its own copy of the model is in memory beside ours."""
    port = free_port("127.0.0.1")
    settings = {"FVQ_MODEL": str(model), "FVQ_SERVE_PORT": str(port)}
    remote = RemoteScorer([f"http://127.0.0.1:{port}"])

    def connected() -> bool:
        with suppress(ScorerError):
            remote.connect()
        return not remote.problem

    log = model / "serve.log"
    with log.open("w") as stderr:
        process = subprocess.Popen([FVQ, "serve"], env=clean_environment() | settings, stderr=stderr)
    try:
        if not holds_within(LOAD_SECONDS, lambda: process.poll() is not None or connected(), 0.5) or process.poll() is not None:
            raise ValueError(f"fvq serve does not answer: {log.read_text()}")
        yield remote
    finally:
        remote.close()
        process.terminate()
        process.wait()


def scores_of(engine: Scorer, clips: Sequence[ModelInput], size: int) -> NDArray[np.float64]:
    """The clips' scores, points, scored in batches of a size."""
    return np.array([score.score for at in range(0, len(clips), size) for score in engine.score(clips[at : at + size])])


def clips_per_second(engine: Scorer, clips: Sequence[ModelInput], size: int) -> float:
    """How many clips are scored in a second in batches of a size, after one batch that is not counted."""
    batch = [clips[number % len(clips)] for number in range(size)]
    engine.score(batch)
    started, scored = time.monotonic(), 0
    while time.monotonic() - started < SECONDS:
        scored += len(engine.score(batch))
    return scored / (time.monotonic() - started)


def losses(adapter: Path) -> str:
    """The first and the last loss of each stage."""
    with (adapter / "curve.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    by_stage = [[float(row["loss"]) for row in rows if row["stage"] == stage] for stage in "12"]
    assert [len(stage) for stage in by_stage] == [10, 10]
    return ", ".join(f"{stage[0]:.2f} to {stage[-1]:.2f}" for stage in by_stage)


def device_name() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"


def peak_memory() -> str:
    if torch.cuda.is_available():
        return f"{torch.cuda.max_memory_allocated() / 1e9:.1f} GB of the GPU, training included"
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.1f} GB of the process"


if __name__ == "__main__":
    sys.exit(main())
