"""The in-process scorer in torch: loads a network, then scores batches of sampled clips.

A model is a directory of safetensors with its configuration and its sampler's specification: either a whole model, or
an adapter (LoRA, projectors and heads) that names the base to which it belongs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import transformers
from torch import Tensor
from transformers.models.internvl.modeling_internvl import InternVLVisionEmbeddings

from scorer.answer import check_scorer, clip_scores, model_threads
from scorer.errors import ModelError
from scorer.model.bases import ADAPTER_FILE, LOADING_ERRORS, load_whole
from scorer.model.configuration import FVQRaterConfig
from scorer.model.encoders import LiteEncoder, keep_positions
from scorer.model.modeling import ClipBatch, FVQRater
from scorer.spec import MODEL_INPUTS, ClipScore, ModelId, ModelInput, SamplerSpec

# Without this, every load writes a progress bar and a log line to the service's standard error.
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()


MOST_TOKENS = 32_768
"""Tokens that go through the language model at once. A clip at 448 px has 3,100: ten of them take some 4 GB of activations in
bf16 with a language model of 8 billion weights. A clip of `nano` has 20 or so, so that its batches are never divided."""


def chosen_device(device: str) -> torch.device:
    """The device for "cpu", "cuda" or "auto". Raises `ModelError` where there is none for "cuda"."""
    if device == "cuda" and not torch.cuda.is_available():
        raise ModelError(
            "device is set to cuda, but torch sees no GPU: install a CUDA build of torch and the driver, or set FVQ_DEVICE=cpu"
        )
    return torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")


def load_network(directory: Path, identity: ModelId, device: torch.device, exact: bool = False) -> Engine:
    """The engine for the network in a directory. Raises `ModelError` that says what is wrong with it.

    exact: score in float32 on a GPU too, as on a CPU. A small model costs little either way, and in bf16 `nano` scores .6 points
    lower in the mean, 1.4 at most.
    """
    # bf16 halves a large model's memory and doubles its speed on GPUs; on CPUs without bf16 instructions it is slower.
    dtype = torch.bfloat16 if device.type == "cuda" and not exact else torch.float32
    try:
        spec = SamplerSpec.load(directory)
        network = load_model(directory, dtype)
        if exact:
            # Otherwise cuDNN rounds what goes into a convolution to 10 bits.
            torch.backends.cudnn.allow_tf32 = False
        _spare(network, spec)
        return Engine(network.to(device), spec, identity)
    except LOADING_ERRORS as error:
        raise ModelError(f"model {directory}: {error}") from error


def _spare(network: FVQRater, spec: SamplerSpec) -> None:
    """Do once what each pass would do again: fold batch norms, resize position embeddings."""
    vision_sides = {spec.frame_size, spec.portrait_size} | ({spec.face_size} if network.face_model is None else set())
    for module in network.modules():
        if isinstance(module, LiteEncoder):
            module.fuse()
        elif isinstance(module, InternVLVisionEmbeddings) and len(vision_sides) == 1:
            keep_positions(module, spec.frame_size)


def load_model(directory: Path, dtype: torch.dtype = torch.float32) -> FVQRater:
    """The network in a directory, in eval mode; an adapter is merged into its base. Weights are read from safetensors only."""
    if not (directory / ADAPTER_FILE).exists():
        return load_whole(directory, dtype)
    # peft takes a second to import, and only adapters need it.
    from scorer.model.adapters import load_adapter

    return load_adapter(directory, dtype)


def collate(clips: Sequence[ModelInput], device: torch.device) -> ClipBatch:
    """Clips of one sampler specification as one batch on the device."""

    def stack(name: str) -> Tensor:
        return torch.from_numpy(np.stack([getattr(clip, name) for clip in clips])).to(device, non_blocking=True)

    return ClipBatch(**{name: stack(name) for name in MODEL_INPUTS})


def tokens_per_clip(config: FVQRaterConfig, spec: SamplerSpec) -> int:
    """How many tokens of a clip the language model reads; the same for all clips of a specification."""
    face_tokens = config.vision_tokens if config.face_config is None else config.face_tokens
    streams = {
        "frames": spec.frames * config.vision_tokens,
        "portrait": spec.portrait_frames * config.vision_tokens,
        "faces": spec.face_frames * face_tokens,
        "motion": 1,
        "statistics": 1,
    }
    return sum(streams[name] for name in config.streams) + len(config.prompt_ids) + len(config.answer_ids)


class Engine:
    """A loaded model; implements `scorer.load.LoadedModel`. Its methods may be called from any thread, one at a time.

    network: in eval mode, its batch norms folded.
    """

    def __init__(self, network: FVQRater, spec: SamplerSpec, model: ModelId) -> None:
        self.network, self.spec, self.model = network, spec, model
        self.statistics = int(network.config.statistics_size)
        self._most_clips = max(1, MOST_TOKENS // tokens_per_clip(network.config, spec))
        if network.device.type == "cpu":
            torch.set_num_threads(model_threads())

    def check(self) -> None:
        """Score a test clip; raises `ModelError` where the model cannot, or a number of its answer is not finite."""
        check_scorer(self, self.statistics)

    def score(self, clips: Sequence[ModelInput]) -> list[ClipScore]:
        """One score per clip, in order. Raises `ModelError` where a score is not finite.

        Clips go through the network as many at a time as have `MOST_TOKENS` tokens, so that any batch fits into memory.
        """
        step = self._most_clips
        return [score for start in range(0, len(clips), step) for score in self._score(clips[start : start + step])]

    @torch.inference_mode()
    def _score(self, clips: Sequence[ModelInput]) -> list[ClipScore]:
        output = self.network(collate(clips, self.network.device))
        probabilities = output.level_logits.softmax(dim=1).cpu().tolist()
        scores = output.score.cpu().tolist()
        uncertainties = output.uncertainty.cpu().tolist()
        return clip_scores(self.model, scores, uncertainties, probabilities)
