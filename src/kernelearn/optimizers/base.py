"""What all optimisers share: learning rate or schedule, weight decay, clipping, slots, config.

An optimiser declares; the training program reads `kind`, `attrs()`, `slots()` and `clipping`.
"""

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import isfinite
from typing import Any, ClassVar, NamedTuple, TypedDict

import numpy as np

from kernelearn import schedules
from kernelearn._configurable import Configurable
from kernelearn.engine.variable import Variable, ViewVariable
from kernelearn.errors import ArgumentError, NotBuiltError
from kernelearn.optimizers.numbers import Count, Rate
from kernelearn.registry import Registry

OPTIMIZERS = Registry("optimizer")

LearningRate = float | schedules.LearningRateSchedule | Callable[..., float]
# The same, or the config of a schedule.
LearningRateLike = LearningRate | dict[str, Any]


class OptimizerOptions(TypedDict, total=False):
    """The arguments that every optimizer takes besides its own; see `Optimizer`."""

    weight_decay: float | None
    clipnorm: float | None
    clipvalue: float | None
    global_clipnorm: float | None
    use_ema: bool
    ema_momentum: float
    ema_overwrite_frequency: int | None
    gradient_accumulation_steps: int | None
    name: str | None


class Slot(NamedTuple):
    """An array that an optimiser carries from step to step for one variable: its shape and first value."""

    shape: tuple[int, ...]
    value: float


