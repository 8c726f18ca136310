"""Entry by entry: activations with their parameters, arithmetic of two values, functions of one."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernelearn import layers
from kernelearn.conversion.torch.placed import IMAGES, Placed, aligned_array
from kernelearn.conversion.torch.reading.convolution import need_weight
from kernelearn.conversion.torch.reading.network import Learned, Network, shown
from kernelearn.conversion.torch.reading.table import Call, reads

# Activations without parameters: operator -> name here.
_PLAIN = {
    "silu": "silu",
    "mish": "mish",
    "sigmoid": "sigmoid",
    "tanh": "tanh",
    "hardsigmoid": "hard_sigmoid",
    "hardswish": "hard_silu",
    "selu": "selu",
    "log_sigmoid": "log_sigmoid",
    "exp": "exponential",
}
_FUNCTIONS = {
    "abs": "abs",
    "neg": "negative",
    "sqrt": "sqrt",
    "rsqrt": "rsqrt",
    "square": "square",
    "log": "log",
    "log2": "log2",
    "log10": "log10",
    "log1p": "log1p",
    "exp2": None,
    "expm1": "expm1",
    "sin": "sin",
    "cos": "cos",
    "tan": "tan",
    "asin": "arcsin",
    "acos": "arccos",
    "atan": "arctan",
    "sinh": "sinh",
    "cosh": "cosh",
    "erf": "erf",
    "sign": "sign",
    "floor": "floor",
    "ceil": "ceil",
    "round": "round",
    "trunc": "trunc",
    "reciprocal": "reciprocal",
    "logical_not": "logical_not",
    "isnan": "isnan",
    "isinf": "isinf",
}


def _both(*names: str) -> list[str]:
    """Operators with their forms that work in place."""
    return [f"{name}{end}.default" for name in names for end in ("", "_")]


def stem(call: Call) -> str:
    """The operator without its namespace, form and the mark of working in place."""
    return call.operator.split(".")[1].removesuffix("_")


def like(x: Placed, tensor: Any) -> Placed:
    """The same places for another tensor."""
    return Placed(tensor, x.shape, x.order, x.places)


@reads(*_both(*_PLAIN))
def plain_activation(net: Network, call: Call) -> Placed:
    x = call.placed("self")
    return like(x, net.layer(call, layers.Activation, x.tensor, activation=_PLAIN[stem(call)]))


@reads(*_both(*(name for name, function in _FUNCTIONS.items() if function)))
def function_of_one(net: Network, call: Call) -> Placed:
    x = call.placed("self")
    return like(x, net.op(call, str(_FUNCTIONS[stem(call)]), x.tensor))


@reads(*_both("relu", "relu6"))
def relu(net: Network, call: Call) -> Placed:
    x = call.placed("self")
    largest: dict[str, Any] = {"max_value": 6.0} if stem(call) == "relu6" else {}
    return like(x, net.layer(call, layers.ReLU, x.tensor, **largest))


@reads(*_both("leaky_relu"))
def leaky_relu(net: Network, call: Call) -> Placed:
    return _leaky(net, call, float(call["negative_slope"]))


@reads(*_both("rrelu"))
def rrelu(net: Network, call: Call) -> Placed:
    """In inference the mean slope; in training PyTorch draws slopes."""
    if call["training"]:
        call.refuse("draws slopes in inference as well", "Convert the module in eval mode.")
    net.note(f"{call.name}: RReLU draws its slopes in PyTorch's training; here it keeps their mean.")
    return _leaky(net, call, (float(call["lower"]) + float(call["upper"])) / 2)


def _leaky(net: Network, call: Call, slope: float) -> Placed:
    x = call.placed("self")
    if slope >= 0:
        return like(x, net.layer(call, layers.LeakyReLU, x.tensor, negative_slope=slope))
    below = net.op(call, "multiply", x.tensor, slope, suffix=".below")
    positive = net.op(call, "greater", x.tensor, 0.0, suffix=".positive")
    return like(x, net.op(call, "where", positive, x.tensor, below))


@reads(*_both("elu"))
def elu(net: Network, call: Call) -> Placed:
    x = call.placed("self")
    if call["scale"] != 1 or call["input_scale"] != 1:
        call.refuse(
            f"has scale={call['scale']}, input_scale={call['input_scale']}", "Use ELU(alpha) or SELU()."
        )
    return like(x, net.layer(call, layers.ELU, x.tensor, alpha=float(call["alpha"])))


@reads(*_both("celu"))
def celu(net: Network, call: Call) -> Placed:
    x = call.placed("self")
    return like(x, net.op(call, "celu", x.tensor, alpha=float(call["alpha"])))


@reads(*_both("gelu"))
def gelu(net: Network, call: Call) -> Placed:
    x = call.placed("self")
    if call["approximate"] == "tanh":
        return like(x, net.op(call, "gelu", x.tensor, approximate=True))
    return like(x, net.layer(call, layers.Activation, x.tensor, activation="gelu"))


@reads(*_both("hardtanh"))
def hardtanh(net: Network, call: Call) -> Placed:
    x, low, high = call.placed("self"), float(call["min_val"]), float(call["max_val"])
    if low == 0 and high > 0:
        return like(x, net.layer(call, layers.ReLU, x.tensor, max_value=high))
    if (low, high) == (-1, 1):
        return like(x, net.layer(call, layers.Activation, x.tensor, activation="hard_tanh"))
    return like(x, net.op(call, "clip", x.tensor, low, high))


@reads(*_both("softplus"))
def softplus(net: Network, call: Call) -> Placed:
    """log(1 + exp(beta x)) / beta; above `threshold` PyTorch gives x, which may differ in float64 only."""
    x, beta, threshold = call.placed("self"), float(call["beta"]), float(call["threshold"])
    if beta == 1 and threshold >= 20 and net.dtype == "float32":
        return like(x, net.layer(call, layers.Activation, x.tensor, activation="softplus"))
    scaled = net.op(call, "multiply", x.tensor, beta, suffix=".beta")
    soft = net.op(call, "divide", net.op(call, "softplus", scaled), beta, suffix=".per_beta")
    linear = net.op(call, "greater", scaled, threshold, suffix=".linear")
    return like(x, net.op(call, "where", linear, x.tensor, soft, suffix=".chosen"))


@reads(*_both("hardshrink", "softshrink"))
def shrink(net: Network, call: Call) -> Placed:
    x, function = call.placed("self"), {"hardshrink": "hard_shrink", "softshrink": "soft_shrink"}[stem(call)]
    return like(x, net.op(call, function, x.tensor, threshold=float(call["lambd"])))


@reads(*_both("threshold"))
def threshold(net: Network, call: Call) -> Placed:
    x = call.placed("self")
    given: dict[str, Any] = {"threshold": float(call["threshold"]), "default_value": float(call["value"])}
    return like(x, net.op(call, "threshold", x.tensor, **given))


@reads("prelu.default")
def prelu(net: Network, call: Call) -> Placed:
    """One slope for each channel (axis 1), or one for all."""
    x, weight = call.placed("self"), need_weight(call, "weight")
    is_single = weight.numel() == 1
    channels = x.axis(1) if x.rank > 1 else 0
    shared = [axis for axis in range(1, x.rank) if is_single or axis != channels]
    shape = [1 if axis in shared else weight.numel() for axis in range(1, x.rank)]
    places = None if is_single else x.places

    def moved(w: Any) -> Any:
        return (w if places is None else w[places]).reshape(shape)

    learned = {"alpha": Learned(weight, moved)}
    return like(
        x, net.layer(call, layers.PReLU, x.tensor, learned, shared_axes=shared or None, places=places)
    )


@reads("softmax.int", "log_softmax.int", "_softmax.default", "_log_softmax.default")
def softmax(net: Network, call: Call) -> Placed:
    x = call.placed("self")
    if call.get("dtype") is not None:
        call.refuse(f"has dtype={call['dtype']}", "Compute it in the type of the values.")
    if call["dim"] % x.rank == x.images_axis:
        call.refuse("goes over the images of a batch", "Give it the axis of the classes: dim=1.")
    axis = x.axis(call["dim"])
    axis = -1 if axis == x.rank - 1 else axis
    if "log" not in call.operator:
        return like(x, net.layer(call, layers.Softmax, x.tensor, axis=axis))
    if axis == -1:
        return like(x, net.layer(call, layers.Activation, x.tensor, activation="log_softmax"))
    return like(x, net.op(call, "log_softmax", x.tensor, axis=axis))


@reads("glu.default")
def glu(net: Network, call: Call) -> Placed:
    x = net.in_order(call, call.placed("self"))
    return Placed(net.op(call, "glu", x.tensor, axis=x.axis(call["dim"])), call.shapes[0], x.order)


# --- two values

# Operator -> (layer for two values of the network, function of ops for everything else).
_ARITHMETIC: dict[str, tuple[Any, str]] = {
    "add": (layers.Add, "add"),
    "sub": (layers.Subtract, "subtract"),
    "mul": (layers.Multiply, "multiply"),
    "div": (None, "divide"),
    "maximum": (layers.Maximum, "maximum"),
    "minimum": (layers.Minimum, "minimum"),
    "pow": (None, "power"),
    "remainder": (None, "mod"),
    "atan2": (None, "arctan2"),
    "logaddexp": (None, "logaddexp"),
    "gt": (None, "greater"),
    "ge": (None, "greater_equal"),
    "lt": (None, "less"),
    "le": (None, "less_equal"),
    "eq": (None, "equal"),
    "ne": (None, "not_equal"),
    "logical_and": (None, "logical_and"),
    "logical_or": (None, "logical_or"),
}
_FORMS = ("Tensor", "Scalar", "default", "Tensor_Scalar", "Tensor_Tensor")


@reads(*(f"{name}{end}.{form}" for name in _ARITHMETIC for end in ("", "_") for form in _FORMS))
@reads("pow.Scalar", "rsub.Scalar", "rsub.Tensor")
def arithmetic(net: Network, call: Call) -> Placed:
    names = ("self", "exponent") if "exponent" in call.arguments else ("self", "other")
    first, second = (call[name] for name in names)
    name = stem(call)
    if name == "rsub":
        name, first, second = "sub", second, first
    if call.get("alpha", 1) != 1:
        # NOTE: rsub has alpha on what is taken away, which is its first argument.
        second = _times(net, call, second, call["alpha"])
    if call.get("rounding_mode") is not None:
        call.refuse(f"has rounding_mode={call['rounding_mode']!r}", "Divide without rounding.")
    layer, function = _ARITHMETIC[name]
    return combined(net, call, first, second, layer, function)


@reads("div.Tensor_mode")
def rounded_division(net: Network, call: Call) -> Placed:
    return arithmetic(net, call)


def _times(net: Network, call: Call, value: Any, factor: float) -> Any:
    if isinstance(value, Placed):
        return like(value, net.op(call, "multiply", value.tensor, factor, suffix=".alpha"))
    return value * factor


def combined(net: Network, call: Call, first: Any, second: Any, layer: Any, function: str) -> Placed:
    """Two values combined entry by entry, where PyTorch would broadcast them."""
    rank = len(call.shapes[0])
    first, second = (_as_value(net, call, value, rank) for value in (first, second))
    if isinstance(first, Placed) and isinstance(second, Placed):
        first, second, lead = together(net, call, first, second)
        pair = [first.tensor, second.tensor]
        y = net.layer(call, layer, pair) if layer else net.op(call, function, *pair)
        return Placed(y, call.shapes[0], lead.order, lead.places)
    lead = first if isinstance(first, Placed) else second
    lead = _widened(net, call, lead, rank)
    pair = [lead.tensor if isinstance(v, Placed) else fixed(net, v, lead) for v in (first, second)]
    y = net.op(call, function, *pair)
    other = second if lead is first else first
    if lead.places is None or not hasattr(other, "numel") or other.numel() == 1:
        net.keep_name(y, other, lead.order)
    return Placed(y, call.shapes[0], lead.order, lead.places)


def _as_value(net: Network, call: Call, value: Any, rank: int) -> Any:
    """A parameter that is trained, as a value that a layer gives; anything else as it is."""
    if hasattr(value, "detach") and net.is_learned(value):
        return learned_array(net, call, value, rank)
    return value


def fixed(net: Network, value: Any, x: Placed) -> Any:
    """A number, or a fixed tensor of the module as an array with its axes where those of x stand."""
    if isinstance(value, int | float | bool):
        return value
    array = net.array(value)
    return array.item() if array.size == 1 and array.ndim <= x.rank else aligned_array(array, x)


def learned_array(net: Network, call: Call, tensor: Any, rank: int) -> Placed:
    """A tensor of the module that is no weight of a layer, as a layer that gives it for every image."""
    if tensor.ndim == rank and tensor.shape[0] != 1:
        call.refuse(
            f"has a tensor of shape {tuple(tensor.shape)} along the images",
            "It has to have size 1 on axis 0.",
        )
    own = tuple(tensor.shape[1:]) if tensor.ndim == rank else tuple(tensor.shape)
    shape = (1,) * (rank - 1 - len(own)) + own
    tensor = net.roots.get(id(tensor), tensor)
    name = net.names.get(id(tensor)) or next(iter(net.origins.get(id(tensor), ())), f"{call.name}.array")
    owner = Call(call.operator, call.node, call.path, name, {})
    learned = {"array": Learned(tensor, lambda v: v.reshape(shape))}
    net.shapes[name] = list(tensor.shape)
    y = net.layer(owner, layers.LearnedArray, net.start, learned, shape=list(shape))
    return Placed(y, (IMAGES, *shape), tuple(range(rank)))


def together(net: Network, call: Call, a: Placed, b: Placed) -> tuple[Placed, Placed, Placed]:
    """Two values with their axes at the same places, and the one whose places the result has."""
    rank = max(a.rank, b.rank)
    a, b = _widened(net, call, a, rank), _widened(net, call, b, rank)
    is_first = _entries(a) >= _entries(b)
    lead, other = (a, b) if is_first else (b, a)
    if other.images_axis != lead.images_axis:
        call.refuse(
            f"combines shapes {shown(a.shape)} and {shown(b.shape)}, whose images stand on different axes",
            "Keep the images on axis 0.",
        )
    if not _same_places(lead, other):
        lead, other = net.in_order(call, lead), net.in_order(call, other)
    other = net.ordered(call, other, lead.order) if other.order != lead.order else other
    return (lead, other, lead) if is_first else (other, lead, lead)


def _same_places(lead: Placed, other: Placed) -> bool:
    """Whether features stand alike, or one of both has a single one."""
    if lead.places is None or other.places is None:
        single = other if lead.places is not None else lead
        return lead.places is other.places or (single is other and other.shape[-1] == 1)
    return np.array_equal(lead.places, other.places)


def _entries(x: Placed) -> int:
    return int(np.prod([size for size in x.shape if size != IMAGES], dtype=np.int64))


def _widened(net: Network, call: Call, x: Placed, rank: int) -> Placed:
    """A value of so many axes. Raises: ArgumentError where axes are missing in front of the images."""
    if x.rank == rank:
        return x
    call.refuse(
        f"broadcasts a value of {x.rank} axes, images among them, to {rank} axes",
        "Give it its axes of size 1 with unsqueeze or view, the images first.",
    )


@reads("clamp.default", "clamp_.default", "clamp_min.default", "clamp_max.default", "clip.default")
def clamp(net: Network, call: Call) -> Placed:
    x, low, high = call.placed("self"), call.get("min"), call.get("max")
    if low is not None and high is not None:
        if float(low) == 0 and float(high) > 0:
            return like(x, net.layer(call, layers.ReLU, x.tensor, max_value=float(high)))
        return like(x, net.op(call, "clip", x.tensor, float(low), float(high)))
    if low is not None:
        return like(x, net.op(call, "maximum", x.tensor, float(low)))
    return like(x, net.op(call, "minimum", x.tensor, float(high)))


@reads("where.self", "where.ScalarOther", "where.ScalarSelf")
def where(net: Network, call: Call) -> Placed:
    given = [call[name] for name in ("condition", "self", "other")]
    lead = net.in_order(call, next(value for value in given if isinstance(value, Placed)))
    if len(call.shapes[0]) != lead.rank:
        call.refuse("broadcasts its condition or values", "Give all of them the same axes.")
    parts = []
    for value in given:
        if not isinstance(value, Placed):
            parts.append(fixed(net, value, lead))
            continue
        if value.rank != lead.rank:
            call.refuse("broadcasts its condition or values", "Give all of them the same axes.")
        parts.append(net.ordered(call, value, lead.order).tensor)
    return Placed(net.op(call, "where", *parts), call.shapes[0], lead.order)


@reads("to.dtype", "to.dtype_layout", "_to_copy.default", "to.device", "type_as.default", "float.default")
def cast(net: Network, call: Call) -> Placed:
    x, wanted = call.placed("self"), call.get("dtype")
    if wanted is None:
        return x
    name = str(wanted).removeprefix("torch.")
    if name == "bool":
        return like(x, net.op(call, "not_equal", x.tensor, 0))
    if name in ("float16", "bfloat16"):
        call.refuse(
            f"computes in {name}", "Convert the module with .float(): here it would be computed in float32."
        )
    return like(x, net.op(call, "cast", x.tensor, name)) if name != x.tensor.dtype else x


@reads("contiguous.default", "clone.default", "detach.default", "alias.default", "lift_fresh_copy.default")
@reads("_assert_tensor_metadata.default", "detach_.default", "positive.default")
def unchanged(net: Network, call: Call) -> Placed:
    x = call.placed("self") if "self" in call.arguments else call.placed("a")
    if "detach" in call.operator:
        return like(x, net.op(call, "stop_gradient", x.tensor))
    return x
