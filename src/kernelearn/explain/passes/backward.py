"""Where the error of one number comes from: step by step from what reads it, up to the loss.

    dL/d(number) = sum over the results that depend on it of  slope * dL/d(result)

A convolution or dense layer above gives weight times error of each unit that reads the number; an activation
its slope, 0 where it is cut; a pooling 1 to the winner and 0 to the others. Each sum is compared with the
error that the engine computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from kernelearn.engine.program import Operation
from kernelearn.errors import ArgumentError
from kernelearn.explain.passes import backward_text as text
from kernelearn.explain.passes.ends import LossEnd, loss_end
from kernelearn.explain.passes.forward import Unit, unit_in
from kernelearn.explain.passes.replay import Index, Replay, replay_training
from kernelearn.explain.passes.run_steps import recorded_error, replay_step, replayable_steps, row_of
from kernelearn.explain.passes.slopes import normalization_parts, slopes_of
from kernelearn.explain.passes.windows import check_unit
from kernelearn.explain.runs import opened
from kernelearn.explain.table import Table


@dataclass(frozen=True)
class Part:
    """One term of an error: slope x error above.

    Attributes:
        operator, layer: what reads the number.
        buffer, index: the result that depends on it, without the image's axis.
        factor: slope, or weight; error: of the result; term: their product.
        note: in words where it is no product of this kind.
    """

    operator: str
    layer: str
    buffer: str
    index: Index
    factor: float
    error: float
    term: float
    note: str = ""


@dataclass(frozen=True, eq=False)
class Hop:
    """The error of one number, taken apart into what reads it.

    Attributes:
        buffer, layer, index: the number: its buffer, the layer that made it, its place in its image.
        value: the number; error: dL/d(number) as the engine has it.
        parts: what it is the sum of, the largest first.
        end: the loss, where that reads the number.
        is_whole: whether all that reads it was taken apart.
    """

    buffer: str
    layer: str
    operator: str
    index: Index
    value: float
    error: float
    parts: tuple[Part, ...]
    end: LossEnd | None = None
    is_whole: bool = True

    @property
    def total(self) -> float:
        """Sum of the parts, in float64."""
        return float(np.sum([part.term for part in self.parts])) + (self.end.error if self.end else 0.0)

    @property
    def size(self) -> float:
        """Sum of the absolute parts, the scale on which the engine rounds."""
        return float(np.abs([part.term for part in self.parts]).sum()) + (
            abs(self.end.scale) if self.end else 0.0
        )

    @property
    def residual(self) -> float:
        """The sum minus the engine's error; NaN where something was not taken apart."""
        return self.total - self.error if self.is_whole else float("nan")

    @property
    def relative_residual(self) -> float:
        """|residual| by the sum of absolute parts."""
        return abs(self.residual) / self.size if self.size else abs(self.residual)

    def table(self, k: int | None = None) -> Table:
        """The parts, the largest first."""
        return text.parts_table(self, k)


