"""Large bases, with the real classes scaled down."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import InternVLForConditionalGeneration, Qwen2Config, Qwen2ForCausalLM

from scorer import engine as engine_module
from scorer.engine import Engine, collate, load_network
from scorer.errors import ModelError
from scorer.model.bases import Base, base_config, fingerprint, load_base, load_whole, sampler_spec
from scorer.model.modeling import ClipBatch, FVQRater
from scorer.sampling.statistics import NAMES
from scorer.spec import ModelId
from tests.support import tiny
from tests.support.doubles import make_clip


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Base]:
    return tiny.bases(tmp_path_factory.mktemp("bases"))


def batch_for(network: FVQRater, clips: int = 3) -> ClipBatch:
    spec = sampler_spec(network.config, frames=2)
    lights = np.linspace(40, 220, clips).astype(int)
    return collate([make_clip(int(light), i, spec, len(NAMES)) for i, light in enumerate(lights)], torch.device("cpu"))


@pytest.mark.parametrize("name", ["qwen2", "qwen3"])
def test_a_base_keeps_its_weights_when_saved_and_loaded_again(name: str, bases: dict[str, Base], tmp_path: Path) -> None:
    network = load_base(bases[name])
    stored = load_file(Path(bases[name].model) / "model.safetensors")
    kept = network.vision_model.state_dict()
    for tensor_name, tensor in stored.items():
        if "vision_tower." in tensor_name:
            assert torch.equal(kept[tensor_name.split("vision_tower.")[1]], tensor)
    for tower in (network.vision_model, network.motion_model, network.language_model):
        assert tower.config._attn_implementation == "sdpa"
    network.save_pretrained(tmp_path)
    again = load_whole(tmp_path)
    assert fingerprint(again) == fingerprint(network) == fingerprint(load_base(bases[name], torch.bfloat16))
    batch = batch_for(network)
    with torch.inference_mode():
        torch.testing.assert_close(again(batch).score, network(batch).score, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["qwen2", "qwen3"])
def test_frames_become_the_same_tokens_as_in_internvl(name: str, bases: dict[str, Base]) -> None:
    network = load_base(bases[name])
    batch = batch_for(network)
    internvl = InternVLForConditionalGeneration.from_pretrained(bases[name].model).eval()
    with torch.inference_mode():
        ours = network.projectors["frames"](network.encode(batch)["frames"])
        images = network.normalise(batch.frames.flatten(0, 1), "imagenet")
        theirs = internvl.model.get_image_features(
            pixel_values=images, vision_feature_layer=-1, vision_feature_select_strategy="default", return_dict=True
        ).pooler_output
    torch.testing.assert_close(ours, theirs.unflatten(0, (3, 2)).flatten(1, 2), rtol=1e-4, atol=1e-5)


def test_the_language_model_answers_as_in_the_base(bases: dict[str, Base]) -> None:
    internvl = InternVLForConditionalGeneration.from_pretrained(bases["qwen2"].model).eval()
    network = load_base(bases["qwen2"])
    ids = torch.tensor([[1, 5, 3, 2]])
    with torch.inference_mode():
        torch.testing.assert_close(network.language_model(ids).logits, internvl(ids).logits, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["qwen2", "qwen3"])
def test_a_clip_scores_the_same_alone_and_in_a_batch(name: str, bases: dict[str, Base]) -> None:
    network = load_base(bases[name])
    batch = batch_for(network)
    alone = ClipBatch(**{field: value[1:2] for field, value in vars(batch).items()})
    with torch.inference_mode():
        torch.testing.assert_close(network(batch).score[1:2], network(alone).score, rtol=0, atol=1e-3)


@pytest.mark.parametrize("name", ["qwen2", "qwen3"])
def test_the_engine_divides_a_batch_by_its_tokens_and_scores_it_as_one_by_one(
    name: str, bases: dict[str, Base], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = base_config(bases[name])
    spec = sampler_spec(config, frames=4, portrait_frames=1)
    tokens = engine_module.tokens_per_clip(config, spec)
    monkeypatch.setattr(engine_module, "MOST_TOKENS", 3 * tokens + 1)
    network, sizes = load_base(bases[name]), []
    network.language_model.get_decoder().register_forward_pre_hook(
        lambda _, arguments, named: sizes.append(tuple(named["inputs_embeds"].shape[:2])), with_kwargs=True
    )
    engine = Engine(network, spec, ModelId(name, "1"))
    clips = [make_clip(20 + 25 * number, number, spec, len(NAMES)) for number in range(8)]
    # Absent people and faces, in some of the clips.
    clips = [replace(clip, portrait_mask=np.array([number % 3 > 0])) for number, clip in enumerate(clips)]
    clips = [replace(clip, faces_mask=np.array([number % 2 > 0, number % 4 > 0])) for number, clip in enumerate(clips)]
    together = engine.score(clips)
    assert sizes == [(3, tokens), (3, tokens), (2, tokens)]
    assert together == [engine.score([clip])[0] for clip in clips]
    assert len({score.score for score in together}) > 4
    monkeypatch.setattr(engine_module, "MOST_TOKENS", 1)
    assert len(Engine(network, spec, ModelId(name, "1")).score(clips[:2])) == 2, "a clip goes alone where it is over the limit"


def test_smaller_images_have_fewer_tokens(bases: dict[str, Base]) -> None:
    base = bases["qwen2"]
    config = base_config(base, image_size=28)
    assert (config.vision_tokens, sampler_spec(config).frame_size) == (1, 28)
    network = load_base(base, config=config)
    with torch.inference_mode():
        assert network(batch_for(network)).score.isfinite().all()
    with pytest.raises(ModelError, match="30 px"):
        base_config(base, image_size=30)


@pytest.mark.parametrize("name", ["qwen2", "qwen3"])
def test_positions_of_smaller_images_are_resized_once(name: str, bases: dict[str, Base], tmp_path: Path) -> None:
    network = load_base(bases[name], config=base_config(bases[name], image_size=28))
    spec = sampler_spec(network.config, frames=2)
    network.save_pretrained(tmp_path)
    spec.save(tmp_path)
    engine = load_network(tmp_path, ModelId(name, "1"), torch.device("cpu"))
    assert engine.network.vision_model.embeddings.position_embeddings.shape[1] == 1 + 4, "a class token, and 2x2 patches"
    clips = [make_clip(40 + 60 * number, number, spec, len(NAMES)) for number in range(3)]
    assert engine.score(clips) == Engine(network, spec, ModelId(name, "1")).score(clips)


def test_positions_stay_where_pictures_have_several_sizes(bases: dict[str, Base], tmp_path: Path) -> None:
    network = load_base(bases["qwen2"], config=base_config(bases["qwen2"], image_size=28))
    network.save_pretrained(tmp_path)
    replace(sampler_spec(network.config, frames=2), portrait_size=56).save(tmp_path)
    engine = load_network(tmp_path, ModelId("two sizes", "1"), torch.device("cpu"))
    assert engine.network.vision_model.embeddings.position_embeddings.shape[1] == 1 + 16
    engine.check()


def test_known_streams_are_not_encoded_again(bases: dict[str, Base]) -> None:
    network = load_base(bases["qwen2"])
    batch = batch_for(network)
    with torch.inference_mode():
        streams = network.encode(batch)
        wanted = network(batch).score
        network.motion_model = network.face_model = None
        known = {name: streams[name] for name in ("motion", "faces")}
        torch.testing.assert_close(network(batch, known=known).score, wanted, rtol=0, atol=0)


def test_a_wrong_base_is_refused_with_its_name(bases: dict[str, Base], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="/no/such/base"):
        load_base(Base("/no/such/base", bases["qwen2"].motion))
    with pytest.raises(ModelError, match="temporal encoder"):
        base_config(Base(bases["qwen2"].model))
    Qwen2ForCausalLM(Qwen2Config(**tiny.SMALL, vocab_size=20, intermediate_size=48)).save_pretrained(tmp_path / "text")
    with pytest.raises(ModelError, match="qwen2"):
        load_base(Base(str(tmp_path / "text")))
    with pytest.raises(ModelError, match="timm"):
        base_config(replace(bases["qwen2"], face=bases["qwen2"].motion))
    remote = tmp_path / "remote"
    remote.mkdir()
    code = {"model_type": "internvl_chat", "auto_map": {"AutoConfig": "configuration_internvl_chat.InternVLChatConfig"}}
    (remote / "config.json").write_text(json.dumps(code))
    (remote / "configuration_internvl_chat.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(ModelError, match="remote"):
        load_base(Base(str(remote), bases["qwen2"].motion))
    assert not (tmp_path / "ran").exists()


def test_pickled_weights_are_not_read(bases: dict[str, Base], tmp_path: Path) -> None:
    source = Path(bases["qwen2"].motion or "")
    (tmp_path / "config.json").write_text((source / "config.json").read_text())
    torch.save(load_file(source / "model.safetensors"), tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match=str(tmp_path)):
        load_base(replace(bases["qwen2"], motion=str(tmp_path)))
