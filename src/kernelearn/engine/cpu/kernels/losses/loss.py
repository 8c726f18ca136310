"""Losses: the value of every sample, their weighted sum, and the gradient.

Every image adds its values up by itself, in float64; one task then adds the images in order. So the loss does
not depend on who did which image.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from kernelearn.engine.cpu.kernels.losses import crossentropy
from kernelearn.engine.cpu.kernels.losses import rows as row_losses
from kernelearn.engine.cpu.kernels.losses.rows import ROW_LOSSES
from kernelearn.engine.cpu.kernels.losses.terms import TERMS
from kernelearn.engine.cpu.language.kernel import Index, Kernel, Register
from kernelearn.engine.cpu.language.loops import Row, emit_flat
from kernelearn.engine.cpu.language.reduce import WideSum, accumulate, lane_sum, only
from kernelearn.engine.cpu.language.values import Value, type_of
from kernelearn.engine.cpu.plan import Plan, Tasks, has_images, image_sizes, per_image
from kernelearn.engine.program import Operation
from kernelearn.engine.reference.crossentropy import valid_labels

REDUCTIONS = ("sum_over_batch_size", "mean", "sum", "mean_with_sample_weight")


@dataclass(frozen=True)
class Loss:
    """A loss of predictions (n, ..., classes), `rows` samples an image.

    Attributes:
        ignored: class number of samples that do not count, or None.
        attrs: of the kind, without the reduction.
    """

    kind: str
    rows: int
    classes: int
    ignored: int | None
    is_sparse: bool
    attrs: Mapping[str, Any]

    @property
    def has_signs(self) -> bool:
        """Whether labels of 0 and 1 stand for -1 and 1."""
        return self.kind in TERMS and TERMS[self.kind].has_signs


@dataclass(frozen=True)
class Division:
    """What the sum of all values is divided by.

    Attributes:
        by: "nothing", "samples" (their number), or "counted": the samples that count, or the sum of their
            weights, which another kernel finds out.
        rows: samples of an image.
    """

    by: str
    rows: int

    @classmethod
    def of(cls, op: Operation, loss: Loss) -> Division:
        """That of a `loss` or `loss_grad`."""
        reduction = op.attrs["reduction"]
        if reduction == "sum":
            return cls("nothing", loss.rows)
        is_counted = loss.ignored is not None or reduction == "mean_with_sample_weight"
        return cls("counted" if is_counted else "samples", loss.rows)

    def scale(self, k: Kernel) -> Value:
        """1 / divisor as a float64; 0 if there is nothing to divide by."""
        if self.by == "nothing":
            return k.constant(1.0, type_of("double"))
        if self.by == "counted":
            count = k.load_one("divisor", 0, "double")
        else:
            samples = k.scalar("n") * self.rows
            count = samples.to_float("double")
        is_empty = count.equals(0.0)
        return is_empty.choose(0.0, 1.0 / count)


def find_loss(plan: Plan, op: Operation, p: str, t: str, weights: str) -> Loss | None:
    """What a `loss` or `loss_grad` computes; None if there is no kernel for it."""
    attrs = {k: v for k, v in op.attrs.items() if k not in ("kind", "reduction", "ignore_class")}
    kind = op.attrs["kind"]
    is_known = kind in TERMS or kind in ROW_LOSSES
    shape, target = plan.shape(p), plan.shape(t)
    if not is_known or op.attrs["reduction"] not in REDUCTIONS or not has_images(shape):
        return None
    classes = int(shape[-1] or 0) if len(shape) > 1 else 0
    is_sparse = kind == "sparse_categorical_crossentropy"
    lead = shape[:-1] if is_sparse else shape
    fits = target == lead or target == (*lead, 1) or (not is_sparse and (*target, 1) == shape)
    if not fits or not classes or plan.shape(weights) != (None,) or not plan.is_float(p, weights):
        return None
    if is_sparse and (plan.dtype(t) != "int64" or plan.buffers[plan.root(t)].role != "input"):
        return None
    if not is_sparse and not plan.is_float(t):
        return None
    if not row_losses.is_supported(op.attrs, classes):
        return None
    ignored = op.attrs["ignore_class"] if is_sparse else None
    return Loss(kind, per_image(shape) // classes, classes, ignored, is_sparse, attrs)


# --- what everything is divided by


def divisor(plan: Plan, op: Operation, loss: Loss, t: str, weights: str) -> str:
    """The buffer of the number of samples that count, or of the sum of their weights; computed once."""
    weighted = op.attrs["reduction"] == "mean_with_sample_weight"
    key = f"divisor {plan.root(t)} {plan.root(weights)} {weighted} {loss.ignored} {loss.rows}"
    if key in plan.shared:
        return plan.shared[key]
    reads = {"n": "#n"}
    if loss.ignored is not None:
        reads["counts"] = _counts(plan, op, loss.rows, loss.ignored, t)
    if weighted:
        reads["weights"] = weights
    result = plan.shared[key] = plan.scratch("divisor", (), "float64")
    plan.call(
        op,
        Divisor(loss.rows),
        reads,
        {"divisor": result},
        Tasks(fixed=1),
    )
    return result


def _counts(plan: Plan, op: Operation, rows: int, ignored: int, t: str) -> str:
    """Per image the number of samples that are not ignored."""
    counts = plan.scratch("counts", (None,), "float64")
    plan.call(
        op,
        Counts(rows, ignored),
        {"t": t},
        {"counts": counts},
    )
    return counts


@dataclass(frozen=True)
class Counts:
    """Per image the number of labels that are not the ignored class."""

    rows: int
    ignored: int

    def emit(self, k: Kernel) -> None:
        total = k.register("i64")
        with k.loop(k.lo, k.hi) as image:
            k.set(total, "0")
            with k.loop(image * self.rows, (image + 1) * self.rows) as number:
                label = k.load_one("t", number, "i64")
                accumulate(total, label.differs(self.ignored).converted("zext", "i64"))
            k.store_one(k.get(total).to_float("double"), "counts", image, "double")


@dataclass(frozen=True)
class Divisor:
    """The sum of the images' weights (or one each) times the samples that count (or all)."""

    rows: int

    def emit(self, k: Kernel) -> None:
        total = WideSum(k)
        with k.loop(0, k.scalar("n")) as image:
            samples = (
                k.load_one("counts", image, "double")
                if "counts" in k.arguments
                else k.constant(self.rows, type_of("double"))
            )
            if "weights" in k.arguments:
                samples = k.load_one("weights", image).widened() * samples
            total.add(samples)
        k.store_one(total.total(), "divisor", 0, "double")