class Optimizer(Configurable):
    """Base of all optimisers.

    Args:
        learning_rate: a number, a schedule, or a function that gives it: of the number of updates done, or of
            nothing.
        weight_decay: share of a weight that one update removes, times the learning rate; decoupled from the
            gradient and applied before it.
        clipnorm: largest Euclidean norm of the gradient of one variable.
        clipvalue: largest absolute value in a gradient.
        global_clipnorm: largest norm of all gradients together. At most one of the three clip arguments.
        use_ema: keep an exponential moving average of every trained weight. `fit` puts the averages in the
            place of the weights at its end; `callbacks.SwapEMAWeights` does so for evaluations.
        ema_momentum: share of the old average that a step keeps.
        ema_overwrite_frequency: put the averages in the place of the weights every so many updates, too.
        gradient_accumulation_steps: do one update every so many steps, with the mean of their gradients: a
            batch as large as theirs together, in the memory of one. Schedules and averages count steps.
        name: by default the class name in lower case.
    Attributes:
        kind: name of the update operator that the engine runs, for example "adam_update".
        iterations: number of steps done; an update each, unless gradients are accumulated.
        carried: the arrays kept from step to step, by name: what `slots` declares, made by the first step.
    Raises: ArgumentError.
    """

    kind: ClassVar[str]
    # What `apply_gradients` does; steps of one's own put it here.
    applied_by: ClassVar[Callable[..., None] | None] = None
    _attributes: ClassVar[tuple[str, ...]] = ()
    # Arguments of Keras's optimisers that are accepted, as in its configs, only when they change nothing.
    without_effect: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        # NOTE: gradients are float32 in every policy: small ones do not vanish, however the loss is scaled.
        "loss_scale_factor": (),
        "jit_compile": (),
    }

    def __init__(
        self,
        learning_rate: LearningRateLike,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
        **keras_options: Any,
    ) -> None:
        self.refuse_rest(keras_options)
        self.name = name or type(self).__name__.lower()
        self._learning_rate = _checked_learning_rate(learning_rate)
        self.weight_decay = weight_decay
        self.clipnorm = clipnorm
        self.clipvalue = clipvalue
        self.global_clipnorm = global_clipnorm
        self.use_ema = bool(use_ema)
        self.ema_momentum = float(ema_momentum)
        self.ema_overwrite_frequency = ema_overwrite_frequency or None
        self.gradient_accumulation_steps = gradient_accumulation_steps or None
        self._iterations = 0
        self.carried: dict[str, Variable] = {}
        self.applied: dict[Any, Any] = {}  # the compiled updates of `apply_gradients` on arrays
        self._excluded: list[Any] = []
        self._excluded_pattern: re.Pattern[str] | None = None
        self._check_ranges()

    def _check_ranges(self) -> None:
        clips = {name: getattr(self, name) for name in ("clipnorm", "clipvalue", "global_clipnorm")}
        given = {name: value for name, value in clips.items() if value is not None}
        if len(given) > 1:
            raise ArgumentError(
                f"Only one of clipnorm, clipvalue and global_clipnorm can be set, got {given}."
            )
        for name, value in given.items():
            if not value > 0:
                raise ArgumentError(f"{name} must be greater than 0, got {value!r}.")
        if self.weight_decay is not None and not self.weight_decay >= 0:
            raise ArgumentError(f"weight_decay must be None or at least 0, got {self.weight_decay!r}.")
        self._check_averages()

    def _check_averages(self) -> None:
        steps, frequency = self.gradient_accumulation_steps, self.ema_overwrite_frequency
        if steps is not None and steps < 2:
            raise ArgumentError(f"gradient_accumulation_steps must be None or at least 2, got {steps!r}.")
        if not 0 <= self.ema_momentum <= 1:
            raise ArgumentError(f"ema_momentum must be between 0 and 1, got {self.ema_momentum!r}.")
        if frequency is not None and (frequency < 1 or not self.use_ema):
            raise ArgumentError(
                "ema_overwrite_frequency must be None, or at least 1 with use_ema=True; got "
                f"{frequency!r} with use_ema={self.use_ema}."
            )

    @property
    def steps_per_update(self) -> int:
        """How many steps give their gradients to one update."""
        return self.gradient_accumulation_steps or 1

    @property
    def iterations(self) -> int:
        """Number of updates done; `iterations.numpy()` works as well."""
        return Count(self._iterations, lambda value: setattr(self, "iterations", value))

    @iterations.setter
    def iterations(self, value: int) -> None:
        self._iterations = int(value)

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next update. Assignable, unless a schedule sets it.

        As in Keras, `learning_rate.numpy()` and `learning_rate.assign(value)` work as well.
        """
        return Rate(self._rate(), lambda value: setattr(self, "learning_rate", value))

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        if callable(self._learning_rate) and not callable(value):
            raise ArgumentError(
                f"The learning rate of this {type(self).__name__} is set by a schedule and cannot be "
                f"assigned (got {value!r}). Assign another schedule, or make the optimizer with a number."
            )
        self._learning_rate = _checked_learning_rate(value)

    def _rate(self) -> float:
        return self.rate_at(self._iterations)

    def rate_at(self, iterations: int) -> float:
        """The learning rate behind so many updates."""
        if not callable(self._learning_rate):
            return self._learning_rate
        rate: Callable[..., float] = self._learning_rate
        return float(rate(iterations) if _takes_an_argument(rate) else rate())

    def apply_gradients(self, grads_and_vars: Iterable[tuple[Any, Any]]) -> None:
        """Change weights by gradients that the user's code has computed, as in Keras.

        In a step under `kernelearn.function`, or in a `train_step`, it is part of the step; on arrays it is
        done at once.

        Args:
            grads_and_vars: pairs (gradient, weight); a gradient of None leaves its weight out.
        """
        if Optimizer.applied_by is None:
            raise NotBuiltError("Import kernelearn.models (or use kernelearn.value_and_grad) before this.")
        Optimizer.applied_by(self, grads_and_vars)

    def build(self, variables: Iterable[Any]) -> None:
        """As in Keras, and of no effect: what is carried for a weight is made by its first update."""

    def apply(self, grads: Iterable[Any], trainable_variables: Iterable[Any]) -> None:
        """`apply_gradients` with gradients and weights apart."""
        self.apply_gradients(zip(grads, trainable_variables, strict=True))

    @property
    def variables(self) -> list[Variable]:
        """The count of updates, the learning rate (unless a schedule gives it) and all that is carried."""
        numbers: list[Variable] = [
            ViewVariable(np.int64(self._iterations), "iterations", self.iterations.assign)  # type: ignore[attr-defined]
        ]
        if self.schedule is None:
            numbers.append(ViewVariable(np.float64(self._rate()), "learning_rate", self.learning_rate.assign))  # type: ignore[attr-defined]
        return [*numbers, *self.carried.values()]

    def __getstate__(self) -> dict[str, Any]:
        # NOTE: what is carried belongs to the weights of a model, which saves it with them.
        return {**self.__dict__, "carried": {}, "applied": {}}

    @property
    def schedule(self) -> Callable[..., float] | None:
        """The schedule that sets the learning rate, or None if it is a number."""
        return self._learning_rate if callable(self._learning_rate) else None

    @property
    def clipping(self) -> tuple[str, float] | None:
        """Which clipping function of the engine to apply and its limit, for example ("clip_by_norm", 1.0)."""
        choices = (
            ("clip_by_norm", self.clipnorm),
            ("clip_by_value", self.clipvalue),
            ("clip_by_global_norm", self.global_clipnorm),
        )
        return next(((name, float(limit)) for name, limit in choices if limit is not None), None)

    def attrs(self, variable: Any = None) -> dict[str, Any]:
        """The attributes of the update operator: plain numbers and flags.

        Args:
            variable: what is updated, an object with a name or a name; decides about `weight_decay`, which is
                0 where it is excluded. None: as for a variable that is not excluded.
        """
        decays = self.weight_decay is not None and (variable is None or self.uses_weight_decay(variable))
        attributes = {name: getattr(self, name) for name in self._attributes}
        decay = float(self.weight_decay or 0.0) if decays else 0.0
        accumulated = {"every": self.steps_per_update} if self.gradient_accumulation_steps else {}
        return {**attributes, "weight_decay": decay, **accumulated}

    def kind_for(self, variable: Any) -> str:
        """Name of the update operator of one variable."""
        return self.kind

    def slots_for(self, variable: Any) -> dict[str, Slot]:
        """`slots` of one variable."""
        return self.slots(variable.shape)

    def slots(self, shape: Sequence[int]) -> dict[str, Slot]:
        """The arrays to keep for a variable of this shape, in the order the update operator takes them."""
        return {name: Slot(tuple(shape), 0.0) for name in self._slot_names()}

    def _slot_names(self) -> tuple[str, ...]:
        return ()

    def exclude_from_weight_decay(
        self, var_list: Iterable[Any] | None = None, var_names: Iterable[str] | None = None
    ) -> None:
        """Leave some variables out of weight decay, from the next `compile` on; replaces earlier calls.

        Args:
            var_list: the variables themselves.
            var_names: regular expressions searched in the name (or path) of a variable: ["bias"] leaves
                out every variable with "bias" in its name.
        """
        self._excluded = list(var_list or [])
        names = sorted(set(var_names or []))
        self._excluded_pattern = re.compile("|".join(names)) if names else None

    def uses_weight_decay(self, variable: Any) -> bool:
        """Whether weight decay applies to a variable, given itself or by name."""
        if any(variable is excluded for excluded in self._excluded):
            return False
        if self._excluded_pattern is None:
            return True
        texts = [variable] if isinstance(variable, str) else [variable.name, getattr(variable, "path", "")]
        return not any(self._excluded_pattern.search(text) for text in texts)

    def config_value(self, name: str) -> Any:
        """The argument, JSON-able; a schedule as its own config.

        Raises: ArgumentError if the learning rate is a function that is no schedule.
        """
        return self._learning_rate_config() if name == "learning_rate" else super().config_value(name)

    def _learning_rate_config(self) -> Any:
        if isinstance(self._learning_rate, schedules.LearningRateSchedule):
            return schedules.serialize(self._learning_rate)
        if callable(self._learning_rate):
            raise ArgumentError(
                "An optimizer whose learning rate is a function cannot be saved; "
                "use a subclass of kernelearn.optimizers.schedules.LearningRateSchedule."
            )
        return self._learning_rate

    def __repr__(self) -> str:
        return f"<{type(self).__name__} learning_rate={self._learning_rate!r} {self.attrs()}>"


def _takes_an_argument(function: Callable[..., float]) -> bool:
    """Whether a function can be given the number of updates: Keras calls functions with nothing."""
    try:
        inspect.signature(function).bind(0)
    except TypeError:
        return False
    return True


def _checked_learning_rate(value: Any) -> LearningRate:
    """A float, a schedule (also from its config) or a callable; ArgumentError for anything else."""
    if isinstance(value, dict):
        return schedules.deserialize(value)
    if callable(value):
        function: Callable[..., float] = value
        return function
    if isinstance(value, bool) or not hasattr(value, "__float__"):
        raise ArgumentError(f"learning_rate must be a number or a schedule, got {value!r}.")
    rate = float(value)
    if not isfinite(rate) or rate < 0:
        raise ArgumentError(f"learning_rate must be a finite number, 0 or greater, got {value!r}.")
    return rate
