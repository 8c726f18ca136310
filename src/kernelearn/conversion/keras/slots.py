"""What an optimiser carries from step to step, as Keras lays it out in files, both ways.

Keras has one list: the number of steps, the learning rate (unless a schedule gives it), then arrays for the
trained weights, in an order of each optimiser's own.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kernelearn.conversion.keras.states import trained_in_order
from kernelearn.engine.variable import Variable
from kernelearn.errors import FormatError
from kernelearn.formats.hdf5 import Array
from kernelearn.layers.core.weight import Weight
from kernelearn.models import Model
from kernelearn.training.steps.updating import ACCUMULATED, Carried, average_name

_ONCE = {"u_product"}  # one number for all weights in Keras, one for each here
_AVERAGE = "average"


@dataclass(frozen=True)
class Entry:
    """One array in Keras's list.

    Attributes:
        slot: what it is called here; "" for one that Keras keeps without using it.
        weight: whose it is; None for one number for all.
    """

    slot: str
    weight: Weight | None
    shape: tuple[int, ...] = ()


def entries(optimizer: Any, weights: Sequence[Weight]) -> Iterator[Entry]:
    """Keras's list behind the number of steps and the learning rate."""
    if optimizer.use_ema:
        yield from (Entry(_AVERAGE, w, w.shape) for w in weights)
    if optimizer.gradient_accumulation_steps:
        yield from (Entry(ACCUMULATED, w, w.shape) for w in weights)
    special = _SPECIAL.get(type(optimizer).__name__)
    if special is not None:
        yield from special(optimizer, weights)
        return
    for group in _GROUPS.get(type(optimizer).__name__, ()):
        for weight in weights:
            kept = optimizer.slots_for(weight)
            yield from (Entry(slot, weight, weight.shape) for slot in group if slot in kept)
    if type(optimizer).__name__ == "Nadam":
        yield Entry("u_product", None)


# Slots that stand together for each weight; a group is written for all weights before the next one begins.
_GROUPS: dict[str, tuple[tuple[str, ...], ...]] = {
    "SGD": (("momentum",),),
    "Adam": (("momentum", "velocity"), ("velocity_hat",)),
    "AdamW": (("momentum", "velocity"), ("velocity_hat",)),
    "RMSprop": (("velocity",), ("momentum",), ("average_gradient",)),
    "Adagrad": (("accumulator",),),
    "Adadelta": (("accumulated_grad", "accumulated_delta_var"),),
    "Adamax": (("momentum", "norm"),),
    "Nadam": (("momentum", "velocity"),),
    "Lion": (("momentum",),),
    "Ftrl": (("accumulator", "linear"),),
    "Lamb": (("momentum", "velocity"),),
    "Muon": (("momentum", "velocity"),),
    "ScheduleFreeAdamW": (("lead", "velocity"),),
}


def _adafactor(optimizer: Any, weights: Sequence[Weight]) -> Iterator[Entry]:
    """Rows, columns and velocities; Keras makes the ones that a shape does not need, too."""
    for weight in weights:
        kept = optimizer.slots_for(weight)
        is_factored = len(weight.shape) >= 2
        for slot in ("row", "column", "velocity"):
            shape = weight.shape if slot == "velocity" else kept[slot].shape
            used = (slot == "velocity") != is_factored
            yield Entry(slot if used else "", weight, shape)


_SPECIAL: dict[str, Callable[[Any, Sequence[Weight]], Iterator[Entry]]] = {"Adafactor": _adafactor}


# --- reading