# --- labels as signs


def signs(plan: Plan, op: Operation, loss: Loss, t: str) -> str:
    """The buffer of one number: 1 if all targets are 0 or 1 and stand for -1 and 1. Computed once."""
    key = f"signs {plan.root(t)}"
    if key in plan.shared:
        return plan.shared[key]
    size = loss.rows * loss.classes
    others, result = plan.scratch("others", (None,)), plan.scratch("signs", ())
    plan.call(op, Others(size), {"t": t}, {"others": others})
    plan.call(op, Signs(), {"others": others, "n": "#n"}, {"signs": result}, Tasks(fixed=1))
    plan.shared[key] = result
    return result


@dataclass(frozen=True)
class Others:
    """Per image: 1 if a target is neither 0 nor 1, else 0."""

    size: int

    def emit(self, k: Kernel) -> None:
        found = k.register()
        with k.loop(k.lo, k.hi) as image:
            k.set(found, k.zero)

            def look(at: Index, mask: Value | None) -> None:
                t = k.load("t", at, mask)
                is_other = t.differs(k.zero) & t.differs(1.0)
                k.set(found, is_other.choose(1.0, k.get(found)))

            emit_flat(k, image * self.size, (image + 1) * self.size, look)
            k.store_one(k.largest(k.get(found)), "others", image)


@dataclass(frozen=True)
class Signs:
    """1 if no image has other targets than 0 and 1, else 0."""

    def emit(self, k: Kernel) -> None:
        sign = k.register(start=k.constant(1.0, type_of("float")))
        with k.loop(0, k.scalar("n")) as image:
            is_other = k.load_one("others", image).test("one", 0.0)
            k.set(sign, is_other.choose(0.0, k.get(sign)))
        k.store_one(k.get(sign), "signs")


