"""The standard's own cases of operators: passed or refused by name, none failed."""

import collections
import importlib
import pkgutil

import pytest
from onnx.backend.test.case import node

from tests.conversion.onnx.backend import outcome

# The operators of convolutional networks: 293 cases of them take float32.
CORE = {
    "Add", "AveragePool", "BatchNormalization", "Celu", "Clip", "Concat", "Conv", "ConvTranspose", "Div",
    "Dropout", "Elu", "Erf", "Flatten", "Gelu", "Gemm", "GlobalAveragePool", "GlobalMaxPool", 
    "GroupNormalization",
    "HardSigmoid", "HardSwish", "Identity", "InstanceNormalization", "LRN", "LayerNormalization", "LeakyRelu",
    "LogSoftmax", "MatMul", "Max", "MaxPool", "Mean", "Min", "Mish", "Mul", "PRelu", "Pad", "Relu", "Reshape",
    "Resize", "Selu", "Sigmoid", "Softmax", "Softplus", "Softsign", "Sqrt", "Squeeze", "Sub", "Sum", "Tanh",
    "ThresholdedRelu", "Transpose", "Unsqueeze", "Upsample",
}  # fmt: skip
# What is refused, by the words of the refusal.
REFUSED = {
    "works along the axis of the images": "an axis of the images",
    "must stay the first axis": "an axis of the images",
    "joins the images with other axes": "an axis of the images",
    "must stand first in both": "an axis of the images",
    "puts the images behind": "an axis of the images",
    "are that of the images": "an axis of the images",
    "times a constant of shape": "an axis of the images",
    "does not fit 4 units": "a bias for each image",
    "normalises by the batch": "statistics of the batch",
    "drops numbers in a prediction": "dropout in a prediction",
    "different things in different runtimes": "align_corners to a part of a pixel",
    "the indices, is used": "indices of MaxPool",
}


# Their cases take as long as all others: windows of three dimensions, computed by the standard's reference.
# Windows are tested in test_windows.py, too.
POOLS = {"AveragePool", "MaxPool"}


def cases(op_types):
    """The standard's cases of these operators; no other file is imported, which would compute its cases."""
    wanted = {op_type.lower() for op_type in op_types}
    for module in pkgutil.iter_modules(node.__path__):
        if module.name.replace("_", "") in wanted:
            importlib.import_module(f"{node.__name__}.{module.name}")
    return [case for case in node._NodeTestCases if case.model is not None and is_of(case, op_types)]


def is_of(case, op_types):
    graph = case.model.graph
    kinds = {node.op_type for node in graph.node}
    is_float = bool(graph.input) and graph.input[0].type.tensor_type.elem_type == 1
    return is_float and bool(kinds & op_types) and "expanded" not in case.name


def table(op_types):
    """{operator: {"passed": n, "refused": n}}"""
    counts = collections.defaultdict(collections.Counter)
    for case in cases(op_types):
        kind, why = outcome(case)
        assert kind != "failed", f"{case.name}: {why}"
        counts[case.model.graph.node[0].op_type][kind] += 1
        if kind == "refused":
            assert any(words in why for words in REFUSED), f"{case.name}: {why}"
    return counts


def total(counts, kind):
    return sum(count[kind] for count in counts.values())


@pytest.mark.filterwarnings("ignore")
def test_no_case_of_the_core_fails():
    counts = table(CORE - POOLS)
    assert total(counts, "passed") >= 217 and total(counts, "refused") <= 38
    for op_type in ("Conv", "ConvTranspose", "Pad", "PRelu", "LeakyRelu", "GroupNormalization"):
        assert counts[op_type]["passed"] and not counts[op_type]["refused"], op_type


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_no_case_of_pooling_fails():
    counts = table(POOLS)
    assert total(counts, "passed") >= 36 and not counts["AveragePool"]["refused"]
