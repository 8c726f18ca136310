"""Every function of `ops` on its three kinds of arguments, against NumPy; every function has an example."""

import numpy as np
import pytest

from kernelearn import Input, Model, ops
from kernelearn.engine.backends import prepare
from kernelearn.engine.program import ProgramBuilder
from kernelearn.tracing import Traced, tracing, unwrapped
from tests.ops.example import Example, flat
from tests.ops.table import EXAMPLES


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_arrays(example):
    example.check(example.call(getattr(ops, example.name), *example.arrays), "on arrays")


def built(examples: list[Example], batch: int | None) -> tuple[ProgramBuilder, dict[str, list[str]]]:
    """One program of all examples, and the labels of their results."""
    graph, labels = ProgramBuilder(), {}
    graph.batch = batch
    with tracing(graph):
        for number, example in enumerate(examples):
            inputs = [
                Traced(graph, graph.input(f"x{id(a)}", (None, *a.shape[1:]), a.dtype.name))
                for a in example.arrays
            ]
            results = unwrapped(example.call(getattr(ops, example.name), *inputs))
            for place, buffer in enumerate(results if isinstance(results, tuple | list) else [results]):
                labels.setdefault(number, []).append(f"{number}.{place}")
                graph.outputs[f"{number}.{place}"] = buffer.name
    return graph, labels


@pytest.mark.parametrize("engine", ["cpu", "reference"])
def test_in_a_program(engine):
    """All in one program: a function that needs the number of images gets it, so it is built for six."""
    graph, labels = built(EXAMPLES, EXAMPLES[0].arrays[0].shape[0])
    inputs = {f"x{id(a)}": a for example in EXAMPLES for a in example.arrays}
    results = prepare(graph.build(), graph.variables, engine).run(inputs)
    for number, names in labels.items():
        EXAMPLES[number].check([results[name] for name in names], f"in a program on {engine}")


def test_in_a_model():
    """All in one functional model."""
    examples = [example for example in EXAMPLES if example.is_batched]
    inputs: dict[int, object] = {}
    outputs, counts = [], []
    for example in examples:
        for array in example.arrays:
            if id(array) not in inputs:
                inputs[id(array)] = Input(array.shape[1:], name=f"x{len(inputs)}", dtype=array.dtype.name)
        made = example.call(getattr(ops, example.name), *(inputs[id(a)] for a in example.arrays))
        parts = made if isinstance(made, tuple | list) else [made]
        outputs += parts
        counts.append(len(parts))
    arrays = {id(a): a for example in examples for a in example.arrays}
    found = Model(list(inputs.values()), outputs).predict([arrays[key] for key in inputs], verbose=0)
    for example, count in zip(examples, counts):
        example.check(found[:count], "in a model")
        found = found[count:]


def test_every_function_has_an_example():
    elsewhere = {  # functions with tests of their own, by file
        "adaptive_average_pool", "adaptive_max_pool",
        "activation", "affine_transform", "average_pool", "batch_normalization", "bias_add",
        "binary_crossentropy", "categorical_crossentropy", "celu", "conv", "conv_grad_input",
        "conv_grad_kernel", "conv_transpose", "dense", "depthwise_conv", "dropout", "elu", "exponential",
        "gelu", "get_item", "global_average_pool", "global_max_pool", "hard_shrink", "hard_sigmoid",
        "hard_silu", "hard_swish", "hard_tanh", "layer_normalization", "leaky_relu", "linear", "log_sigmoid",
        "log_softmax", "max_pool", "mish", "relu", "relu6", "resize", "selu", "separable_conv",
        "sigmoid", "silu", "soft_shrink", "softmax", "softplus", "softsign",
        "sparse_categorical_crossentropy", "sparse_plus", "sparse_sigmoid", "squareplus", "swish", "tanh",
        "tanh_shrink", "threshold", "upsample", "arange", "convert_to_numpy", "empty", "eye", "full",
        "geomspace", "identity", "logspace", "is_tensor", "linspace", "ndim", "nonzero", "ones",
        "shape", "size", "tri",
        "zeros", "diagonal", "dot", "dot_product_attention", "einsum", "inner", "kron",
        "matmul", "outer", "tensordot", "trace", "vdot", "vecdot",
    }  # fmt: skip
    missing = set(ops.__all__) - elsewhere - {example.name for example in EXAMPLES}
    assert not missing, f"give these examples in tests/ops/: {sorted(missing)}"


def test_results_are_flattened():
    assert [part.shape for part in flat([np.zeros(2), np.zeros(3)])] == [(2,), (3,)]