def _targets(k: Kernel, loss: Loss) -> crossentropy.Part:
    """load(offset, mask) of targets: as they are, or 2 t - 1 if labels stand for signs."""
    if not loss.has_signs:
        return lambda at, mask: k.load("t", at, mask)
    sign = k.broadcast("signs")
    factor = sign + 1.0
    return lambda at, mask: k.load("t", at, mask) * factor - sign


# --- the value


def lower_loss(plan: Plan, op: Operation) -> bool:
    """loss, values <- (predictions, targets, weights): values and sums per image, then the sum of these."""
    p, t, weights = op.inputs
    loss = find_loss(plan, op, p, t, weights)
    if loss is None:
        return False
    total, values = op.outputs
    division, reads = Division.of(op, loss), {"n": "#n"}
    if division.by == "counted":
        reads["divisor"] = divisor(plan, op, loss, t, weights)
    sums = plan.scratch("losses", (None,), "float64")
    numbers = loss.rows * loss.classes
    given = {"signs": signs(plan, op, loss, t)} if loss.has_signs else {}
    plan.call(
        op,
        LossValues(loss),
        {"p": p, "t": t, "weights": weights, **given},
        {"values": values, "sums": sums},
        flops=(30.0 * numbers, 0.0),
        note=loss.kind,
    )
    plan.call(
        op,
        LossTotal(division),
        {"sums": sums, **reads},
        {"loss": total},
        Tasks(fixed=1),
    )
    if loss.is_sparse:
        sizes = image_sizes(plan.shape(p))
        plan.checks.append(functools.partial(check_labels, t, sizes, loss.ignored))
    return True


def check_labels(
    name: str, sizes: tuple[int, ...], ignored: int | None, inputs: Mapping[str, np.ndarray]
) -> None:
    """Say what is wrong with labels that are no classes; their loss is NaN.

    Raises: ArgumentError.
    """
    labels = inputs[name]
    # Only the shape and the type of the predictions matter here.
    predictions = np.broadcast_to(np.float32(0), (labels.shape[0], *sizes))
    valid_labels(labels, predictions, ignored)


@dataclass(frozen=True)
class LossValues:
    """Image by image: the values of its samples, and their sum times the image's weight."""

    loss: Loss

    def emit(self, k: Kernel) -> None:
        targets = _targets(k, self.loss)
        with k.loop(k.lo, k.hi) as image:
            if self.loss.kind in ROW_LOSSES:
                total = _emit_row_values(k, self.loss, image * self.loss.rows)
            elif self.loss.classes == 1:
                total = _emit_single_values(k, self.loss, image * self.loss.rows, targets)
            else:
                total = _emit_term_values(k, self.loss, image * self.loss.rows, targets)
            weight = k.load_one("weights", image).widened()
            k.store_one(weight * total, "sums", image, "double")


def _emit_row_values(k: Kernel, loss: Loss, first: Index) -> Value:
    total = WideSum(k)
    value = k.register("float")
    total.reset()
    with k.loop(first, first + loss.rows) as number:
        k.set(value, "0.0")

        def one(sample: crossentropy.Sample) -> None:
            k.set(value, ROW_LOSSES[loss.kind].value(sample).lane())

        _with_sample(k, loss, number, one)
        k.store_one(k.get(value), "values", number)
        total.add(k.get(value).widened())
    return total.total()


def _with_sample(
    k: Kernel,
    loss: Loss,
    number: Index,
    use: Callable[[crossentropy.Sample], None],
    otherwise: Callable[[crossentropy.Sample], None] | None = None,
) -> None:
    """use(sample) for a sample that counts, `otherwise` for one that is ignored."""
    label = k.load_one("t", number, "i64") if loss.is_sparse else None
    sample = crossentropy.Sample(k, Row(k, loss.classes), number * loss.classes, loss.attrs, label)
    if loss.ignored is None or label is None:
        use(sample)
        return
    if otherwise is not None:
        with k.when(label.equals(loss.ignored)):
            otherwise(sample)
    with k.when(label.differs(loss.ignored)):
        use(sample)


