"""Gradients of whole kernels from their factors, in float64: all ledgers of a weight at once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from kernelearn.engine.reference.conv import conv_grad_kernel
from kernelearn.engine.reference.dense import dense_grad_kernel
from kernelearn.recording.factors import Factors


def gradient_of(factors: Factors) -> np.ndarray:
    """The whole gradient from its factors, in float64 and the weight's shape: all ledgers of a layer, summed.

    Compare `factors.from_data`, which the engine computed in its own precision.
    """
    total = np.zeros(factors.kernel_shape)
    for part in factors.parts:
        x, delta = part.x.astype(np.float64), part.delta.astype(np.float64)
        if part.kind == "dense":
            total += dense_grad_kernel(x, delta, precision=part.attrs["precision"])
            continue
        attrs = {name: part.attrs[name] for name in ("stride", "padding", "dilation", "groups", "precision")}
        window, at = (x, delta) if part.kind == "conv" else (delta, x)
        total += conv_grad_kernel(window, at, kernel_size=factors.kernel_shape[:-2], **attrs)
    return total.reshape(factors.gradient.shape)


def gradient_by_image(factors: Factors) -> tuple[np.ndarray, np.ndarray]:
    """(images (n,), gradients (n, *weight)) in float64: what entered at the positions of each row."""
    rows = [gradient_of(_only_row(factors, row)) for row in range(len(factors.x))]
    return np.asarray(factors.images), np.stack(rows)


def _only_row(factors: Factors, row: int) -> Factors:
    one = slice(row, row + 1)
    parts = tuple(replace(p, x=p.x[one], delta=p.delta[one], gradient=None) for p in factors.parts)
    return replace(factors, parts=parts)
