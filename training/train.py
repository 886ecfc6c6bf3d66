"""Trains a whole small model from labelled clips, by a recipe.

    fvq train --recipe training/recipes/nano.yaml --data TRAIN/labels.csv --dev DEV/labels.csv --out MODEL

Stage 0 teaches the vision encoder on single frames (`training.pretrain`). Its outputs are then computed once and
cached. Stage I trains projectors and language model to answer with the level; stage II adds the score: L1 and the
order within each content, while the level's answer is kept, and the uncertainty as the scale of a Laplace error.
`dev` is only looked at: nothing is chosen by it.
"""

from __future__ import annotations

import csv
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor, nn
from tqdm import tqdm

from scorer.engine import version_of
from scorer.model.encoders import LiteEncoder
from scorer.model.modeling import FVQRater, RaterOutput
from scorer.model.presets import nano
from scorer.spec import LEVELS, SamplerSpec
from training.card import write_card
from training.datasets import Features, balanced_batches, encode_all, read_labels
from training.evaluate import calibration, summary
from training.losses import laplace_spread, score_loss
from training.pretrain import load_frames, pretrain
from training.synth import fingerprint

LEVEL_WIDTH = 100 / len(LEVELS)


@dataclass(frozen=True)
class Recipe:
    """What a training run depends on, besides its data."""

    name: str
    seed: int
    stage0_steps: int
    stage1_steps: int
    stage2_steps: int
    contents_per_batch: int
    clips_per_content: int
    learning_rate: float
    weight_decay: float
    statistics_noise: float
    """Deviation of the noise on the standardised statistics: few contents, and a table of numbers is easily learned by heart."""
    threads: int = 1
    """More cost more than they bring for a network of this size, and the sampling children need the cores."""

    @classmethod
    def load(cls, path: Path) -> Recipe:
        """From YAML; raises ValueError that names the file and the key that is unknown or missing."""
        try:
            return cls(**yaml.safe_load(path.read_text()))
        except (TypeError, yaml.YAMLError) as error:
            raise ValueError(f"{path}: {error}") from error


