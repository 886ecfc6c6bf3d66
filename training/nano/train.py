"""Trains a whole small model from labelled clips, by a recipe.

    fvq train --recipe training/recipes/nano.yaml --data TRAIN/labels.csv --dev DEV/labels.csv --out MODEL
    fvq train --recipe training/recipes/nano_more.yaml --start MODEL --data MORE/labels.csv --dev DEV/labels.csv --out MODEL2

Every segment is sampled once. Stage I trains the later blocks of the vision encoder, the projectors and the language model to
answer with the level. Stage II adds the score, by L1, by the order within each content and, where labels are absolute, by the
order between contents, and keeps the answer's loss. The uncertainty is trained on the errors of models that have not seen the
person, because a model's errors on its own training clips are too small; of a model that is trained on with new clips, on its own
errors on these before. `dev` only gives figures: nothing is chosen by it.
"""

from __future__ import annotations

import copy
import csv
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from scorer.find import version_of
from scorer.model.configuration import STREAMS
from scorer.model.modeling import FVQRater
from scorer.model.presets import nano
from scorer.model_files import share_weights
from scorer.runtime.export import export_graph, remove_results
from scorer.spec import SamplerSpec
from training.data.labels import check_apart, fingerprint, read_apart, read_labels
from training.data.progress import Progress
from training.data.records import kept_record
from training.data.samples import ENCODE_BATCH, Samples, kept_samples, parts_of
from training.data.tensors import kept_tensors
from training.evaluation.agreement import Floats, calibration, cross_validated, summary, without_nan
from training.nano.card import write_card
from training.nano.draw import balanced_batches, drawn_streams, with_noise
from training.nano.kept import Kept, kept_pictures
from training.nano.start import Start, between, imagenet_encoder, mean_of, set_scale
from training.nano.steady import Steady
from training.nano.targets import Targets, loss_of
from training.nano.teacher import Lesson, Taught, teach
from training.recipe import WARM_UP, NanoRecipe

Row = dict[str, Any]
TAUGHT = ("path", "person", "content", "absolute", "mos", "target", "levels")  # the last two are a teacher's


