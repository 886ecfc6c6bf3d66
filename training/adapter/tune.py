"""Tunes an adapter on a base from rated clips, in the two stages of FVQ-Rater (arXiv 2504.09255).

    fvq train --recipe training/recipes/fvq20k_internvl.yaml --data FVQ-20K --out MODEL
    accelerate launch -m streams.cli train ...                                   # on several GPUs

Clips are sampled once, as they are served, and what frozen encoders say of them is computed once. Stage I trains the
projectors to make the language model answer with the right level; stage II trains LoRA on the vision encoder and the
language model, and the head, by L1. The split `val` only sets how large the uncertainty is, `test` only gives figures.
The base's weights never change. What is in MODEL/work is taken up after a kill.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator, InitProcessGroupKwargs
from numpy.typing import NDArray
from peft import PeftModel
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from scorer.engine import version_of
from scorer.model.adapters import Lora, attach, keep_norms, save_adapter
from scorer.model.bases import SHIPPED, Base, base_config, fingerprint, load_base, sampler_spec
from scorer.model.modeling import LEAST_UNCERTAINTY, SPREAD_UNIT, ClipBatch, FVQRater, RaterOutput
from scorer.spec import LEVELS, SamplerSpec
from training.adapter.card import write_adapter_card
from training.adapter.loop import Checkpoint, Curve, Order, Stage, run_stage
from training.adapter.replay import with_replay
from training.data.rated import FEWEST, REPLAY, SPLITS, RatedClip, RatedSet, read_rated
from training.data.samples import ENCODE_BATCH, Samples, kept_samples
from training.evaluation.agreement import agreement, calibration
from training.losses import laplace_spread
from training.recipe import BasePart, TuneRecipe

LEVEL_WIDTH = 100 / len(LEVELS)
WAIT = timedelta(days=2)
"""How long processes wait for the one that samples; torch's own limit is ten minutes."""


def tune(recipe: TuneRecipe, data: Path, out: Path, replay: Path | None = None) -> dict[str, Any]:
    """Run the recipe; write the adapter directory `out`; returns the metrics.

    data: anything that `training.data.rated.read_rated` takes. replay: the same, of what the base was trained on; its training
    clips are mixed in, so that it is not forgotten. Raises ValueError or `ModelError` that says what in recipe,
    data or base does not fit.
    """
    bf16 = has_bf16()
    # Without a GPU accelerate takes several processes for several runs, unless it is told to use the CPU.
    on_cpu = not torch.cuda.is_available()
    precision = "bf16" if bf16 else "no"
    accelerator = Accelerator(mixed_precision=precision, cpu=on_cpu, kwargs_handlers=[InitProcessGroupKwargs(timeout=WAIT)])
    work = out / "work"
    work.mkdir(parents=True, exist_ok=True)
    rated = read_rated(data, recipe.seed)
    if replay is not None:
        rated = with_replay(rated, replay, recipe)
    if accelerator.is_main_process:
        tqdm.write(rated.report())
    if not rated.of("train") or max(len(rated.of("val")), len(rated.of("test"))) < FEWEST:
        raise ValueError(f"{data}: there have to be clips to train on, and {FEWEST} of val or test to look at.\n{rated.report()}")
    # What no base brings starts from chance: from the same in every process and every run.
    torch.manual_seed(recipe.seed)
    network, spec, base = new_network(recipe.base, torch.bfloat16 if bf16 else torch.float32)
    key = _key(recipe, rated, base)
    checkpoint = Checkpoint.load(work / "checkpoint.pt", key)
    with accelerator.main_process_first():
        samples = sampled(rated.clips, spec, work)
        rows = [rated.clips[int(i)] for i in samples.rows]
        known = frozen_streams(network.to(accelerator.device), samples, work, recipe.cache_vision)
    training = np.array([place for place, row in enumerate(rows) if row.split == "train"])
    replayed = np.array([place for place, row in enumerate(rows) if row.split == REPLAY], np.int64)
    if not base.is_whole:
        standardise(network, samples.arrays["statistics"][np.concatenate([training, replayed])])
    tuned = attach(network, Lora(**recipe.lora.model_dump()))
    trainer = Trainer(recipe, accelerator, tuned, samples, known, rows, work, key)
    curve = Curve(out / "curve.csv")
    trainer.run(training, replayed, curve, checkpoint)
    validation = np.array([place for place, row in enumerate(rows) if row.split == "val"], np.int64)
    if len(validation) >= FEWEST:
        trainer.calibrate(validation)
    accelerator.wait_for_everyone()
    metrics: dict[str, Any] = {}
    if accelerator.is_main_process:
        curve.plot(out / "curve.png")
        save_adapter(tuned, out, base)
        spec.save(out)
        metrics = _figures(trainer, rated)
        metrics |= {
            "version": version_of(out),
            "recipe": recipe.model_dump(),
            "base": asdict(Base.load(out)),
            "commit": _commit(),
        }
        metrics |= {"parameters": _adapter_size(tuned), "data": key, "dropped": len(rated.dropped) + len(rated.clips) - len(rows)}
        (out / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
        write_adapter_card(out, metrics, rated.report())
    accelerator.wait_for_everyone()
    return metrics


def has_bf16() -> bool:
    """Whether the device computes in bf16 without emulation; CPUs mostly do not."""
    return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)