def train(recipe: Recipe, data: Path, dev: Path, out: Path) -> dict[str, Any]:
    """Run the recipe; write the model directory `out` (weights, sampler, tokenizer, card, metrics); returns the metrics.

    Everything that can be taken up again after a kill is in `out/work`: stage 0's encoder and the cached features.
    """
    started = time.monotonic()
    work = out / "work"
    work.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    torch.set_num_threads(recipe.threads)
    config, tokenizer = nano()
    spec = SamplerSpec()
    network = FVQRater(config)
    if not (work / "stage0" / "done").exists():
        pretrain(
            load_frames(data),
            load_frames(dev),
            work / "stage0",
            steps=recipe.stage0_steps,
            seed=recipe.seed,
            threads=recipe.threads,
        )
        (work / "stage0" / "done").touch()
    network.vision_model = LiteEncoder.from_pretrained(work / "stage0")
    rows, dev_rows = read_labels(data), read_labels(dev)
    features = encode_all(network, rows, spec, work / "train.safetensors", jobs=os.cpu_count() or 1, augment=True)
    dev_features = encode_all(network, dev_rows, spec, work / "dev.safetensors", jobs=os.cpu_count() or 1, augment=False)
    metrics = fit(network, features, rows, dev_features, dev_rows, recipe, work)
    network.save_pretrained(out)
    tokenizer.save_pretrained(out)
    spec.save(out)
    metrics |= {"data": fingerprint(data), "dev": fingerprint(dev), "minutes": round((time.monotonic() - started) / 60, 1)}
    metrics |= {"recipe": asdict(recipe), "parameters": sum(p.numel() for p in network.parameters()), "version": version_of(out)}
    (out / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
    write_card(out, metrics, contents=len({row["content"] for row in rows}), clips=len(rows))
    return metrics


def fit(
    network: FVQRater,
    features: Features,
    rows: list[dict[str, Any]],
    dev: Features,
    dev_rows: list[dict[str, Any]],
    recipe: Recipe,
    work: Path,
    only: Callable[[dict[str, Any]], bool] = lambda _: True,
) -> dict[str, Any]:
    """Stages I and II on cached features; `network` ends with the averaged weights. Returns the metrics on dev.

    only: which label rows to train on, for cross-validation.
    """
    rng = np.random.default_rng(recipe.seed)
    labels = torch.tensor([row["mos"] for row in rows], dtype=torch.float32)
    contents = [rows[int(i)]["content"] for i in features.row]
    number = {name: i for i, name in enumerate(sorted(set(contents)))}
    content_ids = torch.tensor([number[name] for name in contents])
    index = np.array([p for p, i in enumerate(features.row) if only(rows[int(i)])])
    _standardise(network.standardise, features.tensors["statistics"][index])
    network.vision_model.requires_grad_(False)
    parameters = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    total = recipe.stage1_steps + recipe.stage2_steps
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, total_steps=total, pct_start=0.1)
    average = torch.optim.swa_utils.AveragedModel(network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.99))
    batches = balanced_batches(contents, index, rng, recipe.contents_per_batch, recipe.clips_per_content)
    with (work / "curve.csv").open("w", newline="") as file:
        curve = csv.writer(file)
        curve.writerow(["step", "stage", "loss"])
        for step in tqdm(range(1, total + 1), desc="stages I, II", disable=None):
            stage = 1 if step <= recipe.stage1_steps else 2
            place = next(batches)
            wanted = labels[features.row[place]]
            streams = streams_of(network.train(), features, place, noise=recipe.statistics_noise)
            output: RaterOutput = network.answer(streams, (wanted // LEVEL_WIDTH).clamp(max=len(LEVELS) - 1).long())
            assert output.answer_loss is not None
            loss = output.answer_loss
            if stage == 2:
                loss = (
                    loss
                    + score_loss(output.score, wanted, content_ids[place])
                    + 0.2 * laplace_spread(output.uncertainty, output.score, wanted)
                )
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            schedule.step()
            average.update_parameters(network)
            if step % 50 == 0:
                curve.writerow([step, stage, f"{float(loss.detach()):.4f}"])
                file.flush()
    network.load_state_dict(average.module.state_dict())
    network.requires_grad_(True)
    return evaluate_features(network.eval(), dev, dev_rows)


def streams_of(network: FVQRater, features: Features, place: Tensor, noise: float = 0.0) -> dict[str, Tensor]:
    """Streams for `FVQRater.answer`: the cached ones as they are, temporal clip and statistics through the network."""
    taken = features.take(place)
    streams = {name: tensor for name, tensor in taken.items() if name not in ("clip", "statistics")}
    clip = taken["clip"]
    video = network._normalise(clip.flatten(0, 1), network.config.motion_normalisation).unflatten(0, clip.shape[:2])
    streams["motion"] = network.motion_model(video).last_hidden_state.mean(dim=1)[:, None, None]
    network.standardise.eval()
    statistics = network.standardise(taken["statistics"]).clamp(-4, 4)
    streams["statistics"] = (statistics + noise * torch.randn_like(statistics))[:, None, None]
    return streams


@torch.inference_mode()
def predict(network: FVQRater, features: Features, batch: int = 64) -> Iterator[tuple[int, float, float, int]]:
    """(row, score, uncertainty, most likely level) of every whole clip."""
    network.eval()
    places = torch.nonzero(features.whole)[:, 0]
    for place in places.split(batch):
        output = network.answer(streams_of(network, features, place))
        columns = (features.row[place], output.score, output.uncertainty, output.level_logits.argmax(dim=1))
        yield from zip(*(column.tolist() for column in columns), strict=True)


def evaluate_features(network: FVQRater, features: Features, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """`training.evaluate.summary` of the network on cached features, and how far levels and uncertainty can be trusted."""
    answers = list(predict(network, features))
    labelled = [rows[i] for i, *_ in answers]
    _, scores, uncertainty, levels = zip(*answers, strict=True)
    return summary(labelled, scores) | calibration([row["mos"] for row in labelled], scores, uncertainty, levels)


def _standardise(norm: nn.Module, values: Tensor) -> None:
    """Set a batch norm without affine to mean and variance of the values; constant columns come out as 0."""
    assert isinstance(norm, nn.BatchNorm1d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.copy_(values.mean(0))
    norm.running_var.copy_(values.var(0).clamp(min=1e-6))
