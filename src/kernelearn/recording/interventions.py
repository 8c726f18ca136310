"""What somebody did to a training by hand while it ran: each is an event of the run, and can be done again.

An intervention happens between two updates: that of step k after update k and before update k + 1. Its event
says all that is needed to do it once more, so that a training with the same interventions gives the same
numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from kernelearn import schedules
from kernelearn.errors import ArgumentError, unknown_name

EDITED, RESET, FROZEN, UNFROZEN, RATE = "edited", "reset", "frozen", "unfrozen", "learning rate"
# Kinds of events that change the training; "paused" and "resumed" do not.
KINDS = (EDITED, RESET, FROZEN, UNFROZEN, RATE)
PAUSED, RESUMED = "paused", "resumed"
# Of a training that is watched: code of the other program set weights ("paths"); it cannot be done again.
SET_ELSEWHERE = "weights changed"
# Kinds that change numbers of a weight.
BY_HAND = (EDITED, RESET)

Place = tuple[int | None, ...]


@dataclass(frozen=True)
class Intervention:
    """One thing that was done by hand.

    Attributes:
        kind: one of `KINDS`; step: number of updates done before.
        layer, weight: of "edited" and "reset"; of "frozen" and "unfrozen" the layer alone.
        index: place in the weight, None for all along an axis; values, before: what stands there now, and
            what stood there, flat.
        rate: of "learning rate"; None gives the optimiser back its own.
    """

    kind: str
    step: int
    layer: str = ""
    weight: str = ""
    index: Place = ()
    values: tuple[float, ...] = ()
    before: tuple[float, ...] = ()
    rate: float | None = None

    def about(self) -> dict[str, Any]:
        """What its event says besides kind and step."""
        if self.kind == RATE:
            return {"value": self.rate}
        if self.kind in (FROZEN, UNFROZEN):
            return {"layer": self.layer}
        return {
            "layer": self.layer,
            "weight": self.weight,
            "index": list(self.index),
            "values": list(self.values),
            "before": list(self.before),
        }

    @classmethod
    def of_event(cls, event: Mapping[str, Any]) -> Intervention:
        """From the event of a run."""
        kind, step = str(event["kind"]), int(event["step"])
        if kind == RATE:
            rate = event.get("value")
            return cls(kind, step, rate=None if rate is None else float(rate))
        if kind in (FROZEN, UNFROZEN):
            return cls(kind, step, str(event["layer"]))
        index = tuple(None if i is None else int(i) for i in event["index"])
        values, before = (tuple(map(float, event[name])) for name in ("values", "before"))
        return cls(kind, step, str(event["layer"]), str(event["weight"]), index, values, before)

    @property
    def place(self) -> tuple[Any, ...]:
        """`index` as NumPy takes it."""
        return tuple(slice(None) if i is None else i for i in self.index)

    def changed(self, array: np.ndarray) -> np.ndarray:
        """The weight after it, of the same type."""
        found = np.array(array)
        found[self.place] = np.reshape(np.asarray(self.values, found.dtype), np.shape(found[self.place]))
        return found


def of_events(events: Iterable[Mapping[str, Any]]) -> list[Intervention]:
    """The interventions among the events of a run, in order."""
    return [Intervention.of_event(event) for event in events if event["kind"] in KINDS]


def standing(done: Iterable[Intervention]) -> list[Intervention]:
    """Those that still hold at the end: the last learning rate, and what is frozen.

    >>> frozen, free = Intervention(FROZEN, 3, "conv"), Intervention(UNFROZEN, 5, "conv")
    >>> [one.kind for one in standing([frozen, Intervention(RATE, 4, rate=0.1)])], standing([frozen, free])
    (['frozen', 'learning rate'], [])
    """
    rate: Intervention | None = None
    frozen: dict[str, Intervention] = {}
    for one in done:
        if one.kind == RATE:
            rate = one if one.rate is not None else None
        elif one.kind == FROZEN:
            frozen[one.layer] = one
        elif one.kind == UNFROZEN:
            frozen.pop(one.layer, None)
    return [*frozen.values(), *([rate] if rate is not None else [])]


def do(model: Any, intervention: Intervention, rate_before: Any = None) -> None:
    """Do an intervention to a compiled model that is being trained.

    Args:
        rate_before: the learning rate, or schedule, to which `rate=None` goes back.
    Raises: UnknownNameError, ArgumentError for what the model does not have.
    """
    if intervention.kind == RATE:
        _set_rate(model.optimizer, intervention.rate, rate_before)
    elif intervention.kind in (FROZEN, UNFROZEN):
        layer_of(model, intervention.layer).trainable = intervention.kind == UNFROZEN
        model.programs.look_for_changes()
    else:
        variable = variable_of(model, intervention.layer, intervention.weight)
        variable.assign(intervention.changed(variable.numpy()))


def do_on_all(model: Any, intervention: Intervention, rate_before: Any = None) -> None:
    """The same, before the next step also on the other processes that train the model with this one."""
    do(model, intervention, rate_before)
    model.done_to_first.append(partial(do, intervention=intervention, rate_before=rate_before))


def _set_rate(optimizer: Any, rate: float | None, rate_before: Any) -> None:
    """Give the optimiser a rate of its own; a schedule is put aside for one that stays the same."""
    if rate is None:
        optimizer.learning_rate = rate_before
    elif optimizer.schedule is None:
        optimizer.learning_rate = rate
    else:
        optimizer.learning_rate = schedules.ConstantSchedule(rate)


def rate_of(optimizer: Any) -> Any:
    """The learning rate of an optimiser as it was given: a number, or its schedule."""
    schedule = optimizer.schedule
    return float(optimizer.learning_rate) if schedule is None else schedule


def layer_of(model: Any, name: str) -> Any:
    """The layer of a path.

    Raises: UnknownNameError.
    """
    paths = dict(model.descendants())
    if name not in paths:
        raise unknown_name("layer", name, paths)
    return paths[name]


def variable_of(model: Any, layer: str, weight: str) -> Any:
    """A weight of a model.

    Raises: UnknownNameError.
    """
    paths = model.weight_paths()
    path = f"{layer}/{weight}"
    if path not in paths:
        raise unknown_name("weight", path, paths)
    return paths[path]


def edit(model: Any, step: int, layer: str, weight: str, index: Place, values: Any) -> Intervention:
    """An intervention that gives numbers of a weight other values.

    Args:
        index: one entry for each axis, None for all along it.
        values: a number, or as many as the index names.
    Raises: UnknownNameError, ArgumentError for an index outside of the weight, values that are not finite.
    """
    array = variable_of(model, layer, weight).numpy()
    check_index(index, array.shape, f"{layer}/{weight}")
    place = tuple(slice(None) if i is None else i for i in index)
    before = np.ravel(array[place])
    given = np.asarray(values, array.dtype)
    if given.size not in (1, before.size) or not np.isfinite(given).all():
        raise ArgumentError(
            f"{layer}/{weight}{list(index)} takes {before.size} finite numbers; got {values!r}."
        )
    after = np.broadcast_to(np.ravel(given), before.shape)
    kind = EDITED
    return Intervention(
        kind, step, layer, weight, tuple(index), tuple(map(float, after)), tuple(map(float, before))
    )


def check_index(index: Place, shape: tuple[int, ...], name: str) -> None:
    """Raise ArgumentError for an index that a weight does not have."""
    is_there = len(index) == len(shape) and all(i is None or 0 <= i < n for i, n in zip(index, shape))
    if not is_there:
        raise ArgumentError(f"{name} has the shape {tuple(shape)}; it has no {list(index)}.")