@dataclass(frozen=True, eq=False)
class ErrorPath:
    """From one unit of a layer up to the loss: the error of its sum, and where it comes from.

    Attributes:
        unit: the unit, forward, of the same step.
        image: row of the image in the batch, for a run its number in the data.
        step: of a run, or None.
        hops: the first is the unit's sum z; each next one is the result with the largest part in the one
            before.
        loss: of the batch.
        recorded: dL/dz as the record of a run has it, or None.
    """

    unit: Unit
    image: int
    hops: tuple[Hop, ...]
    loss: float
    step: int | None = None
    recorded: float | None = None

    @property
    def error(self) -> float:
        """dL/dz of the unit, as the engine has it."""
        return self.hops[0].error

    @property
    def is_cut(self) -> bool:
        """Whether nothing comes back: an activation was cut, or a pooling went to another."""
        return self.error == 0.0

    @property
    def above(self) -> Hop | None:
        """The first hop with several parts: the units of the layer above."""
        return next((hop for hop in self.hops if len(hop.parts) > 1), None)

    @property
    def residual(self) -> float:
        """The largest relative residual of all hops that were taken apart."""
        known = [hop.relative_residual for hop in self.hops if hop.is_whole]
        return max(known, default=0.0)

    def table(self) -> Table:
        """One row for each hop."""
        return text.path_table(self)

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON values."""
        return text.as_dict(self)

    def __str__(self) -> str:
        return text.as_text(self)

    def _repr_html_(self) -> str:
        return text.as_html(self)


def delta(
    source: Any,
    layer: str,
    x: Any = None,
    y: Any = None,
    filter: int = 0,
    at: Sequence[int] | None = None,
    image: int | None = None,
    step: int | None = None,
    sample_weight: Any = None,
    seed: int = 0,
) -> ErrorPath:
    """Where the error of one unit comes from: at a recorded step, or if a model were trained on a batch now.

    Args:
        source: a recorded run, or the path of its folder; or a model, compiled with a loss.
        layer: a convolution or dense layer that is trained, or has trained layers below it, by path.
        x, y: of a model: one batch, with `sample_weight`. Of a run: the data that it was trained on, as
            arrays or a Dataset; None takes what the record has of it.
        filter, at: the unit, as in `unit`; without `at` the one of the channel with the largest error.
        image: row of the image in the batch; of a run, number of the image in the data. None takes the image
            with the largest error.
        step: of a run: one before which all weights are recorded; None for the last of those with a ledger.
        seed: of a model: of dropout and augmentation.
    Raises: UnknownNameError for a layer without a kernel; ArgumentError for a unit, an image or a step that
        is not there, or a layer that no error reaches because everything up to it is frozen.

    >>> from kernelearn import Sequential
    >>> from kernelearn.layers import Conv2D, Dense, Flatten
    >>> model = Sequential([Conv2D(2, 3, input_shape=(4, 4, 1), name="conv"), Flatten(), Dense(3)])
    >>> model.compile("sgd", "mse")
    >>> path = delta(model, "conv", np.ones((2, 4, 4, 1)), np.zeros((2, 3)), filter=1, at=(0, 1))
    >>> len(path.above.parts), path.residual < 1e-5
    (3, True)
    """
    source = opened(source)
    if not hasattr(source, "map_steps"):
        return delta_in(replay_training(source, x, y, sample_weight, seed), layer, filter, at, image)
    chosen = last_replayable(source) if step is None else int(step)
    replay = replay_step(source, chosen, x, y)
    row = None if image is None else row_of(source, chosen, int(image))
    return of_run(source, chosen, delta_in(replay, layer, filter, at, row))


def last_replayable(run: Any) -> int:
    """The last step with a ledger before which all weights are recorded, or else the last such step.

    Raises: ArgumentError if there is none.
    """
    known = replayable_steps(run)
    with_ledger = [k for k in known if k in set(run.ledger_steps.tolist())]
    if not known:
        raise ArgumentError("This run holds no step before which all weights are recorded.")
    return (with_ledger or known)[-1]


def of_run(run: Any, step: int, path: ErrorPath) -> ErrorPath:
    """A path with what the record of its step says."""
    unit = (*path.unit.position, path.unit.filter)
    return replace(
        path,
        step=step,
        image=int(run.batch(step).images[path.image]),
        recorded=recorded_error(run, step, path.unit.layer, path.image, unit),
    )


def delta_in(
    replay: Replay,
    layer: str,
    filter: int,
    at: Sequence[int] | None,
    image: int | None,
) -> ErrorPath:
    """As `delta`, from all numbers of a training step; `image` is a row of its batch."""
    op = replay.units_of(layer)
    errors = replay.gradient(op.outputs[0])
    if errors is None:
        raise ArgumentError(
            f"No error comes back to layer {layer!r}: neither it nor a layer below it is trained."
        )
    check_unit((*[0] * (errors.ndim - 2), filter), errors.shape[1:], layer)
    row = _row(replay, errors[..., filter], at, image)
    if at is None and errors.ndim > 2:
        channel = np.abs(errors[row, ..., filter])
        at = tuple(int(i) for i in np.unravel_index(channel.argmax(), channel.shape))
    found = unit_in(replay, layer, filter, at, None, row)
    hops = path_of(replay, op.outputs[0], row, (*found.position, found.filter))
    loss = float(replay.value(replay.program.outputs["loss"]))
    return ErrorPath(found, row, tuple(hops), loss)


def _row(replay: Replay, errors: np.ndarray, at: Sequence[int] | None, image: int | None) -> int:
    """The row asked for, or that of the image with the largest error: at a position, or anywhere."""
    if image is None:
        one_place: tuple[Any, ...] = (slice(None), *(at or ()))
        there = errors[one_place]
        return int(np.abs(there.reshape(len(there), -1)).max(axis=1).argmax())
    if not -replay.rows <= image < replay.rows:
        raise ArgumentError(f"The batch has {replay.rows} images; there is no image {image}.")
    return image % replay.rows


def path_of(replay: Replay, name: str, row: int, place: Index) -> list[Hop]:
    """From one number up to the loss, along the largest part of each error."""
    hops: list[Hop] = []
    seen: set[tuple[str, Index]] = set()
    while (name, place) not in seen:
        seen.add((name, place))
        hop = hop_of(replay, name, row, place)
        hops.append(hop)
        following = [part for part in hop.parts if part.buffer]
        if not following:
            break
        name, place = following[0].buffer, following[0].index
    return hops


def hop_of(replay: Replay, name: str, row: int, place: Index) -> Hop:
    """The error of one number, taken apart."""
    errors = replay.gradient(name)
    made = replay.graph.producer(name)
    parts: list[Part] = []
    end, is_whole = None, True
    for op in replay.readers(name):
        if op.operator == "loss":
            end = loss_end(replay, op, row, place)
            continue
        found = _parts(replay, op, name, row, place)
        is_whole = is_whole and found is not None
        parts += found or []
    ordered = sorted(parts, key=lambda part: -abs(part.term))
    return Hop(
        buffer=name,
        layer=made.layer if made else "",
        operator=made.operator if made else "",
        index=place,
        value=float(replay.value(name)[(row, *place)]),
        error=0.0 if errors is None else float(errors[(row, *place)]),
        parts=tuple(ordered),
        end=end,
        is_whole=is_whole,
    )


def _parts(replay: Replay, op: Operation, name: str, row: int, place: Index) -> list[Part] | None:
    """The terms through one operation; None where it was not taken apart."""
    errors = replay.gradient(op.outputs[0])
    if errors is None:
        return []  # nothing comes back through it
    if op.operator == "normalize":
        return _normalization(replay, op, row, place, errors)
    found: list[Part] = []
    for operand in (i for i, given in enumerate(op.inputs) if given == name):
        slopes = slopes_of(replay, op, operand, row, place)
        if slopes is None:
            return None
        for slope in slopes:
            error = float(errors[(row, *slope.index)])
            term = slope.factor * error
            found.append(Part(op.operator, op.layer, op.outputs[0], slope.index, slope.factor, error, term))
    return found


def _normalization(replay: Replay, op: Operation, row: int, place: Index, errors: np.ndarray) -> list[Part]:
    """The three terms through a normalisation; the path goes on from the first."""
    error, output = float(errors[(row, *place)]), op.outputs[0]
    parts: list[Part] = []
    for note, term in normalization_parts(replay, op, row, place, errors).items():
        is_here = not parts
        factor = term / error if is_here and error else 0.0
        buffer, above = (output, error) if is_here else ("", 0.0)
        parts.append(Part(op.operator, op.layer, buffer, place, factor, above, term, note))
    return parts
