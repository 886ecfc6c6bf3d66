"""Trains a whole small model from labelled clips, by a recipe.

    fvq train --recipe training/recipes/nano.yaml --data TRAIN/labels.csv --dev DEV/labels.csv --out MODEL

Every segment is sampled once, and goes once through the vision encoder, which is not trained (`training.nano.start`).
Stage I trains projectors and language model to answer with the level. Stage II adds the score, by L1 and by the order
within each content, and keeps the answer's loss. The uncertainty is trained on the errors of models that have not seen the
person, because a model's errors on its own training clips are too small. `dev` only gives figures: nothing is chosen by it.
"""

from __future__ import annotations

import csv
import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from scorer.find import version_of
from scorer.model.configuration import STREAMS
from scorer.model.encoders import LiteEncoder
from scorer.model.modeling import FVQRater, RaterOutput
from scorer.model.presets import nano
from scorer.runtime.export import export_graph
from scorer.spec import LEVELS
from training.data.labels import fingerprint, read_labels
from training.data.samples import kept_samples, parts_of
from training.evaluation.agreement import Floats, calibration, cross_validated, summary
from training.losses import laplace_spread, score_loss
from training.nano.card import write_card
from training.nano.features import Features, balanced_batches, encode
from training.nano.start import imagenet_encoder, set_scale
from training.nano.teacher import Lesson, level_loss, level_targets, teach
from training.recipe import NanoRecipe

Row = dict[str, Any]
LEVEL_WIDTH = 100 / len(LEVELS)


