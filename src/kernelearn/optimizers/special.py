"""Optimisers for special cases: sparse linear models, large batches, training without a schedule.

Every class also takes the arguments of `Optimizer`. Their formulas are in `engine.updates`.
"""

import warnings
from collections.abc import Sequence
from typing import Any, Unpack

from kernelearn.errors import ArgumentError
from kernelearn.optimizers.base import OPTIMIZERS, LearningRateLike, Optimizer, OptimizerOptions, Slot
from kernelearn.optimizers.methods import TwoBetas, require_share


@OPTIMIZERS.register("ftrl")
class Ftrl(Optimizer):
    """Follow the regularised leader: sparse weights by an l1 penalty, for wide linear models.

    Args:
        learning_rate_power: how the step shrinks with the sum of squared gradients, 0 or less.
        initial_accumulator_value: where that sum starts.
        l1_regularization_strength, l2_regularization_strength: penalties; l1 makes weights exactly zero.
        l2_shrinkage_regularization_strength: a penalty on the gradient alone, not on the sum of squares.
        beta: added to the denominator, as of the paper.
    """

    kind = "ftrl_update"
    _attributes = (
        "learning_rate_power",
        "l1_regularization_strength",
        "l2_regularization_strength",
        "l2_shrinkage_regularization_strength",
        "beta",
    )
    learning_rate_power: float
    initial_accumulator_value: float
    l1_regularization_strength: float
    l2_regularization_strength: float
    l2_shrinkage_regularization_strength: float
    beta: float

    def __init__(
        self,
        learning_rate: LearningRateLike = 0.001,
        learning_rate_power: float = -0.5,
        initial_accumulator_value: float = 0.1,
        l1_regularization_strength: float = 0.0,
        l2_regularization_strength: float = 0.0,
        l2_shrinkage_regularization_strength: float = 0.0,
        beta: float = 0.0,
        **options: Unpack[OptimizerOptions],
    ) -> None:
        super().__init__(learning_rate, **options)
        self.keep(locals())
        if learning_rate_power > 0:
            raise ArgumentError(f"learning_rate_power must be 0 or less, got {learning_rate_power!r}.")
        for name in ("initial_accumulator_value", *self._attributes[1:4]):
            if getattr(self, name) < 0:
                raise ArgumentError(f"{name} must be at least 0, got {getattr(self, name)!r}.")

    def slots(self, shape: Sequence[int]) -> dict[str, Slot]:
        first = float(self.initial_accumulator_value)
        return {"accumulator": Slot(tuple(shape), first), "linear": Slot(tuple(shape), 0.0)}


@OPTIMIZERS.register("lamb")
class Lamb(TwoBetas):
    """Adam whose step for a weight is as long as the weight, times the learning rate: for large batches.

    Arguments as `Adam`.
    """

    kind = "lamb_update"

    def _slot_names(self) -> tuple[str, ...]:
        return ("momentum", "velocity")


@OPTIMIZERS.register("schedulefreeadamw")
class ScheduleFreeAdamW(Optimizer):
    """AdamW that needs no schedule: the weights lie between its newest point and the mean of all of them.

    Args:
        beta_1: how far the weights lie towards the mean, above 0 and below 1.
        beta_2: share of the old mean of squared gradients kept at each step.
        epsilon: added to the root of that mean.
        warmup_steps: updates in which the learning rate grows from zero.
    """

    kind = "schedule_free_adamw_update"
    _attributes = ("beta_1", "beta_2", "epsilon", "warmup_steps")
    beta_1: float
    beta_2: float
    epsilon: float
    warmup_steps: int

    def __init__(
        self,
        learning_rate: LearningRateLike = 0.0025,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        warmup_steps: int = 0,
        **options: Unpack[OptimizerOptions],
    ) -> None:
        super().__init__(learning_rate, **options)
        require_share(beta_1=beta_1, beta_2=beta_2)
        self.keep(locals())
        if not beta_1 > 0 or warmup_steps < 0:
            raise ArgumentError(
                f"beta_1 must be above 0 and warmup_steps at least 0, got {beta_1!r} and {warmup_steps!r}."
            )

    def _slot_names(self) -> tuple[str, ...]:
        return ("lead", "velocity")


def LossScaleOptimizer(inner_optimizer: Any, initial_scale: float = 2.0**15, **options: Any) -> Optimizer:
    """The inner optimizer itself, with a warning: nothing has to be scaled here.

    Keras scales the loss so that float16 gradients do not vanish. Gradients are float32 in every precision
    policy of this library: see `mixed_precision`.

    Args:
        inner_optimizer: the optimizer that Keras would wrap, or its name.
        initial_scale, options: Keras's other arguments; they change nothing.
    """
    from kernelearn import optimizers

    inner: Optimizer = optimizers.get(inner_optimizer)
    warnings.warn(
        "LossScaleOptimizer changes nothing: gradients are float32 in every policy and do not vanish. "
        f"Training uses {type(inner).__name__} itself.",
        UserWarning,
        stacklevel=2,
    )
    return inner
