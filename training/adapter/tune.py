"""Tunes an adapter on a base from rated clips, in the two stages of FVQ-Rater (arXiv 2504.09255).

    fvq train --recipe training/recipes/fvq20k_internvl.yaml --data FVQ-20K --out MODEL
    fvq train --processes 8 ...                                                  # on eight GPUs

Clips are sampled once, as they are served, and run once through the frozen encoders (`training.adapter.clips`). Stage I
trains the projectors so that the language model answers with the right level; stage II trains LoRA on the vision encoder
and the language model, and the head, by L1 (`training.adapter.trainer`). The split `val` only sets how large the
uncertainty is, `test` only gives figures. The base's weights never change. A run that was killed goes on from MODEL/work.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator, InitProcessGroupKwargs
from numpy.typing import NDArray

from scorer.find import SHIPPED, version_of
from scorer.model.adapters import AdaptedRater, Lora, attach, is_adapter_weight, save_adapter
from scorer.model.bases import META, Base, base_config, load_base, sampler_spec
from scorer.model.modeling import FVQRater
from scorer.runtime.export import export_graph, remove_results
from scorer.runtime.graph import GRAPH_FILE
from scorer.spec import SamplerSpec
from training.adapter.card import write_adapter_card
from training.adapter.clips import EncodedClips, frozen_streams, sampled
from training.adapter.loop import Checkpoint, Curve
from training.adapter.processes import WAIT
from training.adapter.replay import with_replay
from training.adapter.trainer import Trainer
from training.data.digests import digests_of
from training.data.rated import REPLAY, RatedSet, read_rated
from training.data.remarks import remark
from training.data.splits import FEWEST, SPLITS
from training.data.trained import note_trained_on
from training.evaluation.agreement import agreement, calibration
from training.recipe import BasePart, TuneRecipe, check_division


def tune(recipe: TuneRecipe, data: Path, out: Path, replay: Path | None = None, scale: str | None = None) -> dict[str, Any]:
    """Run the recipe; write the adapter directory `out`; returns the metrics, or an empty dict in all but the main process.

    data: any source that `training.data.rated.read_rated` takes. replay: another such source, of what the base was trained
    on; its training clips are mixed in, so that the adapter does not forget them. scale: of the ratings in `data`, as
    `read_rated` takes it. Raises ValueError or `ModelError` that says what in recipe, data or base does not fit.
    """
    bf16 = has_bf16() and not keeps_float32(recipe.base.model)
    # Without a GPU, accelerate treats several processes as separate runs unless it is told to use the CPU.
    on_cpu = not torch.cuda.is_available()
    precision = "bf16" if bf16 else "no"
    accelerator = Accelerator(mixed_precision=precision, cpu=on_cpu, kwargs_handlers=[InitProcessGroupKwargs(timeout=WAIT)])
    check_division(recipe, accelerator.num_processes)
    check_targets(recipe)
    work = out / "work"
    work.mkdir(parents=True, exist_ok=True)
    rated = read_rated(data, recipe.seed, scale)
    if replay is not None:
        rated = with_replay(rated, replay, recipe)
    if accelerator.is_main_process:
        remark(rated.report())
    _check_splits(rated, data, "are usable")
    # Parts that the base does not bring start from random weights: the same in every process and every run.
    torch.manual_seed(recipe.seed)
    network, spec, base = new_network(recipe.base, torch.bfloat16 if bf16 else torch.float32)
    key = _key(recipe, rated, base)
    checkpoint_file = work / "checkpoint.pt"
    checkpoint = Checkpoint.load(checkpoint_file, key)
    with accelerator.main_process_first():
        samples = sampled(rated.clips, spec, work)
        known = frozen_streams(network.to(accelerator.device), samples, work, recipe.cache_vision)
    used = rated.sampled(samples.rows.tolist())
    clips = EncodedClips(samples, used.clips, known)
    _check_splits(used, data, "could be sampled")
    if not base.is_whole:
        standardise(network, samples.arrays["statistics"][np.concatenate([clips.places("train"), clips.places(REPLAY)])])
    tuned = attach(network, Lora(**recipe.lora.model_dump()))
    trainer = Trainer(recipe, accelerator, tuned, clips, checkpoint_file, key)
    curve = Curve(out / "curve.csv")
    trainer.run(curve, checkpoint)
    validation = clips.places("val")
    if len(validation) >= FEWEST:
        trainer.calibrate(validation)
    accelerator.wait_for_everyone()
    metrics: dict[str, Any] = {}
    if accelerator.is_main_process:
        curve.plot(out / "curve.png")
        remove_results(out)
        save_adapter(tuned, out, base)
        spec.save(out)
        note_trained_on(out, rated.of("train"))
        metrics = _figures(trainer, len(used.dropped))
        metrics |= {
            "version": version_of(out),
            "recipe": recipe.model_dump(),
            "base": asdict(Base.load(out)),
            "commit": _commit(),
            "parameters": _adapter_size(tuned),
            "data": key,
        }
        (out / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
        export_graph(out)
        write_adapter_card(out, metrics, used.report())
    accelerator.wait_for_everyone()
    return metrics


def check_targets(recipe: TuneRecipe) -> None:
    """Raise `ModelError` where the adapter cannot be attached to the base, before the clips are read, sampled and encoded.

    It is tried with shapes in place of numbers, and draws none of the training's random numbers.
    """
    network, _, _ = new_network(recipe.base, torch.float32, META)
    with torch.device(META):
        attach(network, Lora(**recipe.lora.model_dump()))


def has_bf16() -> bool:
    """Whether the device computes in bf16 without emulation; most CPUs do not."""
    return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)


def keeps_float32(model: str) -> bool:
    """Whether a base has a graph: it scores in float32 on every device, and is trained in the numbers that it scores in."""
    return (SHIPPED.get(model, Path(model)) / GRAPH_FILE).exists()


def new_network(part: BasePart, dtype: torch.dtype, device: str | None = None) -> tuple[FVQRater, SamplerSpec, Base]:
    """The network on the recipe's base, the sampler's specification for it, and the base. device: as of `load_base`.

    Raises ValueError where the recipe names keys that a whole FVQ-Rater settles itself.
    """
    base = Base(part.model, part.motion, part.face)
    if base.is_whole:
        if useless := part.model_fields_set - {"model"}:
            raise ValueError(f"base: {part.model} is a whole FVQ-Rater, which settles {', '.join(sorted(useless))} itself")
        return load_base(base, dtype, device=device), SamplerSpec.load(SHIPPED.get(base.model, Path(base.model))), base
    config = base_config(base, part.streams, part.image_size)
    return load_base(base, dtype, config, device=device), sampler_spec(config, part.frames, part.portrait_frames), base


def standardise(network: FVQRater, statistics: NDArray[np.float32]) -> None:
    """Set the norm of the statistics to mean and variance of the training clips' (N, D); constant columns come out as 0."""
    values = torch.from_numpy(np.array(statistics)).float()
    buffers = dict(network.standardise.named_buffers())
    buffers["running_mean"].copy_(values.mean(0))
    buffers["running_var"].copy_(values.var(0, correction=0).clamp(min=1e-6))


