"""A whole model as an ONNX file: inputs and outputs by name, the batch open, checked before it is written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kernelearn._optional import require
from kernelearn.conversion.onnx.types import LAYOUT_KEY, element_type
from kernelearn.conversion.onnx.writing.graph import Order, Writer, channels_first
from kernelearn.conversion.onnx.writing.rules import RULES
from kernelearn.errors import ArgumentError
from kernelearn.storage import PathLike, atomic_write
from kernelearn.tracing import BatchSizeNeeded
from kernelearn.training.steps.building import Built, build_prediction
from kernelearn.training.steps.signature import ANY, of_shapes

OPSET = 18
IR_VERSION = 8  # of ONNX 1.10, 2021: what runtimes as old as opset 18 take
LAYOUTS = ("NHWC", "NCHW")
_LARGEST = (1 << 31) - 1  # bytes: what a protobuf message may have


def to_onnx(model: Any, input_layout: str = "NHWC", input_shape: Any = None) -> Any:
    """A model as an `onnx.ModelProto` of opset 18, for prediction.

    Args:
        input_layout: of inputs and outputs with 3 to 5 axes: "NHWC" as here, or "NCHW" as in PyTorch and most
            files.
        input_shape: of one sample, for a model that takes any size: (64, 64, 3), or a list of them.
    Raises: ArgumentError, with the layer, for an operation that ONNX does not have; NotBuiltError.

    >>> from kernelearn import Sequential
    >>> from kernelearn.conversion.onnx import to_onnx
    >>> from kernelearn.layers import Dense, Input
    >>> [node.op_type for node in to_onnx(Sequential([Input((4,)), Dense(2)])).graph.node]
    ['Gemm']
    """
    if input_layout not in LAYOUTS:
        raise ArgumentError(f"input_layout must be one of {LAYOUTS}, got {input_layout!r}.")
    onnx = require("onnx", "writing ONNX files")
    model.need_shapes()
    built = _prediction(model, input_shape)
    writer = Writer(built.program, built.variables, _momenta(model))
    inputs = _inputs(model, writer, input_layout)
    writer.write(RULES)
    outputs = _outputs(model, writer, input_layout)
    nodes = list(writer.without_unused([info.name for info in outputs]))
    numbers = [onnx.numpy_helper.from_array(a, name) for name, a in writer.initializers.items()]
    graph = onnx.helper.make_graph(nodes, model.name, inputs, outputs, numbers)
    made = onnx.helper.make_model(
        graph,
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="kernelearn",
    )
    made.metadata_props.add(key=LAYOUT_KEY, value=input_layout)
    if made.ByteSize() <= _LARGEST:
        onnx.checker.check_model(made, full_check=True)
    return made


def export_model(model: Any, path: PathLike, **options: Any) -> None:
    """Write a model as an ONNX file; see `to_onnx` for the options.

    Raises: ArgumentError for an unknown option, or for a model of more than 2 GB.
    """
    unknown = sorted(set(options) - {"input_layout", "input_shape"})
    if unknown:
        raise ArgumentError(
            f"export to ONNX takes the options input_layout and input_shape; got {unknown[0]!r}."
        )
    made = to_onnx(model, **options)
    if made.ByteSize() > _LARGEST:
        raise ArgumentError(
            f"Model {model.name!r} has {made.ByteSize():,} bytes; an ONNX file holds at most {_LARGEST:,}. "
            "Save it as .kernelearn or .safetensors."
        )
    content = made.SerializeToString(deterministic=True)
    with atomic_write(path) as file:
        file.write(content)


def _momenta(model: Any) -> dict[str, float]:
    """Path of moving means -> momentum of their layer, which only a training wants."""
    kept = {
        id(layer.moving_mean): float(layer.momentum)
        for layer in model.flat_layers()
        if hasattr(layer, "momentum") and hasattr(layer, "moving_mean")
    }
    return {path: kept[id(weight)] for path, weight in model.weight_paths().items() if id(weight) in kept}


def _prediction(model: Any, input_shape: Any) -> Built:
    """The program of a prediction for any number of images."""
    signature = ANY
    if input_shape is not None:
        is_one = all(isinstance(size, int) for size in input_shape)
        signature = of_shapes([input_shape] if is_one else input_shape, model.inputs)
    elif model.programs.is_open:
        shapes = ", ".join(str(tensor.shape[1:]) for tensor in model.inputs)
        raise ArgumentError(
            f"Model {model.name!r} takes inputs of any size, {shapes}; an ONNX file is written for one size, "
            'because pads are written as numbers: model.export("m.onnx", input_shape=(64, 64, 3)).'
        )
    try:
        return build_prediction(model, signature)
    except BatchSizeNeeded as error:
        raise ArgumentError(
            f"Model {model.name!r} computes with the number of images, which is open in an ONNX file: {error}"
        ) from error


def _inputs(model: Any, writer: Writer, layout: str) -> list[Any]:
    helper = require("onnx", "writing ONNX files").helper
    infos = []
    names = list(model.input_names)
    for buffer, name in zip(writer.program.inputs(), _numbered(names)):
        order = _order(layout, len(buffer.shape))
        writer.give(buffer.name, writer.unique(name), order)
        infos.append(_info(helper, name, buffer.dtype, buffer.shape, order))
    return infos


def _outputs(model: Any, writer: Writer, layout: str) -> list[Any]:
    """Outputs under the names that the model has for them, or a number behind where a name is taken."""
    helper = require("onnx", "writing ONNX files").helper
    infos = []
    for buffer, name in zip(writer.program.outputs.values(), model.output_names):
        value = writer.program.buffers[buffer]
        writer.op = writer.graph.producer(buffer) or writer.op
        order = _order(layout, len(value.shape))
        label = writer.named_output(writer.want(buffer, order), name)
        infos.append(_info(helper, label, value.dtype, value.shape, order))
    return infos


def _order(layout: str, rank: int) -> Order:
    return channels_first(rank) if layout == "NCHW" and 3 <= rank <= 5 else tuple(range(rank))


def _info(helper: Any, name: str, dtype: str, shape: Sequence[int | None], order: Order) -> Any:
    sizes = ["batch" if shape[axis] is None else shape[axis] for axis in order]
    return helper.make_tensor_value_info(name, element_type(dtype), sizes)


def _numbered(names: Sequence[str]) -> list[str]:
    return [n if names.count(n) == 1 else f"{n}_{i}" for i, n in enumerate(names)]
