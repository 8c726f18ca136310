"""From the products of a step to the uses that a run holds, with what regularisers added told apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from kernelearn import regularizers
from kernelearn.engine.reference.conv import conv_grad_kernel
from kernelearn.errors import KernelearnError
from kernelearn.watching.keras.names import Names
from kernelearn.watching.keras.products import Product
from kernelearn.watching.keras.steps import Taken
from kernelearn.watching.seen import Array, SeenPart, SeenUse


def uses_of(
    taken: Taken, names: Names, before: Mapping[str, Array], scale: float
) -> tuple[dict[str, SeenUse], list[str]]:
    """(path of a kernel -> its uses, paths of those whose inputs have no row for each image).

    Args:
        before: path -> weight before the update.
        scale: number that the loss was multiplied by.
    """
    rows = 0 if taken.inputs is None else len(taken.inputs)
    by_path: dict[str, list[Product]] = {}
    for product in taken.products:
        if product.path in taken.gradients:
            by_path.setdefault(product.path, []).append(product)
    found, unmatched = {}, []
    for path, products in by_path.items():
        if any(a is None or len(a) != rows for p in products for a in (p.x, p.delta)):
            unmatched.append(path)
            continue
        is_penalised = getattr(names.variables[path], "regularizer", None) is not None
        penalty = _penalty(names.variables[path], before[path]) if is_penalised else None
        gradient = taken.gradients[path] / np.float32(scale)
        parts = _parts(products, gradient, penalty, is_penalised, scale)
        found[path] = SeenUse(products[0].kernel_shape, names.bias_of(path), parts)
    return found, unmatched


def _parts(
    products: list[Product], gradient: Array, penalty: Array | None, is_penalised: bool, scale: float
) -> tuple[SeenPart, ...]:
    """The uses; where a regulariser added to the gradient, each with its own part of it.

    What the framework computed for all uses together is given to the first, less the others and the penalty;
    a penalty whose derivative is not known here leaves the sum of the terms to the first as well.
    """
    plain = [product.part(scale, None) for product in products]
    if not is_penalised:
        return tuple(plain)
    shape = products[0].kernel_shape
    own = [_sum_of_terms(part, shape) for part in plain]
    if penalty is not None:
        own[0] = np.reshape(gradient - penalty, shape) - sum(own[1:])
    return tuple(replace(part, gradient=np.asarray(g, np.float32)) for part, g in zip(plain, own))


def _sum_of_terms(part: SeenPart, shape: tuple[int, ...]) -> Array:
    """dL/d(kernel) of one use, from its factors."""
    x, delta = part.x.astype(np.float64), part.delta.astype(np.float64)
    if part.kind == "dense":
        return np.asarray(x.reshape(-1, shape[0]).T @ delta.reshape(-1, shape[1]))
    window, at = (delta, x) if part.kind == "conv_transpose" else (x, delta)
    attrs = {name: part.attrs[name] for name in ("stride", "padding", "dilation", "groups")}
    return np.asarray(conv_grad_kernel(window, at, kernel_size=shape[:-2], precision="float32", **attrs))


def _penalty(variable: Any, value: Array) -> Array | None:
    """The gradient of the regulariser of a weight; None where it is not known here."""
    import keras

    try:
        own = regularizers.get(keras.regularizers.serialize(variable.regularizer))
        return np.asarray(own.gradient(value), np.float32)
    except (KernelearnError, NotImplementedError, AttributeError):
        return None
