"""The configuration of an FVQ-Rater and of its own encoders. Two FVQ-Raters differ in nothing else but their weights."""

from __future__ import annotations

from typing import Any

from transformers import AutoConfig, PreTrainedConfig

STREAMS = ("frames", "portrait", "faces", "motion", "statistics")
"""The token streams, in the order in which they stand before the prompt."""

PROMPT = "Please evaluate the quality of this video."
ANSWER = "The video quality is"
"""The answer up to the level. Its last token is the score position: level and score are read there."""

NORMALISATIONS = {
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}
"""Mean and standard deviation per RGB channel, of values in 0-1."""


class LiteEncoderConfig(PreTrainedConfig):
    """EfficientNet-Lite0's stem and first `blocks` blocks (Tan and Le, 2019; the Lite variant has no attention).

    pooled_blocks: the blocks whose spatial means and standard deviations are concatenated into the one token of an image.
    """

    model_type = "fvq_lite_encoder"

    blocks: int = 5
    pooled_blocks: tuple[int, ...] | list[int] = (1, 2, 3, 4)
    hidden_size: int = 512


LIGHT_NUMBERS = 10
"""Numbers of `MotionEncoder`'s light: three for each colour, and one for bands."""


class MotionEncoderConfig(PreTrainedConfig):
    """A small convolutional network over the low-resolution clip and its frame differences.

    hidden_size: 4 * channels + 2: four summaries of each channel over time, and two of the amount of change; `LIGHT_NUMBERS` more
    with `light`, which adds how the light's level, colour and bands move over time.
    """

    model_type = "fvq_motion_encoder"

    channels: int = 24
    light: bool = False
    hidden_size: int = 98


class FVQRaterConfig(PreTrainedConfig):
    """FVQ-Rater (Wu et al., ACM MM 2025, arXiv 2504.09255), composed of sub-models by their own configurations.

    vision_config, text_config, motion_config: any configurations that AutoModel (text: AutoModelForCausalLM) can build.
    face_config: likewise, with its `hidden_size`; None: face crops go through the vision encoder.
    streams: the token streams in use, for ablation.
    use_language_model: False replaces it, for ablation: the mean of the stream tokens is added to the text's embeddings.
    vision_shuffle: side of the squares of neighbouring image tokens that become one token (InternVL's pixel shuffle), 1 for
    none. If it is over 1, the projectors of frames and portrait have InternVL's layers, to start from its weights.
    vision_tokens, face_tokens: tokens kept per image, square numbers; a larger grid is average-pooled. face_tokens is
    for the face encoder only.
    *_normalisation: a key of `NORMALISATIONS`. statistics_size: how many numbers the technical statistics are.
    prompt_ids, answer_ids, level_ids: token ids of the prompt, of the answer up to the level, and of the five levels,
    worst first. dropout: on the stream tokens.
    """

    model_type = "fvq_rater"
    sub_configs = {  # noqa: RUF012 - transformers reads a plain class attribute
        "vision_config": AutoConfig,
        "face_config": AutoConfig,
        "motion_config": AutoConfig,
        "text_config": AutoConfig,
    }

    vision_config: Any = None
    face_config: Any = None
    motion_config: Any = None
    text_config: Any = None
    streams: tuple[str, ...] | list[str] = STREAMS
    use_language_model: bool = True
    vision_shuffle: int = 1
    vision_tokens: int = 1
    face_tokens: int = 1
    vision_normalisation: str = "half"
    face_normalisation: str = "half"
    motion_normalisation: str = "half"
    statistics_size: int = 0
    prompt_ids: tuple[int, ...] | list[int] = ()
    answer_ids: tuple[int, ...] | list[int] = ()
    level_ids: tuple[int, ...] | list[int] = ()
    dropout: float = 0.1

    def __post_init__(self, **kwargs: Any) -> None:
        for name in self.sub_configs:
            value = getattr(self, name)
            if isinstance(value, dict):
                # A copy, because for_model removes the model type from the dictionary that it is given.
                setattr(self, name, AutoConfig.for_model(**dict(value)))
        unknown = set(self.streams) - set(STREAMS)
        if unknown:
            raise ValueError(f"streams: {sorted(unknown)} are not among {STREAMS}")
        super().__post_init__(**kwargs)


AutoConfig.register(LiteEncoderConfig.model_type, LiteEncoderConfig)
AutoConfig.register(MotionEncoderConfig.model_type, MotionEncoderConfig)
AutoConfig.register(FVQRaterConfig.model_type, FVQRaterConfig)
