"""Products of values with each other, and attention."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernelearn import layers
from kernelearn.conversion.torch.layouts import dense_kernel
from kernelearn.conversion.torch.placed import Placed
from kernelearn.conversion.torch.reading.network import Learned, Network
from kernelearn.conversion.torch.reading.pointwise import learned_array
from kernelearn.conversion.torch.reading.table import Call, reads


@reads("matmul.default", "bmm.default", "mm.default")
def matmul(net: Network, call: Call) -> Placed:
    a, b = call["self"], call.get("other", call.get("mat2"))
    if isinstance(a, Placed) and not isinstance(b, Placed) and b.ndim == 2:
        return _by_matrix(net, call, a, b)
    first, second = _operand(net, call, a, b), _operand(net, call, b, a)
    y = net.op(call, "matmul", first, second)
    _keep_name(net, y, [a, b])
    return Placed(y, call.shapes[0], tuple(range(len(call.shapes[0]))))


def _by_matrix(net: Network, call: Call, x: Placed, matrix: Any) -> Placed:
    """A product with a fixed matrix on the last axis: a dense layer without bias."""
    last = x.rank - 1
    if x.order[-1] != last:
        x = net.ordered(call, x, (*(axis for axis in x.order if axis != last), last))
    places = x.places
    learned = {"kernel": Learned(matrix, lambda w: dense_kernel(w.T, places))}
    y = net.layer(
        call, layers.Dense, x.tensor, learned, units=int(matrix.shape[1]), use_bias=False, places=places
    )
    return Placed(y, call.shapes[0], x.order)


def _operand(net: Network, call: Call, value: Any, other: Any) -> Any:
    """A value with its axes as the module has them; or a fixed matrix."""
    if isinstance(value, Placed):
        x = net.plain(call, value)
        if x.order != tuple(range(x.rank)):
            call.refuse("multiplies values whose images are not first", "Keep the images on axis 0.")
        return x.tensor
    if net.is_learned(value):
        return learned_array(net, call, value, max(value.ndim, other.rank)).tensor
    return net.array(value)


def _keep_name(net: Network, result: Any, values: list[Any]) -> None:
    """Remember the name of the one fixed operand."""
    operands = [value for value in values if not isinstance(value, Placed) and not net.is_learned(value)]
    if len(operands) == 1:
        net.keep_name(result, operands[0], range(operands[0].ndim))


@reads("baddbmm.default")
def baddbmm(net: Network, call: Call) -> Placed:
    if call["beta"] != 1 or call["alpha"] != 1:
        call.refuse(f"has beta={call['beta']}, alpha={call['alpha']}", "Write the factors as products.")
    first, second = (_operand(net, call, call[n], None) for n in ("batch1", "batch2"))
    y = net.op(call, "matmul", first, second, suffix=".product")
    y = net.op(call, "add", y, _operand(net, call, call["self"], call["batch1"]))
    return Placed(y, call.shapes[0], tuple(range(len(call.shapes[0]))))


@reads("einsum.default")
def einsum(net: Network, call: Call) -> Placed:
    """The letters of the equation, in the order in which the axes stand."""
    equation = call["equation"].replace(" ", "")
    if "." in equation or "->" not in equation:
        call.refuse(f"has the equation {equation!r}", "Write every letter, and the result behind '->'.")
    inputs, result = equation.split("->")
    pairs = list(zip(inputs.split(","), call["tensors"]))
    first = next(term[value.images_axis] for term, value in pairs if isinstance(value, Placed))
    if first not in result:
        call.refuse("sums over the images", "Every image has to be computed for itself.")
    terms, tensors, written = [], [], first + result.replace(first, "")
    for term, value in pairs:
        if isinstance(value, Placed):
            x = net.in_order(call, value)
            terms.append("".join(term[axis] for axis in x.order))
            tensors.append(x.tensor)
            if len(term) == len(result) and result[x.images_axis] == first:
                written = "".join(result[axis] for axis in x.order)  # its axes stay where they are
        elif net.is_learned(value):  # the same for every image
            terms.append(first + term)
            tensors.append(learned_array(net, call, value, value.ndim + 1).tensor)
        else:
            terms.append(term)
            tensors.append(net.array(value))
    y = net.op(call, "einsum", f"{','.join(terms)}->{written}", *tensors)
    _keep_name(net, y, call["tensors"])
    return Placed(y, call.shapes[0], tuple(result.index(letter) for letter in written))


@reads("scaled_dot_product_attention.default")
def attention(net: Network, call: Call) -> Placed:
    """(n, heads, t, d) in the module, (n, t, heads, d) here."""
    if call["dropout_p"]:
        call.refuse("drops in inference as well", "Pass dropout_p=self.p if self.training else 0.0.")
    values = []
    for name in ("query", "key", "value"):
        x = call.placed(name)
        if x.rank != 4:
            call.refuse(f"has a {name} of {x.rank} axes", "Give it (n, heads, positions, channels).")
        values.append(net.ordered(call, x, (0, 2, 1, 3)).tensor)
    given: dict[str, Any] = {"is_causal": bool(call["is_causal"])}
    if call["scale"] is not None:
        given["scale"] = float(call["scale"])
    mask = call["attn_mask"]
    if mask is not None:
        given.update(_mask(net, call, mask))
    y = net.op(call, "dot_product_attention", *values, **given)
    return Placed(y, call.shapes[0], (0, 2, 1, 3))


def _mask(net: Network, call: Call, mask: Any) -> dict[str, Any]:
    if isinstance(mask, Placed):
        x = net.plain(call, mask)
        return {"mask" if x.tensor.dtype == "bool" else "bias": x.tensor}
    if net.is_learned(mask):
        return {"bias": learned_array(net, call, mask, 4).tensor}
    array = net.array(mask)
    array = array.reshape((1,) * (4 - array.ndim) + array.shape)
    return {"mask" if array.dtype == np.bool_ else "bias": array}


@reads("multi_head_attention")
def multi_head_attention(net: Network, call: Call) -> Placed:
    """nn.MultiheadAttention as a whole; its weights are named after PyTorch's."""
    x = {name: net.plain(call, call.placed(name)) for name in ("query", "key", "value")}
    heads, parts = int(call["num_heads"]), call["weights"]
    width = x["query"].shape[-1] // heads
    learned = {}
    for name in ("query", "key", "value"):
        weight, bias, rows = parts[name]
        learned[f"{name}/kernel"] = Learned(weight, _projection(rows, heads, width))
        if bias is not None:
            learned[f"{name}/bias"] = Learned(bias, _part_of_bias(rows, heads, width))
    weight, bias, _ = parts["output"]
    learned["attention_output/kernel"] = Learned(weight, lambda w: w.T.reshape(heads, width, w.shape[0]))
    if bias is not None:
        learned["attention_output/bias"] = Learned(bias)
    y = net.layer(
        call,
        layers.MultiHeadAttention,
        (x["query"].tensor, x["value"].tensor, x["key"].tensor),
        learned,
        num_heads=heads,
        key_dim=width,
        dropout=float(call["dropout"]),
        use_bias=parts["query"][1] is not None,
    )
    return Placed(y, call.shapes[0], x["query"].order)


def _projection(rows: slice, heads: int, width: int) -> Any:
    """The kernel of one projection, of a weight that holds all three or this one alone."""

    def moved(weight: Any) -> Any:
        part = weight if weight.shape[0] == heads * width else weight[rows]
        return part.T.reshape(-1, heads, width)

    return moved


def _part_of_bias(rows: slice, heads: int, width: int) -> Any:
    return lambda bias: bias[rows].reshape(heads, width)
