"""Products with known matrices, which are Dense layers, and of two values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kernelearn.conversion.onnx.reading.file import Node
from kernelearn.conversion.onnx.reading.reader import Learned, Reader
from kernelearn.conversion.onnx.reading.values import Followed, Known, plain
from kernelearn.layers import Dense


def rows_of(x: Followed, kernel: np.ndarray) -> np.ndarray:
    """The rows of a Dense kernel in the order of our flattened map."""
    if x.row is None:
        return kernel
    turned = np.empty_like(kernel)
    turned[x.row] = kernel
    return turned


def _dense(
    r: Reader, node: Node, x: Followed, kernel: Known, array: Any, bias: Any, more: Sequence[str] = ()
) -> Any:
    tensor = x.tensor if x.row is not None else r.ordered(node, x)
    weights = [rows_of(x, array), *([] if bias is None else [bias])]
    arguments = {"units": array.shape[1], "use_bias": bias is not None}
    return r.call(node, Dense, [tensor], weights, named=kernel, more=more, **arguments)


def gemm(r: Reader, node: Node) -> None:
    """alpha x kernel + beta bias; a factor other than 1 is multiplied into the weights."""
    a = r.options(node, alpha=1.0, beta=1.0, transA=0, transB=0, broadcast=0)
    if a["transA"]:
        r.refuse(node, "transA=1 puts the images behind")
    x, kernel = r.followed(node), r.known(node, 1, "the kernel")
    array = kernel.array.T if a["transB"] else kernel.array
    if x.rank != 2 or array.ndim != 2 or x.tensor.shape[-1] != array.shape[0] or array.dtype.kind != "f":
        r.refuse(node, f"a kernel of shape {array.shape} does not fit {x.shape}")
    array = np.ascontiguousarray(array) if a["alpha"] == 1 else array * array.dtype.type(a["alpha"])
    bias = None
    if r.has(node, 2) and a["beta"] != 0:
        given = r.known(node, 2, "the bias").array
        if (
            given.ndim > 2
            or (given.ndim == 2 and given.shape[0] != 1)
            or given.size not in (1, array.shape[1])
        ):
            r.refuse(node, f"a bias of shape {given.shape} does not fit {array.shape[1]} units")
        bias = np.broadcast_to(given.ravel() * given.dtype.type(a["beta"]), array.shape[1:]).copy()
    r.give(node, Followed(_dense(r, node, x, kernel, array, bias), plain(2)))


def matmul(r: Reader, node: Node) -> None:
    """By a known matrix: Dense, with the bias that follows; of two values: a product of matrices."""
    r.options(node)
    first, second = r.value(node, 0), r.value(node, 1)
    if isinstance(first, Followed) and isinstance(second, Followed):
        same = first.rank == second.rank >= 3
        if not same or first.order.index(0) or second.order.index(0):
            r.refuse(node, f"{first.shape} times {second.shape}: the images must stand first in both")
        y = r.operation(node, "matmul", r.ordered(node, first), r.ordered(node, second))
        r.give(node, Followed(y, plain(first.rank)))
        return
    if isinstance(first, Known):
        _from_left(r, node, first)
        return
    assert isinstance(second, Known)
    array = second.array
    is_matrix = array.ndim == 2 and array.dtype.kind == "f" and first.rank >= 2
    if not is_matrix or not (second.is_weight or r.takes_constants_for_weights):
        _from_right(r, node, first, second)
        return
    if first.tensor.shape[first.order[-1]] != array.shape[0] or first.order.index(0) == first.rank - 1:
        r.refuse(node, f"a kernel of shape {array.shape} does not fit {first.shape}")
    behind = _bias_behind(r, node, array.shape[1])
    if behind is None:
        r.give(node, Followed(_dense(r, node, first, second, array, None), plain(first.rank)))
        return
    add, bias, name = behind
    r.give(add, Followed(_dense(r, node, first, second, array, bias, [name]), plain(first.rank)))


def _bias_behind(r: Reader, node: Node, units: int) -> tuple[Node, np.ndarray, str] | None:
    """The Add of a known row that alone reads the product."""
    reader = r.only_reader(node.outputs[0])
    if reader is None or reader.op_type != "Add" or len(reader.inputs) != 2 or reader.attrs:
        return None
    other = next((n for n in reader.inputs if n != node.outputs[0]), "")
    value = r.values.get(other)
    if not isinstance(value, Known) or value.array.shape != (units,) or not value.is_weight:
        return None
    r.skip(reader)
    return reader, value.array, other


def _from_right(r: Reader, node: Node, x: Followed, known: Known) -> None:
    if known.array.ndim == 1 and x.rank >= 2 and x.order.index(0) < x.rank - 1:
        _by_vector(r, node, x, known)
        return
    if known.array.ndim < 2 or known.array.ndim > x.rank or (known.array.shape[:-2] and x.order.index(0)):
        r.refuse(node, f"{x.shape} times a constant of shape {known.array.shape}")
    beside = Learned(known.array) if known.is_weight else known.array
    r.give(node, Followed(r.operation(node, "matmul", r.ordered(node, x), beside), plain(x.rank)))


def _by_vector(r: Reader, node: Node, x: Followed, known: Known) -> None:
    """The last axis goes away, as in NumPy."""
    if x.shape[-1] != known.array.shape[0]:
        r.refuse(node, f"{x.shape} times a constant of shape {known.array.shape}")
    beside = Learned(known.array) if known.is_weight else known.array
    y = r.operation(node, "matmul", r.ordered(node, x), beside)
    r.give(node, Followed(y, plain(x.rank - 1)))


def _from_left(r: Reader, node: Node, known: Known) -> None:
    x = r.followed(node, 1)
    if known.array.ndim < 2 or known.array.ndim > x.rank or x.rank < 3 or x.order.index(0):
        r.refuse(node, f"a constant of shape {known.array.shape} times {x.shape}")
    beside = Learned(known.array) if known.is_weight else known.array
    r.give(node, Followed(r.operation(node, "matmul", beside, r.ordered(node, x)), plain(x.rank)))


RULES = {"Gemm": gemm, "MatMul": matmul}
