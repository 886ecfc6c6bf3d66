"""Reads a TFLite model: its operators, the shapes of its tensors, and its weights, dense and as float32."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

# MediaPipe's wheel has the classes that read TFLite's format, so no other package is needed for it.
from mediapipe.tasks.metadata import schema_py_generated as schema
from numpy.typing import NDArray

TYPES = {schema.TensorType.FLOAT32: np.float32, schema.TensorType.FLOAT16: np.float16, schema.TensorType.INT32: np.int32}

_NAMES = {number: name for name, number in vars(schema.BuiltinOperator).items() if isinstance(number, int)}


@dataclass(frozen=True)
class Operator:
    """One operator. inputs, outputs: numbers of tensors, -1 for an input that is left out. options: the schema's class for it."""

    name: str
    inputs: list[int]
    outputs: list[int]
    options: Any


class TfliteModel:
    """A TFLite model with one graph. Raises ValueError where a part of it is none that this module knows."""

    def __init__(self, path: Path) -> None:
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(path.read_bytes(), 0))
        (self._graph,) = model.subgraphs
        self._buffers = model.buffers
        # Converters before 2020 wrote the operator's number into the older, smaller field.
        self._codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]
        self._weights: dict[int, NDArray[Any]] = {}
        self.inputs = [int(number) for number in self._graph.inputs]
        self.outputs = [int(number) for number in self._graph.outputs]

    def shape(self, tensor: int) -> tuple[int, ...]:
        """The shape of a tensor; of pictures it is (1, height, width, channels)."""
        return tuple(int(side) for side in self._graph.tensors[tensor].shape)

    def operators(self) -> Iterator[Operator]:
        """The operators that compute something, in order; those that unpack weights are carried out here."""
        for operator in self._graph.operators:
            inputs, outputs = [int(number) for number in operator.inputs], [int(number) for number in operator.outputs]
            name = _NAMES[self._codes[operator.opcodeIndex]]
            if name in ("DENSIFY", "DEQUANTIZE"):
                weights = self.weights(inputs[0])
                if weights is None:
                    raise ValueError(f"{name} of a tensor that is computed")
                self._weights[outputs[0]] = weights
            else:
                yield Operator(name, inputs, outputs, operator.builtinOptions)

    def weights(self, tensor: int) -> NDArray[Any] | None:
        """The values of a constant tensor, dense, float32 or int32; None where it is computed."""
        if tensor not in self._weights:
            stored = self._graph.tensors[tensor]
            data = self._buffers[stored.buffer].data
            if data is None or len(data) == 0:
                return None
            if stored.type not in TYPES:
                raise ValueError(f"tensor {tensor} has values of type {stored.type}, which is not known here")
            values = np.frombuffer(bytes(data), TYPES[stored.type])
            values = values.reshape(self.shape(tensor)) if stored.sparsity is None else _dense(stored, values)
            self._weights[tensor] = values.astype(np.float32) if values.dtype == np.float16 else values
        return self._weights[tensor]


def _dense(tensor: Any, values: NDArray[Any]) -> NDArray[Any]:
    """A sparse tensor's values in their places, zeros elsewhere.

    TFLite stores it as a tree with a level for each dimension, and below them one for each dimension of the blocks. A level is
    dense, with a branch for every place, or sparse, with a list of the places that have one.
    """
    sparsity = tensor.sparsity
    order = [int(dimension) for dimension in sparsity.traversalOrder]
    blocked = [] if sparsity.blockMap is None else [int(dimension) for dimension in sparsity.blockMap]
    levels = sparsity.dimMetadata
    rank = len(tensor.shape)
    sizes = {rank + block: levels[order.index(rank + block)].denseSize for block in range(len(blocked))}
    # One row for each node of the tree's present level: its place in each level so far.
    places = np.zeros((1, 0), np.int64)
    for level in levels:
        if level.format == schema.DimensionType.DENSE:
            parents = np.repeat(np.arange(len(places)), level.denseSize)
            branch = np.tile(np.arange(level.denseSize), len(places))
        else:
            segments = np.asarray(level.arraySegments.values, np.int64)
            parents = np.repeat(np.arange(len(places)), np.diff(segments))
            branch = np.asarray(level.arrayIndices.values, np.int64)
        places = np.column_stack([places[parents], branch])
    coordinates = [places[:, order.index(dimension)] for dimension in range(rank)]
    for block, dimension in enumerate(blocked):
        inner = places[:, order.index(rank + block)]
        coordinates[dimension] = coordinates[dimension] * sizes[rank + block] + inner
    dense = np.zeros([int(side) for side in tensor.shape], values.dtype)
    dense[tuple(coordinates)] = values
    return dense
