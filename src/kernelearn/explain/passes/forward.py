"""One number of a feature map: window x kernel + bias = z -> activation -> pooling, with every number.

    z[p,q,f] = sum_{i,j,c} x[p*s + i*d, q*s + j*d, c] * w[i,j,c,f] + b[f]

Products are formed in float64 and compared with what the engine computed; what follows (bias, normalisation,
activation, pooling) is computed from the sum by the reference functions, also in float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kernelearn.engine.operators import OPERATORS
from kernelearn.engine.program import Operation
from kernelearn.errors import ArgumentError
from kernelearn.explain.passes import text
from kernelearn.explain.passes.following import STAGES, At, sums_of, way_behind
from kernelearn.explain.passes.pools import Pool, pools_of
from kernelearn.explain.passes.replay import Index, Replay, one_image, replay_prediction
from kernelearn.explain.passes.windows import Window, check_unit, window_of
from kernelearn.explain.runs import opened
from kernelearn.explain.table import Table


@dataclass(frozen=True)
class Stage:
    """What one operation makes of the number.

    Attributes:
        name: in words; kind: of an activation, else "".
        operator, layer, buffer: which operation it is, and what holds its result.
        value: computed here in float64; engine: what the engine has.
        detail: the numbers of the operation in words, such as "+ 0.25".
        map_before, map_after: (*spatial) the whole channel on both sides, as the engine has it.
    """

    name: str
    kind: str
    operator: str
    layer: str
    buffer: str
    value: float
    engine: float
    detail: str
    map_before: np.ndarray = field(repr=False)
    map_after: np.ndarray = field(repr=False)

    @property
    def residual(self) -> float:
        return self.value - self.engine


@dataclass(frozen=True, eq=False)
class Unit:
    """One number of a feature map.

    Attributes:
        layer, kind: the layer, and its operator: "conv", "conv_transpose" or "dense".
        position, filter: of the unit; position () for a dense layer on (n, c).
        step: of the weights, or None for a model.
        window: inputs, weights and products.
        total: sum of the products; engine: what the engine has for it.
        size: sum of the absolute products, the scale on which the engine rounds.
        stages: what follows, in order, up to the pooling or the next layer.
        pools: the pooling windows that the number falls into; empty if none follows.
        image, map: the input of the network, and the channel of sums, as the engine has them.
        input_maps: (*spatial, c) the whole input of the layer.
        attrs: stride, padding, dilation, groups of the operation.
    """

    layer: str
    kind: str
    position: Index
    filter: int
    step: int | None
    window: Window
    total: float
    engine: float
    size: float
    stages: tuple[Stage, ...]
    pools: tuple[Pool, ...]
    image: np.ndarray = field(repr=False)
    map: np.ndarray = field(repr=False)
    input_maps: np.ndarray = field(repr=False)
    attrs: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def residual(self) -> float:
        """Sum of the products minus the engine's: its rounding, or else a mistake."""
        return self.total - self.engine

    @property
    def relative_residual(self) -> float:
        """|residual| by the sum of absolute products."""
        return abs(self.residual) / self.size if self.size else abs(self.residual)

    @property
    def bias(self) -> float:
        """What is added to the sum before anything else; 0 without a bias."""
        first = self.stages[0] if self.stages and self.stages[0].operator == "bias_add" else None
        return 0.0 if first is None else first.value - self.total

    @property
    def z(self) -> float:
        """The sum with its bias."""
        return self.total + self.bias

    @property
    def value(self) -> float:
        """The number that the next layer, or the pooling, gets."""
        return self.stages[-1].value if self.stages else self.total

    @property
    def by_channel(self) -> np.ndarray:
        """(c,) products summed over the taps of each input channel."""
        products = self.window.products
        return np.asarray(products.reshape(-1, products.shape[-1]).sum(axis=0))

    @property
    def formula(self) -> str:
        """The sum with its numbers filled in."""
        return text.formula(self)

    def terms(self) -> Table:
        """Every product: tap, input channel, pixel, input, weight, product; the largest first."""
        return text.terms_table(self)

    def table(self) -> Table:
        """From the sum to the value: one row for each operation."""
        return text.stages_table(self)

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON values."""
        return text.as_dict(self)

    def __str__(self) -> str:
        return text.as_text(self)

    def _repr_html_(self) -> str:
        return text.as_html(self)


def unit(
    source: Any,
    layer: str,
    filter: int = 0,
    at: Sequence[int] | None = None,
    image: Any = None,
    step: int | None = None,
) -> Unit:
    """How one number of a feature map comes about: window x kernel + bias, activation, pooling.

    Args:
        source: a built model with one input, a recorded run, or the path of its folder.
        layer: a convolution or dense layer, by path. A separable layer is explained at its second kernel.
        filter: which channel of its output, for a dense layer which unit.
        at: position in the map, such as (row, column); None takes the largest number of the channel.
        image: (h, w, c). For a run also the number of one of its probe images; None takes the first of them.
        step: of a run: the weights of this step; None for the last that is known.
    Raises: UnknownNameError for a layer without a kernel; ArgumentError for a unit that is not there, a step
        that is not recorded, or a model without an image.

    >>> from kernelearn import Sequential
    >>> from kernelearn.layers import Conv2D
    >>> model = Sequential([Conv2D(2, 3, activation="relu", input_shape=(5, 5, 1), name="conv")])
    >>> number = unit(model, "conv", filter=1, at=(0, 2), image=np.ones((5, 5, 1)))
    >>> number.window.inputs.shape, bool(np.isclose(number.total, model.weights[0].numpy()[..., 1].sum()))
    ((3, 3, 1), True)
    """
    source = opened(source)
    model, picture, at_step = _opened(source, image, step)
    replay = replay_prediction(model, one_image(model, picture))
    return unit_in(replay, layer, filter, at, at_step)


def unit_in(
    replay: Replay, layer: str, filter: int, at: Sequence[int] | None, step: int | None = None, row: int = 0
) -> Unit:
    """As `unit`, from all numbers of a run of the network; `row` is the image in its batch."""
    op = replay.units_of(layer)
    x, kernel = replay.value(op.inputs[0])[row], replay.value(op.inputs[1])
    sums = replay.value(op.outputs[0])[row]
    place = _place(sums, filter, at, layer)
    window = window_of(op, x, kernel, place)
    total = float(window.products.sum())
    stages, end = _stages(replay, op, row, place, total)
    return Unit(
        layer=layer,
        kind=op.operator,
        position=place[:-1],
        filter=place[-1],
        step=step,
        window=window,
        total=total,
        engine=float(sums[place]),
        size=float(np.abs(window.products).sum()),
        stages=tuple(stages),
        pools=tuple(pools_of(replay, end, row, place)),
        image=replay.value(replay.program.inputs()[0].name)[row],
        map=sums[..., place[-1]],
        input_maps=x,
        attrs={k: v for k, v in op.attrs.items() if k != "precision"},
    )


def _opened(source: Any, image: Any, step: int | None) -> tuple[Any, Any, int | None]:
    """(model, image, step) of a model or a run."""
    if not hasattr(source, "map_steps"):
        if step is not None:
            raise ArgumentError("step= needs a recorded run; a model has the weights that it has.")
        if image is None:
            raise ArgumentError("The number of a feature map needs an image: unit(model, layer, image=x).")
        return source, image, None
    model = source.model(step=step)
    known = step if step is not None or not len(source.model_steps) else int(source.model_steps[-1])
    if image is None or isinstance(image, int | np.integer):
        return model, _probe(source, image), known
    return model, image, known


def _probe(run: Any, number: int | np.integer | None) -> np.ndarray:
    """A probe image of a run, by its number in the data; the first for None."""
    images, ids = run.probe_images, run.probe_ids
    if images is None or isinstance(images, list):
        raise ArgumentError("This run holds no probe images: give image=, an array (h, w, c).")
    if number is None:
        return np.asarray(images[0])
    known = [] if ids is None else [int(i) for i in ids]
    if int(number) not in known:
        raise ArgumentError(
            f"Image {int(number)} is not among the probe images of this run, {known}: give one of these "
            "numbers, or the image itself."
        )
    return np.asarray(images[known.index(int(number))])


def _place(sums: np.ndarray, filter: int, at: Sequence[int] | None, layer: str) -> Index:
    """(*position, filter), checked; the position of the largest number where none is given."""
    if at is None:
        check_unit((*[0] * (sums.ndim - 1), filter), sums.shape, layer)
        channel = sums[..., filter]
        at = tuple(int(i) for i in np.unravel_index(channel.argmax(), channel.shape))
    return check_unit((*(int(i) for i in at), int(filter)), sums.shape, layer)


def _stages(replay: Replay, op: Operation, row: int, place: Index, total: float) -> tuple[list[Stage], At]:
    """What follows a sum, and where the last number of it stands."""
    stages: list[Stage] = []
    before, value = sums_of(replay, op), total
    for at in way_behind(replay, before):
        if not at.is_turned:
            stages.append(_stage(replay, before, at.op, row, before.place(place), value))
            value = stages[-1].value
        before = at
    return stages, before


def _stage(replay: Replay, at: At, following: Operation, row: int, place: Index, value: float) -> Stage:
    """One operation of those that follow, computed in float64 from the number at a place before it."""
    before, after = replay.value(at.buffer), replay.value(following.outputs[0])
    given = [_given(replay, name, row) for name in following.inputs]
    operand = following.inputs.index(at.buffer)
    given[operand] = given[operand].copy()
    given[operand][(0, *place)] = value
    results = OPERATORS[following.operator].function(*given, **following.attrs)
    result = results[0] if isinstance(results, tuple) else results
    found = float(np.asarray(result)[(0, *place)])
    return Stage(
        name=STAGES[following.operator],
        kind=str(following.attrs.get("kind", "")),
        operator=following.operator,
        layer=following.layer,
        buffer=following.outputs[0],
        value=found,
        engine=float(after[(row, *place)]),
        detail=text.stage_detail(following, given, operand, place, value, found),
        map_before=before[row].take(place[at.channel - 1], axis=at.channel - 1),
        map_after=after[row].take(place[at.channel - 1], axis=at.channel - 1),
    )


def _given(replay: Replay, name: str, row: int) -> np.ndarray:
    """An input of an operation, for one image, in float64 where it is a float."""
    array = replay.value(name)
    array = array[row : row + 1] if replay.has_images(name) else array
    return array.astype(np.float64) if array.dtype.kind == "f" else array
