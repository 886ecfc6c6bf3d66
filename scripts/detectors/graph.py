"""From a TFLite model to an ONNX graph that computes the same, for the operators of MediaPipe's two small models.

TFLite keeps pictures as (1, height, width, channels), ONNX as (1, channels, height, width). The made graph takes and gives the
latter, so that it moves no numbers around.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from mediapipe.tasks.metadata import schema_py_generated as schema
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from tflite import Operator, TfliteModel

OPSET, IR_VERSION = 18, 9
"""Versions of ONNX that every onnxruntime of pyproject.toml reads."""

Spatial = tuple[int, int, int, int]
"""Rows and columns that are added before and after a picture: top, left, bottom, right."""


class GraphMaker:
    """Makes the ONNX graph of one model. input_scale: the graph's input is multiplied by it first, within the first weights."""

    def __init__(self, model: TfliteModel, input_scale: float) -> None:
        self._model = model
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._names: dict[int, str] = {}
        self._padded: dict[int, tuple[int, Spatial]] = {}
        self._enlarged_later: dict[int, Operator] = {}
        (self._input,) = model.inputs
        self._names[self._input] = "pictures"
        self._input_scale = input_scale
        self._operators: dict[str, Callable[[Operator], str]] = {
            "CONV_2D": self._convolution,
            "DEPTHWISE_CONV_2D": self._convolution,
            "CUSTOM": self._transposed_convolution,
            "ADD": lambda operator: self._arithmetic("Add", operator),
            "MUL": lambda operator: self._arithmetic("Mul", operator),
            "RELU": lambda operator: self._node("Relu", self._name(operator.inputs[0])),
            "HARD_SWISH": lambda operator: self._node("HardSwish", self._name(operator.inputs[0])),
            "LOGISTIC": lambda operator: self._node("Sigmoid", self._name(operator.inputs[0])),
            "MEAN": lambda operator: self._node("GlobalAveragePool", self._name(operator.inputs[0])),
            "RESIZE_BILINEAR": lambda operator: self._resize(
                operator, self._name(operator.inputs[0]), self._model.shape(operator.outputs[0])
            ),
            "DEPTH_TO_SPACE": lambda operator: self._node(
                "DepthToSpace", self._name(operator.inputs[0]), blocksize=operator.options.blockSize, mode="DCR"
            ),
            # The last step before an output: from a picture to a list. Whoever reads the output makes the list.
            "RESHAPE": lambda operator: self._name(operator.inputs[0]),
        }

    def make(self, outputs: list[str]) -> onnx.ModelProto:
        """The graph, checked. outputs: their names, in the model's order. Raises ValueError for an operator that is not known."""
        shapes = {self._input: self._model.shape(self._input)}
        operators = list(self._model.operators())
        for operator in operators:
            (result,) = operator.outputs
            if operator.name == "PAD":
                self._pad_later(operator)
                continue
            if operator.name == "RESIZE_BILINEAR" and self._may_wait([reader for reader in operators if result in reader.inputs]):
                self._enlarged_later[result] = operator
                continue
            make = self._operators.get(operator.name)
            if make is None:
                raise ValueError(f"operator {operator.name} is not known here")
            self._names[result] = make(operator)
            # A list has the shape of the picture that it was made from.
            shapes[result] = shapes[operator.inputs[0]] if operator.name == "RESHAPE" else self._model.shape(result)
        results = []
        for number, name in zip(self._model.outputs, outputs, strict=True):
            self._nodes.append(helper.make_node("Identity", [self._names[number]], [name]))
            results.append(_picture(name, shapes[number]))
        graph = helper.make_graph(self._nodes, "detector", [_picture("pictures", shapes[self._input])], results, self._constants)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        onnx.checker.check_model(made)
        return made

    def _name(self, tensor: int) -> str:
        if tensor not in self._names:
            weights = self._model.weights(tensor)
            if weights is None:
                raise ValueError(f"tensor {tensor} is used before it is computed")
            self._names[tensor] = self._constant(
                weights.transpose(0, 3, 1, 2) if weights.ndim == 4 else weights.reshape(1, -1, 1, 1)
            )
        return self._names[tensor]

    def _constant(self, values: NDArray[Any]) -> str:
        """The name of a constant. Weights that are numbers of 16 bits, as most are, are stored so: a file of half the size."""
        name = f"constant{len(self._constants)}"
        half = values.astype(np.float16) if values.dtype == np.float32 else values
        as_half = values.ndim > 0 and values.dtype == np.float32 and np.array_equal(half, values)
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(half if as_half else values), name))
        return self._node("Cast", name, to=onnx.TensorProto.FLOAT) if as_half else name

    def _node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"value{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def _weights(self, tensor: int) -> NDArray[Any]:
        weights = self._model.weights(tensor)
        if weights is None:
            raise ValueError(f"the weights in tensor {tensor} are computed, not stored")
        return weights

    def _pad_later(self, operator: Operator) -> None:
        """Remember the zeros around a picture: the convolution that reads it adds them itself."""
        (_, vertical, horizontal, channels) = self._weights(operator.inputs[1]).tolist()
        if channels != [0, 0]:
            raise ValueError("padding of channels is not known here")
        self._padded[operator.outputs[0]] = operator.inputs[0], (vertical[0], horizontal[0], vertical[1], horizontal[1])

    def _may_wait(self, readers: list[Operator]) -> bool:
        """Whether a picture may be enlarged after the convolution that reads it.

        A convolution of 1x1 without an activation mixes channels, bilinear enlarging mixes neighbours with weights that add up to
        1, so their order does not matter. On the small picture the convolution has a quarter of the work.
        """
        if len(readers) != 1 or readers[0].name != "CONV_2D":
            return False
        options, kernel = readers[0].options, self._model.shape(readers[0].inputs[1])
        return kernel[1:3] == (1, 1) and options.fusedActivationFunction == schema.ActivationFunctionType.NONE

    def _convolution(self, operator: Operator) -> str:
        enlarged = self._enlarged_later.get(operator.inputs[0])
        if enlarged is None:
            return self._plain_convolution(operator)
        small = replace(operator, inputs=[enlarged.inputs[0], *operator.inputs[1:]])
        return self._resize(enlarged, self._plain_convolution(small), self._model.shape(operator.outputs[0]))

    def _plain_convolution(self, operator: Operator) -> str:
        options, weights = operator.options, self._weights(operator.inputs[1])
        depthwise = operator.name == "DEPTHWISE_CONV_2D"
        # TFLite: (out, height, width, in), depthwise (1, height, width, out). ONNX: (out, in of a group, height, width).
        kernel = weights.transpose(3, 0, 1, 2) if depthwise else weights.transpose(0, 3, 1, 2)
        source, around = self._padded.get(operator.inputs[0], (operator.inputs[0], (0, 0, 0, 0)))
        if source == self._input:
            kernel = kernel * np.float32(self._input_scale)
        strides, dilations = [options.strideH, options.strideW], [options.dilationHFactor, options.dilationWFactor]
        if options.padding == schema.Padding.SAME:
            if dilations != [1, 1] or any(around):
                raise ValueError("a dilated or twice padded convolution is not known here")
            around = _same(self._model.shape(source)[1:3], kernel.shape[2:], strides, self._model.shape(operator.outputs[0])[1:3])
        result = self._node(
            "Conv",
            self._name(source),
            self._constant(kernel),
            self._constant(self._weights(operator.inputs[2])),
            strides=strides,
            dilations=dilations,
            pads=around,
            group=self._model.shape(source)[3] if depthwise else 1,
        )
        return self._activated(result, options.fusedActivationFunction)

    def _transposed_convolution(self, operator: Operator) -> str:
        """MediaPipe's own operator in the matte's model, `Convolution2DTransposeBias`: it doubles the picture."""
        weights = self._weights(operator.inputs[1])
        if (
            weights.shape[1:3] != (2, 2)
            or self._model.shape(operator.outputs[0])[1] != 2 * self._model.shape(operator.inputs[0])[1]
        ):
            raise ValueError("an operator of MediaPipe's own that does not double a picture is not known here")
        kernel, bias = self._constant(weights.transpose(3, 0, 1, 2)), self._constant(self._weights(operator.inputs[2]))
        return self._node("ConvTranspose", self._name(operator.inputs[0]), kernel, bias, strides=[2, 2])

    def _arithmetic(self, kind: str, operator: Operator) -> str:
        result = self._node(kind, *(self._name(tensor) for tensor in operator.inputs))
        return self._activated(result, operator.options.fusedActivationFunction)

    def _resize(self, operator: Operator, source: str, result: tuple[int, ...]) -> str:
        _, height, width, channels = result
        options = operator.options
        places = "align_corners" if options.alignCorners else "half_pixel" if options.halfPixelCenters else "asymmetric"
        size = self._constant(np.array([1, channels, height, width], np.int64))
        return self._node("Resize", source, "", "", size, mode="linear", coordinate_transformation_mode=places)

    def _activated(self, name: str, function: int) -> str:
        if function == schema.ActivationFunctionType.NONE:
            return name
        if function == schema.ActivationFunctionType.RELU:
            return self._node("Relu", name)
        if function == schema.ActivationFunctionType.RELU6:
            return self._node("Clip", name, self._constant(np.zeros((), np.float32)), self._constant(np.full((), 6, np.float32)))
        raise ValueError(f"activation function {function} is not known here")


def _same(size: tuple[int, ...], kernel: tuple[int, ...], strides: list[int], result: tuple[int, ...]) -> Spatial:
    """What TFLite's padding SAME adds: half of what is missing before, and the larger half after."""
    missing = [
        max(0, (after - 1) * stride + width - before)
        for before, width, stride, after in zip(size, kernel, strides, result, strict=True)
    ]
    top, left = missing[0] // 2, missing[1] // 2
    return top, left, missing[0] - top, missing[1] - left


def _picture(name: str, shape: tuple[int, ...]) -> onnx.ValueInfoProto:
    """An input or output (1, channels, height, width) for TFLite's (1, height, width, channels)."""
    batch, height, width, channels = shape
    return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [batch, channels, height, width])
