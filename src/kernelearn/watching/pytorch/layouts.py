"""PyTorch's arrays in this library's layouts: views where that is possible, on the CPU, in float32.

images (n, c, *size) -> (n, *size, c)      kernel (f, c / groups, *size) -> (*size, c / groups, f)
dense weight (outputs, inputs) -> (inputs, outputs)
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kernelearn.watching.seen import Array


def array_of(tensor: Any) -> Array:
    """A tensor as an array: a view of its memory where it is float32 or float64 on the CPU."""
    found = tensor.detach()
    if found.is_floating_point() and str(found.dtype) not in ("torch.float32", "torch.float64"):
        found = found.float()
    values: Array = found.cpu().numpy()
    return values


def images_last(array: Array) -> Array:
    """(n, c, *size) -> (n, *size, c)."""
    return np.moveaxis(array, 1, -1)


def kernel_last(array: Array) -> Array:
    """(f, c, *size) -> (*size, c, f)."""
    return np.transpose(array, (*range(2, array.ndim), 1, 0))


def weight_name(name: str, shape: tuple[int, ...], is_norm: bool) -> str:
    """What a parameter is called here: "weight" is a kernel, or the gamma of a normalisation.

    >>> weight_name("weight", (8, 3, 3, 3), False), weight_name("weight", (8,), True)
    ('kernel', 'gamma')
    """
    norm = {
        "weight": "gamma",
        "bias": "beta",
        "running_mean": "moving_mean",
        "running_var": "moving_variance",
    }
    if is_norm:
        return norm.get(name, name)
    return "kernel" if name == "weight" and len(shape) > 1 else name