def train(recipe: NanoRecipe, data: Path, dev: Path, out: Path, lesson: Lesson | None = None) -> dict[str, Any]:
    """Run the recipe; write the model directory `out` (weights, sampler, tokenizer, card, metrics); returns the metrics.

    data, dev: labels files, of different people. lesson: a teacher, whose scores are mixed into the labels; None: labels alone.
    A run that was killed and is started again reuses `out/work`: the teacher's answers, the sampled
    and the encoded clips. Raises ValueError where a labels file is wrong.
    """
    started = time.monotonic()
    work = out / "work"
    work.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    torch.set_num_threads(recipe.threads)
    _, tokenizer = nano()
    spec, jobs = recipe.spec, os.cpu_count() or 1
    labelled, dev_rows = read_labels(data), read_labels(dev)
    rows, parts, kept, taught = labelled, parts_of(labelled, recipe.seed), work / "train", None
    if lesson is not None:
        taught = teach(lesson, labelled, dev_rows, recipe, work, jobs)
        rows, parts, kept = taught.rows, taught.parts, taught.folder
    samples = kept_samples(kept, rows, spec, jobs, parts)
    dev_samples = kept_samples(work / "dev", dev_rows, spec, jobs)
    encoder = imagenet_encoder(samples)
    features = encode(new_network(encoder), samples, kept)
    dev_features = encode(new_network(encoder), dev_samples, work / "dev")
    errors = np.abs(held_out_scores(encoder, features, rows, recipe) - [rows[int(i)]["mos"] for i in features.row])
    network = new_network(encoder)
    fit(network, features, rows, recipe, np.arange(len(features)), errors, work / "curve.csv")
    network.save_pretrained(out)
    tokenizer.save_pretrained(out)
    spec.save(out)
    metrics = evaluate_features(network.eval(), dev_features, dev_rows)
    metrics |= {"data": fingerprint(data), "dev": fingerprint(dev), "minutes": round((time.monotonic() - started) / 60, 1)}
    metrics |= {"recipe": asdict(recipe), "parameters": sum(p.numel() for p in network.parameters()), "version": version_of(out)}
    if taught is not None:
        metrics["teacher"] = taught.figures
    (out / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
    export_graph(out)
    write_card(out, metrics, people=len({row["person"] for row in labelled}), clips=len(labelled))
    return metrics


def new_network(encoder: LiteEncoder, streams: Sequence[str] = STREAMS, language_model: bool = True) -> FVQRater:
    """An untrained `nano` around a vision encoder, which several networks may share.

    streams: the token streams that it has. language_model: False leaves the language model out.
    """
    network = FVQRater(nano(streams, language_model)[0])
    network.vision_model = encoder
    return network


def held_out_scores(encoder: LiteEncoder, features: Features, rows: list[Row], recipe: NanoRecipe) -> Floats:
    """Scores (N,) of all clips, each by a model that was fitted on other people."""
    taken = [rows[int(i)] for i in features.row]

    def fit_and_score(inside: Sequence[int], outside: Sequence[int]) -> list[float]:
        network = new_network(encoder)
        fit(network, features, rows, recipe, np.array(inside))
        return [score for score, *_ in predict(network, features, torch.tensor(outside))]

    return cross_validated(taken, fit_and_score, recipe.folds)


def fit(
    network: FVQRater,
    features: Features,
    rows: list[Row],
    recipe: NanoRecipe,
    index: NDArray[np.int64],
    errors: Floats | None = None,
    curve_file: Path = Path(os.devnull),
) -> None:
    """Train `network` by stages I and II on cached features; it ends with the averaged weights.

    rows: the label rows that `features.row` points into, with `target` and `levels` where a teacher was asked
    (`training.nano.teacher`). index: places of the features to train on. errors: absolute errors
    that the uncertainty learns, points, one for each feature; None: the uncertainty is not trained. curve_file: a CSV with
    the loss of every 50th step.
    """
    rng = np.random.default_rng(recipe.seed)
    labels = torch.tensor([row.get("target", row["mos"]) for row in rows], dtype=torch.float32)
    taught_levels = level_targets(rows)
    contents = [rows[int(i)]["content"] for i in features.row]
    number = {name: i for i, name in enumerate(sorted(set(contents)))}
    content_ids = torch.tensor([number[name] for name in contents])
    set_scale(network.standardise, features.tensors["statistics"][index])
    network.vision_model.requires_grad_(False)
    parameters = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    total = recipe.stage1_steps + recipe.stage2_steps
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, total_steps=total, pct_start=0.1)
    average = torch.optim.swa_utils.AveragedModel(network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.99))
    batches = balanced_batches(contents, index, rng, recipe.contents_per_batch, recipe.clips_per_content)
    with curve_file.open("w", newline="") as file:
        curve = csv.writer(file)
        curve.writerow(["step", "stage", "loss"])
        for step in tqdm(range(1, total + 1), desc="stages I, II", disable=None):
            stage = 1 if step <= recipe.stage1_steps else 2
            places = next(batches)
            label = labels[features.row[places]]
            streams = streams_of(network.train(), features, places, recipe)
            output: RaterOutput = network.answer(streams, (label // LEVEL_WIDTH).clamp(max=len(LEVELS) - 1).long())
            assert output.answer_loss is not None
            loss = output.answer_loss
            if taught_levels is not None:
                loss = loss + level_loss(output.level_logits, taught_levels[features.row[places]])
            if stage == 2:
                loss = loss + score_loss(output.score, label, content_ids[places])
                if errors is not None:
                    error = torch.as_tensor(errors[places.numpy()], dtype=torch.float32)
                    loss = loss + 0.2 * laplace_spread(output.uncertainty, error)
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


def streams_of(network: FVQRater, features: Features, places: Tensor, recipe: NanoRecipe | None = None) -> dict[str, Tensor]:
    """Streams for `FVQRater.answer`: the cached ones, and temporal clip and statistics run through the network.

    places: (B,) which features. recipe: for training, its noise and dropout are applied; None: neither.
    """
    taken = features.take(places)
    streams = {name: tensor for name, tensor in taken.items() if name not in ("clip", "statistics")}
    clip = taken["clip"]
    video = network._normalise(clip.flatten(0, 1), network.config.motion_normalisation).unflatten(0, clip.shape[:2])
    streams["motion"] = network.motion_model(video).last_hidden_state.mean(dim=1)[:, None, None]
    network.standardise.eval()
    streams["statistics"] = network.standardise(taken["statistics"]).clamp(-4, 4)[:, None, None]
    if recipe is not None:
        streams["statistics"] = _noisy(streams["statistics"], recipe.statistics_noise)
        for name in ("statistics", "motion"):
            streams[name] = streams[name] * (torch.rand(len(places), 1, 1, 1) >= recipe.stream_dropout)
        for name in ("frames", "portrait", "faces"):
            kept = torch.rand(len(places), 1, 1, 1) >= recipe.image_dropout
            streams[name] = _noisy(streams[name], recipe.image_noise) * kept
    return streams


def _noisy(tokens: Tensor, deviation: float) -> Tensor:
    return tokens + deviation * torch.randn_like(tokens)


@torch.inference_mode()
def predict(network: FVQRater, features: Features, places: Tensor, batch: int = 64) -> Iterator[tuple[float, float, int]]:
    """(score, uncertainty, most likely level 0-4) of the clips at those places, in order."""
    network.eval()
    for part in places.split(batch):
        output = network.answer(streams_of(network, features, part))
        columns = (output.score, output.uncertainty, output.level_logits.argmax(dim=1))
        yield from zip(*(column.tolist() for column in columns), strict=True)


def evaluate_features(network: FVQRater, features: Features, rows: list[Row]) -> dict[str, Any]:
    """The figures of `summary` and of `calibration` (`training.evaluation.agreement`), on cached features."""
    labelled = [rows[int(i)] for i in features.row]
    scores, uncertainty, levels = zip(*predict(network, features, torch.arange(len(features))), strict=True)
    return summary(labelled, scores) | calibration([row["mos"] for row in labelled], scores, uncertainty, levels)
