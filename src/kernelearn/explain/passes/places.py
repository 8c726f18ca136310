"""One layer in one step, place by place: input, sum, activation, pooling, and the error at each of them.

Forward the numbers follow from the input and the weights, in float64; what a step decided (statistics of a
normalisation, winners of a pooling) is taken from what it had. Backward the error at the last place comes
from above; those between follow from it: to the winner alone, times the slope.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

from kernelearn.engine.operators import OPERATORS
from kernelearn.engine.program import ProgramBuilder
from kernelearn.errors import ArgumentError
from kernelearn.explain.passes.replay import Replay, replay_prediction
from kernelearn.explain.passes.slopes import vector_product
from kernelearn.recording.factors import StageRecord
from kernelearn.recording.stages import stages_of
from kernelearn.training.feeds import program_inputs
from kernelearn.training.steps.step import Batch


@dataclass(frozen=True, eq=False)
class Places:
    """The places of a layer, for some images.

    Attributes:
        layer, weight, step: which kernel; in a training step the weights are those before it.
        kernel, bias: as they were used; bias is None without one.
        x: (n, ...) input; values: place -> (n, ...) numbers; errors: place -> (n, ...) dL/d(number).
        winner: (n, *windows, f) cell of its window that each maximum is, or None.
        missing: place -> why its error is not known.
        sources: name of an array -> "record", "computed" (from recorded ones) or "replay".
    """

    layer: str
    weight: str
    step: int
    kernel: np.ndarray
    bias: np.ndarray | None
    x: np.ndarray
    values: Mapping[str, np.ndarray]
    errors: Mapping[str, np.ndarray] = field(default_factory=dict)
    winner: np.ndarray | None = None
    missing: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)


def places_in_step(run: Any, layer: str, step: int, weight: str = "kernel", replay: Any = None) -> Places:
    """A layer in a recorded training step, for all images of its batch.

    Args:
        run: recorded run; step: one of its ledger steps.
        replay: a `Replay` of the step, for what an older record does not hold; or None.
    Raises: ArgumentError for a step without a ledger, or a layer that is called several times.
    """
    factors = run.ledger(layer, step, weight)
    if len(factors.parts) > 1:
        raise ArgumentError(
            f"{layer} is called {len(factors.parts)} times in a step; its places are shown for one."
        )
    kernel = run.weight_before(layer, step, weight)
    bias = run.weight_before(layer, step, "bias") if "bias" in run.weights(layer) else None
    stages, source = run.stages(layer, step, weight), "record"
    if not stages and replay is not None:
        stages, source = _from_replay(replay, layer), "replay"
    part = factors.parts[0]
    z = _sums(part.kind, part.attrs, part.x, np.reshape(kernel, factors.kernel_shape), bias)
    stages = stages or (StageRecord("z", part.kind, layer, {}),)
    values, winner = _forward(z, stages)
    errors, missing = _backward(values, stages, part.delta, winner)
    sources = {"x": "record", "dz": "record", **dict.fromkeys(values, "computed")}
    sources |= {stage.name: source for stage in stages if stage.value is not None}
    sources |= {f"d{name}": "computed" for name in errors if name not in ("z", stages[-1].name)}
    sources |= {f"d{stages[-1].name}": source} if stages[-1].name in errors and stages[-1].name != "z" else {}
    return Places(layer, weight, step, kernel, bias, part.x, values, errors, winner, missing, sources)


def places_in_replay(replay: Replay, layer: str, step: int) -> Places:
    """A layer in a training step that was computed once more, all of it as it was computed.

    Raises: UnknownNameError for a layer without a kernel; ArgumentError for one that no error reaches.
    """
    op = replay.units_of(layer)
    delta = replay.gradient(op.outputs[0])
    if delta is None:
        raise ArgumentError(f"No error comes back to {layer}: neither it nor a layer below it is trained.")
    kernel, bias, x = _used(replay, layer)
    stages = _from_replay(replay, layer)
    values, winner = _forward(_sums(op.operator, op.attrs, x, kernel, bias), stages)
    errors, missing = _backward(values, stages, delta, winner)
    names = ["x", *values, *(f"d{name}" for name in errors)]
    sources = dict.fromkeys(names, "replay")
    return Places(layer, "kernel", step, kernel, bias, x, values, errors, winner, missing, sources)


def places_for_images(model: Any, layer: str, images: np.ndarray, step: int = -1) -> Places:
    """A layer for images in inference mode.

    Args:
        model: with the weights that are meant, a single input and no sizes left open.
        images: (n, ...) as the model takes them.
    Raises: UnknownNameError for a layer without a kernel.
    """
    replay = replay_prediction(model, images)
    op = replay.units_of(layer)
    kernel, bias, x = _used(replay, layer)
    stages = _from_replay(replay, layer, has_errors=False)
    values, winner = _forward(_sums(op.operator, op.attrs, x, kernel, bias), stages)
    return Places(layer, "kernel", step, kernel, bias, x, values, winner=winner)


def _used(replay: Replay, layer: str) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """(kernel, bias or None, input) of a layer in one run of its network."""
    op = replay.units_of(layer)
    first = stages_of(replay.graph, op)[0]
    made = replay.graph.producer(first.value)
    has_bias = made is not None and made.operator == "bias_add"
    bias = replay.value(made.inputs[1]) if made is not None and has_bias else None
    return replay.value(op.inputs[1]), bias, replay.value(op.inputs[0])


def needed_layers(model: Any, layer: str, images: np.ndarray) -> list[str]:
    """Names of the layers that a layer's numbers depend on, itself among them, in order.

    Args:
        images: some that the model takes; they say their sizes where the model leaves these open.
    """
    batch = Batch.of(program_inputs(images[:1], model.inputs, model.input_names))
    program = model.programs.step_on("predict", batch).program
    made = {name: op for op in program.operations for name in op.outputs}
    own = [op for op in program.operations if op.layer == layer or op.layer.startswith(f"{layer}/")]
    waiting, seen, names = [name for op in own for name in op.inputs], set[str](), {layer}
    while waiting:
        op = made.get(waiting.pop())
        if op is not None and op.outputs[0] not in seen:
            seen.add(op.outputs[0])
            names.add(op.layer)
            waiting += op.inputs
    order = dict.fromkeys(op.layer for op in program.operations)
    return [name for name in order if name in names]


def _from_replay(replay: Replay, layer: str, has_errors: bool = True) -> tuple[StageRecord, ...]:
    """The places of a layer with what one run of the network had there."""
    found = []
    for stage in stages_of(replay.graph, replay.units_of(layer)):
        value = replay.value(stage.value) if stage.name == "norm" else None
        winner = None if stage.winner is None else replay.value(stage.winner)
        found.append((stage, value, winner))
    last = found[-1][0]
    delta = replay.gradient(last.value) if has_errors and last.name != "z" else None
    return tuple(
        StageRecord(s.name, s.operator, s.layer, s.attrs, value, winner, delta if s is last else None)
        for s, value, winner in found
    )


def _sums(
    kind: str, attrs: Mapping[str, Any], x: np.ndarray, kernel: np.ndarray, bias: np.ndarray | None
) -> np.ndarray:
    """(n, ...) float64: window x kernel + bias."""
    z = OPERATORS[kind].run(x.astype(np.float64), kernel.astype(np.float64), **attrs)
    return np.asarray(z if bias is None else z + bias.astype(np.float64))


def _forward(z: np.ndarray, stages: Sequence[StageRecord]) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
    """Place -> numbers, and the winners of a pooling."""
    values, winner = {"z": z}, None
    now = z
    for stage in stages:
        if stage.name == "z":
            continue
        if stage.value is not None:
            now = stage.value.astype(np.float64)
        elif stage.operator in _ALONE:
            found = OPERATORS[stage.operator].run(now, **stage.attrs)
            now, where = found if isinstance(found, tuple) else (found, None)
            winner = stage.winner if stage.winner is not None else where
        else:
            break  # what else went into it is not among these numbers
        values[stage.name] = now
    return values, winner


# Operators whose result follows from the numbers before alone.
_ALONE = ("activation", "softmax", "max_pool", "average_pool", "reduce_max", "reduce_mean")


def _backward(
    values: Mapping[str, np.ndarray],
    stages: Sequence[StageRecord],
    delta: np.ndarray,
    winner: np.ndarray | None,
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Place -> error, and place -> why it is not known."""
    errors, missing = {"z": delta}, dict[str, str]()
    names = [stage.name for stage in stages]
    error = stages[-1].delta
    if names[-1] == "z":
        return errors, missing
    if error is None:
        why = (
            "The loss takes these numbers as they are: the step computes no error behind the softmax."
            if stages[-1].operator == "softmax"
            else "The error from above is not recorded where the activation cut it."
        )
        return errors, dict.fromkeys(names[1:], why)
    errors[names[-1]] = error
    for place in range(len(stages) - 1, 1, -1):
        before, stage = stages[place - 1], stages[place]
        if before.name not in values:
            missing[before.name] = "The numbers at this place are not recorded."
            break
        error = _pulled_back(stage, values[before.name], winner, error)
        errors[before.name] = error
    return errors, missing


def _pulled_back(
    stage: StageRecord, before: np.ndarray, winner: np.ndarray | None, error: np.ndarray
) -> np.ndarray:
    """The error in front of a place, from that behind it; of the type of the error."""
    attrs = dict(stage.attrs)
    if stage.operator == "max_pool" and winner is not None:
        function = OPERATORS["max_pool_grad"].run
        return np.asarray(function(error, winner, input_size=before.shape[1:-1], **attrs))
    found = vector_product(*_alone(stage.operator, attrs, before), 0, slice(None), error)
    return np.asarray(found, error.dtype)


def _alone(operator: str, attrs: dict[str, Any], x: np.ndarray) -> tuple[Any, Any]:
    """A run of one operation by itself."""
    builder = ProgramBuilder(training=True, dtype="float64")
    given = builder.input("x", (None, *x.shape[1:]), "float64")
    builder.add(operator, given, **attrs)
    op = builder.operations[-1]
    found = OPERATORS[operator].run(x, **attrs)
    outputs = found if isinstance(found, tuple) else (found,)
    values = {"x": x, **dict(zip(op.outputs, outputs))}
    return SimpleNamespace(
        value=values.__getitem__,
        has_images=lambda name: True,
    ), op