def _emit_single_values(k: Kernel, loss: Loss, first: Index, targets: crossentropy.Part) -> Value:
    """Predictions of one number: a vector of samples at a time."""
    term = TERMS[loss.kind]
    total = WideSum(k, vectors=True)
    total.reset()

    def one(at: Index, mask: Value | None) -> None:
        value = term.value(loss.attrs, k.load("p", at, mask), targets(at, mask))
        k.store(value, "values", at, mask)
        total.add_lanes(only(mask, value, k.zero).widened())

    emit_flat(k, first, first + loss.rows, one)
    return total.total()


def _emit_term_values(k: Kernel, loss: Loss, first: Index, targets: crossentropy.Part) -> Value:
    """Predictions of several numbers: one sample after another."""
    term, row = TERMS[loss.kind], Row(k, loss.classes)
    total = WideSum(k)
    total.reset()
    with k.loop(first, first + loss.rows) as number:
        at = number * loss.classes
        lanes = k.register(start=k.zero)

        def one(
            c: Index | int,
            mask: Value | None,
            held: Value | None,
            at: Index = at,
            lanes: Register = lanes,
        ) -> None:
            p, t = k.load("p", at + c, mask), targets(at + c, mask)
            accumulate(lanes, only(mask, term.value(loss.attrs, p, t), k.zero))

        row.each(one)
        value = lane_sum(k.get(lanes))
        if term.is_mean:
            value = value / loss.classes
        single = value.lane()
        k.store_one(single, "values", number)
        total.add(single.widened())
    return total.total()


@dataclass(frozen=True)
class LossTotal:
    """The sums of the images in order, and the division."""

    division: Division

    def emit(self, k: Kernel) -> None:
        total = WideSum(k)
        with k.loop(0, k.scalar("n")) as image:
            total.add(k.load_one("sums", image, "double"))
        value = total.total() * self.division.scale(k)
        k.store_one(value.narrowed(), "loss", 0)


# --- the gradient


def lower_loss_grad(plan: Plan, op: Operation) -> bool:
    """d loss / d predictions from (gradient of the loss, predictions, targets, weights)."""
    grad, p, t, weights = op.inputs
    loss = find_loss(plan, op, p, t, weights)
    if loss is None or not plan.is_float(grad):
        return False
    reads = {"g": grad, "p": p, "t": t, "weights": weights, "n": "#n"}
    division = Division.of(op, loss)
    if division.by == "counted":
        reads["divisor"] = divisor(plan, op, loss, t, weights)
    if loss.has_signs:
        reads["signs"] = signs(plan, op, loss, t)
    plan.call(
        op,
        LossGradient(loss, division),
        reads,
        {"out": op.outputs[0]},
        flops=(30.0 * loss.rows * loss.classes, 0.0),
        note=loss.kind,
    )
    return True


@dataclass(frozen=True)
class LossGradient:
    """Image by image: slopes times the image's weight, the gradient and 1 / divisor."""

    loss: Loss
    division: Division

    def emit(self, k: Kernel) -> None:
        scale = self.division.scale(k).narrowed() * k.load_one("g")
        targets = _targets(k, self.loss)
        with k.loop(k.lo, k.hi) as image:
            factor = (k.load_one("weights", image) * scale).splat()
            if self.loss.kind in ROW_LOSSES:
                _emit_row_slopes(k, self.loss, image * self.loss.rows, factor)
            else:
                _emit_slopes(k, self.loss, image * (self.loss.rows * self.loss.classes), factor, targets)


def _emit_row_slopes(k: Kernel, loss: Loss, first: Index, factor: Value) -> None:
    row_loss = ROW_LOSSES[loss.kind]

    def write(sample: crossentropy.Sample) -> None:
        row_loss.gradient(sample, factor)

    with k.loop(first, first + loss.rows) as number:
        _with_sample(k, loss, number, write, crossentropy.write_zeros)


def _emit_slopes(k: Kernel, loss: Loss, first: Index, factor: Value, targets: crossentropy.Part) -> None:
    term = TERMS[loss.kind]
    share = 1 / loss.classes if term.is_mean else 1.0

    def one(at: Index, mask: Value | None) -> None:
        slope = term.slope(loss.attrs, k.load("p", at, mask), targets(at, mask))
        k.store(slope * share * factor, "out", at, mask)

    emit_flat(k, first, first + loss.rows * loss.classes, one)
