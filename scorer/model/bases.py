"""Bases: the pretrained networks of which an FVQ-Rater is composed.

A base is named by local paths or hub ids. Only its safetensors and configuration are read, and no code from it is run. It
is either a whole FVQ-Rater (`nano`, or a directory that this project made) or a model of the InternVL family in
transformers' format, to which a temporal encoder and a face encoder are added.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoTokenizer, InternVLForConditionalGeneration

from scorer.errors import ModelError
from scorer.find import SHIPPED
from scorer.model.configuration import NORMALISATIONS, STREAMS, FVQRaterConfig
from scorer.model.modeling import FVQRater
from scorer.model.prompt import token_ids
from scorer.model_files import check_model_files
from scorer.sampling.statistics import NAMES
from scorer.spec import SamplerSpec

ADAPTER_FILE = "adapter_config.json"
"""A directory with this file is an adapter's."""

BASE_FILE = "base.json"
"""What an adapter was trained on, saved in its directory."""

LOADING_ERRORS = (
    *(OSError, ValueError, TypeError, LookupError, RuntimeError, SafetensorError),
    *(ArithmeticError, AttributeError, AssertionError, ImportError, MemoryError),
)
"""What transformers and safetensors raise for directories and hub ids that they cannot load, or whose values make no sense."""

META = "meta"
"""The device of tensors that have a shape and no numbers, so no memory."""

CLIP_FRAMES = 16
"""Frames of the temporal clip for encoders that accept any number."""


