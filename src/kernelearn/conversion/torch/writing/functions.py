"""Functions of `kernelearn.ops` as functions of torch: those that networks are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kernelearn.conversion.torch.placed import Placed
from kernelearn.conversion.torch.writing.activations import MODULES, like, named_activation
from kernelearn.conversion.torch.writing.convolution import Pairs, pooled_average, pooled_max
from kernelearn.conversion.torch.writing.plan import Plan, Site
from kernelearn.conversion.torch.writing.shaping import alike, constant, joined, turned
from kernelearn.conversion.torch.writing.table import FUNCTIONS, writes, writes_function
from kernelearn.engine.geometry import normalize_tuple
from kernelearn.layers.core.structure import Given
from kernelearn.ops.convolution import resolve_pairs


@writes("OperationLayer")
def operation(plan: Plan, at: Site, values: list[Placed]) -> Any:
    layer = at.layer
    if layer.function not in FUNCTIONS:
        at.refuse(
            "has no counterpart among the functions that can be written", "Use layers, or other functions."
        )
    args, keywords = Given(tuple(layer.arguments), layer.keywords).filled(values)
    keywords.pop("engine", None)
    return FUNCTIONS[layer.function](plan, at, *args, **keywords)


_BINARY = {
    "add": "torch.add",
    "subtract": "torch.sub",
    "multiply": "torch.mul",
    "divide": "torch.div",
    "true_divide": "torch.div",
    "maximum": "torch.maximum",
    "minimum": "torch.minimum",
    "power": "torch.pow",
    "arctan2": "torch.atan2",
    "greater": "torch.gt",
    "greater_equal": "torch.ge",
    "less": "torch.lt",
    "less_equal": "torch.le",
    "equal": "torch.eq",
    "not_equal": "torch.ne",
    "logical_and": "torch.logical_and",
    "logical_or": "torch.logical_or",
    "logaddexp": "torch.logaddexp",
}
_SAME_NAMES = (
    *("abs", "exp", "log", "log2", "log10", "log1p", "expm1", "sqrt", "rsqrt", "square", "sin", "cos", "tan"),
    *("sinh", "cosh", "erf", "sign", "floor", "ceil", "trunc", "reciprocal", "isnan", "isinf"),
)
_UNARY = {
    **{name: f"torch.{name}" for name in _SAME_NAMES},
    "absolute": "torch.abs",
    "negative": "torch.neg",
    "arcsin": "torch.asin",
    "arccos": "torch.acos",
    "arctan": "torch.atan",
    "logical_not": "torch.logical_not",
    "stop_gradient": "torch.Tensor.detach",
}


def _named(name: str) -> Any:
    def unary(plan: Plan, at: Site, x: Placed) -> Placed:
        return like(x, plan.call(at, _UNARY[name], x.tensor))

    def binary(plan: Plan, at: Site, x1: Any, x2: Any) -> Placed:
        return combined(plan, at, x1, x2, _BINARY[name])

    return unary if name in _UNARY else binary


for _name in (*_UNARY, *_BINARY):
    FUNCTIONS[_name] = _named(_name)


# With the number second; the others need it as a tensor.
_TURNED = {"torch.add": "torch.add", "torch.mul": "torch.mul", "torch.sub": "torch.rsub"}


def combined(plan: Plan, at: Site, a: Any, b: Any, function: str) -> Placed:
    """Two values, or a value and a number or array."""
    if isinstance(a, Placed) and isinstance(b, Placed):
        lead, (first, second) = alike(plan, at, [a, b])
        return Placed(plan.call(at, function, first, second), at.shapes[0], lead.order, lead.places)
    x, other = (a, b) if isinstance(a, Placed) else (b, a)
    array = np.asarray(other)
    if len(at.shapes[0]) != x.rank:
        at.refuse(
            f"broadcasts a value of {x.rank} axes to {len(at.shapes[0])}", "Give it its axes of size 1 first."
        )
    if x is b and function in _TURNED:
        function, a, b, x = _TURNED[function], x, other, x
    needs_tensor = function in ("torch.maximum", "torch.minimum", "torch.atan2") or x is b
    if array.size == 1 and not needs_tensor and at.name not in plan.buffers:
        value: Any = array.item()
    else:
        value = constant(plan, at, array.reshape((1,) * x.rank) if array.size == 1 else array, x)
    pair = (x.tensor, value) if x is a else (value, x.tensor)
    return Placed(plan.call(at, function, *pair), at.shapes[0], x.order, x.places)


def _activation(name: str) -> Any:
    def write(plan: Plan, at: Site, x: Placed, **given: Any) -> Placed:
        return named_activation(plan, at, x, name, given)

    return write


for _name in (*MODULES, "threshold", "squareplus", "exponential"):
    FUNCTIONS.setdefault(_name, _activation(_name))
FUNCTIONS["swish"], FUNCTIONS["hard_swish"] = FUNCTIONS["silu"], FUNCTIONS["hard_silu"]


@writes_function("relu")
def relu(plan: Plan, at: Site, x: Placed, **given: Any) -> Placed:
    if any(given.values()):
        at.refuse(f"is given {given}", "Use the layer ReLU.")
    return named_activation(plan, at, x, "relu", {})


@writes_function("softmax", "log_softmax")
def softmax(plan: Plan, at: Site, x: Placed, axis: Any = -1) -> Placed:
    if not isinstance(axis, int):
        at.refuse(f"goes over the axes {axis} together", "Reshape them to one first.")
    return named_activation(plan, at, x, at.layer.function, {"axis": axis})


@writes_function("clip")
def clip(plan: Plan, at: Site, x: Placed, x_min: Any, x_max: Any) -> Placed:
    return like(x, plan.call(at, "torch.clamp", x.tensor, min=float(x_min), max=float(x_max)))


@writes_function("where")
def where(plan: Plan, at: Site, condition: Any, x1: Any = None, x2: Any = None) -> Placed:
    values = [v for v in (condition, x1, x2) if isinstance(v, Placed)]
    lead, tensors = alike(plan, at, values)
    rest = iter(tensors)
    given = [
        next(rest)
        if isinstance(v, Placed)
        else float(v)
        if np.size(v) == 1
        else constant(plan, at, np.asarray(v), lead)
        for v in (condition, x1, x2)
    ]
    return Placed(plan.call(at, "torch.where", *given), at.shapes[0], lead.order, lead.places)


_REDUCTIONS = {
    "mean": "torch.mean",
    "sum": "torch.sum",
    "max": "torch.amax",
    "amax": "torch.amax",
    "min": "torch.amin",
    "amin": "torch.amin",
    "logsumexp": "torch.logsumexp",
    "var": "torch.var",
    "std": "torch.std",
}


@writes_function(*_REDUCTIONS)
def reduction(plan: Plan, at: Site, x: Placed, axis: Any = None, keepdims: bool = False) -> Placed:
    x = plan.in_order(at, x)
    given = range(1, x.rank) if axis is None else np.atleast_1d(axis).tolist()
    axes = sorted({a % x.rank for a in given})
    if 0 in axes or axis is None:
        at.refuse("goes over the images of a batch", "Give it axis=.")
    name = _REDUCTIONS[at.layer.function]
    more: dict[str, Any] = {"correction": 0} if name in ("torch.var", "torch.std") else {}
    y = plan.call(at, name, x.tensor, dim=[x.axis(a) for a in axes], keepdim=bool(keepdims), **more)
    if keepdims:
        return Placed(y, at.shapes[0], x.order)
    left = [a for a in range(x.rank) if a not in axes]
    return Placed(y, at.shapes[0], tuple(left.index(a) for a in x.order if a in left))


@writes_function("reshape")
def reshape(plan: Plan, at: Site, x: Placed, newshape: Any) -> Placed:
    return plan.with_shape(at, x, at.shapes[0])


@writes_function("squeeze", "expand_dims")
def squeeze(plan: Plan, at: Site, x: Placed, axis: Any = None) -> Placed:
    return plan.with_shape(at, x, at.shapes[0])


@writes_function("transpose")
def transpose(plan: Plan, at: Site, x: Placed, axes: Sequence[int] | None = None) -> Placed:
    order = tuple(reversed(range(x.rank))) if axes is None else tuple(a % x.rank for a in axes)
    if order[0] != 0:
        at.refuse("moves the images from the first axis", "Keep them there.")
    return turned(plan, at, x, order)


@writes_function("swapaxes")
def swapaxes(plan: Plan, at: Site, x: Placed, axis1: int, axis2: int) -> Placed:
    order = list(range(x.rank))
    order[axis1], order[axis2] = order[axis2], order[axis1]
    return transpose(plan, at, x, order)


@writes_function("get_item")
def get_item(plan: Plan, at: Site, x: Placed, key: Any) -> Placed:
    """Slices and numbers; steps forward only, as in PyTorch."""
    x = plan.in_order(at, x)
    keys = list(key) if isinstance(key, tuple) else [key]
    if ... in keys:
        place = keys.index(...)
        keys[place : place + 1] = [slice(None)] * (x.rank - len(keys) + 1)
    keys += [slice(None)] * (x.rank - len(keys))
    if any(not isinstance(k, slice | int) for k in keys) or any(
        isinstance(k, slice) and (k.step or 1) < 0 for k in keys
    ):
        at.refuse(f"takes {key!r}", "Only numbers and slices with steps forward can be written.")
    if keys[0] != slice(None):
        at.refuse("takes a part of the images", "Keep all of them.")
    y = plan.call(at, "operator.getitem", x.tensor, tuple(keys[axis] for axis in x.order))
    left = [axis for axis, k in enumerate(keys) if isinstance(k, slice)]
    return Placed(y, at.shapes[0], tuple(left.index(axis) for axis in x.order if axis in left))


@writes_function("take")
def take(plan: Plan, at: Site, x: Any, indices: Any, axis: int | None = None) -> Placed:
    if not isinstance(x, Placed) or isinstance(indices, Placed) or axis is None or np.ndim(indices) != 1:
        at.refuse(
            "takes entries in another way than a list of places along one axis", "Use Embedding, or get_item."
        )
    x = plan.in_order(at, x)
    if axis % x.rank == 0:
        at.refuse("takes a part of the images", "Keep all of them.")
    places = np.asarray(indices, np.int64) % x.shape[axis % x.rank]
    chosen = plan.constant(at, places, "_places")
    y = plan.call(at, "torch.index_select", x.tensor, x.axis(axis), chosen)
    return Placed(y, at.shapes[0], x.order)


@writes_function("concatenate")
def concatenate(plan: Plan, at: Site, xs: Sequence[Any], axis: int = 0) -> Placed:
    if any(not isinstance(x, Placed) for x in xs) or axis % len(at.shapes[0]) == 0:
        at.refuse("joins fixed arrays, or batches", "Join values along other axes than that of the images.")
    return joined(plan, at, xs, axis)


@writes_function("stack")
def stack(plan: Plan, at: Site, x: Sequence[Placed], axis: int = 0) -> Placed:
    place = axis % len(at.shapes[0])
    wide = [plan.with_shape(at, v, (*v.shape[:place], 1, *v.shape[place:])) for v in x]
    return joined(plan, at, wide, place)


@writes_function("tile")
def tile(plan: Plan, at: Site, x: Placed, repeats: Sequence[int]) -> Placed:
    x = plan.in_order(at, x)
    if len(repeats) != x.rank or repeats[0] != 1:
        at.refuse(f"repeats by {list(repeats)}", "Give a number for each axis, 1 for the images.")
    return Placed(
        plan.call(at, "torch.tile", x.tensor, tuple(int(repeats[a]) for a in x.order)), at.shapes[0], x.order
    )


@writes_function("repeat")
def repeat(plan: Plan, at: Site, x: Placed, repeats: int, axis: int | None = None) -> Placed:
    x = plan.in_order(at, x)
    if axis is None or axis % x.rank == 0 or np.ndim(repeats):
        at.refuse("repeats images, or unevenly", "Repeat along another axis by one number.")
    y = plan.call(at, "torch.repeat_interleave", x.tensor, int(repeats), dim=x.axis(axis))
    return Placed(y, at.shapes[0], x.order)


@writes_function("flip")
def flip(plan: Plan, at: Site, x: Placed, axis: Any = None) -> Placed:
    x = plan.in_order(at, x)
    axes = [] if axis is None else [a % x.rank for a in np.atleast_1d(axis).tolist()]
    if not axes or 0 in axes:
        at.refuse("turns the images of a batch round", "Give it axis=.")
    return Placed(plan.call(at, "torch.flip", x.tensor, [x.axis(a) for a in axes]), at.shapes[0], x.order)


@writes_function("roll")
def roll(plan: Plan, at: Site, x: Placed, shift: Any, axis: Any = None) -> Placed:
    x = plan.in_order(at, x)
    axes = [] if axis is None else [a % x.rank for a in np.atleast_1d(axis).tolist()]
    if not axes or 0 in axes:
        at.refuse("rolls the images of a batch", "Give it axis=.")
    shifts = np.atleast_1d(shift).tolist()
    return Placed(
        plan.call(at, "torch.roll", x.tensor, shifts, [x.axis(a) for a in axes]), at.shapes[0], x.order
    )


@writes_function("cumsum", "cumprod")
def running(plan: Plan, at: Site, x: Placed, axis: int | None = None) -> Placed:
    x = plan.in_order(at, x)
    if axis is None or axis % x.rank == 0:
        at.refuse("goes on from image to image", "Give it axis=.")
    y = plan.call(at, f"torch.{at.layer.function}", x.tensor, dim=x.axis(axis))
    return Placed(y, at.shapes[0], x.order)


_PAD_MODES = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}


@writes_function("pad")
def pad(
    plan: Plan, at: Site, x: Placed, pad_width: Any, mode: str = "constant", constant_values: Any = None
) -> Placed:
    widths = np.broadcast_to(np.asarray(pad_width), (x.rank, 2)).tolist()
    if mode not in _PAD_MODES or widths[0] != [0, 0]:
        at.refuse(f"pads with mode={mode!r}, or adds images", "Pad other axes, by one of PyTorch's modes.")
    x, count = plan.in_order(at, x), x.rank - 1
    if mode != "constant":
        x, count = _with_channels_second(plan, at, x, widths), x.rank - 2
    ordered = [widths[axis] for axis in x.order][-count:]
    flat = [p for pair in reversed(ordered) for p in pair]
    value: dict[str, Any] = {"value": float(constant_values or 0.0)} if mode == "constant" else {}
    y = plan.call(at, "torch.nn.functional.pad", x.tensor, flat, mode=_PAD_MODES[mode], **value)
    return Placed(y, at.shapes[0], x.order)


def _with_channels_second(plan: Plan, at: Site, x: Placed, widths: Any) -> Placed:
    """A value with an axis that gets no border on axis 1: PyTorch mirrors and repeats behind it alone."""
    free = [axis for axis in x.order[1:] if widths[axis] == [0, 0]]
    if not free or not 3 <= x.rank <= 5:
        at.refuse(
            f"pads with mode={at.layer.keywords.get('mode')!r} along all of {x.rank - 1} axes",
            "PyTorch pads the axes behind the channels in this way, up to three.",
        )
    if x.order[1] in free:
        return x
    return plan.ordered(at, x, (0, free[0], *(axis for axis in x.order[1:] if axis != free[0])))


@writes_function("max_pool", "average_pool")
def pool(
    plan: Plan,
    at: Site,
    x: Placed,
    pool_size: Any,
    strides: Any = None,
    padding: Any = "valid",
    data_format: Any = None,
) -> Placed:
    x = plan.images(at, x, data_format or "channels_last")
    rank = x.rank - 2
    sizes = x.shape[1:-1] if data_format in (None, "channels_last") else x.shape[2:]
    size = normalize_tuple(pool_size, rank, "pool_size")
    steps = size if strides is None else normalize_tuple(strides, rank, "strides")
    pads: Pairs = resolve_pairs(padding, sizes, size, steps, (1,) * rank)
    if at.layer.function == "max_pool":
        y = pooled_max(plan, at, x.tensor, pads, size, steps)
    else:
        y = pooled_average(plan, at, x.tensor, sizes, pads, size, steps)
    return Placed(y, at.shapes[0], x.order)


@writes_function("depth_to_space", "space_to_depth")
def shuffle(plan: Plan, at: Site, x: Placed, block_size: int, data_format: str | None = None) -> Placed:
    if data_format != "channels_first":
        at.refuse(
            "has its block first among the channels", 'PyTorch has it last: data_format="channels_first".'
        )
    x = plan.plain(at, x)
    kind = "PixelShuffle" if at.layer.function == "depth_to_space" else "PixelUnshuffle"
    return Placed(plan.module(at, kind, x.tensor, block_size), at.shapes[0], x.order)


@writes_function("glu")
def glu(plan: Plan, at: Site, x: Placed, axis: int = -1) -> Placed:
    x = plan.in_order(at, x)
    return Placed(plan.module(at, "GLU", x.tensor, dim=x.axis(axis)), at.shapes[0], x.order)


@writes_function("matmul")
def matmul(plan: Plan, at: Site, x1: Any, x2: Any) -> Placed:
    tensors = [plan.plain(at, v).tensor if isinstance(v, Placed) else _whole(plan, at, v) for v in (x1, x2)]
    y = plan.call(at, "torch.matmul", *tensors)
    return Placed(y, at.shapes[0], tuple(range(len(at.shapes[0]))))


def _whole(plan: Plan, at: Site, value: Any) -> Any:
    """A fixed array as it is, as a buffer."""
    array = np.asarray(value, plan.dtype)
    if at.name in plan.buffers:
        return plan.buffer(plan.buffers[at.name][0], array)
    return plan.constant(at, array, "_array")


@writes_function("einsum")
def einsum(plan: Plan, at: Site, equation: str, *operands: Any) -> Placed:
    """The letters in the order in which the axes stand."""
    text = equation.replace(" ", "")
    if "." in text or "->" not in text:
        at.refuse(f"has the equation {equation!r}", "Write every letter, and the result behind '->'.")
    inputs, result = text.split("->")
    terms, tensors, order = [], [], result
    for term, value in zip(inputs.split(","), operands):
        if isinstance(value, Placed):
            x = plan.in_order(at, value)
            terms.append("".join(term[axis] for axis in x.order))
            tensors.append(x.tensor)
            if len(term) == len(result):
                order = "".join(_renamed(terms[-1], term, result))
        else:
            terms.append(term)
            tensors.append(_whole(plan, at, value))
    order = order if sorted(order) == sorted(result) else result
    y = plan.call(at, "torch.einsum", f"{','.join(terms)}->{order}", *tensors)
    return Placed(y, at.shapes[0], tuple(result.index(letter) for letter in order))


def _renamed(stands: str, term: str, result: str) -> list[str]:
    """The letters of the result at the places where those of the operand stand."""
    return [result[term.index(letter)] for letter in stands]


@writes_function("dot_product_attention")
def attention(
    plan: Plan,
    at: Site,
    query: Placed,
    key: Placed,
    value: Placed,
    bias: Any = None,
    mask: Any = None,
    scale: float | None = None,
    is_causal: bool = False,
) -> Placed:
    if isinstance(mask, Placed) or (bias is not None and mask is not None):
        at.refuse(
            "has a mask that follows from the input, or a mask and a bias",
            "Give it one of them, as an array.",
        )
    q, k, v = (plan.ordered(at, x, (0, 2, 1, 3)).tensor for x in (query, key, value))
    given: dict[str, Any] = {}
    if isinstance(bias, Placed):
        given["attn_mask"] = plan.plain(at, bias).tensor
    elif bias is not None or mask is not None:
        array = np.asarray(mask, np.bool_) if bias is None else np.asarray(bias, plan.dtype)
        given["attn_mask"] = plan.constant(at, array, "_mask")
    y = plan.call(
        at,
        "torch.nn.functional.scaled_dot_product_attention",
        q,
        k,
        v,
        dropout_p=0.0,
        is_causal=bool(is_causal),
        scale=scale,
        **given,
    )
    return Placed(y, at.shapes[0], (0, 2, 1, 3))


@writes_function("global_average_pool", "global_max_pool")
def global_pool(plan: Plan, at: Site, x: Placed, keepdims: bool = False, data_format: Any = None) -> Placed:
    space = tuple(range(1, x.rank - 1)) if data_format in (None, "channels_last") else tuple(range(2, x.rank))
    name = "torch.mean" if "average" in at.layer.function else "torch.amax"
    y = plan.call(at, name, x.tensor, dim=[x.axis(a) for a in space], keepdim=bool(keepdims))
    if keepdims:
        return Placed(y, at.shapes[0], x.order)
    left = [a for a in range(x.rank) if a not in space]
    return Placed(y, at.shapes[0], tuple(left.index(a) for a in x.order if a in left))