def new_network(part: BasePart, dtype: torch.dtype) -> tuple[FVQRater, SamplerSpec, Base]:
    """The base of a recipe, and what is sampled for it. Raises ValueError for keys that a whole FVQ-Rater has no use for."""
    base = Base(part.model, part.motion, part.face)
    if base.is_whole:
        if useless := part.model_fields_set - {"model"}:
            raise ValueError(f"base: {part.model} is a whole FVQ-Rater, which settles {', '.join(sorted(useless))} itself")
        return load_base(base, dtype), SamplerSpec.load(SHIPPED.get(base.model, Path(base.model))), base
    config = base_config(base, part.streams, part.image_size)
    return load_base(base, dtype, config), sampler_spec(config, part.frames), base


def sampled(clips: Sequence[RatedClip], spec: SamplerSpec, work: Path) -> Samples:
    """The clips as the serving sampler sees them, kept in a folder of their own for each list and specification."""
    digest = hashlib.sha256(json.dumps([asdict(spec), [str(clip.path) for clip in clips]]).encode()).hexdigest()[:12]
    return kept_samples(work / f"samples-{digest}", [{"path": clip.path} for clip in clips], spec, os.cpu_count() or 1)


@torch.inference_mode()
def frozen_streams(network: FVQRater, samples: Samples, work: Path, with_vision: bool) -> dict[str, Tensor]:
    """What encoders that no stage trains say of every clip, by stream, on the CPU: (N, ...) each.

    with_vision: the vision encoder's too, for as long as it is frozen. Kept in a file that is named after the base.
    """
    streams = {"motion"} | ({"faces"} if network.face_model is not None else set())
    if with_vision:
        streams |= {"frames", "portrait", "faces"}
    wanted = sorted(streams & set(network.config.streams))
    about = [fingerprint(network), wanted, str(network.dtype), network.config.vision_tokens, samples.rows.tolist()]
    about += [{name: list(array.shape) for name, array in samples.arrays.items()}]
    file = work / f"frozen-{hashlib.sha256(json.dumps(about).encode()).hexdigest()[:12]}.safetensors"
    if not file.exists():
        network.eval()
        known = {name: torch.zeros(0) for name in network.config.streams if name not in wanted}
        parts: dict[str, list[Tensor]] = {name: [] for name in wanted}
        for start in tqdm(range(0, len(samples), ENCODE_BATCH), desc="encoding", disable=None):
            batch = on_device(samples.batch(np.arange(start, min(start + ENCODE_BATCH, len(samples)))), network.device)
            encoded = network.encode(batch, known)
            for name in wanted:
                parts[name].append(encoded[name].cpu())
        part = file.with_suffix(".part")
        save_file({name: torch.cat(values) for name, values in parts.items()}, part)
        os.replace(part, file)
    return load_file(file)


def standardise(network: FVQRater, statistics: NDArray[np.float32]) -> None:
    """Set the norm of the statistics to mean and variance of the training clips'; constant numbers come out as 0."""
    values = torch.from_numpy(np.array(statistics)).float()
    buffers = dict(network.standardise.named_buffers())
    buffers["running_mean"].copy_(values.mean(0))
    buffers["running_var"].copy_(values.var(0, correction=0).clamp(min=1e-6))


