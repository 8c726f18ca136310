"""Losses that end a training step."""

from __future__ import annotations

from typing import Any

import torch
from torch.fx import Node

from kernelearn.engine.program import Buffer
from kernelearn.torch.translation.region import Region
from kernelearn.torch.translation.table import CannotTranslate, rule
from kernelearn.torch.translation.values import Value

aten = torch.ops.aten
# PyTorch's numbers of reductions.
_MEAN, _SUM = 1, 2


@rule(aten.cross_entropy_loss.default, whole_numbers=(1,))
def cross_entropy(
    region: Region,
    node: Node,
    scores: Node,
    labels: Node,
    weight: Any,
    reduction: int,
    ignored: int,
    smoothing: float,
) -> Value:
    """-log softmax(scores)[label], summed or averaged over the labels that are not ignored."""
    if weight is not None or smoothing or reduction not in (_MEAN, _SUM):
        raise CannotTranslate("a cross-entropy with class weights, smoothing or without a sum")
    if labels.meta["val"].dtype != torch.int64 or region.shape(labels)[:1] != (None,):
        raise CannotTranslate("a cross-entropy of other targets than class numbers")
    images, target = region.images(scores), region.plain(labels)
    loss, _ = region.add(
        "loss",
        images,
        target,
        _ones(region, images, target),
        kind="sparse_categorical_crossentropy",
        reduction="sum" if reduction == _SUM else "sum_over_batch_size",
        from_logits=True,
        ignore_class=ignored,
    )
    return Value.plain(loss)


def _ones(region: Region, images: Buffer, target: Buffer) -> Buffer:
    """A weight of 1 for each image."""
    if len(target.shape) > 1:
        corner = (None, *((0, 1) for _ in images.shape[1:]))
        target = region.add("reshape", region.add("slice", images, bounds=corner), shape=(None,))
    ones: Buffer = region.add("fill_like", target, value=1.0, dtype="float32")
    return ones
