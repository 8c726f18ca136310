"""The standard's own cases of operators: passed or refused by name, none failed."""

import collections
import importlib
import warnings

import pytest
from onnx.backend.test.case import node
from onnx.backend.test.loader import load_model_tests

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


# Files of cases that are always tested. Those of pooling in three dimensions take the standard's own
# reference ten seconds to compute; windows are tested in test_windows.py.
QUICK = (
    "batch_normalization",
    "clip",
    "concat",
    "conv",
    "convtranspose",
    "gemm",
    "globalaveragepool",
    "hardsigmoid",
    "instance_normalization",
    "leakyrelu",
    "lrn",
    "matmul",
    "pad",
    "prelu",
    "reshape",
    "sum",
)


def all_cases():
    return load_model_tests(kind="node")


def quick_cases():
    """The cases of a few files; others are not imported, because to import a file is to compute its cases."""
    for name in QUICK:
        importlib.import_module(f"{node.__name__}.{name}")
    return node._NodeTestCases


def cases(of):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = of()
    return [case for case in found if case.model is not None and is_core(case)]


def is_core(case):
    graph = case.model.graph
    kinds = {node.op_type for node in graph.node}
    is_float = bool(graph.input) and graph.input[0].type.tensor_type.elem_type == 1
    return is_float and bool(kinds & CORE) and "expanded" not in case.name


def table(of):
    """{operator: {"passed": n, "refused": n}}, and the reasons of refusals with their numbers."""
    counts, reasons = collections.defaultdict(collections.Counter), collections.Counter()
    for case in cases(of):
        kind, why = outcome(case)
        assert kind != "failed", f"{case.name}: {why}"
        counts[case.model.graph.node[0].op_type][kind] += 1
        if kind == "refused":
            told = [short for words, short in REFUSED.items() if words in why]
            assert told, f"{case.name}: {why}"
            reasons[told[0]] += 1
    return counts, reasons


@pytest.mark.filterwarnings("ignore")
def test_no_case_of_some_operators_fails():
    counts, _ = table(quick_cases)
    assert sum(count["passed"] for count in counts.values()) >= 45


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_no_case_of_the_core_fails():
    counts, reasons = table(all_cases)
    passed = sum(count["passed"] for count in counts.values())
    refused = sum(count["refused"] for count in counts.values())
    assert passed >= 253 and refused <= 40, (passed, refused, reasons)
    for op_type in (
        "Conv",
        "ConvTranspose",
        "AveragePool",
        "Pad",
        "PRelu",
        "LeakyRelu",
        "GroupNormalization",
    ):
        assert counts[op_type]["refused"] == 0, op_type