def on_device(batch: ClipBatch, device: torch.device) -> ClipBatch:
    """The batch there."""
    return ClipBatch(**{name: tensor.to(device, non_blocking=True) for name, tensor in vars(batch).items()})


class Trainer:
    """Both stages of one adapter. known: see `frozen_streams`; rows: what each sample is of."""

    def __init__(
        self,
        recipe: TuneRecipe,
        accelerator: Accelerator,
        tuned: PeftModel,
        samples: Samples,
        known: dict[str, Tensor],
        rows: Sequence[RatedClip],
        work: Path,
        key: str,
    ) -> None:
        self.recipe, self.accelerator, self.tuned = recipe, accelerator, tuned
        self.samples, self.known, self.rows = samples, known, rows
        self._work, self._key = work, key
        self._labels = torch.tensor([row.mos for row in rows], dtype=torch.float32)
        if recipe.gradient_checkpointing:
            network = tuned.get_base_model()
            for tower in (network.vision_model, network.language_model):
                tower.gradient_checkpointing_enable({"use_reentrant": False})

    def run(self, training: NDArray[np.int64], replayed: NDArray[np.int64], curve: Curve, checkpoint: Checkpoint | None) -> None:
        """Train on those places, the recipe's share of them replayed, from the checkpoint on where there is one."""
        places_of = np.concatenate([training, replayed])
        if checkpoint:
            self.tuned.load_state_dict(checkpoint.weights, strict=False)
        if self.accelerator.is_main_process:
            curve.cut(checkpoint.stage if checkpoint else 0, checkpoint.step if checkpoint else 0)
        for number, part, loss in ((1, self.recipe.stage1, self.text_loss), (2, self.recipe.stage2, self.score_loss)):
            if checkpoint and checkpoint.stage > number:
                continue
            order = Order(len(training), self.recipe.seed, len(replayed), self.recipe.replay_share)
            stage = Stage(number, part, order, self.recipe.clips_per_device, self.recipe.checkpoint_steps)
            trainable(self.tuned, number)
            self.tuned.train()
            keep_norms(self.tuned)
            run_stage(
                self.accelerator,
                self.tuned,
                stage,
                lambda model, places, loss=loss: loss(model, places_of[places]),  # type: ignore[misc]
                curve,
                checkpoint if checkpoint and checkpoint.stage == number else None,
                lambda step, optimizer, number=number: self._keep(number, step, optimizer),  # type: ignore[misc]
            )

    def text_loss(self, model: nn.Module, places: NDArray[np.int64]) -> Tensor:
        """Stage I: cross entropy of the answer."""
        loss = self._output(model, places, {"frames", "portrait", "faces", "motion"}).answer_loss
        assert loss is not None
        return loss

    def score_loss(self, model: nn.Module, places: NDArray[np.int64]) -> Tensor:
        """Stage II: L1 in levels, and what keeps the text answer and the uncertainty."""
        output = self._output(model, places, self._always_frozen())
        assert output.answer_loss is not None
        wanted = self._labels[places].to(output.score.device)
        loss = functional.l1_loss(output.score, wanted) / LEVEL_WIDTH
        spread = laplace_spread(output.uncertainty, (output.score - wanted).abs().detach())
        return loss + self.recipe.text_weight * output.answer_loss + self.recipe.uncertainty_weight * spread

    @torch.inference_mode()
    def scores(self, places: NDArray[np.int64]) -> tuple[list[float], list[float], list[int]]:
        """(scores, uncertainties, likeliest levels) of clips, by the model as it is."""
        self.tuned.eval()
        found: tuple[list[float], list[float], list[int]] = ([], [], [])
        for start in range(0, len(places), self.recipe.clips_per_device):
            with self.accelerator.autocast():
                output = self._output(self.tuned, places[start : start + self.recipe.clips_per_device], self._always_frozen())
            found[0].extend(output.score.tolist())
            found[1].extend(output.uncertainty.tolist())
            found[2].extend(output.level_logits.argmax(dim=1).tolist())
        return found

    def calibrate(self, places: NDArray[np.int64]) -> None:
        """Move the uncertainty so that its mean over clips is their mean absolute error; its order stays.

        Errors on what a model has learned, from which it learns the uncertainty, are too small.
        """
        scores, uncertainty, _ = self.scores(places)
        error = float((torch.tensor(scores) - self._labels[places]).abs().mean())
        softplus = (torch.tensor(uncertainty, dtype=torch.float64) - LEAST_UNCERTAINTY) / SPREAD_UNIT
        spread = softplus.clamp(min=1e-6).expm1().log()
        low, high = -20.0, 20.0
        while high - low > 1e-3:
            shift = (low + high) / 2
            mean = float((SPREAD_UNIT * functional.softplus(spread + shift) + LEAST_UNCERTAINTY).mean())
            low, high = (shift, high) if mean < error else (low, shift)
        last = self.tuned.get_base_model().head[-1].modules_to_save["default"]
        with torch.no_grad():
            last.bias[1] += (low + high) / 2

    def _always_frozen(self) -> set[str]:
        return {"motion"} | ({"faces"} if self.tuned.get_base_model().face_model is not None else set())

    def _output(self, model: nn.Module, places: NDArray[np.int64], taken: set[str]) -> RaterOutput:
        """The model on clips, with the streams that were encoded before. places: (B,)."""
        device = self.accelerator.device
        levels = (self._labels[places] // LEVEL_WIDTH).clamp(max=len(LEVELS) - 1).long().to(device)
        known = {name: tensor[places].to(device) for name, tensor in self.known.items() if name in taken}
        output: RaterOutput = model(on_device(self.samples.batch(places), device), levels, known)
        return output

    def _keep(self, stage: int, step: int, optimizer: dict[str, Any]) -> None:
        weights = {name: t for name, t in self.tuned.state_dict().items() if "lora_" in name or "modules_to_save" in name}
        Checkpoint(stage, step, weights, optimizer, self._key).save(self._work / "checkpoint.pt")


def trainable(tuned: PeftModel, stage: int) -> None:
    """Let a stage's parameters require gradients: the projectors in stage I, LoRA and the head in stage II."""
    for name, parameter in tuned.named_parameters():
        whole = "modules_to_save" in name
        first = whole and ".projectors." in name
        second = "lora_" in name or (whole and ".head." in name)
        parameter.requires_grad_(first if stage == 1 else second)


def _figures(trainer: Trainer, rated: RatedSet) -> dict[str, Any]:
    """Agreement and calibration on what was not trained on; those of the last split that there is stand above the others.

    clips: how many were used of each split; dropped: how many the reader or the sampler left out.
    """
    used = {split: sum(row.split == split for row in trainer.rows) for split in (*SPLITS, REPLAY)}
    if not used[REPLAY]:
        del used[REPLAY]
    metrics: dict[str, Any] = {"clips": used, "dropped": len(rated.dropped) + len(rated.clips) - len(trainer.rows)}
    for split in ("val", "test"):
        places = np.array([place for place, row in enumerate(trainer.rows) if row.split == split], np.int64)
        if len(places) >= FEWEST:
            rows = [trainer.rows[place] for place in places]
            labels = [row.mos for row in rows]
            scores, uncertainty, levels = trainer.scores(places)
            found = agreement(scores, labels, [row.content for row in rows]) | calibration(labels, scores, uncertainty, levels)
            # There is no order within contents of one clip each.
            known = {name: value for name, value in found.items() if np.isfinite(value)}
            metrics |= {split: known} | known
    return metrics


def _adapter_size(tuned: PeftModel) -> int:
    return sum(p.numel() for name, p in tuned.named_parameters() if "lora_" in name or "modules_to_save" in name)


def _key(recipe: TuneRecipe, rated: RatedSet, base: Base) -> str:
    rows = [(str(clip.path), clip.mos, clip.content, clip.split) for clip in rated.clips]
    return hashlib.sha256(json.dumps([recipe.model_dump(mode="json"), asdict(base), rows]).encode()).hexdigest()[:12]


def _commit() -> str:
    """The commit that trains, or nothing where the code is not in a repository."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip()