def _check_splits(rated: RatedSet, data: Path, what: str) -> None:
    """Raise ValueError where there are too few clips of a split. what: is said of those that there are."""
    counts = {split: len(rated.of(split)) for split in SPLITS}
    if not counts["train"] or max(counts["val"], counts["test"]) < FEWEST:
        there = ", ".join(f"{count} {split}" for split, count in counts.items())
        needed = f"there have to be clips to train on, and {FEWEST} of val or test to look at"
        raise ValueError(f"{data}: {there} {what}; {needed}.\n{rated.report()}")


def _figures(trainer: Trainer, dropped: int) -> dict[str, Any]:
    """Agreement and calibration on `val` and on `test`, each under its name; those of the last of the two at the top as well.

    With them `clips`, how many were used of each split, and `dropped`, how many the reader or the sampler left out.
    """
    clips = trainer.clips
    used = {split: len(clips.places(split)) for split in (*SPLITS, REPLAY)}
    if not used[REPLAY]:
        del used[REPLAY]
    metrics: dict[str, Any] = {"clips": used, "dropped": dropped}
    for split in ("val", "test"):
        places = clips.places(split)
        if len(places) >= FEWEST:
            rows = [clips.rows[place] for place in places]
            labels = [row.mos for row in rows]
            scores, uncertainties, levels = trainer.scores(places)
            figures = agreement(scores, labels, [row.content for row in rows])
            figures |= calibration(labels, scores, uncertainties, levels)
            # Contents of one clip each have no order within them: that figure is not a number, and left out.
            finite = {name: value for name, value in figures.items() if np.isfinite(value)}
            metrics |= {split: finite} | finite
    return metrics


def _adapter_size(tuned: AdaptedRater) -> int:
    return sum(parameter.numel() for name, parameter in tuned.named_parameters() if is_adapter_weight(name))


def _key(recipe: TuneRecipe, rated: RatedSet, base: Base) -> str:
    """A short hash of everything that the run depends on."""
    digests = digests_of(clip.path for clip in rated.clips)
    rows = [
        (str(clip.path), digest, clip.mos, clip.content, clip.split) for clip, digest in zip(rated.clips, digests, strict=True)
    ]
    return hashlib.sha256(json.dumps([recipe.model_dump(mode="json"), asdict(base), rows]).encode()).hexdigest()[:12]


def _commit() -> str:
    """The commit of the code that trains; empty where the code is not in a repository."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip()
