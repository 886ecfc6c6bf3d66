"""The in-process scorer: loads a model, scores batches of sampled clips.

A model is a directory of safetensors with its configuration and its sampler's specification: either a whole model, or
an adapter (LoRA, projectors and heads) that names the base it belongs to.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from torch import Tensor

from scorer.errors import ModelError
from scorer.model.bases import ADAPTER_FILE, LOADING_ERRORS, SHIPPED, load_whole
from scorer.model.encoders import LiteEncoder
from scorer.model.modeling import ClipBatch, FVQRater
from scorer.registry import NAME, Registry
from scorer.spec import LEVELS, ClipScore, Faces, MediaInfo, ModelId, SampledClip, SamplerSpec

# A bar and a line for each load belong to a notebook, not to a service.
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

BATCH_FIELDS = ("frames", "portrait", "portrait_mask", "faces", "faces_mask", "clip", "statistics")


def load_engine(model: str = "nano", device: str = "auto", registry: Registry | None = None) -> Engine:
    """The engine for a model: see `find_model`; it has answered a test clip.

    device: "cpu", "cuda", or "auto" for the GPU where there is one. Raises `ModelError` that says what is wrong with
    the model or the device.
    """
    directory, identity = find_model(model, registry)
    if device == "cuda" and not torch.cuda.is_available():
        raise ModelError(
            "device is set to cuda, but torch sees no GPU: install a CUDA build of torch and the driver, or set FVQ_DEVICE=cpu"
        )
    chosen = torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")
    # bf16 halves memory and doubles speed on GPUs; on CPUs without its instructions it is slower than float32.
    dtype = torch.bfloat16 if chosen.type == "cuda" else torch.float32
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
    """Where a model is, and what it is called.

    model: `name@version` of the registry; a name of which the registry has a current version; a shipped name; or a
    directory, in this order. Raises `ModelError` where it is none of them.
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
    """The network in a directory, in eval mode, with an adapter merged into its base. Only safetensors are read."""
    if not (directory / ADAPTER_FILE).exists():
        return load_whole(directory, dtype)
    # peft takes a second to import, and only adapters need it.
    from scorer.model.adapters import load_adapter

    return load_adapter(directory, dtype)


def version_of(directory: Path) -> str:
    """A model's version: a hash of its weights."""
    digest = hashlib.sha256()
    for weights in sorted(directory.glob("*.safetensors")):
        digest.update(weights.read_bytes())
    return digest.hexdigest()[:12]


def collate(clips: Sequence[SampledClip], device: torch.device) -> ClipBatch:
    """Clips of one specification as one batch on the device."""

    def stack(name: str) -> Tensor:
        return torch.from_numpy(np.stack([getattr(clip, name) for clip in clips])).to(device, non_blocking=True)

    return ClipBatch(**{name: stack(name) for name in BATCH_FIELDS})


class Engine:
    """A loaded model; implements `scorer.spec.Scorer`. Its methods may be called from any thread, one at a time."""

    def __init__(self, network: FVQRater, spec: SamplerSpec, model: ModelId) -> None:
        self._network = network
        self._spec = spec
        self._model = model
        if network.device.type == "cpu" and "OMP_NUM_THREADS" not in os.environ:
            # The sampling children need the cores too, and threads that wait for a busy core cost several times the work.
            torch.set_num_threads(max(1, min(4, len(os.sched_getaffinity(0)) // 2)))

    @property
    def spec(self) -> SamplerSpec:
        """What the model was trained on."""
        return self._spec

    @property
    def model(self) -> ModelId:
        """Name and version."""
        return self._model

    def check(self) -> None:
        """Score a test clip; raises `ModelError` where the answer is no number or a wrong one."""
        try:
            answer = self.score([_check_clip(self._spec, self._network.config.statistics_size)])[0]
        except (RuntimeError, ValueError) as error:
            raise ModelError(f"model {self._model.name}@{self._model.version} cannot score a test clip: {error}") from error
        if not (np.isfinite([answer.uncertainty, *answer.level_probs.values()]).all() and answer.uncertainty > 0):
            raise ModelError(f"model {self._model.name}@{self._model.version} gave an uncertainty or levels that are no numbers")

    @torch.inference_mode()
    def score(self, clips: Sequence[SampledClip]) -> list[ClipScore]:
        """One score per clip, in order. Raises `ModelError` where the model answers with something that is no number."""
        if not clips:
            return []
        output = self._network(collate(clips, self._network.device))
        probabilities = output.level_logits.softmax(dim=1).cpu().tolist()
        scores = output.score.cpu().tolist()
        uncertainties = output.uncertainty.cpu().tolist()
        if not np.isfinite(scores).all():
            raise ModelError(f"model {self._model.name}@{self._model.version} gave a score that is no number")
        return [
            ClipScore(
                score=round(score, 2),
                level=LEVELS[int(np.argmax(probs))],
                level_probs={level: round(p, 4) for level, p in zip(LEVELS, probs, strict=True)},
                uncertainty=round(uncertainty, 2),
                model=self._model,
            )
            for score, uncertainty, probs in zip(scores, uncertainties, probabilities, strict=True)
        ]


def _check_clip(spec: SamplerSpec, statistics: int) -> SampledClip:
    """A clip of the specification's shapes with every stream in it, the same each time; for checks, not for its score."""
    rng = np.random.default_rng(0)

    def pictures(count: int, side: int) -> NDArray[np.uint8]:
        slope = np.linspace(40, 200, side)
        noise = rng.integers(0, 24, (count, side, side, 3))
        return (slope[None, :, None, None] / 2 + slope[None, None, :, None] / 2 + noise).astype(np.uint8)

    return SampledClip(
        frames=pictures(spec.frames, spec.frame_size),
        portrait=pictures(spec.portrait_frames, spec.portrait_size),
        portrait_mask=np.ones(spec.portrait_frames, bool),
        faces=pictures(spec.face_frames, spec.face_size),
        faces_mask=np.ones(spec.face_frames, bool),
        clip=pictures(spec.clip_frames, spec.clip_size),
        statistics=np.ones(statistics, np.float32),
        signals={},
        face_summary=Faces(1, 0.2),
        info=MediaInfo(640, 360, 25.0, 50, 2.0, "none", 0.1),
        thumbnail=pictures(1, 72)[0],
    )
