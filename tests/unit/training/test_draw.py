"""The pictures of a training step: which are drawn, what is done to them, and the batches that they are drawn for."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from scorer.model.modeling import ClipBatch, FVQRater
from scorer.model.presets import nano
from tests.support.processes import ROOT
from training.nano.draw import balanced_batches, drawn_streams
from training.recipe import NanoRecipe, load_nano_recipe

RECIPE = replace(
    load_nano_recipe(ROOT / "training/recipes/nano.yaml"),
    image_noise=0.0,
    statistics_noise=0.0,
    image_dropout=0.0,
    stream_dropout=0.0,
)
CONTENTS = ["a", "a", "b"]


@pytest.fixture(scope="module")
def network() -> FVQRater:
    torch.manual_seed(0)
    return FVQRater(nano()[0]).eval()


@pytest.fixture
def batch() -> ClipBatch:
    rng = np.random.default_rng(1)
    pictures = {
        name: torch.from_numpy(rng.integers(0, 256, (3, count, side, side, 3), dtype=np.uint8))
        for name, count, side in (("frames", 4, 64), ("portrait", 1, 64), ("faces", 2, 64), ("clip", 8, 32))
    }
    masks = {
        "portrait_mask": torch.tensor([[True], [False], [True]]),
        "faces_mask": torch.tensor([[True, False], [False, False], [True, True]]),
    }
    statistics = torch.zeros(3, nano()[0].statistics_size)
    return ClipBatch(**pictures, **masks, statistics=statistics)


def drawn(network: FVQRater, batch: ClipBatch, recipe: NanoRecipe, seed: int = 0) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    with torch.no_grad():
        return drawn_streams(network, batch, CONTENTS, recipe, np.random.default_rng(seed))


def test_one_picture_of_each_stream_stands_in_all_its_places(network: FVQRater, batch: ClipBatch) -> None:
    streams = drawn(network, batch, RECIPE)
    frames = streams["frames"]
    assert frames.shape == (3, 4, 1, network.config.vision_config.hidden_size)
    assert all(torch.equal(clip[0], clip[place]) for clip in frames for place in range(4))
    assert not torch.equal(frames[0], frames[1])
    assert (streams["portrait"][1] == 0).all(), "a clip without a person has no portrait"
    assert (streams["faces"][1] == 0).all()
    assert (streams["faces"][[0, 2]] != 0).any(dim=3).all()


def test_the_same_seed_draws_the_same_and_another_does_not(network: FVQRater, batch: ClipBatch) -> None:
    first, again, other = (drawn(network, batch, RECIPE, seed) for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["frames"], other["frames"])


def test_a_picture_that_is_absent_is_never_drawn(network: FVQRater, batch: ClipBatch) -> None:
    batch.faces[0, 1] = 255
    shown = [drawn(network, batch, RECIPE, seed)["faces"][0, 0, 0] for seed in range(6)]
    batch.faces[0, 1] = 0
    assert all(torch.equal(token, drawn(network, batch, RECIPE, seed)["faces"][0, 0, 0]) for seed, token in enumerate(shown))


def test_dropout_leaves_pictures_and_streams_out(network: FVQRater, batch: ClipBatch) -> None:
    streams = drawn(network, batch, replace(RECIPE, image_dropout=1.0, stream_dropout=1.0))
    assert all((streams[name] == 0).all() for name in ("frames", "portrait", "faces", "motion", "statistics"))


def test_streams_drop_out_in_one_order_in_every_process(
    network: FVQRater, batch: ClipBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A set's order changes from process to process, and the same seed gave another model."""
    shares = iter([torch.zeros(3, 1, 1, 1), torch.ones(3, 1, 1, 1)])
    batch.statistics[:] = 1
    monkeypatch.setattr("training.nano.draw.torch.rand", lambda *_: next(shares))
    streams = drawn(network, batch, replace(RECIPE, stream_dropout=0.5))
    assert (streams["statistics"] == 0).all()
    assert (streams["motion"] != 0).any()


def test_clips_of_a_content_get_the_same_light(network: FVQRater, batch: ClipBatch) -> None:
    """The difference of light between two clips of a content may be the damage: it must stay."""
    batch.frames[:] = 128
    tokens = drawn(network, batch, RECIPE)["frames"][:, 0, 0]
    assert torch.allclose(tokens[0], tokens[1], atol=1e-5)
    assert not torch.allclose(tokens[0], tokens[2], atol=1e-3)


def test_batches_have_so_many_clips_of_so_many_contents() -> None:
    contents = ["a"] * 5 + ["b"] * 5 + ["c"] * 2 + ["d"] * 5
    index = np.array([place for place, content in enumerate(contents) if content != "d"])
    batches = balanced_batches(contents, index, np.random.default_rng(0), groups=3, each=4)
    for _ in range(5):
        places = next(batches).tolist()
        assert len(set(places)) == len(places)
        assert Counter(contents[place] for place in places) == {"a": 4, "b": 4, "c": 2}


def test_the_shipped_recipe_names_what_it_trains_and_a_cheap_sampling(tmp_path: Path) -> None:
    wrong = (ROOT / "training/recipes/nano.yaml").read_text().replace("frozen_blocks: 2\n", "")
    (tmp_path / "recipe.yaml").write_text(wrong)
    with pytest.raises(ValueError, match="frozen_blocks"):
        load_nano_recipe(tmp_path / "recipe.yaml")
    assert RECIPE.spec.decoded == "references"
