"""The in-process scorer: finds and loads a model, then scores batches of sampled clips.

A model is a directory of safetensors with its configuration and its sampler's specification: either a whole model, or
an adapter (LoRA, projectors and heads) that names the base to which it belongs.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from torch import Tensor

from scorer import model_check
from scorer.errors import ModelError
from scorer.model.bases import ADAPTER_FILE, LOADING_ERRORS, SHIPPED, load_whole
from scorer.model.configuration import FVQRaterConfig
from scorer.model.encoders import LiteEncoder
from scorer.model.modeling import ClipBatch, FVQRater
from scorer.registry import NAME, Registry, hashed
from scorer.spec import LEVELS, MODEL_INPUTS, ClipScore, ModelId, ModelInput, SamplerSpec, made_up_input

# Without this, every load writes a progress bar and a log line to the service's standard error.
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()


MOST_TOKENS = 32_768
"""Tokens that go through the language model at once. A clip at 448 px has 3,100: ten of them take some 4 GB of activations in
bf16 with a language model of 8 billion weights. A clip of `nano` has 20 or so, so that its batches are never divided."""


def load_engine(model: str = "nano", device: str = "auto", registry: Registry | None = None) -> Engine:
    """The engine for a model, after it has scored a test clip.

    model, registry: see `find_model`. device: "cpu", "cuda", or "auto" for the GPU where there is one. Raises `ModelError`
    that says what is wrong with the model or the device.
    """
    directory, identity = find_model(model, registry)
    if device == "cuda" and not torch.cuda.is_available():
        raise ModelError(
            "device is set to cuda, but torch sees no GPU: install a CUDA build of torch and the driver, or set FVQ_DEVICE=cpu"
        )
    chosen = torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")
    # bf16 halves memory and doubles speed on GPUs; on CPUs without bf16 instructions it is slower than float32.
    dtype = torch.bfloat16 if chosen.type == "cuda" else torch.float32
    if directory not in SHIPPED.values():
        # A second set of libraries takes seconds to load; the shipped models are as trusted as this code.
        model_check.check_model(directory, chosen.type)
    try:
        spec = SamplerSpec.load(directory)
        network = load_model(directory, dtype)
        for module in network.modules():
            if isinstance(module, LiteEncoder):
                module.fuse()
    except LOADING_ERRORS as error:
        raise ModelError(f"model {directory}: {error}") from error
    engine = Engine(network.to(chosen), spec, identity)
    engine.check()
    return engine


def find_model(model: str, registry: Registry | None = None) -> tuple[Path, ModelId]:
    """The directory, name and version of a model.

    model: in this order, `name@version` in the registry; a name with a current version in the registry; the name of a shipped
    model; a directory. Raises `ModelError` where it is none of them.
    """
    name, pinned, version = model.partition("@")
    if pinned and not Path(model).is_dir():
        if registry is None:
            raise ModelError(f"model {model!r}: there is no registry to take it from: set FVQ_REGISTRY")
        return registry.fetch(name, version), ModelId(name, version)
    if registry is not None and NAME.fullmatch(model) and (current := registry.current(model)):
        return registry.fetch(model, current), ModelId(model, current)
    directory = SHIPPED.get(model, Path(model))
    if not directory.is_dir():
        raise ModelError(
            f"model {model!r}: there is no such directory, no version of it in the registry, and the shipped models are: "
            + ", ".join(SHIPPED)
        )
    return directory, ModelId(model if model in SHIPPED else directory.name, version_of(directory))


def load_model(directory: Path, dtype: torch.dtype = torch.float32) -> FVQRater:
    """The network in a directory, in eval mode; an adapter is merged into its base. Weights are read from safetensors only."""
    if not (directory / ADAPTER_FILE).exists():
        return load_whole(directory, dtype)
    # peft takes a second to import, and only adapters need it.
    from scorer.model.adapters import load_adapter

    return load_adapter(directory, dtype)


def version_of(directory: Path) -> str:
    """A hash of the weights in a model directory: the version of a model that is in no registry."""
    return hashed(*sorted(directory.glob("*.safetensors")))[:12]


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
    """A loaded model; implements `scorer.spec.Scorer`. Its methods may be called from any thread, one at a time."""

    def __init__(self, network: FVQRater, spec: SamplerSpec, model: ModelId) -> None:
        self._network = network
        self._spec = spec
        self._model = model
        self._most_clips = max(1, MOST_TOKENS // tokens_per_clip(network.config, spec))
        if network.device.type == "cpu" and "OMP_NUM_THREADS" not in os.environ:
            # Leave cores to the sampling children: torch threads that wait for a busy core slow scoring down several times.
            torch.set_num_threads(max(1, min(4, len(os.sched_getaffinity(0)) // 2)))

    @property
    def spec(self) -> SamplerSpec:
        """The sampler's specification of the model."""
        return self._spec

    @property
    def model(self) -> ModelId:
        """Name and version of the model."""
        return self._model

    @property
    def statistics(self) -> int:
        """How many statistics of a clip the model takes."""
        return int(self._network.config.statistics_size)

    def check(self) -> None:
        """Score a test clip; raises `ModelError` where the model cannot, or a number of its answer is not finite."""
        try:
            score = self.score([_test_clip(self._spec, self.statistics)])[0]
        except (RuntimeError, ValueError) as error:
            raise ModelError(f"model {self._model} cannot score a test clip: {error}") from error
        if not (np.isfinite([score.uncertainty, *score.level_probs.values()]).all() and score.uncertainty > 0):
            raise ModelError(f"model {self._model} gave an uncertainty or levels that are not finite numbers")

    def score(self, clips: Sequence[ModelInput]) -> list[ClipScore]:
        """One score per clip, in order. Raises `ModelError` where a score is not finite.

        Clips go through the network as many at a time as have `MOST_TOKENS` tokens, so that any batch fits into memory.
        """
        step = self._most_clips
        return [score for start in range(0, len(clips), step) for score in self._score(clips[start : start + step])]

    @torch.inference_mode()
    def _score(self, clips: Sequence[ModelInput]) -> list[ClipScore]:
        output = self._network(collate(clips, self._network.device))
        probabilities = output.level_logits.softmax(dim=1).cpu().tolist()
        scores = output.score.cpu().tolist()
        uncertainties = output.uncertainty.cpu().tolist()
        if not np.isfinite(scores).all():
            raise ModelError(f"model {self._model} gave a score that is not a finite number")
        return [
            ClipScore(
                score=round(score, 2),
                level=LEVELS[int(np.argmax(probs))],
                level_probs={level: round(probability, 4) for level, probability in zip(LEVELS, probs, strict=True)},
                uncertainty=round(uncertainty, 2),
                model=self._model,
            )
            for score, uncertainty, probs in zip(scores, uncertainties, probabilities, strict=True)
        ]


def _test_clip(spec: SamplerSpec, statistics: int) -> ModelInput:
    """A made-up clip of the specification's shapes, with a person and a face in every image; the same each time.

    statistics: how many numbers they are.
    """
    rng = np.random.default_rng(0)

    def pictures(count: int, side: int) -> NDArray[np.uint8]:
        slope = np.linspace(40, 200, side)
        noise = rng.integers(0, 24, (count, side, side, 3))
        return (slope[None, :, None, None] / 2 + slope[None, None, :, None] / 2 + noise).astype(np.uint8)

    return made_up_input(spec, statistics, pictures, present=True)
