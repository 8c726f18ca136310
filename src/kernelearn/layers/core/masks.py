"""Masks: which steps of a sequence count. They travel beside values, from layer to layer, as in Keras.

`Embedding(mask_zero=True)` and `Masking` make a mask (n, steps); a layer that knows masks passes it on, or
says another by `compute_mask`; whoever needs it (attention, a mean over the steps, the loss) finds it beside
the value. `ProgramBuilder.masks` holds them by the names of buffers.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from kernelearn import ops
from kernelearn.engine.program import Buffer, ProgramBuilder
from kernelearn.layers.core.own import innermost
from kernelearn.layers.core.structure import filled, with_places
from kernelearn.tracing import Traced, tracing

if TYPE_CHECKING:
    from kernelearn.layers.core.base import Layer

_warned: WeakSet[Any] = WeakSet()


def pass_masks(layer: Layer, graph: ProgramBuilder, first: Any, results: Sequence[Buffer]) -> None:
    """Put the mask of what a layer gives beside it, from the masks of its inputs.

    Args:
        first: the first argument of the call: a traced value, or several in a list, tuple or dict.
    """
    leaves: list[Any] = []
    form = with_places(first, lambda value: isinstance(value, Traced), leaves, each_once=False)
    known = [leaf.mask for leaf in leaves]
    has_own = type(layer).compute_mask is not _usual()
    if not leaves or not (has_own or any(mask is not None for mask in known)):
        return
    if not has_own and all(buffer.name in graph.masks for buffer in results):
        return  # a model in a model has passed them on itself
    if not (has_own or layer.supports_masking):
        _warn(layer)
        return
    with tracing(graph):
        mask = layer.compute_mask(first, filled(form, known))
    if mask is not None:
        graph.masks[results[0].name] = mask.buffer


def _usual() -> Any:
    from kernelearn.layers.core.base import Layer

    return Layer.compute_mask


def _warn(layer: Layer) -> None:
    """Say once of a layer that it loses a mask. Functions of `ops` and models of layers do so silently, and
    the parts of the library's own layers, which see to their masks themselves."""
    frame = innermost()
    is_inner = frame is not None and type(frame.layer).__module__.startswith("kernelearn.layers.")
    if layer in _warned or layer.loses_masks_silently or is_inner:
        return
    _warned.add(layer)
    warnings.warn(
        f"Layer {layer.name!r} ({type(layer).__name__}) gets values with a mask and does not know masks: "
        "layers behind it will not see it. Set supports_masking = True where it may pass on, or define "
        "compute_mask(self, inputs, mask).",
        UserWarning,
        stacklevel=2,
    )


def masked_weights(
    graph: ProgramBuilder, mask: Buffer, weights: Buffer, rank: int, reduction: str | None
) -> Buffer:
    """Weights of a loss, (n,) or of positions, that leave out what a mask leaves out.

    Args:
        rank: axes of the values of the loss; a mask of more axes belongs to something else.
        reduction: of the loss: a mean is over the values that count.
    """
    if len(mask.shape) > rank:
        return weights
    with tracing(graph):
        counts = ops.cast(Traced(graph, mask), weights.dtype)
        weight = Traced(graph, weights)
        for _ in range(counts.ndim - weight.ndim):
            weight = ops.expand_dims(weight, -1)
        for _ in range(weight.ndim - counts.ndim):
            counts = ops.expand_dims(counts, -1)
        chosen = weight * counts
        if reduction in ("sum_over_batch_size", "mean"):
            chosen = chosen / ops.maximum(ops.mean(counts), 1e-7)
        result: Buffer = chosen.buffer
    return result