def train(
    recipe: NanoRecipe,
    data: Path,
    dev: Path,
    out: Path,
    lesson: Lesson | None = None,
    start: Start | None = None,
    steady: Path | None = None,
    errors_of: Start | None = None,
) -> dict[str, Any]:
    """Run the recipe; write the model directory `out` (weights, sampler, tokenizer, card, metrics); returns the metrics.

    data, dev: labels files, of different people. lesson: a teacher, whose scores are mixed into the labels; None: labels alone.
    start: a model that is trained on, with clips that it has not seen; None: a new one. steady: a labels file of longer clips,
    between whose windows the score is not to move (`training.nano.steady`). errors_of: a model that has not seen the clips, whose
    errors on them, sampled as it knows them, teach the uncertainty; None: `start`, or with a new model those that were fitted
    without each person.
    A run that was killed and is started again reuses `out/work`: the teacher's answers, the sampled clips, the scores of the
    models for the uncertainty, and each of several trainings that is through. Raises ValueError where a labels file is wrong,
    where `start` cannot go on with what the recipe's sampler gives, or where `errors_of` cannot score clips.
    """
    if start is None:
        check_new(recipe)
    guesser = errors_of or start
    if start is not None:
        start.check(recipe.spec)
    if guesser is not None:
        guesser.check(recipe.spec if guesser.sees(recipe.spec) else guesser.spec)
    # Also for what the model to start from says: sums depend on the number of threads.
    torch.set_num_threads(recipe.threads)
    started = time.monotonic()
    work = out / "work"
    work.mkdir(parents=True, exist_ok=True)
    _, tokenizer = nano()
    spec, jobs = recipe.spec, os.cpu_count() or 1
    labelled, dev_rows = read_apart(data, dev)
    if guesser is None and len({row["person"] for row in labelled}) < 2:
        raise ValueError(
            f"{data}: all clips are of one person, and the uncertainty learns from models that are fitted without each person: "
            "give clips of more people, or train a model on with --start"
        )
    if steady is not None:
        check_apart(steady, read_labels(steady), dev, dev_rows)
    # Before the long work: clips that are too short end the run.
    windows = None if steady is None else Steady.read(steady, spec, jobs, work / "steady")
    if lesson is None:
        taught = Taught(labelled, parts_of(labelled, recipe.seed), work / "train", {})
    else:
        taught = teach(lesson, labelled, dev_rows, recipe, work, jobs)
    rows = taught.rows
    samples = kept_samples(taught.folder, rows, spec, jobs, taught.parts)
    dev_samples = kept_samples(work / "dev", dev_rows, spec, jobs)
    if guesser is None:
        scores = held_out_scores(samples, rows, recipe, recipe.folds, work / f"held-out-{about(recipe, rows, samples)}")
    else:
        scores = _scores_of(guesser, samples, taught, spec, work, jobs)
    errors = np.abs(scores - [rows[int(i)]["mos"] for i in samples.rows])
    origin = {
        "start": None if start is None else start.version,
        "errors_of": None if errors_of is None else errors_of.version,
        "steady": None if steady is None else fingerprint(steady),
    }
    given = [origin["start"], origin["steady"], hashlib.sha256(errors.tobytes()).hexdigest()]

    @cache
    def pictures() -> dict[str, Any]:
        # The encoder's frozen blocks are in all runs those of the model to start from, so the runs share what they say.
        if start is None or not recipe.keeps_pictures:
            return {"steady": windows}
        network, blocks = start.network, recipe.frozen_blocks
        return {"kept": kept_pictures(network, samples, blocks), "steady": windows and windows.kept_by(network, blocks)}

    def train_run(run: NanoRecipe) -> dict[str, Tensor]:
        curve, clips = work / f"curve-{run.seed}.csv", np.arange(len(samples))
        name = f"run {run.seed - recipe.seed + 1} of {recipe.runs}"
        network = fitted(samples, rows, run, clips, errors=errors, curve_file=curve, start=start, name=name, **pictures())
        return {name: value.clone(memory_format=torch.contiguous_format) for name, value in network.state_dict().items()}

    weights = [
        kept_tensors(work / f"run-{about(run, rows, samples, *given)}.safetensors", partial(train_run, run))
        for run in recipe.single_runs
    ]
    statistics = samples.arrays["statistics"]
    network = FVQRater(nano(statistics=statistics.shape[1])[0]) if start is None else start.grown(statistics)
    network.load_state_dict(mean_of(weights))
    remove_results(out)
    network.save_pretrained(out)
    share_weights(out)
    tokenizer.save_pretrained(out)
    spec.save(out)
    metrics = evaluate_samples(network, dev_samples, dev_rows) | {
        "data": fingerprint(data),
        "dev": fingerprint(dev),
        "minutes": round((time.monotonic() - started) / 60, 1),
        "recipe": asdict(recipe),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "version": version_of(out),
    }
    metrics |= {name: value for name, value in origin.items() if value is not None}
    if lesson is not None:
        metrics["teacher"] = taught.figures
    (out / "metrics.json").write_text(json.dumps(without_nan(metrics), indent=1) + "\n")
    export_graph(out)
    shown = [labelled[int(row)] for row in samples.rows if row < len(labelled)]  # after them a teacher's, without labels
    write_card(out, metrics, shown, [dev_rows[int(row)] for row in dev_samples.rows])
    return metrics


def check_new(recipe: NanoRecipe) -> None:
    """Raise ValueError where new networks cannot be trained by the recipe."""
    if recipe.runs > 1:
        raise ValueError(
            "runs of the recipe is more than 1: new networks have no mean, only those that are trained on by --start"
        )


def about(recipe: NanoRecipe, rows: list[Row], samples: Samples, *given: str | None) -> str:
    """A name for what is made by this recipe, from these samples, what their rows teach (`TAUGHT`), and what else is given."""
    taught = [[str(rows[int(i)].get(name)) for name in TAUGHT] for i in samples.rows]
    return hashlib.sha256(json.dumps([asdict(recipe), taught, *given]).encode()).hexdigest()[:8]


