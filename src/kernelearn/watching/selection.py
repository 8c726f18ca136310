"""What of a watched model is recorded, and how its records are laid out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kernelearn.recording.capture.selection import (
    NORM,
    SMALL_MODEL,
    chosen_layers,
    convolved_layers,
    layer_of,
    sizes_of_layers,
    step_fields,
)
from kernelearn.recording.files.layout import Field, Layout
from kernelearn.recording.schedule import Cost, Stream, costs
from kernelearn.watching.seen import Array, SeenModel, SeenRule, SeenStep, SeenUse

_FLOAT = "<f4"
Read = Callable[[], Array]


@dataclass(frozen=True)
class WatchSelection:
    """What is taken of a watched model, for `BudgetedWriter`.

    Attributes:
        weights, snapshot, state: path -> how to read it: recorded layers, the whole model, the optimiser.
        layouts: stream -> Layout.
        about: what the manifest says of the segment.
    """

    weights: Mapping[str, Read]
    snapshot: Mapping[str, Read]
    state: Mapping[str, Read]
    layouts: Mapping[str, Layout]
    about: Mapping[str, Any]
    numbers: int

    @property
    def is_small(self) -> bool:
        """Whether all weights are recorded on both sides of each ledger."""
        return self.numbers <= SMALL_MODEL

    def costs(self, steps_per_epoch: float) -> dict[str, Cost]:
        """Bytes of one time of every schedule."""
        sizes = {name: layout.record_bytes for name, layout in self.layouts.items()}
        return costs(sizes, steps_per_epoch, self.is_small)


def select(
    model: SeenModel,
    step: SeenStep,
    wanted: Any,
    capacity: int,
    probes: Sequence[Field] = (),
    maps: Sequence[Field] = (),
) -> WatchSelection:
    """Work out what to record, from a step whose uses are known.

    Raises: UnknownNameError for a layer that there is not.
    """
    layers = chosen_layers(
        sizes_of_layers({path: math.prod(weight.shape) for path, weight in model.weights.items()}),
        {layer_of(path) for path in model.rules},
        convolved_layers({path: use.parts[0].kind for path, use in step.uses.items()}),
        wanted,
    )
    taken = [path for path in model.weights if layer_of(path) in layers]
    trained = [path for path in taken if path in model.rules]
    slots = [(path, slot) for path in trained for slot in model.rules[path].slots]
    state = {f"{path}/{slot}": model.rules[path].slots[slot] for path, slot in slots}
    uses = {path: use for path, use in step.uses.items() if path in trained}
    fields = {
        Stream.KERNELS: [_field(path, model.weights[path].shape) for path in taken],
        Stream.GRADIENTS: _gradient_fields(model, trained),
        Stream.STATE: [_field(f"{p}/{slot}", _slot_shape(model, p, slot)) for p, slot in slots],
        Stream.LEDGER: [f for path, use in uses.items() for f in _factor_fields(path, use)],
        Stream.SNAPSHOTS: [_field(path, weight.shape) for path, weight in model.weights.items()],
        Stream.STEPS: step_fields(()),
        **({Stream.PROBES: list(probes), Stream.MAPS: list(maps)} if probes else {}),
    }
    return WatchSelection(
        {path: model.weights[path].read for path in taken},
        {path: weight.read for path, weight in model.weights.items()},
        state,
        {name: Layout(name, tuple(content), capacity) for name, content in fields.items()},
        _about(model, layers, taken, trained, uses),
        sum(math.prod(weight.shape) for weight in model.weights.values()),
    )


def _gradient_fields(model: SeenModel, trained: Sequence[str]) -> list[Field]:
    """Gradients, and their norm where the optimiser clips by that of all together."""
    found = [_field(path, model.weights[path].shape) for path in trained]
    clipping = model.optimizer.get("clipping")
    has_norm = clipping is not None and clipping[0] == "clip_by_global_norm"
    return [*found, _field(NORM, ())] if has_norm else found


def _slot_shape(model: SeenModel, path: str, slot: str) -> tuple[int, ...]:
    return model.rules[path].shapes.get(slot, model.weights[path].shape)


def _field(name: str, shape: Sequence[int]) -> Field:
    return Field(name, _FLOAT, tuple(shape))


def part_names(path: str, index: int) -> tuple[str, str, str]:
    """Names of the fields of one use: input, gradient of the output, own gradient of the kernel."""
    return f"{path}#{index}.x", f"{path}#{index}.delta", f"{path}#{index}.gradient"


def _factor_fields(path: str, use: SeenUse) -> list[Field]:
    found = []
    for index, part in enumerate(use.parts):
        x, delta, gradient = part_names(path, index)
        found += [
            Field(x, _FLOAT, (None, *part.x.shape[1:])),
            Field(delta, _FLOAT, (None, *part.delta.shape[1:])),
        ]
        if part.gradient is not None:
            found.append(_field(gradient, part.gradient.shape))
    return found


def factor_arrays(uses: Mapping[str, SeenUse], paths: Sequence[str]) -> dict[str, Array]:
    """Field -> array of the ledgers of these kernels."""
    found: dict[str, Array] = {}
    for path in paths:
        for index, part in enumerate(uses[path].parts):
            x, delta, gradient = part_names(path, index)
            found.update({x: part.x, delta: part.delta})
            if part.gradient is not None:
                found[gradient] = part.gradient
    return found


def _about(
    model: SeenModel, layers: list[str], taken: list[str], trained: list[str], uses: Mapping[str, SeenUse]
) -> dict[str, Any]:
    return {
        "layers": {name: [p.rpartition("/")[2] for p in taken if layer_of(p) == name] for name in layers},
        "metrics": [],
        "optimizer": dict(model.optimizer),
        "uses": {path: _use(path, use) for path, use in uses.items()},
        "updates": {path: _update(model.rules[path]) for path in trained},
        "changing": sorted(model.changing),
        "full_layers": [],
        "offset": model.offset,
        "ids": "rows" if model.has_numbers else "order",
    }


def _update(rule: SeenRule) -> dict[str, Any]:
    return {
        "kind": rule.kind,
        "attrs": dict(rule.attrs),
        "slots": list(rule.slots),
        "constraint": rule.constraint,
        **({"overwriting": rule.overwriting} if rule.overwriting else {}),
    }


def _use(path: str, use: SeenUse) -> dict[str, Any]:
    parts = []
    for index, part in enumerate(use.parts):
        x, delta, gradient = part_names(path, index)
        own = None if part.gradient is None else gradient
        parts.append({"kind": part.kind, "x": x, "delta": delta, "gradient": own, "attrs": dict(part.attrs)})
    return {"kernel_shape": list(use.kernel_shape), "bias": use.bias, "parts": parts}
