"""Bases of real shapes with random weights: a scorer's speed and memory do not depend on what the weights are.

So a machine can be measured before gigabytes of weights are on it. The shapes are those of the published configurations.
"""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType

import torch
from transformers import (
    InternVLConfig,
    InternVLForConditionalGeneration,
    InternVLVisionConfig,
    Qwen2Config,
    VJEPA2Config,
    VJEPA2Model,
)

from scorer.model.bases import Base
from scorer.model.prompt import small_tokenizer
from tests.support.face_encoder import save_face_encoder

VOCABULARY = 151_674
"""Tokens of InternVL3."""

LANGUAGE_MODELS = MappingProxyType(
    {
        "2b": {"hidden_size": 1536, "intermediate_size": 8960, "num_attention_heads": 12, "num_key_value_heads": 2},
        "8b": {"hidden_size": 3584, "intermediate_size": 18_944, "num_attention_heads": 28, "num_key_value_heads": 4},
    }
)
"""Qwen2.5 of 1.5 and 7 billion weights in 28 layers, the language models of InternVL3-2B and -8B."""


def random_base(size: str, folder: Path, device: torch.device) -> Base:
    """InternVL3 of a size ("2b", "8b"), V-JEPA 2 (ViT-L) and a small face encoder with random weights in bf16, in a folder.

    device: where the random numbers are drawn; on a GPU in seconds.
    """
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with device:
            face = save_face_encoder(folder / "face", side=112, width=192, depth=12, heads=3)
            return Base(_internvl(size, folder / "internvl"), _motion(folder / "motion"), face)
    finally:
        torch.set_default_dtype(before)


def internvl_config(size: str) -> InternVLConfig:
    """The shapes of InternVL3 of a size: images of 448 px in patches of 14 px, and 256 tokens of each."""
    # The smaller one's embeddings are its output layer, too.
    tie = size == "2b"
    language = Qwen2Config(
        **LANGUAGE_MODELS[size],
        num_hidden_layers=28,
        vocab_size=VOCABULARY,
        max_position_embeddings=32_768,
        rope_parameters={"rope_type": "default", "rope_theta": 1e6},
        tie_word_embeddings=tie,
    )
    return InternVLConfig(vision_config=InternVLVisionConfig().to_dict(), text_config=language.to_dict(), tie_word_embeddings=tie)


def _internvl(size: str, folder: Path) -> str:
    InternVLForConditionalGeneration(internvl_config(size)).save_pretrained(folder)
    # Five words instead of a vocabulary of 151,674: the prompt has a few tokens of some 3,100 either way.
    small_tokenizer().save_pretrained(folder)
    return str(folder)


def _motion(folder: Path) -> str:
    VJEPA2Model(VJEPA2Config(frames_per_clip=64)).save_pretrained(folder)
    return str(folder)
