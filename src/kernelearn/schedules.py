"""Learning rates that change during training: functions of the number of updates done.

The names and formulas are those of `keras.optimizers.schedules`, in float64; `OneCycle` is PyTorch's.
They are also found as `kernelearn.optimizers.schedules`.
"""

from collections.abc import Sequence
from math import ceil, cos, floor, pi
from typing import Any

from kernelearn._configurable import Configurable
from kernelearn.errors import ArgumentError
from kernelearn.registry import Registry

__all__ = [
    "ConstantSchedule",
    "CosineDecay",
    "CosineDecayRestarts",
    "ExponentialDecay",
    "InverseTimeDecay",
    "LearningRateSchedule",
    "OneCycle",
    "PiecewiseConstantDecay",
    "PolynomialDecay",
    "deserialize",
    "get",
    "serialize",
]

SCHEDULES = Registry("learning-rate schedule")


class LearningRateSchedule(Configurable):
    """Base of all schedules. A subclass keeps its arguments as attributes and defines `__call__`.

    `schedule(step)` gives the learning rate (a float) of the update that follows `step` updates.
    """

    def __call__(self, step: int) -> float:
        raise NotImplementedError(f"{type(self).__name__} must define __call__(self, step).")


def _require_positive(**numbers: float) -> None:
    for name, number in numbers.items():
        if not number > 0:
            raise ArgumentError(f"{name} must be greater than 0, got {number!r}.")


def _half_cosine(progress: float) -> float:
    """From 1 at progress 0 to 0 at progress 1."""
    return 0.5 * (1 + cos(pi * progress))


@SCHEDULES.register("constant")
class ConstantSchedule(LearningRateSchedule):
    """The same learning rate at every step."""

    def __init__(self, learning_rate: float, name: str = "ConstantSchedule") -> None:
        self.learning_rate = float(learning_rate)
        self.name = name

    def __call__(self, step: int) -> float:
        return self.learning_rate


@SCHEDULES.register()
class ExponentialDecay(LearningRateSchedule):
    """initial_learning_rate * decay_rate ** (step / decay_steps).

    Args:
        decay_steps: updates after which the rate has been multiplied by `decay_rate` once.
        staircase: keep the rate constant between those points.

    >>> ExponentialDecay(0.1, decay_steps=100, decay_rate=0.5)(200)
    0.025
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        decay_rate: float,
        staircase: bool = False,
        name: str = "ExponentialDecay",
    ) -> None:
        _require_positive(decay_steps=decay_steps)
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps = decay_steps
        self.decay_rate = decay_rate
        self.staircase = staircase
        self.name = name

    def __call__(self, step: int) -> float:
        periods = step / self.decay_steps
        return self.initial_learning_rate * self.decay_rate ** (floor(periods) if self.staircase else periods)


@SCHEDULES.register()
class InverseTimeDecay(LearningRateSchedule):
    """initial_learning_rate / (1 + decay_rate * step / decay_steps); `staircase` as in `ExponentialDecay`."""

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        decay_rate: float,
        staircase: bool = False,
        name: str = "InverseTimeDecay",
    ) -> None:
        _require_positive(decay_steps=decay_steps)
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps = decay_steps
        self.decay_rate = decay_rate
        self.staircase = staircase
        self.name = name

    def __call__(self, step: int) -> float:
        periods = step / self.decay_steps
        return self.initial_learning_rate / (
            1 + self.decay_rate * (floor(periods) if self.staircase else periods)
        )


@SCHEDULES.register()
class PiecewiseConstantDecay(LearningRateSchedule):
    """`values[i]` up to and including step `boundaries[i]`, the last value after the last boundary.

    >>> schedule = PiecewiseConstantDecay([100, 200], [0.1, 0.01, 0.001])
    >>> [schedule(step) for step in (100, 101, 201)]
    [0.1, 0.01, 0.001]
    """

    def __init__(
        self, boundaries: Sequence[int], values: Sequence[float], name: str = "PiecewiseConstant"
    ) -> None:
        if len(boundaries) != len(values) - 1:
            raise ArgumentError(
                f"values must have one entry more than boundaries, got {len(values)} values "
                f"and {len(boundaries)} boundaries."
            )
        if list(boundaries) != sorted(boundaries):
            raise ArgumentError(f"boundaries must increase, got {list(boundaries)}.")
        self.boundaries = list(boundaries)
        self.values = list(values)
        self.name = name

    def __call__(self, step: int) -> float:
        passed = sum(step > boundary for boundary in self.boundaries)
        return float(self.values[passed])


@SCHEDULES.register()
class PolynomialDecay(LearningRateSchedule):
    """From the initial to the end rate along (1 - step / decay_steps) ** power.

    Args:
        decay_steps: updates until the end rate is reached.
        cycle: after that, stretch `decay_steps` to the next multiple instead of staying at the end rate.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        end_learning_rate: float = 0.0001,
        power: float = 1.0,
        cycle: bool = False,
        name: str = "PolynomialDecay",
    ) -> None:
        _require_positive(decay_steps=decay_steps)
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps = decay_steps
        self.end_learning_rate = end_learning_rate
        self.power = power
        self.cycle = cycle
        self.name = name

    def __call__(self, step: int) -> float:
        period: float = self.decay_steps
        if self.cycle:
            period *= max(1, ceil(step / period))
        left = float(1 - min(step, period) / period)
        return (
            self.initial_learning_rate - self.end_learning_rate
        ) * left**self.power + self.end_learning_rate


