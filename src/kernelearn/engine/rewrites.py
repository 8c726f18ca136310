"""Named rewrites from Program to Program that every engine shares.

`fuse_softmax_crossentropy`: cross-entropy of a softmax (or of a sigmoid) is computed from the logits. On
probabilities the gradient of a saturated output is zero and wrong after clipping; from the logits it is
exact: softmax(z) - target.

`with_products_in`: convolutions and dense layers, forward and backward, multiply rounded operands.
"""

from dataclasses import replace
from typing import Any

from kernelearn.engine.graph import Graph
from kernelearn.engine.program import Operation, Program

# loss kind -> the operation whose output it may see through
_LINKS: dict[str, tuple[str, dict[str, Any]]] = {
    "categorical_crossentropy": ("softmax", {"axis": -1}),
    "sparse_categorical_crossentropy": ("softmax", {"axis": -1}),
    "binary_crossentropy": ("activation", {"kind": "sigmoid"}),
}

# Precision policy -> precision of the operands of convolutions and dense layers.
PRODUCTS_OF = {"float32": "float32", "mixed_bfloat16": "bfloat16"}
# Operators that multiply two tensors and take `precision`.
PRODUCTS = (
    "conv",
    "conv_grad_input",
    "conv_grad_kernel",
    "conv_transpose",
    "dense",
    "dense_grad_input",
    "dense_grad_kernel",
    "matmul",
)


def with_products_in(program: Program, precision: str) -> Program:
    """Let every product of floats round its operands to `precision`; "float32" changes nothing.

    Apply after gradients are added. Sums and everything else stay float32.
    """
    if precision == "float32":
        return program

    def changed(op: Operation) -> Operation:
        is_float = op.operator in PRODUCTS and program.buffers[op.outputs[0]].dtype == "float32"
        return replace(op, attrs={**op.attrs, "precision": precision}) if is_float else op

    return replace(program, operations=tuple(map(changed, program.operations)))


def fuse_softmax_crossentropy(program: Program) -> Program:
    """Let cross-entropies read the logits below a softmax or sigmoid. Apply before gradients are added."""
    graph = Graph(program)
    return replace(program, operations=tuple(_fused(op, graph) for op in program.operations))


def _fused(op: Operation, graph: Graph) -> Operation:
    if op.operator != "loss" or op.attrs["kind"] not in _LINKS or op.attrs["from_logits"]:
        return op
    producer = graph.producer(op.inputs[0])
    operator, attrs = _LINKS[op.attrs["kind"]]
    if producer is None or producer.operator != operator or not _matches(producer, attrs, graph.program):
        return op
    return replace(op, inputs=(producer.inputs[0], *op.inputs[1:]), attrs={**op.attrs, "from_logits": True})


def _matches(producer: Operation, attrs: dict[str, Any], program: Program) -> bool:
    """Whether the producer has these attributes; an axis counts from either end."""
    if "axis" not in attrs:
        return all(producer.attrs[key] == value for key, value in attrs.items())
    rank = len(program.buffers[producer.inputs[0]].shape)
    return bool(producer.attrs["axis"] % rank == attrs["axis"] % rank)
