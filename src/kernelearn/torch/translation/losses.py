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
    if reduction not in (_MEAN, _SUM):
        raise CannotTranslate("a cross-entropy without a sum (reduction='none')")
    if labels.meta["val"].dtype == torch.float32:
        return _of_shares(region, scores, labels, weight, reduction, smoothing)
    if labels.meta["val"].dtype != torch.int64 or region.shape(labels)[:1] != (None,):
        raise CannotTranslate("a cross-entropy of other targets than class numbers")
    images, target = region.images(scores), region.plain(labels)
    if weight is not None or smoothing:
        if labels not in region.declared or region.root(target.name) != region.declared[labels].buffer.name:
            raise CannotTranslate("class numbers that the graph computes, for a weighted cross-entropy")
        region.uncounted[region.declared[labels].buffer.name] = ignored
        return _of_unequal(region, images, target, weight, reduction, ignored, smoothing)
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


def _of_unequal(
    region: Region,
    images: Buffer,
    target: Buffer,
    weight: Node | None,
    reduction: int,
    ignored: int,
    smoothing: float,
) -> Value:
    """With weights of classes, or a part of each label spread over all classes.

    (1 - smoothing) w[label] l[label] + smoothing / classes sum_c w[c] l[c] with l = -log softmax(x), of all
    labels that are not ignored; the mean is the sum over the sum of w[label], also with smoothing.
    """
    classes, each = known(images.shape[-1]), _of_classes(region, weight)
    last = len(images.shape) - 1
    chosen = region.add("one_hot", target, depth=classes, dtype="float32")
    if 0 <= ignored < classes:
        chosen = region.add("multiply", chosen, _all_but(region, ignored, classes))
    shares = chosen if each is None else region.add("multiply", chosen, each)
    whole = _summed(region, shares) if reduction == _MEAN else None
    if smoothing:
        counted = region.add("sum_to", chosen, axes=(last,), shape=(*chosen.shape[:-1], 1))
        spread = scaled(region, counted, smoothing / classes)
        spread = spread if each is None else region.add("multiply", spread, each)
        shares = region.add("add", scaled(region, shares, 1.0 - smoothing), spread)
    loss, _ = region.add(
        "loss",
        images,
        shares,
        _ones(region, images, target),
        kind="categorical_crossentropy",
        reduction="sum",
        from_logits=True,
    )
    return Value.plain(loss if whole is None else region.add("divide", loss, whole))


def _all_but(region: Region, ignored: int, classes: int) -> Buffer:
    """(classes,) ones, with a zero for one of them."""
    sizes = ((ignored, 1.0), (1, 0.0), (classes - ignored - 1, 1.0))
    parts = [region.add("fill", shape=(n,), value=value, dtype="float32") for n, value in sizes if n]
    return parts[0] if len(parts) == 1 else region.add("concatenate", *parts, axis=0)  # type: ignore[no-any-return]


def _of_classes(region: Region, weight: Node | None) -> Buffer | None:
    """(classes,) weights; None where all are 1."""
    if weight is None:
        return None
    if weight.meta.get("needs"):
        raise CannotTranslate("class weights that are learned")
    return region.weight(weight, (0,))


def _summed(region: Region, buffer: Buffer) -> Buffer:
    found: Buffer = region.add("sum_to", buffer, axes=tuple(range(len(buffer.shape))), shape=())
    return found


def _of_shares(
    region: Region, scores: Node, shares: Node, weight: Node | None, reduction: int, smoothing: float
) -> Value:
    """-sum over classes of weight share log softmax(x), summed or averaged over images and places."""
    images, targets = region.images(scores), region.images(shares)
    classes, each = known(images.shape[-1]), _of_classes(region, weight)
    likelihood = region.add("log_softmax", images, axis=len(images.shape) - 1)
    parts = scaled(region, targets, smoothing - 1.0, -smoothing / classes)
    if each is not None:
        parts = region.add("multiply", parts, each)
    found = _ended(region, Value.images(region.add("multiply", parts, likelihood)), reduction)
    return Value(scaled(region, found.buffer, classes if reduction == _MEAN else 1), found.order)


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
    """weight ((1 - y) x - (1 + (positive - 1) y) log(sigmoid(x)))."""
    given = [each for each in (weight, positive) if each is not None]
    if any(each.meta.get("needs") for each in given):
        raise CannotTranslate("a binary cross-entropy whose weights are learned")
    (scores, targets, *others), order = together(region, (x, y, *given))
    targets = as_numbers(region, targets)
    rest = region.add("multiply", scaled(region, targets, -1.0, 1.0), scores)
    likelihood = region.add("activation", scores, kind="log_sigmoid")
    if positive is not None:
        more = region.add("multiply", scaled(region, others[-1], 1.0, -1.0), targets)
        likelihood = region.add("multiply", scaled(region, more, 1.0, 1.0), likelihood)
    terms = region.add("subtract", rest, likelihood)
    if weight is not None:
        terms = region.add("multiply", terms, others[0])
    return _ended(region, Value(terms, order), reduction)


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
