"""Examples of every operator: what `check_op` is run on. `ALL` is what the table is compared with."""

import numpy as np

from kernelearn.engine.operators.second_derivatives import SLOPES_OF_SLOPES
from kernelearn.engine.reference.activations import ACTIVATIONS
from kernelearn.engine.reference.losses import LOSSES
from tests.engine import oracles
from tests.engine.cases_choosing import CHOOSING
from tests.engine.cases_functions import FUNCTIONS, REDUCTIONS
from tests.engine.cases_images import IMAGES
from tests.engine.geometries import GEOMETRIES, POOLS
from tests.engine.helpers import Case


def normal(*shape, seed=0):
    """Normal numbers that float32 holds exactly, so that both float types start from the same."""
    rng = np.random.default_rng((seed, *shape))
    return rng.normal(size=shape).astype("float32").astype("float64")


def distinct(*shape, seed=0):
    """Numbers no two of which are closer than 0.05, none closer to 0: safe for maxima and kinks."""
    count = int(np.prod(shape))
    order = np.random.default_rng((seed, *shape)).permutation(count)
    return ((order - count // 2 + 0.5) * 0.0625).reshape(shape)


def convolutions(g):
    x = normal(2, *g.sizes, g.channels)
    kernel = normal(*g.kernel, g.channels // g.groups, g.filters, seed=1)
    outputs = oracles.output_sizes(g.sizes, g.kernel, g.stride, g.dilation, g.padding)
    grad = normal(2, *outputs, g.filters, seed=2)
    taps = int(np.prod(g.kernel))
    both = {"smooth": (0, 1), "label": g.label}
    to_input = {"terms": taps * g.filters // g.groups, **both}
    to_kernel = {"terms": 2 * int(np.prod(outputs)), **both}
    return [
        Case("conv", (x, kernel), g.attrs, oracles.conv, terms=taps * g.channels // g.groups, **both),
        Case(
            "conv_grad_input",
            (grad, kernel),
            {"input_size": g.sizes, **g.attrs},
            oracles.conv_grad_input,
            **to_input,
        ),
        Case(
            "conv_grad_kernel",
            (x, grad),
            {"kernel_size": g.kernel, **g.attrs},
            oracles.conv_grad_kernel,
            **to_kernel,
        ),
        Case(
            "conv_transpose",
            (grad, kernel),
            {"output_size": g.sizes, **g.attrs},
            oracles.conv_transpose,
            **to_input,
        ),
    ]


def _winner(x, *, reduction=np.max, **attrs):
    return oracles.pool(x, reduction=reduction, **attrs)


def _mean(x, **attrs):
    return oracles.pool(x, reduction=np.mean, **attrs)


def _taken(x, where, **attrs):
    return oracles.taken(x, where, **attrs)


def poolings(g):
    attrs = {"size": g.kernel, "stride": g.stride, "padding": g.padding}
    x = distinct(2, *g.sizes, 3)
    outputs = oracles.output_sizes(g.sizes, g.kernel, g.stride, g.dilation, g.padding)
    grad, window = normal(2, *outputs, 3), int(np.prod(g.kernel))
    where = np.random.default_rng(0).integers(0, window, grad.shape).astype("int32")
    back = {"input_size": g.sizes, **attrs}
    return [
        Case("max_pool", (x,), attrs, _winner, smooth=(0,), label=g.label),
        Case("max_pool_grad", (grad, where), back, terms=window, smooth=(0,), label=g.label),
        Case("max_pool_take", (x, where), attrs, _taken, smooth=(0,), label=g.label),
        # NOTE: a division follows the sum, one rounding more.
        Case("average_pool", (x,), attrs, _mean, terms=window + 1, smooth=(0,), label=g.label),
        Case("average_pool_grad", (grad,), back, terms=window + 1, smooth=(0,), label=g.label),
    ]


CONVOLUTION = [case for g in GEOMETRIES for case in convolutions(g)]
POOLING = [case for g in POOLS for case in poolings(g)]

_KINKED = ("threshold", "hard_shrink")
_ROW, _COLUMN = normal(1, 5), normal(3, 1, seed=4)
_X, _Y = normal(3, 5), normal(3, 5, seed=1)

DENSE = [
    Case("dense", (normal(3, 4), normal(4, 5)), {}, np.matmul, terms=4, smooth=(0, 1)),
    Case("dense", (normal(2, 3, 4), normal(4, 5)), {}, np.matmul, terms=4, smooth=(0, 1), label="rows"),
    Case(
        "dense_grad_input",
        (normal(3, 5), normal(4, 5)),
        {},
        lambda g, w: np.einsum("nf,cf->nc", g, w),
        terms=5,
        smooth=(0, 1),
    ),
    Case(
        "dense_grad_kernel",
        (normal(2, 3, 4), normal(2, 3, 5)),
        {},
        lambda x, g: np.einsum("abc,abf->cf", x, g),
        terms=6,
        smooth=(0, 1),
    ),
    Case("bias_add", (normal(2, 3, 4), normal(4)), {}, np.add, smooth=(0, 1)),
    Case("bias_grad", (normal(2, 3, 4),), {}, lambda g: g.sum(axis=(0, 1)), terms=6, smooth=(0,)),
]


def _swapped(x, transposed):
    return np.swapaxes(x, -1, -2) if transposed else x


def _matmul(a, b, transpose_a=False, transpose_b=False):
    return _swapped(a, transpose_a) @ _swapped(b, transpose_b)


# Shapes as they are multiplied; stored transposed in every combination.
PRODUCTS = [
    Case(
        "matmul",
        (_swapped(normal(*a), first), _swapped(normal(*b, seed=1), second)),
        {"transpose_a": first, "transpose_b": second},
        _matmul,
        terms=a[-1],
        smooth=(0, 1),
        label=f"{a}{b}{'t' * first}{'u' * second}",
    )
    for a, b in (
        ((3, 4), (4, 5)),
        ((2, 3, 4), (2, 4, 5)),
        ((2, 3, 4), (4, 5)),
        ((2, 3, 2, 5), (3, 5, 1)),
        ((2, 1, 2, 3), (2, 4, 3, 6)),
        ((2, 1, 7), (2, 7, 9)),
    )
    for first in (False, True)
    for second in (False, True)
]


def _orders(a, b, order_a=None, order_b=None, order_y=None, **attrs):
    y = _matmul(*(x if o is None else x.transpose(o) for x, o in ((a, order_a), (b, order_b))), **attrs)
    return y if order_y is None else y.transpose(order_y)


_HEADS = (0, 2, 1, 3)
PRODUCTS += [
    Case(
        "turned_matmul",
        (normal(*a), normal(*b, seed=1)),
        attrs,
        _orders,
        terms=20,
        label=f"{a}{b}",
    )
    for a, b, attrs in (
        ((2, 6, 3, 5), (2, 4, 3, 5), {"order_a": _HEADS, "order_b": _HEADS, "transpose_b": True}),
        ((2, 3, 6, 4), (2, 4, 3, 20), {"order_b": _HEADS, "order_y": _HEADS}),
        ((2, 5, 3, 4), (2, 3, 17, 5), {"order_a": (0, 2, 3, 1), "order_b": (0, 1, 3, 2), "order_y": _HEADS}),
        ((2, 1, 3, 40), (2, 9, 3, 40), {"order_a": _HEADS, "order_b": _HEADS, "transpose_b": True}),
    )
]  # fmt: skip

_SETTINGS = {
    "relu": [{}, {"negative_slope": 0.25, "max_value": 1.4, "threshold": 0.3}],
    "gelu": [{}, {"approximate": True}],
    "threshold": [{"threshold": 0.3, "default_value": -1.0}],
}


def _activations():
    x = distinct(4, 10) + 0.01
    for kind, functions in ACTIVATIONS.items():
        for i, attrs in enumerate(_SETTINGS.get(kind, [{}])):
            label, attrs = f"{kind}{i or ''}", {"kind": kind, **attrs}
            # NOTE: the values and slopes of each function are checked in test_activations.py.
            yield Case("activation", (x,), attrs, smooth=(0,), label=label)
            yield Case(
                "activation_grad",
                (normal(4, 10), x, functions.forward(x, **_without_kind(attrs))),
                attrs,
                smooth=(0, 1 if functions.needs_x else 2) if kind in SLOPES_OF_SLOPES else (0,),
                label=label,
            )


def _without_kind(attrs):
    return {k: v for k, v in attrs.items() if k != "kind"}


def _pairs():
    """Every way in which two shapes are combined entry by entry."""
    kinds = {
        "same": (_X, _Y),
        "row": (_X, _ROW),
        "column": (_COLUMN, _X),
        "vector": (_X, normal(5)),
        "cross": (_ROW, _COLUMN),
    }
    functions = {
        "add": np.add,
        "subtract": np.subtract,
        "multiply": np.multiply,
        "maximum": np.maximum,
        "minimum": np.minimum,
    }
    for label, pair in kinds.items():
        for name, function in functions.items():
            yield Case(name, pair, {}, function, smooth=(0, 1), label=label)


def _tie(g, x, other, y):
    return g * np.where(x == other, 0.5, x == y)


_ALPHA = np.abs(normal(5))
_WEIGHT = distinct(3, 4)

ELEMENTWISE = [
    *_activations(),
    *_pairs(),
    Case("extreme_grad", (_X, distinct(3, 5), distinct(3, 5, seed=0), distinct(3, 5)), {}, _tie, label="tie"),
    Case("extreme_grad", (_X, distinct(3, 5), distinct(3, 5, seed=3), distinct(3, 5)), {}, _tie, smooth=(0,)),
    Case("sum_to", (_X,), {"axes": (0,), "shape": (5,)}, lambda x, **a: x.sum(0), terms=3, smooth=(0,)),
    Case(
        "broadcast_to",
        (_X[:, None],),
        {"shape": (2, 3, 4, 5)},
        lambda x, shape: np.stack([np.stack([row[0]] * 4) for row in x])[None].repeat(2, 0),
        terms=1,
        smooth=(0,),
        images=(),
    ),
    Case(
        "sum_to",
        (normal(2, 3, 4),),
        {"axes": (0, 2), "shape": (1, 3, 1)},
        lambda x, **a: x.sum((0, 2))[None, :, None],
        terms=8,
    ),
    Case("scale", (_X,), {"factor": -2.5}, lambda x, **a: x * -2.5, terms=2, smooth=(0,)),
    Case(
        "scale",
        (_X,),
        {"factor": 0.5, "offset": 3.0},
        lambda x, **a: x * 0.5 + 3,
        smooth=(0,),
        label="offset",
    ),
    Case(
        "scale",
        (_X,),
        {"factor": (1.0, 2.0, 3.0, 4.0, 5.0), "offset": (0.0, 1.0, 2.0, 3.0, 4.0)},
        lambda x, **a: x * [1, 2, 3, 4, 5] + [0, 1, 2, 3, 4],
        smooth=(0,),
        label="channels",
    ),
    Case(
        "affine",
        (normal(2, 3, 5), normal(5), normal(5, seed=2)),
        {},
        lambda x, a, b: a * x + b,
        smooth=(0, 1, 2),
    ),
    Case(
        "prelu",
        (distinct(3, 5), _ALPHA),
        {},
        lambda x, a: np.maximum(x, 0) + a * np.minimum(x, 0),
        smooth=(0, 1),
    ),
    Case("prelu", (distinct(2, 3, 4, 5), normal(1, 1, 5)), {}, smooth=(0, 1), label="shared"),
    Case(
        "prelu_grad_input",
        (_X, distinct(3, 5), _ALPHA),
        {},
        lambda g, x, a: g * np.where(x > 0, 1, a),
        smooth=(0, 2),
    ),
    Case("prelu_grad_alpha", (_X, distinct(3, 5)), {}, lambda g, x: g * np.minimum(x, 0), smooth=(0, 1)),
    Case(
        "penalty",
        (_WEIGHT,),
        {"l1": 0.1, "l2": 0.2},
        lambda w, **a: 0.1 * abs(w).sum() + 0.2 * (w * w).sum(),
        smooth=(0,),
    ),
    Case(
        "penalty_grad",
        (np.array(1.5), _WEIGHT),
        {"l1": 0.1, "l2": 0.2},
        lambda g, w, **a: 1.5 * (0.1 * np.sign(w) + 0.4 * w),
        smooth=(0, 1),
    ),
]

REDUCTION = [
    Case(
        "reduce_mean",
        (normal(2, 3, 4, 5),),
        {"axes": (1, 2)},
        lambda x, **a: x.mean((1, 2)),
        terms=13,
        smooth=(0,),
    ),
    Case(
        "reduce_mean",
        (normal(2, 3, 4, 5),),
        {"axes": (2, 3), "keepdims": True},
        lambda x, **a: x.mean((2, 3), keepdims=True),
        terms=21,
        smooth=(0,),
        label="keepdims",
    ),
    Case(
        "reduce_mean",
        (normal(2, 3),),
        {"axes": (1, 0)},
        lambda x, **a: x.mean(),
        terms=7,
        smooth=(0,),
        label="all",
    ),
    Case("reduce_max", (distinct(2, 3, 4),), {"axes": (1,)}, lambda x, **a: x.max(1), smooth=(0,)),
    Case(
        "reduce_max", (distinct(2, 3, 4),), {"axes": (1, 2), "keepdims": True}, smooth=(0,), label="keepdims"
    ),
    *[
        case
        for axis in (-1, 1)
        for case in (
            Case("softmax", (normal(2, 3, 4),), {"axis": axis}, smooth=(0,), label=f"axis{axis}"),
            Case(
                "softmax_grad",
                (normal(2, 3, 4), normal(2, 3, 4, seed=1)),
                {"axis": axis},
                smooth=(0, 1),
                label=f"axis{axis}",
            ),
            Case("log_softmax", (normal(2, 3, 4),), {"axis": axis}, smooth=(0,), label=f"axis{axis}"),
            Case(
                "log_softmax_grad",
                (normal(2, 3, 4), -abs(normal(2, 3, 4))),
                {"axis": axis},
                smooth=(0, 1),
                label=f"axis{axis}",
            ),
        )
    ],
]

_MAPS = normal(2, 3, 4, 5)


def _repeat(x, *, factors):
    for axis, factor in enumerate(factors, start=1):
        x = np.repeat(x, factor, axis=axis)
    return x


SHAPING = [
    Case("reshape", (_MAPS,), {"shape": (2, 60)}, lambda x, shape: x.reshape(shape), terms=1, smooth=(0,)),
    Case("fix_images", (_MAPS,), {"images": 2}, lambda x, images: x, terms=1, smooth=(0,)),
    # NOTE: its gradient, `fix_images`, stands above; central differences need a result without None.
    Case("open_images", (_MAPS,), {"images": 2}, lambda x, images: x, terms=1),
    Case(
        "transpose", (_MAPS,), {"axes": (0, 3, 1, 2)}, lambda x, axes: x.transpose(axes), terms=1, smooth=(0,)
    ),
    Case(
        "slice",
        (_MAPS,),
        {"bounds": (None, (1, 3), None, (0, 2))},
        lambda x, bounds: x[:, 1:3, :, :2],
        terms=1,
        smooth=(0,),
    ),
    Case(
        "pad",
        (_MAPS,),
        {"padding": ((0, 0), (1, 2), (0, 3), (0, 0))},
        lambda x, padding: np.pad(x, padding),
        terms=1,
        smooth=(0,),
    ),
    Case(
        "pad",
        (_MAPS,),
        {"padding": ((1, 0), (0, 1), (2, 0), (0, 3)), "value": 0.0},
        lambda x, padding, value: np.pad(x, padding),
        terms=1,
        smooth=(0,),
        label="all_axes",
        images=(),
    ),
    Case(
        "strided_slice",
        (_MAPS,),
        {"places": (None, (2, 2, -2), None, (1, 2, 3))},
        lambda x, places: x[:, ::-2, :, 1::3],
        terms=1,
        smooth=(0,),
    ),
    Case(
        "strided_slice",
        (_MAPS,),
        {"places": ((1, 2, -1), None, (3, 4, -1), None)},
        lambda x, places: x[::-1, :, ::-1],
        terms=1,
        smooth=(0,),
        label="mirror",
        images=(),
    ),
    Case(
        "strided_place",
        (normal(2, 2, 4, 2),),
        {"places": (None, (2, 2, -2), None, (1, 2, 3)), "shape": (2, 3, 4, 5)},
        lambda y, places, shape: np.einsum(
            "napb,ai,bj->nipj", y, np.eye(3)[[2, 0]], np.eye(5)[[1, 4]], optimize=False
        ),
        terms=1,
        smooth=(0,),
    ),
    Case(
        "broadcast_to",
        (normal(2, 3, 1, 5),),
        {"shape": (2, 3, 4, 5)},
        lambda x, shape: np.ones((2, 3, 4, 5)) * x,
        terms=1,
        smooth=(0,),
    ),
    Case(
        "broadcast_to",
        (normal(4, 1), normal(2, 3)),
        {"shape": (2, 4, 5)},
        lambda x, like, shape: np.ones((2, 4, 5)) * x,
        terms=1,
        smooth=(0,),
        label="like",
        images=(1,),
    ),
    Case(
        "concatenate",
        (_MAPS, normal(2, 3, 4, 1), normal(2, 3, 4, 2)),
        {"axis": 3},
        lambda *parts, axis: np.concatenate(parts, axis),
        smooth=(0, 1, 2),
    ),
    Case("upsample", (_MAPS,), {"factors": (2, 3)}, _repeat, terms=1, smooth=(0,)),
    Case("upsample", (normal(2, 3, 2),), {"factors": (4,)}, _repeat, terms=1, smooth=(0,), label="1d"),
    Case(
        "upsample",
        (normal(1, 2, 3, 2, 2),),
        {"factors": (2, 1, 3)},
        _repeat,
        terms=1,
        smooth=(0,),
        label="3d",
    ),
    *[
        Case("upsample", (_MAPS,), {"factors": (2, 3), "method": method}, smooth=(0,), label=method)
        for method in ("bilinear", "bicubic", "lanczos3", "lanczos5")
    ],
    Case(
        "upsample_grad",
        (normal(2, 6, 12, 5),),
        {"factors": (2, 3)},
        lambda g, factors: g.reshape(2, 3, 2, 4, 3, 5).sum((2, 4)),
        smooth=(0,),
    ),
]


def _standard(x, axes, epsilon):
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + epsilon)


NORMALIZATION = [
    *[
        Case("normalize", (_MAPS,), {"axes": axes, "epsilon": 1e-3}, _standard, smooth=(0,), label=str(axes))
        for axes in ((0, 1, 2), (3,), (1, 2, 3), (1, 2))
    ],
    Case(
        "normalize_grad",
        (_MAPS, normal(2, 3, 4, 5, seed=1), abs(normal(5))),
        {"axes": (0, 1, 2), "epsilon": 1e-3},
        smooth=(0, 1, 2),
    ),
    Case(
        "standardize",
        (_MAPS, normal(5), abs(normal(5))),
        {"epsilon": 1e-3},
        lambda x, m, v, epsilon: (x - m) / np.sqrt(v + epsilon),
        smooth=(0,),
    ),
    Case(
        "standardize_grad",
        (_MAPS, abs(normal(5))),
        {"epsilon": 1e-3},
        lambda g, v, epsilon: g / np.sqrt(v + epsilon),
        smooth=(0,),
    ),
    Case("batch_statistics", (_MAPS,), {"axes": (0, 1, 2)}, lambda x, axes: x.mean(axes)),
    Case(
        "batch_norm_sums",
        (normal(2, 3, 4, 5, seed=1), _MAPS, normal(5), abs(normal(5))),
        {"epsilon": 1e-3},
        lambda g, x, m, v, epsilon: g.sum((0, 1, 2)),
    ),
    *[
        Case(
            "batch_norm_coefficients",
            (_MAPS, abs(normal(5)), normal(5, seed=1), normal(5, seed=2), *gamma),
            {"epsilon": 1e-3},
            lambda x, v, t, a, gamma=1.0, epsilon=0.0: gamma / np.sqrt(v + epsilon),
            label=f"{len(gamma)}",
        )
        for gamma in ((), (normal(5, seed=3),))
    ],
    Case(
        "batch_norm_grad_input",
        (_MAPS, normal(2, 3, 4, 5, seed=1), *(normal(5, seed=i) for i in range(4))),
        {},
        lambda g, x, m, f, s, o: f * g + s * (x - m) + o,
    ),
    Case(
        "affine_coefficients",
        (normal(5), abs(normal(5, seed=1)), normal(5, seed=2), normal(5, seed=3)),
        {"epsilon": 1e-3, "has_gamma": True, "has_beta": True},
        lambda m, v, gamma, beta, epsilon, **_: gamma / np.sqrt(v + epsilon),
    ),
    Case(
        "affine_coefficients",
        (normal(5), abs(normal(5, seed=1))),
        {"epsilon": 1e-3, "has_gamma": False, "has_beta": False},
        lambda m, v, epsilon, **_: 1 / np.sqrt(v + epsilon),
        label="bare",
    ),
    Case("assign", (normal(3, 5),), {}, lambda value: value, terms=1),
    Case(
        "moving_average",
        (normal(5), normal(5, seed=1)),
        {"momentum": 0.9},
        lambda s, v, momentum: 0.9 * s + 0.1 * v,
    ),
]

_CLOCK = (np.array(123), np.array(45))
RANDOM = [
    Case("dropout", (_MAPS, *_CLOCK), {"rate": 0.4, "stream": 3}, smooth=(0,)),
    Case(
        "dropout",
        (_MAPS, *_CLOCK),
        {"rate": 0.4, "stream": 3, "noise_shape": (None, 1, 1, None)},
        smooth=(0,),
        label="maps",
    ),
    Case("gaussian_noise", (_MAPS, *_CLOCK), {"stddev": 0.5, "stream": 1}, smooth=(0,)),
    Case("random_uniform", (_MAPS, *_CLOCK), {"shape": (2,), "low": -1.0, "high": 3.0, "stream": 1}),
    *[
        Case(
            "draw",
            _CLOCK,
            {"kind": kind, "shape": (5, 7, 3), "stream": 2, "dtype": "float32"},
            label=kind,
            images=(),
        )
        for kind in ("uniform", "normal", "truncated_normal", "gumbel")
    ],
    Case(
        "draw",
        _CLOCK,
        {"kind": "integers", "shape": (9,), "stream": 2, "dtype": "int32", "low": -2, "high": 5},
        label="integers",
        images=(),
    ),
    Case(
        "draw",
        _CLOCK,
        {"kind": "bernoulli", "shape": (9, 5), "stream": 2, "dtype": "float32", "probability": 0.3},
        label="bernoulli",
        images=(),
    ),
    Case("draw_gamma", (abs(normal(4, 3)) + 0.1, *_CLOCK), {"stream": 4}),
    Case("draw_binomial", (np.arange(6).reshape(2, 3), np.full((2, 3), 0.5), *_CLOCK), {"stream": 4}),
]


def _targets(kind, classes=4):
    rng = np.random.default_rng(3)
    if LOSSES[kind].integer_labels:
        return rng.integers(0, classes, (3, 2))
    one_hot = np.eye(classes)[rng.integers(0, classes, (3, 2))]
    return 0.8 * one_hot + 0.05 if "hinge" not in kind else one_hot


def _reduced(y_pred, y_true, weights, *, kind, reduction):
    """The weighted values, one by one: the values themselves are checked in test_losses.py."""
    values = LOSSES[kind].value(y_true, y_pred)
    total = sum(weights[n] * values[n, p] for n, p in np.ndindex(values.shape))
    divisors = {"sum": 1, "sum_over_batch_size": values.size}
    return total / divisors.get(reduction, weights.sum() * values.shape[1])


def _losses():
    scores = np.random.default_rng(1).uniform(0.1, 0.9, (3, 2, 4)).astype("float32").astype("float64")
    weights = np.array([1.0, 0.5, 2.0])
    for kind in LOSSES:
        for reduction in ("sum_over_batch_size", "sum", "mean_with_sample_weight"):
            attrs = {"kind": kind, "reduction": reduction}
            arrays = (scores, _targets(kind), weights)
            yield Case("loss", arrays, attrs, _reduced, smooth=(0,), label=f"{kind}-{reduction}")
            yield Case("loss_grad", (np.array(1.25), *arrays), attrs, label=f"{kind}-{reduction}")


LOSS = [
    *_losses(),
    Case("fill", (), {"shape": (2, 3), "value": 1.5, "dtype": "float64"}, lambda **a: np.full((2, 3), 1.5)),
    Case(
        "activity_penalty",
        (distinct(3, 4),),
        {"l1": 0.1, "l2": 0.2},
        lambda x, **a: (0.1 * abs(x).sum() + 0.2 * (x * x).sum()) / 3,
        smooth=(0,),
    ),
    Case(
        "activity_penalty_grad",
        (np.array(1.5), distinct(3, 4)),
        {"l1": 0.1, "l2": 0.2},
        lambda g, x, **a: 0.5 * (0.1 * np.sign(x) + 0.4 * x),
        smooth=(0, 1),
    ),
]

_NORMED = {"axis": (0,)}
UPDATE = [
    Case("clip_by_value", (_X,), {"limit": 0.5}, lambda g, limit: np.maximum(np.minimum(g, 0.5), -0.5)),
    Case("clip_by_norm", (_X,), {"limit": 0.5}, lambda g, limit: g * 0.5 / np.sqrt((g * g).sum())),
    Case("global_norm", (_X, normal(5)), {}, lambda a, b: np.sqrt((a * a).sum() + (b * b).sum())),
    Case("clip_by_global_norm", (_X, np.array(4.0)), {"limit": 1.0}, lambda g, norm, limit: g / 4),
    Case("constrain", (_X,), {"kind": "non_neg"}, lambda w, kind: np.maximum(w, 0), label="non_neg"),
    Case("constrain", (_X,), {"kind": "unit_norm", **_NORMED}, label="unit_norm"),
    *[
        Case("accumulate", (_X, _Y, np.array(step)), {"every": 3}, oracle)
        for step, oracle in (
            (4, lambda total, grad, k, every: grad),
            (5, lambda total, grad, k, every: total + grad),
            (6, lambda total, grad, k, every: (total + grad) / 3),
        )
    ],
    *[
        Case("add_share", (_X, _Y, np.array(0.25), np.array(keeps)), {}, oracle)
        for keeps, oracle in (
            (0, lambda total, value, share, keeps: 0.25 * value),
            (1, lambda total, value, share, keeps: total + 0.25 * value),
        )
    ],
    *[
        Case("average_weight", (_X, _Y, np.array(step)), {"momentum": 0.75, "every": 2}, oracle)
        for step, oracle in (
            (2, lambda a, w, k, momentum, every: w),
            (3, lambda a, w, k, momentum, every: 0.75 * a + 0.25 * w),
        )
    ],
    *[
        Case("overwrite_weight", (_X, _Y, np.array(step)), {"frequency": 2, "every": 3}, oracle)
        for step, oracle in (
            (3, lambda w, a, k, frequency, every: w),
            (4, lambda w, a, k, frequency, every: a),
            (6, lambda w, a, k, frequency, every: a),
            (7, lambda w, a, k, frequency, every: w),
        )
    ],
    *[
        Case(
            name,
            (_X, _Y, np.array(0.1), np.array(3), *[abs(normal(3, 5, seed=s)) for s in range(slots)]),
            attrs,
            label=label,
        )
        for name, slots, attrs, label in (
            ("sgd_update", 0, {}, ""),
            ("sgd_update", 1, {"momentum": 0.9, "nesterov": True}, "nesterov"),
            ("adam_update", 2, {"weight_decay": 0.01, "multiplier": 0.5}, ""),
            ("adam_update", 3, {"amsgrad": True}, "amsgrad"),
            ("rmsprop_update", 1, {}, ""),
            ("rmsprop_update", 2, {"momentum": 0.9}, "momentum"),
            ("adagrad_update", 1, {}, ""),
            ("adadelta_update", 2, {}, ""),
            ("adamax_update", 2, {}, ""),
            ("lion_update", 1, {}, ""),
            ("ftrl_update", 2, {"l1_regularization_strength": 0.5, "weight_decay": 0.01}, ""),
            ("lamb_update", 2, {"weight_decay": 0.01}, ""),
            ("schedule_free_adamw_update", 2, {"warmup_steps": 9}, ""),
            ("adam_update", 2, {"every": 3}, "due"),
            ("sgd_update", 1, {"momentum": 0.9, "every": 2}, "not due"),
        )
    ],
    Case("muon_update", (_X, _Y, np.array(0.1), np.array(3), _X), {"nesterov": False}),
    Case(
        "adafactor_update", (_X, _Y, np.array(0.1), np.array(3), abs(_X[:, 0]), abs(_X[0]), np.array(0.0)), {}
    ),
    Case("nadam_update", (_X, _Y, np.array(0.1), np.array(3), _X, abs(_Y), np.array(0.5)), {}),
]

ALL = [
    *CONVOLUTION,
    *POOLING,
    *DENSE,
    *PRODUCTS,
    *ELEMENTWISE,
    *FUNCTIONS,
    *REDUCTION,
    *REDUCTIONS,
    *SHAPING,
    *NORMALIZATION,
    *RANDOM,
    *IMAGES,
    *CHOOSING,
    *LOSS,
    *UPDATE,
]
