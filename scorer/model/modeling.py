"""FVQ-Rater: token streams of a face clip and a prompt go through a language model, which gives a level and a score.

As in the method figure of arXiv 2504.09255: a vision encoder over sampled frames and over the same frames without
their background, a face encoder and a temporal encoder, each with a projector into the language model. This project
adds one token of technical statistics and an uncertainty. The language model reads the tokens and the prompt and
answers "The video quality is <level>." (stage I); a head on its last hidden state gives the score (stage II).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoModel, AutoModelForCausalLM, PreTrainedModel

from scorer.model.configuration import NORMALISATIONS, FVQRaterConfig
from scorer.model.encoders import MOTION_ARGUMENTS

SPREAD_UNIT = 25.0
"""Unit of the head's second output, points: the uncertainty is this times its softplus, plus `LEAST_UNCERTAINTY`."""
LEAST_UNCERTAINTY = 0.1
"""Points. No model is free of error, and the loss takes the logarithm, which 0 does not have."""


@dataclass
class ClipBatch:
    """A batch of sampled clips as tensors. B clips; N images of each stream; the shapes follow the sampler's spec."""

    frames: Tensor
    """(B, N, S, S, 3) uint8."""
    portrait: Tensor
    """(B, N, S, S, 3) uint8; `faces` likewise."""
    portrait_mask: Tensor
    """(B, N) bool: whether there is a person in the image."""
    faces: Tensor
    faces_mask: Tensor
    """(B, N) bool: whether there is a face in the image."""
    clip: Tensor
    """(B, N, S, S, 3) uint8."""
    statistics: Tensor
    """(B, D) float32."""


@dataclass
class RaterOutput:
    """The model's outputs for B clips."""

    score: Tensor
    """(B,) 0-100."""
    uncertainty: Tensor
    """(B,) expected absolute error of the score, points, > 0."""
    level_logits: Tensor
    """(B, 5) logits of the level tokens at the score position, worst first."""
    answer_loss: Tensor | None = None
    """Cross entropy of the whole answer; None unless `levels` were given."""