@SCHEDULES.register()
class CosineDecay(LearningRateSchedule):
    """A cosine from the initial rate down to `alpha` times it, after an optional linear warm-up.

    Args:
        decay_steps: updates that the cosine takes, not counting the warm-up.
        alpha: end rate as a share of the rate at which the cosine starts.
        warmup_target: rate at the end of the warm-up, where the cosine starts; None for no warm-up.
        warmup_steps: updates over which the rate rises from the initial one to `warmup_target`.
    Source: Loshchilov and Hutter (2016), https://arxiv.org/abs/1608.03983.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        alpha: float = 0.0,
        name: str = "CosineDecay",
        warmup_target: float | None = None,
        warmup_steps: float = 0,
    ) -> None:
        _require_positive(decay_steps=decay_steps)
        if warmup_steps < 0:
            raise ArgumentError(f"warmup_steps must not be negative, got {warmup_steps}.")
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps = decay_steps
        self.alpha = alpha
        self.name = name
        self.warmup_target = warmup_target
        self.warmup_steps = warmup_steps

    def __call__(self, step: int) -> float:
        if self.warmup_target is None:
            return self._decayed(self.initial_learning_rate, step)
        if step < self.warmup_steps:
            rise = self.warmup_target - self.initial_learning_rate
            return self.initial_learning_rate + rise * step / self.warmup_steps
        return self._decayed(self.warmup_target, step - self.warmup_steps)

    def _decayed(self, top: float, step: float) -> float:
        progress = min(step, self.decay_steps) / self.decay_steps
        return top * ((1 - self.alpha) * _half_cosine(progress) + self.alpha)


@SCHEDULES.register()
class CosineDecayRestarts(LearningRateSchedule):
    """Cosine decays one after the other, each `t_mul` times as long and `m_mul` times as high as the last.

    Source: Loshchilov and Hutter (2016), https://arxiv.org/abs/1608.03983.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        first_decay_steps: float,
        t_mul: float = 2.0,
        m_mul: float = 1.0,
        alpha: float = 0.0,
        name: str = "SGDRDecay",
    ) -> None:
        _require_positive(first_decay_steps=first_decay_steps)
        if t_mul < 1:
            raise ArgumentError(f"t_mul must be at least 1 (no shorter period after a restart), got {t_mul}.")
        self.initial_learning_rate = initial_learning_rate
        self.first_decay_steps = first_decay_steps
        self.t_mul = t_mul
        self.m_mul = m_mul
        self.alpha = alpha
        self.name = name

    def __call__(self, step: int) -> float:
        restarts, progress = self._position(step / self.first_decay_steps)
        height = _half_cosine(progress) * self.m_mul**restarts
        return self.initial_learning_rate * ((1 - self.alpha) * height + self.alpha)

    def _position(self, periods: float) -> tuple[int, float]:
        """How many decays are complete after so many first periods, and progress in the current one."""
        if self.t_mul == 1:
            return floor(periods), periods - floor(periods)
        restarts = 0
        while periods >= self.t_mul**restarts:
            periods -= self.t_mul**restarts
            restarts += 1
        return restarts, periods / self.t_mul**restarts


@SCHEDULES.register("one_cycle")
class OneCycle(LearningRateSchedule):
    """Up from max_learning_rate / div_factor to the maximum, then down to a small fraction of the start.

    Args:
        max_learning_rate: the peak.
        total_steps: updates of the whole training; after them the rate stays at its end.
        pct_start: share of the updates spent going up.
        div_factor: peak / start.
        final_div_factor: start / end.
        anneal_strategy: "cos" or "linear", the form of both slopes.
    Source: Smith and Topin (2017), https://arxiv.org/abs/1708.07120; formula of torch's `OneCycleLR`.
    """

    def __init__(
        self,
        max_learning_rate: float,
        total_steps: float,
        pct_start: float = 0.3,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        anneal_strategy: str = "cos",
        name: str = "OneCycle",
    ) -> None:
        _require_positive(total_steps=total_steps, div_factor=div_factor, final_div_factor=final_div_factor)
        if not 0 <= pct_start <= 1:
            raise ArgumentError(f"pct_start must be between 0 and 1, got {pct_start}.")
        if anneal_strategy not in ("cos", "linear"):
            raise ArgumentError(f"anneal_strategy must be 'cos' or 'linear', got {anneal_strategy!r}.")
        self.max_learning_rate = max_learning_rate
        self.total_steps = total_steps
        self.pct_start = pct_start
        self.div_factor = div_factor
        self.final_div_factor = final_div_factor
        self.anneal_strategy = anneal_strategy
        self.name = name

    def __call__(self, step: int) -> float:
        start = self.max_learning_rate / self.div_factor
        peak_step, last_step = self.pct_start * self.total_steps - 1, self.total_steps - 1
        if step < peak_step:
            return self._between(start, self.max_learning_rate, step / peak_step)
        # A cycle without a way down (pct_start=1) has its end at the peak.
        progress = (step - peak_step) / (last_step - peak_step) if last_step > peak_step else 0.0
        return self._between(self.max_learning_rate, start / self.final_div_factor, min(progress, 1.0))

    def _between(self, first: float, last: float, progress: float) -> float:
        left = _half_cosine(progress) if self.anneal_strategy == "cos" else 1 - progress
        return last + (first - last) * left


def get(identifier: Any) -> Any:
    """The schedule that a config dict or an object stands for; None stays None."""
    if isinstance(identifier, LearningRateSchedule):
        return identifier
    return SCHEDULES.get(identifier)


def serialize(schedule: LearningRateSchedule | None) -> dict[str, Any] | None:
    """The JSON config of a schedule."""
    return SCHEDULES.serialize(schedule)


def deserialize(config: dict[str, Any]) -> LearningRateSchedule:
    """The schedule of a config made by `serialize`."""
    schedule: LearningRateSchedule = SCHEDULES.get(config)
    return schedule
