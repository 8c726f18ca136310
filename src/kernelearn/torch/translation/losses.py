"""Losses that end a training step."""

from __future__ import annotations

from typing import Any

import torch
from torch.fx import Node

from kernelearn.engine.arrays import known
from kernelearn.engine.program import Buffer
from kernelearn.torch.translation.activations import number
from kernelearn.torch.translation.arithmetic import scaled
from kernelearn.torch.translation.broadcasting import as_numbers, together
from kernelearn.torch.translation.region import Region
from kernelearn.torch.translation.table import CannotTranslate, arguments, rule
from kernelearn.torch.translation.values import Order, Value

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
    if labels.meta["val"].dtype == torch.float32:
        return _of_shares(region, scores, labels, reduction)
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


def _of_shares(region: Region, scores: Node, shares: Node, reduction: int) -> Value:
    """-sum over classes of share log softmax(x), summed or averaged over images and places."""
    images, targets = region.images(scores), region.images(shares)
    likelihood = region.add("log_softmax", images, axis=len(images.shape) - 1)
    terms = Value.images(region.add("multiply", scaled(region, targets, -1.0), likelihood))
    found = _ended(region, terms, reduction)
    classes = known(images.shape[-1]) if reduction == _MEAN else 1
    return Value(scaled(region, found.buffer, classes), found.order)


def _ones(region: Region, images: Buffer, target: Buffer) -> Buffer:
    """A weight of 1 for each image."""
    if len(target.shape) > 1:
        corner = (None, *((0, 1) for _ in images.shape[1:]))
        target = region.add("reshape", region.add("slice", images, bounds=corner), shape=(None,))
    ones: Buffer = region.add("fill_like", target, value=1.0, dtype="float32")
    return ones


@rule(aten.nll_loss_nd.default, whole_numbers=(1,))
def negative_likelihood(
    region: Region, node: Node, scores: Node, labels: Node, weight: Any, reduction: int, ignored: int
) -> Value:
    """-scores[label] behind a log softmax over the classes, which a second one leaves as it is."""
    is_normalised = scores.target is aten.log_softmax.int and arguments(scores)[1] in (1, 1 - _rank(scores))
    if not is_normalised:
        raise CannotTranslate("a likelihood of other scores than a log softmax")
    return cross_entropy(region, node, scores, labels, weight, reduction, ignored, 0.0)


def _rank(node: Node) -> int:
    rank: int = node.meta["val"].dim()
    return rank


@rule(aten.mse_loss.default)
def squared(region: Region, node: Node, x: Node, y: Node, reduction: int) -> Value:
    """(x - y)^2."""
    difference, order = _difference(region, x, y)
    return _ended(region, Value(region.add("square", difference), order), reduction)


@rule(aten.l1_loss.default)
def absolute(region: Region, node: Node, x: Node, y: Node, reduction: int) -> Value:
    """|x - y|."""
    difference, order = _difference(region, x, y)
    return _ended(region, Value(region.add("abs", difference), order), reduction)


@rule(aten.huber_loss.default)
def huber(region: Region, node: Node, x: Node, y: Node, reduction: int, delta: float) -> Value:
    """m (|x - y| - m / 2) with m = min(|x - y|, delta): half the square up to delta, straight behind it."""
    difference, order = _difference(region, x, y)
    distance = region.add("abs", difference)
    near = region.add("minimum", distance, number(region, delta))
    rest = region.add("subtract", distance, scaled(region, near, 0.5))
    return _ended(region, Value(region.add("multiply", near, rest), order), reduction)


@rule(aten.smooth_l1_loss.default)
def smooth(region: Region, node: Node, x: Node, y: Node, reduction: int, beta: float) -> Value:
    """The loss of Huber divided by beta; |x - y| for 0."""
    if beta == 0:
        return absolute(region, node, x, y, reduction)
    found = huber(region, node, x, y, reduction, beta)
    return Value(scaled(region, found.buffer, 1 / beta), found.order)


@rule(aten.binary_cross_entropy_with_logits.default)
def binary_cross_entropy(
    region: Region, node: Node, x: Node, y: Node, weight: Any, positive: Any, reduction: int
) -> Value:
    """(1 - y) x - log(sigmoid(x))."""
    if weight is not None or positive is not None:
        raise CannotTranslate("a binary cross-entropy with weights")
    (scores, targets), order = together(region, (x, y))
    rest = region.add("multiply", scaled(region, as_numbers(region, targets), -1.0, 1.0), scores)
    likelihood = region.add("activation", scores, kind="log_sigmoid")
    return _ended(region, Value(region.add("subtract", rest, likelihood), order), reduction)


def _difference(region: Region, x: Node, y: Node) -> tuple[Buffer, Order]:
    """x - y, and the order of its axes."""
    (first, second), order = together(region, (x, y))
    return region.add("subtract", first, second), order


def _ended(region: Region, terms: Value, reduction: int) -> Value:
    """The mean of all terms, their sum, or the terms."""
    axes = tuple(range(len(terms.order)))
    if reduction == _MEAN:
        return Value(region.add("reduce_mean", terms.buffer, axes=axes, keepdims=False), ())
    if reduction == _SUM:
        return Value(region.add("sum_to", terms.buffer, axes=axes, shape=()), ())
    return terms