@dataclass(frozen=True)
class Base:
    """Where the pretrained parts are: local paths or hub ids."""

    model: str
    """A shipped model's name, a whole FVQ-Rater, or an InternVL in transformers' format ("...-hf")."""
    motion: str | None = None
    """VideoMAE or V-JEPA 2; None for a whole FVQ-Rater, which has its own temporal encoder."""
    face: str | None = None
    """A timm model in transformers' format; with None, face crops go through the vision encoder."""
    fingerprint: str = ""
    """`fingerprint` of the base that an adapter was trained on; an empty one is not checked."""

    def save(self, directory: Path) -> None:
        """Write it as `BASE_FILE` into an adapter's directory."""
        (directory / BASE_FILE).write_text(json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def load(cls, directory: Path) -> Self:
        """The base of an adapter's directory; without `BASE_FILE`, the one that peft's configuration names."""
        file = directory / BASE_FILE
        if file.exists():
            base = cls(**json.loads(file.read_text()))
            if not all(part is None or isinstance(part, str) for part in asdict(base).values()):
                raise ValueError(f"{BASE_FILE}: model, motion, face and fingerprint must be text")
            return base
        return cls(str(json.loads((directory / ADAPTER_FILE).read_text())["base_model_name_or_path"]))

    @property
    def is_whole(self) -> bool:
        """Whether it is a whole FVQ-Rater. Raises `ModelError` where there is no such model, or its type is not supported."""
        return self.is_whole_of()

    def is_whole_of(self, local: bool = False) -> bool:
        """As `is_whole`. local: read nothing over the network."""
        kind = _config(SHIPPED.get(self.model, self.model), local).model_type
        if kind not in ("fvq_rater", "internvl"):
            raise ModelError(
                f"base {self.model}: its model type is {kind!r}; a base is an FVQ-Rater or an InternVL in transformers' format"
            )
        return kind == "fvq_rater"


def load_base(
    base: Base,
    dtype: torch.dtype = torch.float32,
    config: FVQRaterConfig | None = None,
    local: bool = False,
    device: str | None = None,
) -> FVQRater:
    """The base as an FVQ-Rater in eval mode.

    config: what an adapter was trained with (streams, tokens per image); None for the base's own, see `base_config`. Parts
    that no base has (projectors other than InternVL's, statistics, head) get random weights. local: hub ids are taken from the
    cache of this machine, and nothing is read over the network. device: "meta" for shapes without numbers, whose fingerprint
    is not compared; None for the CPU. Raises `ModelError` that names the part that cannot be loaded, or says that the
    network's fingerprint is not `base.fingerprint`.
    """
    for part in (base.model, base.motion, base.face):
        if part and part not in SHIPPED and Path(part).is_dir():
            check_model_files(Path(part))
    if base.is_whole_of(local):
        network = load_whole(SHIPPED.get(base.model, Path(base.model)), dtype, device)
    else:
        network = _assembled(base, dtype, config, local, device)
    if device == META:
        return network
    actual = fingerprint(network)
    if base.fingerprint not in ("", actual):
        raise ModelError(
            f"base {base.model} has the fingerprint {actual}, but the adapter was trained on {base.fingerprint}: "
            "they are different models, or versions of one model"
        )
    return network


def load_whole(directory: Path, dtype: torch.dtype = torch.float32, device: str | None = None) -> FVQRater:
    """The FVQ-Rater in a directory, in eval mode. device: see `load_base`.

    Raises `ModelError` where weights and configuration do not fit.
    """
    network, problems = FVQRater.from_pretrained(
        directory, dtype=dtype, local_files_only=True, use_safetensors=True, output_loading_info=True, device_map=device
    )
    wrong = {name: sorted(keys)[:3] for name, keys in problems.items() if keys}
    if wrong:
        raise ModelError(f"model {directory}: its weights do not fit its configuration: {wrong}")
    return network.eval()


def base_config(
    base: Base, streams: tuple[str, ...] = STREAMS, image_size: int | None = None, local: bool = False
) -> FVQRaterConfig:
    """The configuration of an FVQ-Rater on an InternVL base.

    image_size: side of frames and portrait, px. None is the vision encoder's own, which gives 256 tokens per image with
    InternVL3; half of it gives a quarter of the tokens, with interpolated position embeddings. Raises `ModelError` for
    parts that do not fit.
    """
    if base.motion is None:
        raise ModelError(f"base {base.model}: it needs a temporal encoder, and none is named")
    model, motion = _config(base.model, local), _config(base.motion, local)
    if motion.model_type not in ("videomae", "vjepa2"):
        raise ModelError(
            f"temporal encoder {base.motion}: its model type is {motion.model_type!r}; it must be a VideoMAE or a V-JEPA 2"
        )
    patch, shuffle = model.vision_config.patch_size[0], round(1 / model.downsample_ratio)
    side = image_size or model.vision_config.image_size[0]
    if side % (patch * shuffle):
        raise ModelError(
            f"base {base.model}: the side of its images must be a multiple of {patch * shuffle} px, and {side} px is not"
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(base.model, local_files_only=local, trust_remote_code=False)
    except LOADING_ERRORS as error:
        raise ModelError(f"base {base.model}: its tokenizer cannot be loaded: {error}") from error
    face = _face_config(base.face, local) if base.face else None
    return FVQRaterConfig(
        vision_config=model.vision_config,
        face_config=face,
        motion_config=motion,
        text_config=model.text_config,
        streams=streams,
        vision_shuffle=shuffle,
        vision_tokens=(side // (patch * shuffle)) ** 2,
        vision_normalisation="imagenet",
        face_normalisation=_normalisation_of(face) if face else "imagenet",
        motion_normalisation="imagenet",
        # The language model was pretrained without dropout on its input tokens.
        dropout=0.0,
        statistics_size=len(NAMES),
        **token_ids(tokenizer),
    )


def sampler_spec(config: FVQRaterConfig, frames: int = 8, portrait_frames: int | None = None) -> SamplerSpec:
    """The sampler's specification for a configuration of `base_config`.

    frames: of the spatial stream. portrait_frames: of the portrait stream; None is half as many.
    """
    side = config.vision_config.patch_size[0] * config.vision_shuffle * round(config.vision_tokens**0.5)
    face_side = side if config.face_config is None else config.face_config.pretrained_cfg["input_size"][-1]
    motion = config.motion_config
    return SamplerSpec(
        frames=frames,
        frame_size=side,
        portrait_frames=portrait_frames or max(1, frames // 2),
        portrait_size=side,
        face_size=face_side,
        # VideoMAE accepts only its own number of frames. V-JEPA 2 accepts any, and its side is called `crop_size`.
        clip_frames=getattr(motion, "num_frames", CLIP_FRAMES),
        clip_size=getattr(motion, "crop_size", None) or motion.image_size,
    )


def fingerprint(network: FVQRater) -> str:
    """A short hash of the pretrained towers: names, shapes and the first 16 numbers of each weight.

    It is the same for every dtype in which they are loaded, and with an adapter attached.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(network.named_parameters()):
        if "lora_" not in name and not name.startswith(("projectors.", "head.")):
            start = tensor.detach().flatten()[:16].to(torch.bfloat16).float().tolist()
            digest.update(repr((name.replace(".base_layer", ""), tuple(tensor.shape), start)).encode())
    return digest.hexdigest()[:16]


def _assembled(base: Base, dtype: torch.dtype, config: FVQRaterConfig | None, local: bool, device: str | None) -> FVQRater:
    config = config or base_config(base, local=local)
    assert base.motion is not None
    internvl = _loaded(InternVLForConditionalGeneration, base.model, dtype, local, device)
    # Whether embeddings and output layer share weights is decided by what is stored; the configuration may say otherwise.
    embeddings = internvl.model.language_model.get_input_embeddings().weight
    config.text_config.tie_word_embeddings = internvl.lm_head.weight is embeddings
    with torch.device("meta"):
        language_model = AutoModelForCausalLM.from_config(config.text_config, dtype=dtype)
    language_model.model, language_model.lm_head = internvl.model.language_model, internvl.lm_head
    towers: dict[str, nn.Module] = {
        "vision_model": internvl.model.vision_tower,
        "motion_model": _loaded(AutoModel, base.motion, dtype, local, device),
        "language_model": language_model,
    }
    if base.face:
        towers["face_model"] = _loaded(AutoModel, base.face, dtype, local, device)
    with torch.device(device or "cpu"):
        network = FVQRater(config, towers)
    weights = _projector_weights(internvl.model.multi_modal_projector.state_dict())
    for name in {"frames", "portrait"} & set(config.streams):
        network.get_submodule(f"projectors.{name}.layers").load_state_dict(weights, assign=device == META)
    return network.to(dtype).eval()


def _projector_weights(internvl: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of InternVL's projector, under the names of `Projector.layers`."""
    places = {"layer_norm": "0", "linear_1": "1", "linear_2": "3"}
    return {f"{places[name.split('.')[0]]}.{name.split('.')[1]}": tensor for name, tensor in internvl.items()}


def _config(name: str | Path, local: bool) -> Any:
    try:
        # trust_remote_code=False: without it transformers asks on the terminal whether to run a directory's code.
        return AutoConfig.from_pretrained(name, local_files_only=local, trust_remote_code=False)
    except LOADING_ERRORS as error:
        raise ModelError(f"base {name}: {error}") from error


def _face_config(name: str, local: bool) -> Any:
    """The configuration of a timm model, with the `hidden_size` that `FVQRaterConfig` needs."""
    config = _config(name, local)
    if config.model_type != "timm_wrapper":
        raise ModelError(f"face encoder {name}: its model type is {config.model_type!r}; it must be a timm model")
    with torch.device("meta"):
        config.hidden_size = AutoModel.from_config(config).timm_model.num_features
    return config


def _normalisation_of(face: Any) -> str:
    mean, deviation = tuple(face.pretrained_cfg["mean"]), tuple(face.pretrained_cfg["std"])
    for name, values in NORMALISATIONS.items():
        if values == (mean, deviation):
            return name
    raise ModelError(f"face encoder {face.architecture}: its mean {mean} and deviation {deviation} are none of {NORMALISATIONS}")


def _loaded(kind: Any, name: str, dtype: torch.dtype, local: bool, device: str | None) -> Any:
    try:
        model, problems = kind.from_pretrained(
            name, dtype=dtype, use_safetensors=True, output_loading_info=True, local_files_only=local, device_map=device
        )
    except LOADING_ERRORS as error:
        raise ModelError(f"base {name}: {error}") from error
    # Surplus weights are fine: a decoder of the pretraining, a classifier.
    wrong = {problem: sorted(problems[problem])[:3] for problem in ("missing_keys", "mismatched_keys") if problems[problem]}
    if wrong:
        raise ModelError(f"base {name}: its weights do not fit its configuration: {wrong}")
    return model