class Projector(nn.Module):
    """From an encoder's width to the language model's. An absent image becomes a learned token."""

    def __init__(self, width: int, hidden_size: int, normalise: bool) -> None:
        super().__init__()
        layers = [nn.Linear(width, hidden_size), nn.GELU(), nn.Linear(hidden_size, hidden_size)]
        self.layers = nn.Sequential(*([nn.LayerNorm(width)] if normalise else []), *layers)
        self.absent = nn.Parameter(torch.zeros(hidden_size))

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, N, K, width), mask (B, N) -> (B, N*K, hidden_size)."""
        projected = self.layers(tokens)
        if mask is not None:
            projected = torch.where(mask[:, :, None, None], projected, self.absent.to(projected.dtype))
        return projected.flatten(1, 2)


class Head(nn.Sequential):
    """From the hidden state at the score position to the score and its uncertainty.

    The uncertainty trains only the last layer. With its gradient in the layers before, the score lost 0.02 SRCC.
    """

    def forward(self, hidden: Tensor) -> Tensor:
        """(B, hidden_size) -> (B, 2): score and uncertainty, before sigmoid and softplus."""
        *layers, last = self
        for layer in layers:
            hidden = layer(hidden)
        return torch.stack([last(hidden)[:, 0], last(hidden.detach())[:, 1]], dim=1)


class FVQRater(PreTrainedModel):
    """The one model class; `nano` and the large models differ in `FVQRaterConfig` only."""

    config_class = FVQRaterConfig
    base_model_prefix = "fvq_rater"
    main_input_name = "frames"
    _supports_sdpa = True

    def __init__(self, config: FVQRaterConfig, towers: Mapping[str, nn.Module] | None = None) -> None:
        super().__init__(config)
        # towers: pretrained sub-models by attribute name; without them each is built from its configuration.
        built: dict[str, Any] = dict(towers) if towers is not None else new_towers(config)
        hidden = config.text_config.hidden_size
        self.vision_model = built["vision_model"]
        self.face_model = built.get("face_model")
        self.motion_model = built["motion_model"]
        self.language_model = built["language_model"]
        shuffled = config.vision_shuffle > 1
        vision_width = config.vision_config.hidden_size * config.vision_shuffle**2
        widths = {
            "frames": vision_width,
            "portrait": vision_width,
            "faces": config.face_config.hidden_size if config.face_config else vision_width,
            "motion": config.motion_config.hidden_size,
            "statistics": config.statistics_size,
        }
        self.projectors = nn.ModuleDict(
            {
                name: Projector(widths[name], hidden, normalise=shuffled and name in ("frames", "portrait"))
                for name in config.streams
            }
        )
        self.standardise = nn.BatchNorm1d(config.statistics_size, affine=False)
        self.dropout = nn.Dropout(config.dropout)
        self.head = Head(nn.LayerNorm(hidden), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, 2))
        self.post_init()

    def forward(self, batch: ClipBatch, levels: Tensor | None = None, known: Mapping[str, Tensor] | None = None) -> RaterOutput:
        """Score a batch.

        levels: (B,) int64 0-4, the right answers of stage I; without them `answer_loss` is None. known: see `encode`.
        """
        return self.answer(self.encode(batch, known or {}), levels)

    def encode(self, batch: ClipBatch, known: Mapping[str, Tensor] = MappingProxyType({})) -> dict[str, Tensor]:
        """The encoders' outputs, by stream: while the encoders are frozen these do not change, so training can cache them.

        Tokens are (B, N, K, width); `portrait_mask` and `faces_mask` are passed through. known: outputs of an earlier call,
        by stream, which are used instead of encoding that stream again.
        """
        config = self.config
        wanted = [name for name in config.streams if name not in known]
        streams: dict[str, Tensor] = dict(known)
        if "frames" in wanted:
            streams["frames"] = self._vision(batch.frames, config.vision_normalisation)
        if "portrait" in config.streams:
            streams["portrait_mask"] = batch.portrait_mask
        if "portrait" in wanted:
            streams["portrait"] = self._vision(batch.portrait, config.vision_normalisation)
        if "faces" in config.streams:
            streams["faces_mask"] = batch.faces_mask
        if "faces" in wanted:
            streams["faces"] = self._faces(batch.faces)
        if "motion" in wanted:
            video = self.normalise(batch.clip.flatten(0, 1), config.motion_normalisation).unflatten(0, batch.clip.shape[:2])
            arguments = {self.motion_model.main_input_name: video, **MOTION_ARGUMENTS.get(config.motion_config.model_type, {})}
            streams["motion"] = self.motion_model(**arguments).last_hidden_state.mean(dim=1)[:, None, None]
        if "statistics" in wanted:
            # The buffers' dtype, not the model's: while an adapter is trained, only the base is in half precision.
            numbers = self.standardise(batch.statistics.to(next(self.standardise.buffers()).dtype))
            # Far outside the training data the distance carries no more information.
            streams["statistics"] = numbers.clamp(-4, 4)[:, None, None]
        return streams

    def answer(self, streams: dict[str, Tensor], levels: Tensor | None = None) -> RaterOutput:
        """The language model's outputs for encoded streams (see `encode`). levels: see `forward`."""
        config = self.config
        parts = [self.projectors[name](streams[name], streams.get(f"{name}_mask")) for name in config.streams]
        tokens = self.dropout(torch.cat(parts, dim=1))
        batch = tokens.shape[0]
        text = torch.tensor([*config.prompt_ids, *config.answer_ids], device=tokens.device).expand(batch, -1)
        level_ids = torch.tensor(config.level_ids, device=tokens.device)
        embedded = torch.cat([tokens, self.language_model.get_input_embeddings()(text).to(tokens.dtype)], dim=1)
        if config.use_language_model:
            # There is one pass and no generation, so keys and values need not be kept.
            hidden = self.language_model.get_decoder()(inputs_embeds=embedded, use_cache=False).last_hidden_state
        else:
            hidden = embedded[:, tokens.shape[1] :] + tokens.mean(dim=1, keepdim=True)
        at_score = hidden[:, -1]
        logits = self.language_model.get_output_embeddings()(hidden[:, -len(config.answer_ids) - 1 :])
        loss = None
        if levels is not None:
            wanted = torch.cat([text[:, -len(config.answer_ids) :], level_ids[levels][:, None]], dim=1)
            loss = functional.cross_entropy(logits.flatten(0, 1).float(), wanted.flatten())
        mean, spread = self.head(at_score).float().unbind(1)
        return RaterOutput(
            score=100 * torch.sigmoid(mean),
            uncertainty=SPREAD_UNIT * functional.softplus(spread) + LEAST_UNCERTAINTY,
            level_logits=logits[:, -1].float()[:, level_ids],
            answer_loss=loss,
        )

    def _vision(self, images: Tensor, normalisation: str) -> Tensor:
        """(B, N, S, S, 3) uint8 -> (B, N, vision_tokens, width), through the vision encoder, all images of all clips at once."""
        grid = _grid(self.vision_model(self.normalise(images.flatten(0, 1), normalisation)).last_hidden_state)
        return _pool(_shuffle(grid, self.config.vision_shuffle), self.config.vision_tokens).unflatten(0, images.shape[:2])

    def _faces(self, images: Tensor) -> Tensor:
        """(B, N, S, S, 3) uint8 -> (B, N, face_tokens, width); through the vision encoder where there is no face encoder."""
        if self.face_model is None:
            return self._vision(images, self.config.face_normalisation)
        grid = _grid(self.face_model(self.normalise(images.flatten(0, 1), self.config.face_normalisation)).last_hidden_state)
        return _pool(grid, self.config.face_tokens).unflatten(0, images.shape[:2])

    def normalise(self, images: Tensor, normalisation: str) -> Tensor:
        """(B, S, S, 3) uint8 -> (B, 3, S, S) in the model's dtype."""
        mean, deviation = (torch.tensor(v, device=images.device)[:, None, None] for v in NORMALISATIONS[normalisation])
        # Bytes are moved, and whole planes get one product and one sum: on a CPU it is a tenth of the network's time otherwise.
        planes = images.permute(0, 3, 1, 2).contiguous().to(self.dtype)
        return planes * (1 / (255 * deviation)).to(self.dtype) + (-mean / deviation).to(self.dtype)

    def _init_weights(self, module: Any) -> None:
        super()._init_weights(module)
        if isinstance(module, Projector):
            nn.init.normal_(module.absent, std=0.02)


