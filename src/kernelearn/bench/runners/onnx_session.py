"""ONNX Runtime as a contestant: the network as an ONNX graph, run with all of its optimisations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kernelearn._optional import require
from kernelearn.bench.nets.blueprint import Blueprint, Step, load_weights
from kernelearn.bench.runners import Prepared, Repeat, channels_first, digest
from kernelearn.engine.geometry import resolve_padding
from kernelearn.errors import ArgumentError

OPSET, IR_VERSION = 17, 8


def load(threads: int) -> OnnxRuntime:
    """The runner."""
    runtime = require("onnxruntime", "comparing with ONNX Runtime")
    return OnnxRuntime(runtime, require("onnx", "writing graphs for ONNX Runtime"), threads)


class OnnxRuntime:
    """ONNX Runtime."""

    def __init__(self, runtime: Any, onnx: Any, threads: int) -> None:
        self._runtime, self._onnx, self._threads = runtime, onnx, threads

    def versions(self) -> dict[str, str]:
        """Of the runtime."""
        return {"onnxruntime": self._runtime.__version__}

    def prepare(self, task: dict[str, Any]) -> Prepared:
        """A session for the task's network."""
        if task.get("dtype", "float32") != "float32":
            raise ArgumentError("The ONNX graph is written in float32.")
        blueprint = Blueprint.from_dict(task["blueprint"])
        graph = build(self._onnx, blueprint, load_weights(task["weights"]))
        options = self._runtime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self._threads, 1
        options.graph_optimization_level = self._runtime.GraphOptimizationLevel.ORT_ENABLE_ALL
        session = self._runtime.InferenceSession(
            graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        feed = {"x": channels_first(blueprint.images(task["batch"])[0])}
        return Repeat(lambda: session.run(None, feed)[0], lambda result: digest(np.moveaxis(result, 1, -1)))


def build(onnx: Any, blueprint: Blueprint, weights: dict[str, np.ndarray]) -> Any:
    """The network as an ONNX model; images come as (n, c, h, w), any number of them."""
    helper, numbers = onnx.helper, onnx.TensorProto
    graph = _Graph(helper, blueprint, weights)
    for number, step in enumerate(blueprint.steps, start=1):
        graph.names.append(f"v{number}")
        _WRITERS[step.kind](graph, step, f"v{number}")
    *sides, c = blueprint.input_shape
    made = helper.make_graph(
        graph.nodes,
        blueprint.name,
        [helper.make_tensor_value_info("x", numbers.FLOAT, ["n", c, *sides])],
        [
            helper.make_tensor_value_info(
                graph.names[-1], numbers.FLOAT, ["n", blueprint.classes, *blueprint.places]
            )
        ],
        [onnx.numpy_helper.from_array(np.ascontiguousarray(a), name) for name, a in graph.arrays.items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model)
    return model


class _Graph:
    """Nodes and arrays as they are added; `names[i]` is the name of result i of the blueprint."""

    def __init__(self, helper: Any, blueprint: Blueprint, weights: dict[str, np.ndarray]) -> None:
        self._helper, self.blueprint, self._weights = helper, blueprint, weights
        self.nodes: list[Any] = []
        self.arrays: dict[str, np.ndarray] = {}
        self.names = ["x"]

    def given(self, step: Step) -> list[str]:
        """Names of what goes into a step."""
        return [self.names[i] for i in step.inputs]

    def node(
        self,
        operator: str,
        inputs: Sequence[str],
        output: str,
        arrays: Sequence[np.ndarray] = (),
        **attrs: Any,
    ) -> str:
        """Add a node that reads these results and arrays; its output's name."""
        held = {f"{output}.{i}": array for i, array in enumerate(arrays)}
        self.arrays.update(held)
        self.nodes.append(self._helper.make_node(operator, [*inputs, *held], [output], **attrs))
        return output

    def weights(self, step: Step, *names: str) -> list[np.ndarray]:
        """The step's weights of these names, those that it has."""
        paths = [f"{step.name}/{name}" for name in names]
        return [self._weights[path] for path in paths if path in self._weights]


def _convolution(graph: _Graph, step: Step, output: str) -> None:
    attrs = step.attrs
    kernel, *bias = graph.weights(step, "kernel", "bias")
    groups = attrs.get("groups", 1)
    if step.kind == "depthwise":
        kernel, groups = kernel.swapaxes(-1, -2), kernel.shape[-2]
    operator = "ConvTranspose" if step.kind == "conv_transpose" else "Conv"
    graph.node(
        operator,
        graph.given(step),
        output,
        [np.moveaxis(kernel, (-1, -2), (0, 1)), *bias],
        strides=attrs["strides"],
        dilations=attrs.get("dilation_rate", [1] * len(attrs["strides"])),
        group=groups,
        pads=_pads(graph.blueprint, step),
    )


def _pads(blueprint: Blueprint, step: Step) -> list[int]:
    """Pixels in front of each axis, then behind each: ONNX Runtime knows no "same" with dilation."""
    attrs, sides = step.attrs, blueprint.shape(step.inputs[0])[:-1]
    holes = attrs.get("dilation_rate", [1] * len(sides))
    axes = zip(sides, attrs["kernel_size"], attrs["strides"], holes)
    pads = [resolve_padding(attrs["padding"], *axis) for axis in axes]
    return [front for front, _ in pads] + [behind for _, behind in pads]


def _dense(graph: _Graph, step: Step, output: str) -> None:
    kernel, *bias = graph.weights(step, "kernel", "bias")
    graph.node("Gemm", graph.given(step), output, [graph.blueprint.channels_first_rows(step, kernel), *bias])


def _batch_norm(graph: _Graph, step: Step, output: str) -> None:
    arrays = graph.weights(step, "gamma", "beta", "moving_mean", "moving_variance")
    graph.node("BatchNormalization", graph.given(step), output, arrays, epsilon=step.attrs["epsilon"])


def _layer_norm(graph: _Graph, step: Step, output: str) -> None:
    """Over the channels: they come last for it, where there are others behind them."""
    rank = graph.blueprint.rank(step)
    arrays, epsilon = graph.weights(step, "gamma", "beta"), step.attrs["epsilon"]
    (name,) = graph.given(step)
    if not rank:
        graph.node("LayerNormalization", [name], output, arrays, axis=-1, epsilon=epsilon)
        return
    axes = range(rank + 2)
    last = graph.node("Transpose", [name], f"{output}_last", perm=[0, *axes[2:], 1])
    normal = graph.node("LayerNormalization", [last], f"{output}_normal", arrays, axis=-1, epsilon=epsilon)
    graph.node("Transpose", [normal], output, perm=[0, rank + 1, *axes[1:-1]])


def _gelu(graph: _Graph, step: Step, output: str) -> None:
    """x (1 + erf(x / sqrt(2))) / 2, which ONNX Runtime recognises."""
    (name,) = graph.given(step)
    one, half, root = (np.array(v, np.float32) for v in (1.0, 0.5, np.sqrt(2.0)))
    inner = graph.node("Div", [name], f"{output}_scaled", [root])
    erf = graph.node("Erf", [inner], f"{output}_erf")
    shifted = graph.node("Add", [erf], f"{output}_shifted", [one])
    product = graph.node("Mul", [name, shifted], f"{output}_product")
    graph.node("Mul", [product], output, [half])


def _activation(graph: _Graph, step: Step, output: str) -> None:
    function = step.attrs["function"]
    if function == "gelu":
        _gelu(graph, step, output)
    else:
        operator, attrs = _FUNCTIONS[function]
        graph.node(operator, graph.given(step), output, **attrs)


def _average(graph: _Graph, step: Step, output: str) -> None:
    mean = graph.node("GlobalAveragePool", graph.given(step), f"{output}_map")
    graph.node("Flatten", [mean], output)


def _plain(operator: str, *names: tuple[str, str], **attrs: Any) -> Any:
    """A node without arrays: attributes of the step by ONNX's names, and fixed ones."""

    def write(graph: _Graph, step: Step, output: str) -> None:
        taken = {theirs: step.attrs[ours] for theirs, ours in names}
        graph.node(operator, graph.given(step), output, **taken, **attrs)

    return write


_POOL = (("kernel_shape", "pool_size"), ("strides", "strides"))
_FUNCTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "relu": ("Relu", {}),
    "tanh": ("Tanh", {}),
    "softmax": ("Softmax", {"axis": 1}),
}
_WRITERS: dict[str, Any] = {
    "conv": _convolution,
    "depthwise": _convolution,
    "conv_transpose": _convolution,
    "dense": _dense,
    "batch_norm": _batch_norm,
    "layer_norm": _layer_norm,
    "activation": _activation,
    "max_pool": _plain("MaxPool", *_POOL),
    "average_pool": _plain("AveragePool", *_POOL),
    "average": _average,
    "flatten": _plain("Flatten"),
    "add": _plain("Add"),
    "concatenate": _plain("Concat", axis=1),
}
