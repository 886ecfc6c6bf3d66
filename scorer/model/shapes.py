"""What a model would take, tried with shapes instead of numbers. It runs in the child process of `scorer.model_check`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from scorer.errors import ModelError
from scorer.model.bases import ADAPTER_FILE, LOADING_ERRORS, META, load_whole
from scorer.model.modeling import ClipBatch, FVQRater
from scorer.spec import SamplerSpec

MAX_OWN_BYTES = 1 << 32
"""Bytes of what no file of a base holds: projectors and head, which get random numbers until an adapter's take their place."""

MAX_BUFFER_BYTES = 1 << 30
"""Bytes of buffers: tables of positions, which are computed and in no file."""

MAX_TENSOR_BYTES = 1 << 33
"""Bytes of the largest tensor while one clip is scored."""

MAX_OPERATIONS = MappingProxyType({"cpu": 5e13, "cuda": 2e15})
"""Floating-point operations of one clip: minutes. nano takes 2e9, an InternVL of 1 billion weights some 1e13."""


def try_shapes(directory: Path, device: str) -> None:
    """Raise `ModelError`, or what the libraries raise, where a model cannot be loaded, or takes more than the limits.

    device: "cpu" or "cuda", where it is going to score.
    """
    try:
        spec = SamplerSpec.load(directory)
        network = _shapes(directory)
        _check_sizes(directory, network)
        operations = _operations(network, spec)
    except LOADING_ERRORS as error:
        if isinstance(error, MemoryError):
            raise
        raise ModelError(f"model {directory}: {error}") from error
    if operations > MAX_OPERATIONS[device]:
        raise ModelError(
            f"model {directory}: one clip takes {operations:.0e} operations, more than {MAX_OPERATIONS[device]:.0e} on {device}"
        )


def _shapes(directory: Path) -> FVQRater:
    if not (directory / ADAPTER_FILE).exists():
        return load_whole(directory, device=META)
    from scorer.model.adapters import adapter_shapes

    return adapter_shapes(directory)


def _check_sizes(directory: Path, network: FVQRater) -> None:
    """Weights that a file holds are as large as the file. Raise `ModelError` where the others, and buffers, are not small."""
    own = sum(
        weight.nbytes for name, weight in network.named_parameters() if name.startswith(("projectors.", "head.", "standardise."))
    )
    buffers = sum(buffer.nbytes for buffer in network.buffers())
    for what, size, largest in (("projectors and head", own, MAX_OWN_BYTES), ("buffers", buffers, MAX_BUFFER_BYTES)):
        if size > largest:
            raise ModelError(f"model {directory}: its {what} take {size} bytes, more than {largest}")


def _operations(network: FVQRater, spec: SamplerSpec) -> int:
    """Floating-point operations to score one clip."""

    def images(count: int, side: int) -> torch.Tensor:
        return torch.empty((1, count, side, side, 3), dtype=torch.uint8, device=META)

    network = network.to(META)
    with FakeTensorMode(allow_non_fake_inputs=True), _TensorLimit(), FlopCounterMode(display=False) as counter, torch.no_grad():
        network(
            ClipBatch(
                frames=images(spec.frames, spec.frame_size),
                portrait=images(spec.portrait_frames, spec.portrait_size),
                portrait_mask=torch.empty((1, spec.portrait_frames), dtype=torch.bool, device=META),
                faces=images(spec.face_frames, spec.face_size),
                faces_mask=torch.empty((1, spec.face_frames), dtype=torch.bool, device=META),
                clip=images(spec.clip_frames, spec.clip_size),
                statistics=torch.empty((1, network.config.statistics_size), device=META),
            )
        )
    operations: int = counter.get_total_flops()
    return operations


class _TensorLimit(TorchDispatchMode):
    """Raises `ModelError` where an operation gives a tensor of more than `MAX_TENSOR_BYTES`."""

    def __torch_dispatch__(
        self,
        function: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        outputs = function(*args, **(kwargs or {}))
        for output in tree_leaves(outputs):
            # Views that repeat numbers, as of a mask, have a large shape and small storage.
            if isinstance(output, torch.Tensor) and (size := output.untyped_storage().nbytes()) > MAX_TENSOR_BYTES:
                raise ModelError(f"a clip needs a tensor of {size} bytes, more than {MAX_TENSOR_BYTES}")
        return outputs
