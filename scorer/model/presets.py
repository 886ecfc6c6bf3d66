"""Named configurations."""

from __future__ import annotations

from collections.abc import Sequence

from transformers import PreTrainedTokenizerFast, Qwen3Config

from scorer.model.configuration import LIGHT_NUMBERS, STREAMS, FVQRaterConfig, LiteEncoderConfig, MotionEncoderConfig
from scorer.model.prompt import small_tokenizer, token_ids
from scorer.sampling.statistics import NAMES


def nano(
    streams: Sequence[str] = STREAMS, language_model: bool = True, statistics: int = len(NAMES)
) -> tuple[FVQRaterConfig, PreTrainedTokenizerFast]:
    """Configuration and tokenizer of the shipped model: about a million weights, fast enough on a CPU.

    streams, language_model: for ablation; see `FVQRaterConfig`. statistics: how many numbers those of a clip are.
    """
    tokenizer = small_tokenizer()
    text = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=96,
        intermediate_size=192,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        head_dim=24,
        max_position_embeddings=64,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=None,
        use_cache=False,
    )
    config = FVQRaterConfig(
        vision_config=LiteEncoderConfig(),
        motion_config=MotionEncoderConfig(light=True, hidden_size=98 + LIGHT_NUMBERS),
        text_config=text,
        statistics_size=statistics,
        streams=tuple(streams),
        use_language_model=language_model,
        dropout=0.2,
        **token_ids(tokenizer),
    )
    return config, tokenizer