def _scores_of(guesser: Start, samples: Samples, taught: Taught, spec: SamplerSpec, work: Path, jobs: int) -> Floats:
    """A model's scores (N,) of the samples, which are of `spec`; where it knows others, the clips are sampled for it too."""
    folder, seen = taught.folder, samples
    if not guesser.sees(spec):
        folder = work / "errors"
        seen = kept_samples(folder, taught.rows, guesser.spec, jobs, taught.parts)
    scores = kept_record(folder / f"scores-{guesser.version}.json", partial(scores_by, guesser.network, guesser.known(seen)))
    score_of = dict(zip(seen.rows.tolist(), scores, strict=True))
    return np.array([score_of[int(row)] for row in samples.rows])


def new_network(samples: Samples, streams: Sequence[str] = STREAMS, language_model: bool = True) -> FVQRater:
    """An untrained `nano`, with the ImageNet weights in its vision encoder.

    samples: the training clips, whose pictures set the scale of the encoder's output. streams: the token streams that it has.
    language_model: False leaves the language model out.
    """
    network = FVQRater(nano(streams, language_model, samples.arrays["statistics"].shape[1])[0])
    network.vision_model = imagenet_encoder(samples)
    return network


def held_out_scores(samples: Samples, rows: list[Row], recipe: NanoRecipe, folds: int, kept: Path) -> Floats:
    """Scores (N,) of all clips, each by a model that was fitted on other people.

    kept: folder for the scores of each fold; a run that was killed and is started again reads the finished ones. It is only for
    this recipe and this data.
    """
    kept.mkdir(parents=True, exist_ok=True)
    fold = 0

    def fit_and_score(inside: Sequence[int], outside: Sequence[int]) -> list[float]:
        nonlocal fold
        fold += 1

        def scores() -> list[float]:
            network = fitted(samples, rows, recipe, np.array(inside), name=f"fold {fold} of {folds}")
            return scores_by(network, samples, np.array(outside))

        return kept_record(kept / f"{fold}-of-{folds}.json", scores)

    return cross_validated([rows[int(i)] for i in samples.rows], fit_and_score, folds)