def take(model: Model, stored: Sequence[Array], what: str, version: tuple[int, int]) -> None:
    """Give a compiled model's optimiser what Keras has saved of it.

    Args:
        stored: the arrays in Keras's order.
        version: of the Keras that wrote them; Keras 2 leaves the learning rate out.
    Arrays that are not those of this optimiser and these weights are left out, with a warning.
    """
    optimizer = model.programs.compiled_optimizer()
    if not stored:
        return
    rest = list(stored)
    steps = rest.pop(0)
    has_rate = optimizer.schedule is None and version[0] >= 3
    rate = rest.pop(0) if has_rate and rest else None
    wanted = list(entries(optimizer, trained_in_order(model)))
    if not rest and wanted and int(_number(steps, what)) == 0:
        return  # never built
    found, expected = [a.shape for a in rest], [entry.shape for entry in wanted]
    if found != expected:
        warnings.warn(
            f"{what}: the state of its optimiser is not read: its arrays have the shapes {found[:6]} "
            f"({len(found)} of them); {type(optimizer).__name__} with this model's "
            f"{len(trained_in_order(model))} trained weights has {expected[:6]} ({len(expected)}). Training "
            "goes on as from its first step.",
            UserWarning,
            stacklevel=6,
        )
        return
    optimizer.iterations = int(_number(steps, what))
    if rate is not None:
        optimizer.learning_rate = float(_number(rate, what))
    for entry, array in zip(wanted, rest):
        _keep(model, entry, array.read())


def _number(array: Array, what: str) -> Any:
    if array.shape != ():
        raise FormatError(f"{what}: the optimiser's number of steps has the shape {array.shape}.")
    return array.read()


def _keep(model: Model, entry: Entry, array: np.ndarray) -> None:
    weights = trained_in_order(model) if entry.weight is None else [entry.weight]
    for weight in weights:
        if entry.slot:
            value = array - weight.numpy() if entry.slot == "lead" else array
            put(model, weight, entry.slot, value)


def put(model: Model, weight: Weight, slot: str, value: np.ndarray) -> None:
    """Give an optimiser an array that it carries for a weight."""
    found = carried(model, weight, slot)
    if found is None:
        name = _free(model, weight, slot)
        found = model.programs.slots[name] = Carried(np.zeros(value.shape, weight.dtype), name, weight)
    found.assign(np.asarray(value, weight.dtype))


def _free(model: Model, weight: Weight, slot: str) -> str:
    path = next((path for path, w in model.weight_paths().items() if w is weight), weight.path)
    return average_name(path) if slot == _AVERAGE else f"optimizer/{path}/{slot}"


def carried(model: Model, weight: Weight, slot: str) -> Variable | None:
    """What an optimiser carries for a weight; None if it has nothing of that kind yet."""
    slots = model.programs.slots
    kind = average_name("") if slot == _AVERAGE else f"/{slot}"
    same = [n for n in slots if (n.startswith(kind) if slot == _AVERAGE else n.endswith(kind))]
    own = [slots[n] for n in same if isinstance(slots[n], Carried) and slots[n].weight() is weight]  # type: ignore[attr-defined]
    return own[0] if own else slots.get(_free(model, weight, slot))


# --- writing


def state(model: Model) -> list[np.ndarray]:
    """What the optimiser of a compiled model carries, in Keras's order."""
    optimizer = model.programs.compiled_optimizer()
    made = [np.asarray(int(optimizer.iterations), np.int32)]
    if optimizer.schedule is None:
        made.append(np.asarray(float(optimizer.learning_rate), model.dtype))
    weights = trained_in_order(model)
    return made + [_value(model, entry, weights) for entry in entries(optimizer, weights)]


def _value(model: Model, entry: Entry, weights: Sequence[Weight]) -> np.ndarray:
    optimizer = model.programs.compiled_optimizer()
    weight = entry.weight if entry.weight is not None else (weights[0] if weights else None)
    if weight is None or not entry.slot:
        return np.ones(entry.shape, np.float32) if weight is None else np.zeros(entry.shape, weight.dtype)
    found = carried(model, weight, entry.slot)
    if entry.slot == ACCUMULATED and int(optimizer.iterations) % optimizer.steps_per_update == 0:
        found = None  # Keras empties it after an update, the next step does so here
    if found is not None:
        value = found.numpy()
    elif entry.slot in (ACCUMULATED, _AVERAGE):
        value = np.zeros(weight.shape, weight.dtype)
    else:
        start = optimizer.slots_for(weight)[entry.slot]
        value = np.full(start.shape, start.value, weight.dtype)
    return value + weight.numpy() if entry.slot == "lead" else value
