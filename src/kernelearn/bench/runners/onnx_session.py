"""ONNX Runtime as a contestant: the network as an ONNX graph, run with all of its optimisations."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernelearn._optional import require
from kernelearn.bench.blueprint import Blueprint, Step, load_weights, make_images
from kernelearn.bench.runners import Prepared, Repeat, digest
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
        x, _ = make_images(blueprint.input_shape, task["batch"], blueprint.classes)
        feed = {"x": np.ascontiguousarray(x.transpose(0, 3, 1, 2))}
        return Repeat(lambda: session.run(None, feed)[0], digest)


def build(onnx: Any, blueprint: Blueprint, weights: dict[str, np.ndarray]) -> Any:
    """The network as an ONNX model; images come as (n, c, h, w), any number of them."""
    helper, numbers = onnx.helper, onnx.TensorProto
    nodes, arrays = [], {}
    for number, step in enumerate(blueprint.steps, start=1):
        node, held = _node(helper, blueprint, step, number, weights)
        nodes.append(node)
        arrays.update(held)
    h, w, c = blueprint.input_shape
    graph = helper.make_graph(
        nodes,
        blueprint.name,
        [helper.make_tensor_value_info("x", numbers.FLOAT, ["n", c, h, w])],
        [helper.make_tensor_value_info(f"v{len(nodes)}", numbers.FLOAT, ["n", blueprint.classes])],
        [onnx.numpy_helper.from_array(np.ascontiguousarray(a), name) for name, a in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model)
    return model


def _node(
    helper: Any, blueprint: Blueprint, step: Step, number: int, weights: dict[str, np.ndarray]
) -> tuple[Any, dict[str, np.ndarray]]:
    """The node of a step, and the arrays that it reads."""
    operator, attrs, arrays = _OPERATORS[step.kind](blueprint, step, weights)
    held = {f"{step.name}.{i}": array for i, array in enumerate(arrays)}
    given = [f"v{i}" if i else "x" for i in step.inputs]
    return helper.make_node(operator, [*given, *held], [f"v{number}"], **attrs), held


Part = tuple[str, dict[str, Any], list[np.ndarray]]


def _convolution(blueprint: Blueprint, step: Step, weights: dict[str, np.ndarray]) -> Part:
    attrs = step.attrs
    padding = "SAME_UPPER" if attrs["padding"] == "same" else "VALID"
    arrays = [weights[f"{step.name}/kernel"].transpose(3, 2, 0, 1)]
    arrays += [weights[f"{step.name}/bias"]] if attrs["use_bias"] else []
    return "Conv", {"strides": attrs["strides"], "auto_pad": padding}, arrays


def _dense(blueprint: Blueprint, step: Step, weights: dict[str, np.ndarray]) -> Part:
    kernel = blueprint.channels_first_rows(step, weights[f"{step.name}/kernel"])
    return "Gemm", {}, [kernel] + ([weights[f"{step.name}/bias"]] if step.attrs["use_bias"] else [])


def _batch_norm(blueprint: Blueprint, step: Step, weights: dict[str, np.ndarray]) -> Part:
    names = ("gamma", "beta", "moving_mean", "moving_variance")
    arrays = [weights[f"{step.name}/{name}"] for name in names]
    return "BatchNormalization", {"epsilon": step.attrs["epsilon"]}, arrays


_FUNCTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "relu": ("Relu", {}),
    "softmax": ("Softmax", {"axis": 1}),
}
_OPERATORS: dict[str, Any] = {
    "conv": _convolution,
    "dense": _dense,
    "batch_norm": _batch_norm,
    "activation": lambda b, s, w: (*_FUNCTIONS[s.attrs["function"]], []),
    "max_pool": lambda b, s, w: (
        "MaxPool",
        {"kernel_shape": s.attrs["pool_size"], "strides": s.attrs["strides"]},
        [],
    ),
    "average": lambda b, s, w: ("ReduceMean", {"axes": [2, 3], "keepdims": 0}, []),
    "flatten": lambda b, s, w: ("Flatten", {}, []),
    "add": lambda b, s, w: ("Add", {}, []),
}
