"""The real classes of large bases, scaled down: directories as on a hub, with random weights, a few hundred kB each."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import (
    InternVLConfig,
    InternVLForConditionalGeneration,
    InternVLVisionConfig,
    Qwen2Config,
    Qwen3Config,
    VideoMAEConfig,
    VideoMAEModel,
    VJEPA2Config,
    VJEPA2Model,
)

from scorer.model.bases import Base
from scorer.model.prompt import small_tokenizer
from tests.support.face_encoder import save_face_encoder

# Networks of this size are slower with more threads.
torch.set_num_threads(1)

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
TARGETS = r"(vision_model\..*\.(q_proj|v_proj|fc1)|language_model\..*\.(q_proj|v_proj|up_proj))"


def internvl(folder: Path, text: type = Qwen2Config, seed: int = 0, tie: bool = False) -> str:
    """InternVL with 4x4 patches in an image, 4 tokens after its pixel shuffle, and the small tokenizer; returns its directory."""
    torch.manual_seed(seed)
    tokenizer = small_tokenizer()
    # Weights ten times as large as usual: with the usual ones, an untrained language model's output hardly depends on its input.
    shape = {**SMALL, "intermediate_size": 48, "num_key_value_heads": 2, "head_dim": 8, "initializer_range": 0.2}
    language = text(**shape, vocab_size=len(tokenizer) + 3, tie_word_embeddings=tie)
    vision = InternVLVisionConfig(
        **SMALL, intermediate_size=48, image_size=(56, 56), patch_size=(14, 14), use_qk_norm=text is Qwen3Config
    )
    config = InternVLConfig(vision_config=vision.to_dict(), text_config=language.to_dict(), tie_word_embeddings=tie)
    InternVLForConditionalGeneration(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def videomae(folder: Path) -> str:
    """VideoMAE for 16 frames of 32x32; returns its directory."""
    VideoMAEModel(VideoMAEConfig(**SMALL, intermediate_size=48, image_size=32, num_frames=16)).save_pretrained(folder)
    return str(folder)


def vjepa2(folder: Path) -> str:
    """V-JEPA 2 for frames of 32x32; returns its directory."""
    predictor = {"pred_hidden_size": 16, "pred_num_attention_heads": 4, "pred_num_hidden_layers": 1}
    VJEPA2Model(VJEPA2Config(**SMALL, crop_size=32, frames_per_clip=16, **predictor)).save_pretrained(folder)
    return str(folder)


def face(folder: Path) -> str:
    """A timm network for 32x32 crops: 16 patches and a class token, 32 numbers each; returns its directory, as on a hub."""
    return save_face_encoder(folder, side=32, width=32, depth=2, heads=2)


def bases(folder: Path) -> dict[str, Base]:
    """Name of the language model -> a base; the two bases are of different classes."""
    torch.manual_seed(0)
    encoder = face(folder / "face")
    return {
        "qwen2": Base(internvl(folder / "qwen2"), videomae(folder / "videomae"), encoder),
        "qwen3": Base(internvl(folder / "qwen3", Qwen3Config, tie=True), vjepa2(folder / "vjepa2")),
    }