def new_towers(config: FVQRaterConfig) -> dict[str, Any]:
    """The sub-models of a configuration with fresh weights, by the names of `FVQRater`'s attributes."""
    towers = {
        "vision_model": AutoModel.from_config(config.vision_config),
        "motion_model": AutoModel.from_config(config.motion_config),
        "language_model": AutoModelForCausalLM.from_config(config.text_config),
    }
    return towers | ({"face_model": AutoModel.from_config(config.face_config)} if config.face_config else {})


def _grid(tokens: Tensor) -> Tensor:
    """(B, side, side, width) of an encoder's tokens (B, K, width) or feature map (B, width, side, side).

    A class token before the grid is dropped.
    """
    if tokens.ndim == 4:
        return tokens.permute(0, 2, 3, 1)
    count = tokens.shape[1]
    side = math.isqrt(count)
    if side * side != count:
        tokens, side = tokens[:, 1:], math.isqrt(count - 1)
    return tokens.unflatten(1, (side, side))


def _shuffle(grid: Tensor, size: int) -> Tensor:
    """Join squares of size x size neighbours: (B, side, side, width) -> (B, side/size, side/size, width * size**2).

    The numbers are in the order of InternVL's pixel shuffle (version 2).
    """
    squares = grid.unflatten(2, (-1, size)).unflatten(1, (-1, size))
    return squares.transpose(2, 3).flatten(3)


def _pool(grid: Tensor, keep: int) -> Tensor:
    """Average a grid (B, side, side, width) down to `keep` tokens: (B, keep, width)."""
    if grid.shape[1] * grid.shape[2] == keep:
        return grid.flatten(1, 2)
    return functional.adaptive_avg_pool2d(grid.permute(0, 3, 1, 2), math.isqrt(keep)).flatten(2).transpose(1, 2)


AutoModel.register(FVQRaterConfig, FVQRater)
