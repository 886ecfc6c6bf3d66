"""An adapter on the shipped model, from clips: it learns a new opinion and keeps the rest; a killed run goes on."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from peft import PeftModel
from PIL import Image
from safetensors.torch import load_file

from scorer.find import SHIPPED
from scorer.model.bases import Base
from scorer.model.modeling import FVQRater
from scorer.spec import SamplerSpec
from tests.bench.opinion import RECIPE, digest, punished, scores
from tests.support.media import face_picture
from tests.support.processes import FVQ, ROOT, clean_environment, fvq
from tests.support.waiting import wait_for
from training.adapter import tune as tuning
from training.adapter.clips import sampled
from training.data.degradations import degrade, ladders
from training.data.rated import RatedClip, read_rated
from training.data.references import make_reference
from training.data.samples import Samples
from training.recipe import load_tune_recipe

pytestmark = pytest.mark.timeout(600)

NANO = SHIPPED["nano"]
DEGRADED = ("blur-1", "blur-2", "blur-3", "blur-4", "x264-5", "x264-9", "mpeg4-3", "noise-2")
"""The degradations of each reference, in the order of `ladders()`."""


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of rated clips, degraded as by `fvq synth`; three contents for each of two sources, one of the three for test.

    The raters agree with the shipped model, but blur is twice as bad to them. The folder `work` beside it has the samples.
    """
    folder = tmp_path_factory.mktemp("opinion")
    still = folder / "still.png"
    Image.fromarray(face_picture(512)).save(still)
    # Variants of a source differ in size, crop and speed; there are no clips of more people here.
    references = [
        ("test" if variant == 2 else "train", source, variant)
        for source in (ROOT / "examples/face.mp4", still)
        for variant in range(3)
    ]
    rated = []
    steps = [step for step in ladders() if f"{step.kind}-{step.step}" in DEGRADED]
    for split, source, variant in references:
        content = f"{source.stem}-v{variant}"
        reference = folder / f"{content}.reference.mkv"
        make_reference(source, reference, 0.8, variant, content)
        rated.append(RatedClip(reference, 0.0, content, split))
        for step in steps:
            clip = folder / f"{content}.{step.kind}-{step.step}.mkv"
            degrade(reference, step, clip)
            rated.append(RatedClip(clip, 0.0, content, split))
    samples = sampled(rated, SamplerSpec.load(NANO), folder / "work")
    assert samples.rows.tolist() == list(range(len(rated)))
    opinions = scores(NANO, samples, samples.rows)
    with (folder / "rated.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "mos_100", "split", "content"])
        for clip, mos in zip(rated, opinions.tolist(), strict=True):
            writer.writerow([clip.path.name, punished(mos) if ".blur-" in clip.path.name else mos, clip.split, clip.content])
    return folder / "rated.csv"


def test_only_the_adapter_learns_the_new_opinion(table: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    recipe = load_tune_recipe(RECIPE)
    recipe = recipe.model_copy(update={"stage2": recipe.stage2.model_copy(update={"batch_size": 8})})
    trained: list[FVQRater] = []
    save = tuning.save_adapter

    def save_and_remember(tuned: PeftModel, directory: Path, base: Base) -> None:
        trained.append(tuned.get_base_model())
        save(tuned, directory, base)

    monkeypatch.setattr(tuning, "save_adapter", save_and_remember)
    before, weights = digest(NANO), load_file(NANO / "model.safetensors")
    shutil.copytree(table.parent / "work", tmp_path / "work")
    metrics = tuning.tune(recipe, table, tmp_path)

    # Every weight outside the adapter equals the base's, bit by bit, on disk and in the network that was trained.
    assert digest(NANO) == before
    state = {name.replace(".base_layer", ""): tensor for name, tensor in trained[0].state_dict().items()}
    state = {name.replace(".original_module", ""): tensor for name, tensor in state.items()}
    assert set(weights) <= set(state)
    assert [name for name, tensor in weights.items() if not torch.equal(state[name], tensor)] == []
    stored = load_file(tmp_path / "adapter_model.safetensors")
    assert all(
        any(part in name for part in (".lora_A.", ".lora_B.", ".projectors.", ".head.", ".standardise.")) for name in stored
    )
    assert (tmp_path / "adapter_model.safetensors").stat().st_size < 3e6

    # The figures are over clips that were not trained on.
    rated = read_rated(table).clips
    samples = Samples(sampled(rated, SamplerSpec.load(NANO), tmp_path / "work").arrays, np.arange(len(rated)))
    places = np.array([place for place, clip in enumerate(rated) if clip.split == "test"])
    labels = np.array([rated[place].mos for place in places])
    blurred = np.array([".blur-" in rated[place].path.name for place in places])
    old, new = (np.abs(scores(model, samples, places) - labels) for model in (NANO, tmp_path))
    print(f"blurred: {old[blurred].mean():.1f} -> {new[blurred].mean():.1f}; others: 0 -> {new[~blurred].mean():.1f} points")
    shift = old[blurred].mean()
    assert shift > 15
    assert new[blurred].mean() < shift / 2
    assert new[~blurred].mean() < shift / 2, "the opinion on what is not blurred is kept"

    # `fvq score` scores with the adapter.
    done = fvq("score", str(rated[places[0]].path), "--model", str(tmp_path), "--json")
    assert done.returncode == 0, done.stderr
    assert metrics["version"] in done.stdout


def test_a_run_that_is_killed_in_stage_ii_goes_on(table: Path, tmp_path: Path) -> None:
    recipe = yaml.safe_load(RECIPE.read_text()) | {"checkpoint_steps": 2}
    recipe["stage1"] |= {"epochs": 2}
    recipe["stage2"] |= {"epochs": 1, "batch_size": 4}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    out = tmp_path / "model"
    command = [FVQ, "train", "--recipe", str(tmp_path / "recipe.yaml"), "--data", str(table), "--out", str(out)]
    for _ in range(3):  # on a busy machine this process may stand still until the run is over
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(table.parent / "work", out / "work")
        killed = subprocess.Popen(command, env=clean_environment(), stderr=subprocess.DEVNULL, start_new_session=True)
        wait_for("some steps of stage II", lambda: len([row for row in curve(out) if row[0] == "2"]) >= 3, 120)
        os.killpg(killed.pid, signal.SIGKILL)
        killed.wait(60)
        if not (out / "adapter_model.safetensors").exists():
            break
    # Mark the first step in the curve: a run that trained it again would overwrite the mark.
    written = (out / "curve.csv").read_text().splitlines()
    marked = written[1].rsplit(",", 1)[0] + ",1234.5"
    (out / "curve.csv").write_text("\n".join([written[0], marked, *written[2:]]) + "\n")
    assert not (out / "adapter_model.safetensors").exists()

    done = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    steps = [(row[0], int(row[1])) for row in curve(out)]
    assert steps == [("1", step) for step in range(1, 6)] + [("2", step) for step in range(1, 10)], "each step once"
    assert curve(out)[0] == marked.split(","), "the run went on from its checkpoint"
    assert (out / "adapter_model.safetensors").exists()


def curve(out: Path) -> list[list[str]]:
    """The rows of the run's curve that are written so far."""
    file = out / "curve.csv"
    return list(csv.reader(file.read_text().splitlines()))[1:] if file.exists() else []
