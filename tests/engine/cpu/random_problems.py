"""Random problems by family: odd sizes, single pixels, prime channel counts, strides beyond windows, groups.

`FAMILIES` is family -> function (random generator) -> Problem. The same seed gives the same problem.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from kernelearn.engine.reference.activations import ACTIVATIONS
from kernelearn.engine.reference.losses import LOSSES
from tests.engine import oracles
from tests.engine.cpu.harness import UNIT_ROUNDOFF, Problem
from tests.engine.geometries import Geometry, geometry

Rng = np.random.Generator

CHANNELS = (1, 1, 2, 3, 4, 5, 7, 8, 11, 13, 16, 17, 19, 24, 31, 32, 37)
PADDINGS = ("valid", "valid", "same", "same", "random")


def normal(rng: Rng, *shape: int) -> np.ndarray:
    return rng.normal(size=shape).astype("float32")


def distinct(rng: Rng, *shape: int) -> np.ndarray:
    """Numbers no two of which are equal, so that a maximum has one place."""
    count = int(np.prod(shape))
    return ((rng.permutation(count) - count // 2 + 0.5) / 16).reshape(shape).astype("float32")


def _pick(rng: Rng, values) -> int:
    return int(values[rng.integers(len(values))])


def _sizes(rng: Rng, rank: int, largest: int) -> tuple[int, ...]:
    """Map sizes; one in five is a single pixel."""
    return tuple(1 if rng.random() < 0.2 else int(rng.integers(1, largest + 1)) for _ in range(rank))


def random_geometry(rng: Rng, groups: bool = True, dilation: bool = True) -> Geometry:
    """A window that fits into its map; drawn again until one does."""
    while True:
        rank = _pick(rng, (1, 2, 2, 2, 3))
        sizes = _sizes(rng, rank, (0, 40, 15, 6)[rank])
        kernel = tuple(int(rng.integers(1, (0, 9, 6, 4)[rank])) for _ in range(rank))
        stride = tuple(_pick(rng, (1, 1, 1, 2, 2, 3, 5)) for _ in range(rank))
        steps = tuple(_pick(rng, (1, 1, 1, 2, 3)) if dilation else 1 for _ in range(rank))
        padding = PADDINGS[rng.integers(len(PADDINGS))]
        if padding == "random":
            low = -1 if groups else 0
            pairs = [tuple(int(p) for p in rng.integers(low, k + 1, 2)) for k in kernel]
            padding = (
                tuple(pairs)
                if groups
                else tuple((min(a, k - 1), min(b, k - 1)) for (a, b), k in zip(pairs, kernel))
            )
        count = _pick(rng, (1, 1, 1, 2, 3)) if groups else 1
        channels, filters = count * _pick(rng, CHANNELS), count * _pick(rng, CHANNELS)
        g = geometry("random", sizes, kernel, stride, steps, padding, count, channels, filters)
        spans = [n + sum(p) - (k - 1) * d for n, p, k, d in zip(sizes, g.padding, kernel, steps)]
        kept = [n + min(p[0], 0) + min(p[1], 0) for n, p in zip(sizes, g.padding)]
        if min(spans) >= 1 and min(kept) >= 1 and channels * filters <= 1200:
            return g


def convolution(rng: Rng) -> Problem:
    g = random_geometry(rng)
    n, taps = int(rng.integers(1, 6)), int(np.prod(g.kernel))
    outputs = oracles.output_sizes(g.sizes, g.kernel, g.stride, g.dilation, g.padding)
    x, grad = normal(rng, n, *g.sizes, g.channels), normal(rng, n, *outputs, g.filters)
    kernel = normal(rng, *g.kernel, g.channels // g.groups, g.filters)
    to_input = {"terms": taps * g.filters // g.groups}
    choices = (
        Problem("conv", (x, kernel), g.attrs, terms=taps * g.channels // g.groups),
        Problem("conv_grad_input", (grad, kernel), {"input_size": g.sizes, **g.attrs}, **to_input),
        Problem(
            "conv_grad_kernel",
            (x, grad),
            {"kernel_size": g.kernel, **g.attrs},
            terms=n * int(np.prod(outputs)),
        ),
        Problem("conv_transpose", (grad, kernel), {"output_size": g.sizes, **g.attrs}, **to_input),
    )
    return choices[rng.integers(len(choices))]


def _one_pass(rng: Rng, x: np.ndarray, grad: np.ndarray, weights: np.ndarray, windows: dict) -> Problem:
    """Forward pass, input gradient or kernel gradient of a convolution without groups."""
    attrs, sizes, kernel = {**windows, "groups": 1}, x.shape[1:-1], weights.shape[:-2]
    taps, places = int(np.prod(kernel)), int(np.prod(grad.shape[:-1]))
    channels, filters = weights.shape[-2:]
    choices = (
        Problem("conv", (x, weights), attrs, terms=taps * channels),
        Problem("conv_grad_input", (grad, weights), {"input_size": sizes, **attrs}, terms=taps * filters),
        Problem("conv_grad_kernel", (x, grad), {"kernel_size": kernel, **attrs}, terms=places),
    )
    return choices[rng.integers(len(choices))]


def minimal_filtering(rng: Rng) -> Problem:
    """Windows and so many channels that they are multiplied by Winograd's method, with holes as well."""
    rank = _pick(rng, (1, 1, 2, 2, 3))
    sizes, kernel, stride = _sizes(rng, rank, (0, 150, 15, 8)[rank]), (3,) * rank, (1,) * rank
    if rank == 1:
        kernel, stride = (int(rng.integers(2, 10)),), (_pick(rng, (1, 1, 2, 3)),)
    while True:
        dilation = tuple(_pick(rng, (1, 1, 2, 3)) if max(stride) == 1 else 1 for _ in sizes)
        padding = tuple((int(a), int(b)) for a, b in rng.integers(-1, 2 + max(kernel), (len(sizes), 2)))
        room = [n + a + b - (k - 1) * d for n, (a, b), k, d in zip(sizes, padding, kernel, dilation)]
        # NOTE: cropping more than the image has is no convolution.
        if min(room) >= 1 and all(n + min(a, 0) + min(b, 0) >= 1 for n, (a, b) in zip(sizes, padding)):
            break
    outputs = tuple((n - 1) // s + 1 for n, s in zip(room, stride))
    n, channels, filters = (
        int(rng.integers(1, 6)),
        *(_pick(rng, (40, 48, 67, 96) if rank == 1 else (8, 11, 16, 17, 32, 40, 67)) for _ in range(2)),
    )
    x, grad = normal(rng, n, *sizes, channels), normal(rng, n, *outputs, filters)
    weights = normal(rng, *kernel, channels, filters)
    return _one_pass(rng, x, grad, weights, {"stride": stride, "padding": padding, "dilation": dilation})


def filtered_rows(rng: Rng) -> Problem:
    """Large windows and so many channels that their rows are filtered, with steps and holes as well."""
    while True:
        sizes = tuple(rng.integers(6, 40, 2).tolist())
        kernel = (_pick(rng, (2, 3, 5)), _pick(rng, (4, 5, 7, 8, 11)))
        stride = (_pick(rng, (1, 1, 2, 4)), 1 if kernel[1] <= 5 else int(rng.integers(2, 5)))
        dilation = (_pick(rng, (1, 1, 2)), 1)
        padding = tuple((int(a), int(b)) for a, b in rng.integers(-1, max(kernel), (2, 2)))
        room = [n + a + b - (k - 1) * d for n, (a, b), k, d in zip(sizes, padding, kernel, dilation)]
        if min(room) >= 4:
            break
    outputs = tuple((n - 1) // s + 1 for n, s in zip(room, stride))
    channels = _pick(rng, (24, 32, 37) if stride[1] == 1 else (3, 5, 12, 17))
    n, filters = int(rng.integers(1, 5)), _pick(rng, (25, 40, 48))
    x, grad = normal(rng, n, *sizes, channels), normal(rng, n, *outputs, filters)
    weights = normal(rng, *kernel, channels, filters)
    return _one_pass(rng, x, grad, weights, {"stride": stride, "padding": padding, "dilation": dilation})


def dense(rng: Rng) -> Problem:
    n, inside = int(rng.integers(1, 40)), () if rng.random() < 0.7 else (int(rng.integers(1, 9)),)
    c, k = _pick(rng, (*CHANNELS, 50, 64, 97, 130)), _pick(rng, (*CHANNELS, 50, 64, 97, 130))
    x, grad, kernel = normal(rng, n, *inside, c), normal(rng, n, *inside, k), normal(rng, c, k)
    rows = n * int(np.prod(inside))
    choices = (
        Problem("dense", (x, kernel), terms=c),
        Problem("dense_grad_input", (grad, kernel), terms=k),
        Problem("dense_grad_kernel", (x, grad), terms=rows),
        Problem("bias_add", (x, normal(rng, c)), terms=1),
        Problem("bias_grad", (x,), terms=rows),
    )
    return choices[rng.integers(len(choices))]


def product(rng: Rng) -> Problem:
    """Matrices stored either way, with leading axes that are broadcast; a single number of some sizes."""
    m, k, n = (_pick(rng, (*CHANNELS, 33, 50, 64)) for _ in range(3))
    batch = tuple(int(s) for s in rng.integers(1, 4, rng.integers(0, 3)))
    turned = [bool(rng.random() < 0.5) for _ in range(2)]
    arrays = []
    for (rows, columns), is_turned in zip(((m, k), (k, n)), turned):
        own = tuple(1 if i and rng.random() < 0.3 else s for i, s in enumerate(batch))
        own = () if arrays and rng.random() < 0.2 else own
        arrays.append(normal(rng, *own, *((columns, rows) if is_turned else (rows, columns))))
    return Problem("matmul", tuple(arrays), dict(zip(("transpose_a", "transpose_b"), turned)), terms=k)


def pooling(rng: Rng) -> Problem:
    g = random_geometry(rng, groups=False, dilation=False)
    n, c, window = int(rng.integers(1, 5)), _pick(rng, CHANNELS), int(np.prod(g.kernel))
    attrs = {"size": g.kernel, "stride": g.stride, "padding": g.padding}
    outputs = oracles.output_sizes(g.sizes, g.kernel, g.stride, g.dilation, g.padding)
    x, grad = distinct(rng, n, *g.sizes, c), normal(rng, n, *outputs, c)
    back = {"input_size": g.sizes, **attrs}
    where = rng.integers(0, window, grad.shape).astype("int32")
    choices = (
        Problem("max_pool", (x,), attrs, terms=1),
        Problem("max_pool_grad", (grad, where), back, terms=window),
        Problem("max_pool_take", (x, where), attrs, terms=1),
        Problem("average_pool", (x,), attrs, terms=window + 1),
        Problem("average_pool_grad", (grad,), back, terms=window + 1),
    )
    return choices[rng.integers(len(choices))]


def _tensor(rng: Rng) -> tuple[int, ...]:
    rank = _pick(rng, (0, 1, 2, 2, 3))
    return (int(rng.integers(1, 6)), *_sizes(rng, rank, (1, 20, 9, 5)[rank]), _pick(rng, CHANNELS))


def entrywise(rng: Rng) -> Problem:
    shape = _tensor(rng)
    x, other = distinct(rng, *shape) + np.float32(0.01), normal(rng, *shape)
    row = normal(rng, shape[-1])
    pairs = ("add", "subtract", "multiply", "maximum", "minimum")
    if rng.random() < 0.35:
        name = pairs[rng.integers(len(pairs))]
        second = (other, row, row[:1], other[:1])[rng.integers(4)]
        return Problem(name, (x, second), ulps=1, images=(0, 1) if second.shape == shape else (0,))
    if rng.random() < 0.3:
        factor, offset = float(rng.normal()), float(rng.normal()) if rng.random() < 0.5 else 0.0
        choices = (
            Problem("scale", (x,), {"factor": factor, "offset": offset}, ulps=2),
            Problem("affine", (x, row, row[::-1]), ulps=2),
            Problem("standardize", (x, row, np.abs(row)), {"epsilon": 1e-3}, ulps=8),
            Problem("prelu", (x, np.abs(row)), ulps=2),
        )
        return choices[rng.integers(len(choices))]
    kinds = list(ACTIVATIONS)
    attrs = {"kind": kinds[rng.integers(len(kinds))]}
    if attrs["kind"] == "relu" and rng.random() < 0.5:
        attrs.update(negative_slope=0.25, max_value=1.5, threshold=0.25)
    if attrs["kind"] == "threshold":
        attrs.update(threshold=0.25, default_value=-1.0)
    forward = {k: v for k, v in attrs.items() if k != "kind"}
    y = ACTIVATIONS[attrs["kind"]].forward(x.astype("float64"), **forward).astype("float32")
    if rng.random() < 0.5:
        return Problem("activation", (x,), attrs)
    return Problem("activation_grad", (other, x, y), attrs)


def reduction(rng: Rng) -> Problem:
    shape = _tensor(rng)
    x, axis = normal(rng, *shape), int(rng.integers(1, len(shape)))
    y = np.exp(x - x.max(axis, keepdims=True))
    y /= y.sum(axis, keepdims=True)
    axes = tuple(range(1, len(shape) - 1)) or (1,)
    grad = normal(rng, *shape)
    count = shape[axis]
    some = tuple(sorted(int(a) for a in rng.choice(len(shape), rng.integers(1, len(shape) + 1), False)))
    kept = tuple(s for i, s in enumerate(shape) if i not in some)
    images = None if rng.random() < 0.5 else ()
    choices = (
        Problem("reduce_min", (x,), {"axes": some}, ulps=0.5, images=images),
        Problem("reduce_mean", (x,), {"axes": some}, terms=x.size + 1, images=images),
        Problem("sum_to", (x,), {"axes": some, "shape": kept}, terms=x.size, images=()),
        Problem("softmax", (x,), {"axis": axis}, ulps=64 + count),
        Problem("softmax_grad", (grad, y), {"axis": axis}, ulps=64 + 4 * count),
        Problem("log_softmax", (x,), {"axis": axis}, ulps=64 + count),
        Problem("log_softmax_grad", (grad, np.log(y)), {"axis": axis}, ulps=64 + 4 * count),
        Problem("reduce_mean", (x,), {"axes": axes}, terms=int(np.prod([shape[a] for a in axes])) + 1),
        Problem("reduce_max", (x,), {"axes": axes}, ulps=0.5),
    )
    return choices[rng.integers(len(choices))]


def normalization(rng: Rng) -> Problem:
    shape = _tensor(rng)
    while len(shape) < 3:
        shape = _tensor(rng)
    x, grad = normal(rng, *shape), normal(rng, *shape)
    axes = tuple(range(len(shape) - 1)) if rng.random() < 0.7 else tuple(range(1, len(shape)))
    count = int(np.prod([shape[a] for a in axes]))
    # NOTE: where the variance is small, epsilon bounds the factor 1 / sqrt(variance + epsilon) by 32.
    attrs, ulps = {"axes": axes, "epsilon": 1e-3}, 64.0 * 32 + 4 * count
    rest = [s for i, s in enumerate(shape) if i not in axes]
    scale = np.abs(normal(rng, *rest)) + np.float32(0.1)
    if rng.random() < 0.5:
        # NOTE: x factor + offset is rounded relative to x, also where x equals the mean and the result is 0.
        largest = max(1.0, float(np.abs(x).max()))
        limit = 2 * ulps * UNIT_ROUNDOFF * largest**2
        bound = {"bound": lambda _, wide: [np.full(e.shape, limit) for e in wide]}
        return Problem("normalize", (x,), attrs, **bound)
    return Problem("normalize_grad", (grad, normal(rng, *shape), scale), attrs, ulps=ulps)


def loss(rng: Rng) -> Problem:
    kinds = list(LOSSES)
    kind = kinds[rng.integers(len(kinds))]
    n, inside = int(rng.integers(1, 40)), () if rng.random() < 0.8 else (int(rng.integers(1, 5)),)
    classes = _pick(rng, (2, 3, 5, 10, 16, 17, 33))
    labels = rng.integers(0, classes, (n, *inside))
    scores = rng.uniform(0.1, 0.9, (n, *inside, classes)).astype("float32")
    spread = (0.8 * np.eye(classes)[labels] + 0.05).astype("float32")
    targets = (
        labels if LOSSES[kind].integer_labels else spread if "hinge" not in kind else np.eye(classes)[labels]
    )
    attrs = {
        "kind": kind,
        "reduction": ("sum_over_batch_size", "sum", "mean_with_sample_weight")[rng.integers(3)],
    }
    if kind.endswith("crossentropy") and rng.random() < 0.5:
        attrs["from_logits"] = True
    arrays, ulps = (scores, targets, rng.uniform(0, 2, n).astype("float32")), 64.0 + n + classes
    if rng.random() < 0.5:
        return Problem("loss", arrays, attrs, ulps=ulps)
    return Problem("loss_grad", (np.array(1.25), *arrays), attrs, ulps=ulps)


OPTIMIZERS = (
    ("sgd_update", 0, {}),
    ("sgd_update", 1, {"momentum": 0.9}),
    ("sgd_update", 1, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    ("adam_update", 2, {}),
    ("adam_update", 2, {"weight_decay": 0.01, "multiplier": 0.5}),
    ("adam_update", 3, {"amsgrad": True}),
    ("rmsprop_update", 1, {}),
    ("rmsprop_update", 2, {"momentum": 0.9}),
    ("adagrad_update", 1, {}),
    ("adadelta_update", 2, {}),
    ("adamax_update", 2, {}),
    ("lion_update", 1, {}),
)


def update(rng: Rng) -> Problem:
    name, slots, attrs = OPTIMIZERS[rng.integers(len(OPTIMIZERS))]
    shape = _tensor(rng)[int(rng.integers(0, 2)) :]
    arrays = [normal(rng, *shape), normal(rng, *shape)]
    clock = np.array(0.01), np.array(int(rng.integers(1, 1000)))
    carried = [np.abs(normal(rng, *shape)) for _ in range(slots)]
    return Problem(name, (*arrays, *clock, *carried), attrs)


def shaping(rng: Rng) -> Problem:
    shape = _tensor(rng)
    x = normal(rng, *shape)
    free = [
        None,
        *(None if rng.random() < 0.4 else tuple(sorted(rng.choice(s + 1, 2, False))) for s in shape[1:]),
    ]
    bounds = tuple(None if b is None else (int(b[0]), int(b[1])) for b in free)
    padding = ((0, 0), *(tuple(int(p) for p in rng.integers(0, 4, 2)) for _ in shape[1:]))
    axis = int(rng.integers(1, len(shape)))
    sizes = [(*shape[:axis], int(rng.integers(1, 9)), *shape[axis + 1 :]) for _ in range(rng.integers(1, 4))]
    parts = tuple(normal(rng, *s) for s in sizes)
    factors = tuple(int(f) for f in rng.integers(1, 4, len(shape) - 2))
    choices = [
        Problem("slice", (x,), {"bounds": bounds}, terms=1),
        Problem("pad", (x,), {"padding": padding}, terms=1),
        Problem("concatenate", parts, {"axis": axis}, ulps=0.5),
        Problem("reshape", (x,), {"shape": (shape[0], int(np.prod(shape[1:])))}, terms=1),
    ]
    if factors:
        choices.append(Problem("upsample", (x,), {"factors": factors}, terms=1))
    return choices[rng.integers(len(choices))]


FAMILIES: dict[str, Callable[[Rng], Problem]] = {
    "convolution": convolution,
    "minimal_filtering": minimal_filtering,
    "filtered_rows": filtered_rows,
    "dense": dense,
    "product": product,
    "pooling": pooling,
    "entrywise": entrywise,
    "reduction": reduction,
    "normalization": normalization,
    "loss": loss,
    "update": update,
    "shaping": shaping,
}