def fitted(
    samples: Samples,
    rows: list[Row],
    recipe: NanoRecipe,
    index: NDArray[np.int64],
    *,
    errors: Floats | None = None,
    curve_file: Path = Path(os.devnull),
    new: Callable[[Samples], FVQRater] = new_network,
    start: Start | None = None,
    steady: Steady | None = None,
    kept: Kept | None = None,
    name: str = "training",
) -> FVQRater:
    """A network that was trained by stages I and II, with its averaged weights; the same arguments give the same network.

    rows: the label rows that `samples.rows` points into, with `target` and `levels` where a teacher was asked
    (`training.nano.teacher`). index: places of the samples to train on. errors: absolute errors that the uncertainty learns,
    points, one for each sample; None: it is not trained. curve_file: a CSV with the loss of every 50th step. new: makes the
    network. start: a network that is trained on instead. steady: windows between which the score is not to move. kept: what the
    encoder's frozen blocks say of the samples, where the recipe keeps that; None: they are asked. name: of this training, when
    it tells how far it is.
    """
    torch.set_num_threads(recipe.threads)
    torch.manual_seed(recipe.seed)
    rng = np.random.default_rng(recipe.seed)
    statistics = samples.arrays["statistics"][index]
    if start is not None:
        network = start.grown(statistics)
        begun = copy.deepcopy(network.state_dict())
    else:
        network = new(samples)
        set_scale(network.standardise, torch.from_numpy(np.array(statistics)))
    parameters = _trained(network, recipe)
    optimizer = torch.optim.AdamW(parameters, weight_decay=recipe.weight_decay)
    rates = [group["lr"] for group in parameters]
    total = recipe.stage1_steps + recipe.stage2_steps
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, total_steps=total, pct_start=WARM_UP)
    average = torch.optim.swa_utils.AveragedModel(network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.99))
    # What an encoder says that stays as it is can be kept.
    if kept is None and recipe.keeps_pictures:
        kept = kept_pictures(network, samples, recipe.frozen_blocks)
    targets = Targets.of([rows[int(i)] for i in samples.rows], errors)
    batches = balanced_batches(targets.contents, index, rng, recipe.contents_per_batch, recipe.clips_per_content)
    unsteady = None if steady is None else steady.losses(network, recipe.seed)
    with curve_file.open("w", newline="") as file:
        curve = csv.writer(file)
        curve.writerow(["step", "stage", "loss"])
        steps = Progress(range(1, total + 1), f"{name}, steps")
        for step in steps:
            stage = 1 if step <= recipe.stage1_steps else 2
            places = next(batches)
            is_settling = step > total - recipe.settling_steps
            network.train(not is_settling)
            # The encoder's batch norms keep ImageNet's means: a batch holds few contents.
            network.vision_model.eval()
            network.standardise.eval()
            drawn, batch = recipe.settling if is_settling else recipe, samples.batch(places.numpy())
            if kept is not None:
                shown = with_noise(network.encode(batch, kept.drawn(network, places, drawn)), drawn)
            else:
                shown = drawn_streams(network, batch, [targets.contents[int(place)] for place in places], drawn, rng)
            loss = loss_of(network, shown, targets, places, stage)
            if unsteady is not None and stage == 2:
                loss = loss + recipe.steady_weight * next(unsteady)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            average.update_parameters(network)
            value = float(loss.detach())
            steps.note = f"loss {value:.3g}"
            if step % 50 == 0:
                curve.writerow([step, stage, f"{value:.4f}"])
                file.flush()
    weights = average.module.state_dict()
    if start is not None:
        weights = between(begun, weights, recipe.start_share)
    network.load_state_dict(weights)
    return network.eval().requires_grad_(True)


def _trained(network: FVQRater, recipe: NanoRecipe) -> list[dict[str, Any]]:
    """The parameters that are trained, in groups with their learning rates: the encoder's later blocks, and all the rest.

    What the encoder's first blocks see is the same in all pictures; left as they are, they cost no gradients.
    """
    encoder = network.vision_model
    encoder.requires_grad_(False)
    for block in encoder.blocks[recipe.frozen_blocks :]:
        block.requires_grad_(True)
    inside = {id(parameter) for parameter in encoder.parameters()}
    rest = [parameter for parameter in network.parameters() if id(parameter) not in inside]
    later = [parameter for parameter in encoder.parameters() if parameter.requires_grad]
    groups = [{"params": rest, "lr": recipe.learning_rate}, {"params": later, "lr": recipe.encoder_learning_rate}]
    return [group for group in groups if group["params"]]


@torch.inference_mode()
def predict(network: FVQRater, samples: Samples, places: NDArray[np.int64]) -> Iterator[tuple[float, float, int]]:
    """(score, uncertainty, most likely level 0-4) of the samples at those places, in order."""
    network.eval()
    for first in Progress(range(0, len(places), ENCODE_BATCH), "scoring"):
        output = network(samples.batch(places[first : first + ENCODE_BATCH]))
        columns = (output.score, output.uncertainty, output.level_logits.argmax(dim=1))
        yield from zip(*(column.tolist() for column in columns), strict=True)


def scores_by(network: FVQRater, samples: Samples, places: NDArray[np.int64] | None = None) -> list[float]:
    """The scores of the samples at those places, or of all, in order."""
    return [score for score, *_ in predict(network, samples, np.arange(len(samples)) if places is None else places)]


def evaluate_samples(network: FVQRater, samples: Samples, rows: list[Row]) -> dict[str, Any]:
    """The figures of `summary` and of `calibration` (`training.evaluation.agreement`)."""
    labelled = [rows[int(i)] for i in samples.rows]
    scores, uncertainty, levels = zip(*predict(network, samples, np.arange(len(samples))), strict=True)
    return summary(labelled, scores) | calibration([row["mos"] for row in labelled], scores, uncertainty, levels)
