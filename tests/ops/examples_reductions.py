"""Examples of reductions over any axes, and of running sums and products."""

import numpy as np
from scipy import special

from tests.ops.example import NORMAL, UNIT, Example

# Axes, and whether what is left has the images first.
AXES = [(None, False), (0, False), (1, True), (-1, True), ((1, 2), True), ((0, 1), False), ((0, 2), False)]


def _reductions(name, oracle, array=NORMAL, **more):
    """Over all axes, with and without the reduced ones."""
    for axis, is_batched in AXES:
        for keepdims in (False, True):
            yield Example(
                name,
                lambda f, x, a=axis, k=keepdims: f(x, axis=a, keepdims=k),
                lambda x, a=axis, k=keepdims: oracle(x, axis=a, keepdims=k),
                (array,),
                is_batched=is_batched,
                label=f"{axis} {keepdims}",
                **more,
            )


def _each(axes, name, call, oracle, **more):
    for axis in axes:
        yield Example(
            name,
            lambda f, x, a=axis: call(f, x, a),
            lambda x, a=axis: oracle(x, a),
            is_batched=axis not in (None, 0),
            label=str(axis),
            **more,
        )


_INDEX = {"dtype": "int32"}
REDUCTIONS = [
    *_reductions("sum", np.sum),
    *_reductions("mean", np.mean),
    *_reductions("max", np.max),
    *_reductions("min", np.min),
    *_reductions("var", np.var),
    *_reductions("prod", np.prod, UNIT),
    *_reductions("logsumexp", special.logsumexp),
    *_each((1, None), "std", lambda f, x, a: f(x, a), lambda x, a: np.std(x, a)),
    *_each((1, None), "amax", lambda f, x, a: f(x, a), np.max),
    *_each((1, None), "amin", lambda f, x, a: f(x, a), np.min),
    *_each((1, 0), "max", lambda f, x, a: f(x, a, initial=0.5), lambda x, a: np.max(x, a, initial=0.5)),
    *_each((1, 0, None), "any", lambda f, x, a: f(x > 1, a), lambda x, a: np.any(x > 1, a), dtype="bool"),
    *_each((1, 0, None), "all", lambda f, x, a: f(x > -1, a), lambda x, a: np.all(x > -1, a), dtype="bool"),
    *_each((1, 0), "sum", lambda f, x, a: f(x > 0, a), lambda x, a: np.sum(x > 0, a, "int32"), **_INDEX),
    *_each((1, -1, 0), "argmax", lambda f, x, a: f(x, a), np.argmax, **_INDEX),
    *_each(
        (1, None),
        "argmin",
        lambda f, x, a: f(x, a, keepdims=True),
        lambda x, a: np.argmin(x, a, keepdims=True),
        **_INDEX,
    ),
    *_each(
        (1, None),
        "count_nonzero",
        lambda f, x, a: f(x > 0, a),
        lambda x, a: np.count_nonzero(x > 0, a),
        **_INDEX,
    ),
    *_each((1, -1, 0, None), "cumsum", lambda f, x, a: f(x, a), np.cumsum),
    *_each((1, -1, 0), "cumprod", lambda f, x, a: f(x, a), np.cumprod),
    *[
        Example(
            "norm",
            lambda f, x, o=order, a=axis: f(x, o, axis=a),
            lambda x, o=order, a=axis: (
                np.linalg.norm(x, o, axis=a) if a is not None else np.sqrt((x * x).sum())
            ),
            is_batched=axis is not None,
            label=f"{order} {axis}",
        )
        for order, axis in (
            (None, None),
            (None, 1),
            (2, 1),
            (1, -1),
            (3, 1),
            (0, 1),
            (np.inf, 1),
            (-np.inf, 1),
            ("fro", (1, 2)),
            (1, (1, 2)),
            (-np.inf, (2, 1)),
        )
    ],
    Example("moments", lambda f, x: f(x, (1, 2)), lambda x: [x.mean((1, 2)), x.var((1, 2))]),
    Example(
        "moments",
        lambda f, x: f(x, 0, True),
        lambda x: [x.mean(0, keepdims=True), x.var(0, keepdims=True)],
        is_batched=False,
        label="first",
    ),
]
