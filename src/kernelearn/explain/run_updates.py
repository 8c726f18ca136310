"""The updates of one weight in a recorded run: reads what each was computed from, and splits it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernelearn import optimizers
from kernelearn.errors import ArgumentError, KernelearnError
from kernelearn.explain.update_split import UpdateSplit, clip, split_update
from kernelearn.initializers.from_layer import values_follow
from kernelearn.layers.base import LAYERS


class RunUpdates:
    """All that decides the updates of one weight, read from a `recording.Run`.

    Args:
        weight: its name; "kernel" also finds the only kernel of a layer, however it is called.
    """

    def __init__(self, run: Any, layer: str, weight: str = "kernel") -> None:
        self.run, self.layer, self.weight = run, layer, resolved_name(run, layer, weight)

    def steps(self) -> list[int]:
        """Updates for which the weights before and after and the gradient are recorded."""
        there, gradients = set(self.run.steps.tolist()), set(self.run.gradient_steps.tolist())
        return [k for k in sorted(there) if k - 1 in there and k in gradients and self._has_slots(k)]

    def split(self, step: int) -> UpdateSplit:
        """The update of one step, split.

        Raises: ArgumentError unless the weights before and after, the gradient and the state are recorded.
        """
        self._check_recorded(step)
        before = self.before(step)
        rule = self.rule(step)
        return split_update(
            before,
            self.gradient(step),
            self.slots(step),
            kind=rule["kind"],
            attrs=rule["attrs"],
            learning_rate=self.learning_rate(step),
            iteration=self.run.iteration(step),
            after=self.run.kernels(self.layer, step, self.weight),
            penalty=self.penalty(step),
            clipping=self.clipping,
            global_norm=self.run.global_norm(step) if self._clips_globally else None,
            constraint=rule.get("constraint"),
            layer=self.layer,
            weight=self.weight,
            number=step,
        )

    def before(self, step: int) -> NDArray:
        """The weight before an update."""
        return self.run.kernels(self.layer, step - 1, self.weight)

    def gradient(self, step: int) -> NDArray:
        """The whole gradient, before clipping."""
        return self.run.gradient(self.layer, step, self.weight)

    def clipped(self, step: int) -> NDArray:
        """The gradient as it reached the optimiser."""
        norm = self.run.global_norm(step) if self._clips_globally else None
        return clip(self.gradient(step), self.clipping, norm)

    def rule(self, step: int) -> dict[str, Any]:
        """How the weight was updated.

        Raises: ArgumentError for a weight that training left alone.
        """
        rule = self.run.update_rule(self.layer, step, self.weight)
        if not rule:
            raise ArgumentError(
                f"{self.layer}/{self.weight} was not trained at step {step}: there is no update to split."
            )
        return rule

    def slots(self, step: int) -> dict[str, NDArray]:
        """The optimiser's arrays before an update; their first values before its first."""
        rule = self.rule(step)
        if not rule["slots"]:
            return {}
        # NOTE: an optimiser made anew in the middle of a run starts from its own values.
        if self.is_first(step) and self.run.optimizer.get("config") is not None:
            return _first_slots(rule, self.run.optimizer, self.before(step))
        return self.run.optimizer_state(self.layer, step - 1, self.weight)

    def is_first(self, step: int) -> bool:
        """Whether this is the first update of its optimiser."""
        return self.run.iteration(step) == 1

    def learning_rate(self, step: int) -> float:
        """The learning rate of an update, before the layer's multiplier."""
        if step not in self._rates:
            raise ArgumentError(f"The learning rate of step {step} is not recorded.")
        return self._rates[step]

    @cached_property
    def penalty_rule(self) -> Callable[[NDArray], NDArray] | None:
        """Weight -> gradient of its regulariser; None without one, or if the model cannot be rebuilt."""
        import kernelearn.models  # noqa: F401  (a model is known by name once its class is loaded)

        config = self.run.manifest["about"].get("model")
        try:
            with values_follow():
                model = None if config is None else LAYERS.get(config)
        except KernelearnError:
            model = None
        paths = {} if model is None else model.weight_paths()
        rule = getattr(paths.get(f"{self.layer}/{self.weight}"), "regularizer", None)
        return None if rule is None else rule.gradient

    def penalty(self, step: int) -> NDArray | None:
        """The regulariser's part of the gradient of a step, or None.

        Where the model cannot be rebuilt (it has parts of the user's own), the ledger of the step tells.
        """
        if self.penalty_rule is not None:
            return np.asarray(self.penalty_rule(self.before(step)))
        if not self._may_have_penalty or step not in self.run.ledger_steps:
            return None
        try:
            factors = self.run.ledger(self.layer, step, self.weight)
        except KernelearnError:
            return None
        return factors.gradient - factors.from_data

    @cached_property
    def _may_have_penalty(self) -> bool:
        """Whether the gradient of the weight is more than that of its uses: the run has these apart then."""
        try:
            factors = self.run.ledger(self.layer, int(self.run.ledger_steps[0]), self.weight)
        except (KernelearnError, IndexError):
            return False
        return bool((factors.gradient != factors.from_data).any())

    @cached_property
    def clipping(self) -> tuple[str, float] | None:
        """How gradients were clipped: function and limit."""
        found = self.run.optimizer.get("clipping")
        return None if not found else (str(found[0]), float(found[1]))

    @property
    def _clips_globally(self) -> bool:
        return self.clipping is not None and self.clipping[0] == "clip_by_global_norm"

    @cached_property
    def _rates(self) -> dict[int, float]:
        steps, values = self.run.scalars("learning_rate")
        return dict(zip(steps.tolist(), values.tolist()))

    def _check_recorded(self, step: int) -> None:
        there = self.run.steps
        if step < 1 or step - 1 not in there or step not in there or step not in self.run.gradient_steps:
            raise ArgumentError(
                f"Update {step} cannot be split: it needs the weights of steps {step - 1} and {step} and the "
                f"gradient of step {step}. Weights are recorded for {len(there)} steps up to "
                f"{there.max(initial=0)}, gradients for {len(self.run.gradient_steps)}; "
                "gradients_every=1 records every update."
            )

    def _has_slots(self, step: int) -> bool:
        try:
            self.slots(step)
        except KernelearnError:
            return False
        return True


def resolved_name(run: Any, layer: str, weight: str) -> str:
    """The name of a weight; "kernel" stands for the only kernel of a layer too."""
    names = run.weights(layer)
    kernels = [name for name in names if name.endswith("kernel")]
    if weight == "kernel" and weight not in names and len(kernels) == 1:
        return kernels[0]
    return weight


def _first_slots(rule: dict[str, Any], about: dict[str, Any], weight: NDArray) -> dict[str, NDArray]:
    """The optimiser's arrays before its first update."""
    optimizer = optimizers.get(about["config"])
    found = optimizer.slots(weight.shape) if optimizer.kind == rule["kind"] else {}
    missing = [name for name in rule["slots"] if name not in found]
    if missing:
        raise ArgumentError(f"The first values of the optimiser's arrays {missing} are not recorded.")
    return {name: np.full(found[name].shape, found[name].value, weight.dtype) for name in rule["slots"]}
