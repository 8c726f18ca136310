"""The factors of a gradient from a live model and one batch, for a ledger without a recorded run.

A training step is run without its updates: nothing of the model changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from kernelearn.errors import ArgumentError, unknown_name
from kernelearn.recording.capture.taps import Use, find_taps
from kernelearn.recording.factors import Factors, Part
from kernelearn.training.steps.step import Clock, class_numbers

_OWN = ("x", "delta", "gradient")


def factors_of(
    model: Any,
    x: Any,
    y: Any,
    layer: str,
    weight: str = "kernel",
    images: Any = None,
    sample_weight: Any = None,
    seed: int = 0,
) -> Factors:
    """What the next gradient of a weight is made of, if the model were trained on this batch now.

    Args:
        model: compiled.
        x, y: one batch.
        layer: path of the layer; weight: name of its weight; "kernel" also finds its only kernel.
        images: (n,) numbers of the images in the data; the rows of the batch by default.
        seed: of dropout and augmentation.
    Raises: UnknownNameError for a weight that no convolution or dense operator trains; NotBuiltError.

    >>> from kernelearn import Sequential, explain
    >>> from kernelearn.layers import Conv2D, Flatten, Input
    >>> model = Sequential([Input((4, 4, 1)), Conv2D(2, 3, name="conv"), Flatten()])
    >>> model.compile("sgd", "mse")
    >>> factors = factors_of(model, np.ones((5, 4, 4, 1)), np.zeros((5, 8)), "conv")
    >>> explain.ledger(factors, weight=(0, 0, 0, 1)).terms.shape  # 5 images, 2 x 2 positions
    (20,)
    """
    batch = model.batch(x, y, sample_weight)
    step = model.programs.step_on("train", batch)
    names = {id(w): path for path, w in model.weight_paths().items()}
    paths = {name: names[id(v)] for name, v in step.variables.items() if id(v) in names}
    taps = find_taps(step.program, paths)
    path = _path(layer, weight, taps.uses)
    use, gradient = taps.uses[path], taps.gradients[path]
    bias = None if use.bias is None else taps.gradients[use.bias]
    wanted = {"gradient": gradient, **({"bias": bias} if bias else {}), **_labels(use)}
    found = step.keeping(wanted).without_updates().run(batch, Clock.of(model.optimizer, seed)).buffers(wanted)
    parts = tuple(_part(use, number, found) for number in range(len(use.parts)))
    return Factors(
        parts[0].kind,
        parts[0].x,
        parts[0].delta,
        gradient=found["gradient"],
        bias_gradient=found.get("bias"),
        attrs=parts[0].attrs,
        images=np.arange(batch.rows) if images is None else np.asarray(images, np.int64),
        labels=_classes(y),
        layer=layer,
        weight=path.rpartition("/")[2],
        step=int(model.optimizer.iterations) + 1,
        parts=parts,
        kernel_shape=use.kernel_shape,
    )


def _path(layer: str, weight: str, uses: Mapping[str, Use]) -> str:
    """The path of a weight that has factors; "kernel" stands for the only kernel of a layer too."""
    if f"{layer}/{weight}" in uses:
        return f"{layer}/{weight}"
    kernels = [path for path in uses if path.rpartition("/")[0] == layer]
    if weight == "kernel" and len(kernels) == 1:
        return kernels[0]
    if weight == "kernel" and len(kernels) > 1:
        names = [path.rpartition("/")[2] for path in kernels]
        raise ArgumentError(f"Layer {layer!r} has several kernels; give weight= one of {names}.")
    raise unknown_name("trained kernel", f"{layer}/{weight}", uses)


def _labels(use: Use) -> dict[str, str]:
    """Label -> buffer for everything that the parts need."""
    buffers = {(i, name): getattr(part, name) for i, part in enumerate(use.parts) for name in _OWN}
    return {f"{name}_{i}": buffer for (i, name), buffer in buffers.items() if buffer is not None}


def _part(use: Use, number: int, found: Mapping[str, np.ndarray]) -> Part:
    tap = use.parts[number]
    attrs = {name: _tuples(value) for name, value in tap.attrs.items()}
    own = found.get(f"gradient_{number}")
    return Part(tap.kind, found[f"x_{number}"], found[f"delta_{number}"], attrs, own)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list | tuple) else value


def _classes(y: Any) -> np.ndarray | None:
    """(n,) class numbers of integer or one-hot targets; None for other targets."""
    return None if isinstance(y, Mapping | list | tuple) else class_numbers(np.asarray(y))
