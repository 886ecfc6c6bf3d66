"""The model class, in the shipped size and in scaled-down large ones: the same code with different configurations."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from transformers import InternVLVisionConfig, Qwen2Config, Qwen3Config, SiglipVisionConfig, VideoMAEConfig

from scorer.errors import ModelError
from scorer.model.configuration import STREAMS, FVQRaterConfig, LiteEncoderConfig, MotionEncoderConfig
from scorer.model.encoders import CPU_IMAGES, LiteEncoder
from scorer.model.modeling import ClipBatch, FVQRater
from scorer.model.presets import nano
from scorer.model.prompt import small_tokenizer, token_ids
from scorer.spec import LEVELS

STATISTICS = 12
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}


def random_batch(clips: int, image: int = 64, clip: int = 32, statistics: int = STATISTICS, seed: int = 0) -> ClipBatch:
    generator = torch.Generator().manual_seed(seed)

    def pixels(*shape: int) -> torch.Tensor:
        return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)

    return ClipBatch(
        frames=pixels(clips, 4, image, image, 3),
        portrait=pixels(clips, 2, image, image, 3),
        portrait_mask=torch.ones(clips, 2, dtype=torch.bool),
        faces=pixels(clips, 2, image, image, 3),
        faces_mask=torch.zeros(clips, 2, dtype=torch.bool),
        clip=pixels(clips, 16, clip, clip, 3),
        statistics=torch.randn(clips, statistics, generator=generator),
    )


def small_text(kind: type = Qwen3Config) -> Qwen3Config | Qwen2Config:
    return kind(
        vocab_size=len(small_tokenizer()),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
    )


def nano_like(**changes: object) -> FVQRaterConfig:
    fields = {
        "vision_config": LiteEncoderConfig(),
        "motion_config": MotionEncoderConfig(),
        "text_config": small_text(),
        "statistics_size": STATISTICS,
    }
    return FVQRaterConfig(**(fields | token_ids(small_tokenizer()) | changes))


def large_like(vision: object, **changes: object) -> FVQRaterConfig:
    fields = {
        "vision_config": vision,
        "motion_config": VideoMAEConfig(**SMALL, image_size=32, patch_size=16, num_frames=16),
        "text_config": small_text(Qwen2Config),
        "vision_tokens": 4,
        "vision_normalisation": "imagenet",
    }
    return nano_like(**(fields | changes))


INTERNVL = InternVLVisionConfig(**SMALL, image_size=(64, 64), patch_size=(16, 16))
SIGLIP = SiglipVisionConfig(**SMALL, image_size=64, patch_size=16)
CONFIGURATIONS = {"nano": nano_like, "internvl": partial(large_like, INTERNVL), "siglip": partial(large_like, SIGLIP)}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_a_saved_model_scores_the_same_when_loaded(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = FVQRater(CONFIGURATIONS[name]()).eval()
    network.save_pretrained(tmp_path)
    assert [file.suffix for file in tmp_path.glob("model*")] == [".safetensors"]
    again = FVQRater.from_pretrained(tmp_path).eval()
    with torch.inference_mode():
        saved, loaded = network(random_batch(2)), again(random_batch(2))
    torch.testing.assert_close(saved.score, loaded.score, rtol=0, atol=0)
    torch.testing.assert_close(saved.level_logits, loaded.level_logits, rtol=0, atol=0)


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_the_losses_of_both_stages_give_every_part_a_gradient(name: str) -> None:
    torch.manual_seed(0)
    network = FVQRater(CONFIGURATIONS[name]())
    output = network(random_batch(4), torch.tensor([0, 1, 3, 4]))
    (output.answer_loss + (output.score - 30).abs().mean() + output.uncertainty.mean()).backward()
    for part in ("vision_model", "motion_model", "language_model", "projectors", "head"):
        gradient = sum(float(p.grad.abs().sum()) for p in getattr(network, part).parameters() if p.grad is not None)
        assert gradient > 0, f"{part} gets no gradient"


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_scores_in_half_precision_are_close(name: str) -> None:
    torch.manual_seed(0)
    network = FVQRater(CONFIGURATIONS[name]()).eval()
    with torch.inference_mode():
        exact = network(random_batch(2)).score
        half = network.to(torch.bfloat16)(random_batch(2)).score
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, exact, rtol=0, atol=1.5)


def test_a_clip_scores_the_same_alone_and_in_a_batch() -> None:
    torch.manual_seed(0)
    network = FVQRater(nano_like()).eval()
    batch = random_batch(5)
    alone = ClipBatch(**{name: value[2:3] for name, value in vars(batch).items()})
    with torch.inference_mode():
        torch.testing.assert_close(network(batch).score[2:3], network(alone).score, rtol=0, atol=1e-3)


def test_a_crop_without_a_face_does_not_change_the_score() -> None:
    network = FVQRater(nano_like()).eval()
    batch, inverted = random_batch(2), random_batch(2)
    inverted.faces = 255 - inverted.faces
    with torch.inference_mode():
        torch.testing.assert_close(network(batch).score, network(inverted).score, rtol=0, atol=0)
        inverted.faces_mask = ~inverted.faces_mask
        assert (network(batch).score - network(inverted).score).abs().max() > 0


INPUTS = {"motion": "clip"}
"""Stream -> its field of a batch, where the names differ."""


@pytest.mark.parametrize("name", ["nano", "internvl"])
@pytest.mark.parametrize("stream", STREAMS)
def test_a_stream_that_is_left_out_does_not_change_the_score(name: str, stream: str) -> None:
    batch, changed = random_batch(2), random_batch(2)
    batch.faces_mask = changed.faces_mask = ~batch.faces_mask
    field = INPUTS.get(stream, stream)
    setattr(changed, field, getattr(random_batch(2, seed=1), field))
    for streams, is_used in ((STREAMS, True), ([s for s in STREAMS if s != stream], False), ([stream], True)):
        torch.manual_seed(0)
        network = FVQRater(CONFIGURATIONS[name](streams=streams)).eval()
        with torch.inference_mode():
            a, b = network(batch), network(changed)
        assert bool((a.score - b.score).abs().max() > 0) == is_used, streams
        assert ((a.score >= 0) & (a.score <= 100)).all()
        assert (a.uncertainty > 0).all()


@pytest.mark.parametrize("name", ["nano", "internvl"])
def test_without_the_language_model_its_layers_get_no_gradient(name: str) -> None:
    network = FVQRater(CONFIGURATIONS[name](use_language_model=False))
    output = network(random_batch(2), torch.tensor([0, 4]))
    (output.answer_loss + output.score.mean()).backward()
    layers = network.language_model.get_decoder().layers
    assert all(parameter.grad is None for parameter in layers.parameters())
    assert float(network.projectors["frames"].layers[0].weight.grad.abs().sum()) > 0


def test_an_unknown_stream_is_refused() -> None:
    with pytest.raises(ValueError, match="sound"):
        nano_like(streams=["frames", "sound"])


def test_each_level_is_one_different_token() -> None:
    ids = token_ids(small_tokenizer())
    assert len(set(ids["level_ids"])) == len(LEVELS)
    assert small_tokenizer().decode([*ids["answer_ids"], ids["level_ids"][0]]) == "The video quality is bad"


def test_levels_that_share_a_token_are_refused() -> None:
    class Characters:
        def __call__(self, text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:
            return {"input_ids": [0] * len(text.split())}

    with pytest.raises(ModelError, match="same first token"):
        token_ids(Characters())


def test_nano_is_small() -> None:
    config, _ = nano()
    assert sum(p.numel() for p in FVQRater(config).parameters()) < 8e6


def test_folded_batch_norms_change_no_output() -> None:
    torch.manual_seed(0)
    encoder = LiteEncoder(LiteEncoderConfig())
    for module in encoder.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            # Random values, so that no batch norm is the identity, as after training.
            torch.nn.init.uniform_(module.running_mean, -1, 1)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
            torch.nn.init.uniform_(module.weight, 0.5, 2)
            torch.nn.init.uniform_(module.bias, -1, 1)
    encoder.eval()
    images = torch.randn(CPU_IMAGES + 3, 3, 48, 64)
    with torch.inference_mode():
        before = encoder(images).last_hidden_state
        alone = encoder(images[-1:]).last_hidden_state
        encoder.fuse()
        after = encoder(images).last_hidden_state
    assert torch.allclose(before, after, rtol=1e-3, atol=1e-3 * float(before.abs().max()))
    assert torch.allclose(before[-1:], alone, rtol=1e-4, atol=1e-4)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in encoder.modules())
