"""The updates of one weight in a recorded run: reads what each was computed from, and splits it.

Fits of one run may have different optimisers: rule, arrays and clipping are those of the fit that a step
belongs to. What is read for one step does not depend on how many steps there are.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernelearn.errors import ArgumentError
from kernelearn.explain.gradient.penalties import Penalties
from kernelearn.explain.runs import run_of
from kernelearn.explain.update.splits import UpdateSplit, clip, split_update, summed, with_hand
from kernelearn.recording.interventions import SET_ELSEWHERE
from kernelearn.recording.run import Run


class RunUpdates:
    """All that decides the updates of one weight, read from a `recording.Run`.

    Args:
        weight: its name; "kernel" also finds the only kernel of a layer, however it is called.
    """

    def __init__(self, run: Run, layer: str, weight: str = "kernel") -> None:
        self.run, self.layer, self.weight = run, layer, run.weight_name(layer, weight)
        self.penalties = Penalties(run, layer, self.weight)
        self._edited: set[int] | None = None  # updates before which it was changed by hand

    def steps(self) -> list[int]:
        """Updates for which the weights on both sides, the gradient and the state are recorded."""
        known = self.run.weight_steps(self.layer, self.weight)
        found = np.intersect1d(known, known + 1)
        found = np.intersect1d(found, self.run.gradient_steps_of(self.layer, self.weight))
        found = np.intersect1d(found, self.run.state_steps_before(self.layer, self.weight))
        return [int(step) for step in found]

    def split(self, step: int) -> UpdateSplit:
        """The update of one step, split.

        Raises: ArgumentError unless the weights before and after, the gradient and the state are recorded.
        """
        rule = self.rule(step)
        self._check_recorded(step)
        clipping = self.clipping(step)
        split = split_update(
            self.before(step),
            self.gradient(step),
            self.slots(step),
            kind=rule["kind"],
            attrs=rule["attrs"],
            learning_rate=self.run.learning_rate(step),
            iteration=self.iteration(step),
            after=self.run.kernels(self.layer, step, self.weight),
            penalty=self.penalties.at(step),
            clipping=clipping,
            global_norm=self.run.global_norm(step) if clips_globally(clipping) else None,
            constraint=rule.get("constraint"),
            overwriting=rule.get("overwriting"),
            coefficients=self.run.optimizer_of(step).get("coefficients", "float64"),
            layer=self.layer,
            weight=self.weight,
            number=step,
        )
        return split if not self.by_hand(step) else with_hand(split, self.recorded_before(step))

    def before(self, step: int) -> NDArray[Any]:
        """The weight that an update began with: what was done by hand since the one before is in it."""
        return self.run.weight_before(self.layer, step, self.weight)

    def recorded_before(self, step: int) -> NDArray[Any]:
        """The weight after the update before."""
        return self.run.kernels(self.layer, step - 1, self.weight)

    def by_hand(self, step: int) -> bool:
        """Whether the weight was changed by hand between an update and the one before."""
        if self._edited is None:
            run, own = self.run, (self.layer, self.weight)
            done = (one for one in run.interventions if (one.layer, one.weight) == own)
            self._edited = {one.step + 1 for one in done}
            path = f"{self.layer}/{self.weight}"
            told = (event for event in run.events if event["kind"] == SET_ELSEWHERE)
            self._edited |= {int(event["step"]) + 1 for event in told if path in event["paths"]}
        return step in self._edited

    def gradient(self, step: int) -> NDArray[Any]:
        """The whole gradient, before clipping."""
        return self.run.gradient(self.layer, step, self.weight)

    def clipped(self, step: int) -> NDArray[Any]:
        """The gradient as it reached the optimiser."""
        clipping = self.clipping(step)
        norm = self.run.global_norm(step) if clips_globally(clipping) else None
        return clip(self.gradient(step), clipping, norm)

    def rule(self, step: int) -> dict[str, Any]:
        """How the weight was updated.

        Raises: ArgumentError for a weight that training left alone.
        """
        rule = self.run.update_rule(self.layer, step, self.weight)
        if not rule:
            why = "was frozen" if self.run.is_frozen(self.layer, step, self.weight) else "was not recorded"
            raise ArgumentError(
                f"{self.layer}/{self.weight} {why} at step {step}: there is no update to split."
            )
        return rule

    def slots(self, step: int) -> dict[str, NDArray[Any]]:
        """The optimiser's arrays before an update."""
        return self.run.state_before(self.layer, step, self.weight)

    def is_first(self, step: int) -> bool:
        """Whether this is the first update of its optimiser."""
        return self.iteration(step) == 1

    def iteration(self, step: int) -> int:
        """How many updates of the weight its optimiser has done at a step.

        A weight that got its first gradient when others had been updated before is that much behind.
        """
        late = self.run.update_rule(self.layer, step, self.weight).get("attrs", {}).get("late", 0)
        return self.run.iteration(step) - int(late)

    def clipping(self, step: int) -> tuple[str, float] | None:
        """How the gradients of a step were clipped: function and limit."""
        found = self.run.optimizer_of(step).get("clipping")
        return None if not found else (str(found[0]), float(found[1]))

    def _check_recorded(self, step: int) -> None:
        if step >= 1 and self.run.is_split(self.layer, step, self.weight):
            return
        there = self.run.weight_steps(self.layer, self.weight)
        gradients = self.run.gradient_steps_of(self.layer, self.weight)
        raise ArgumentError(
            f"Update {step} cannot be split: it needs the weights of steps {step - 1} and {step} and the "
            f"gradient of step {step}. Weights are recorded for {len(there)} steps up to "
            f"{there.max(initial=0)}, gradients for {len(gradients)}; "
            f"{self.run.about.to_record_all(self.layer)} records every update."
        )


def update_split(
    run: Run, layer: str, step: int | Iterable[int] | None = None, weight: str = "kernel"
) -> UpdateSplit:
    """Split an update of a recorded run, or the sum of several.

    Args:
        run: `recording.Run`, or the path of its folder.
        step: the number of an update; an iterable of successive ones, such as range(1, 101); or None for all
            recorded updates.
        weight: name of the weight.
    Raises: ArgumentError if weights, gradient or optimiser state of a step are not recorded.
    """
    run = run_of(run, "update_split")
    updates = RunUpdates(run, layer, weight)
    if isinstance(step, int | np.integer):
        return updates.split(int(step))
    numbers = updates.steps() if step is None else [int(k) for k in step]
    if not numbers or numbers != list(range(numbers[0], numbers[0] + len(numbers))):
        raise ArgumentError(
            f"The updates to sum must be successive steps, all recorded; got {_some(numbers)}. Record with "
            f"{run.about.to_record_all(layer)}, or use explain.history, which says what is missing."
        )
    return summed(map(updates.split, numbers))


def _some(numbers: list[int]) -> str:
    return str(numbers) if len(numbers) <= 8 else f"[{numbers[0]}, {numbers[1]}, ..., {numbers[-1]}]"


def clips_globally(clipping: tuple[str, float] | None) -> bool:
    """Whether clipping needs the norm of all gradients."""
    return clipping is not None and clipping[0] == "clip_by_global_norm"
