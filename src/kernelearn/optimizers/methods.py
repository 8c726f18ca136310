"""The optimisers: their arguments, defaults and slots. Their formulas are in `engine.updates`.

Every class also takes the arguments of `Optimizer`: weight_decay, clipnorm, clipvalue, global_clipnorm, name.
"""

from collections.abc import Sequence
from typing import Any, Unpack

from kernelearn.errors import ArgumentError
from kernelearn.optimizers.base import OPTIMIZERS, LearningRateLike, Optimizer, OptimizerOptions, Slot


def require_share(**numbers: float) -> None:
    """Each number in [0, 1)."""
    for name, number in numbers.items():
        if not 0 <= number < 1:
            raise ArgumentError(f"{name} must be at least 0 and less than 1, got {number!r}.")


@OPTIMIZERS.register("sgd")
class SGD(Optimizer):
    """Gradient descent, with momentum if wanted: v <- momentum v - learning_rate g, w <- w + v.

    Args:
        momentum: share of the last move that is added to the next, 0 to 1.
        nesterov: take the gradient step from where the momentum leads.

    >>> SGD(0.1, momentum=0.9).slots((3, 3))
    {'momentum': Slot(shape=(3, 3), value=0.0)}
    """

    kind = "sgd_update"
    _attributes = ("momentum", "nesterov")
    momentum: float
    nesterov: bool

    def __init__(
        self,
        learning_rate: LearningRateLike = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        **options: Unpack[OptimizerOptions],
    ) -> None:
        super().__init__(learning_rate, **options)
        if not 0 <= momentum <= 1:
            raise ArgumentError(f"momentum must be between 0 and 1, got {momentum!r}.")
        self.keep(locals())

    def _slot_names(self) -> tuple[str, ...]:
        return ("momentum",) if self.momentum else ()


@OPTIMIZERS.register("adam")
class Adam(Optimizer):
    """Steps scaled by running means of the gradient and of its square.

    Args:
        beta_1, beta_2: share of the old mean kept at each step, of the gradient and of its square.
        epsilon: added to the root of the second mean ("epsilon hat" of the paper).
        amsgrad: divide by the largest second mean so far.
    """

    kind = "adam_update"
    _attributes = ("beta_1", "beta_2", "epsilon", "amsgrad")
    beta_1: float
    beta_2: float
    epsilon: float
    amsgrad: bool

    def __init__(
        self,
        learning_rate: LearningRateLike = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        **options: Unpack[OptimizerOptions],
    ) -> None:
        super().__init__(learning_rate, **options)
        require_share(beta_1=beta_1, beta_2=beta_2)
        self.keep(locals())

    def _slot_names(self) -> tuple[str, ...]:
        return ("momentum", "velocity", "velocity_hat") if self.amsgrad else ("momentum", "velocity")


@OPTIMIZERS.register("adamw")
class AdamW(Adam):
    """Adam with weight decay 0.004 by default: Loshchilov and Hutter (2017), https://arxiv.org/abs/1711.05101."""

    def __init__(
        self,
        learning_rate: LearningRateLike = 0.001,
        weight_decay: float | None = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        **options: Any,
    ) -> None:
        if weight_decay is None:
            raise ArgumentError(
                "weight_decay of AdamW must be a number, got None. Use Adam to do without it."
            )
        super().__init__(
            learning_rate, beta_1, beta_2, epsilon, amsgrad, weight_decay=weight_decay, **options
        )


@OPTIMIZERS.register("rmsprop")
class RMSprop(Optimizer):
    """Steps divided by the root of the running mean of the squared gradient.

    Args:
        rho: share of the old mean kept at each step.
        momentum: share of the last move that is added to the next.
        epsilon: added to the mean square, inside the root.
        centered: divide by the estimated standard deviation instead of the root mean square.
    """

    kind = "rmsprop_update"
    _attributes = ("rho", "momentum", "epsilon", "centered")
    rho: float
    momentum: float
    epsilon: float
    centered: bool

    def __init__(
        self,
        learning_rate: LearningRateLike = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-7,
        centered: bool = False,
        **options: Unpack[OptimizerOptions],
    ) -> None:
        super().__init__(learning_rate, **options)
        require_share(rho=rho)
        self.keep(locals())

    def _slot_names(self) -> tuple[str, ...]:
        optional = (("momentum", self.momentum), ("average_gradient", self.centered))
        return ("velocity", *(name for name, wanted in optional if wanted))


@OPTIMIZERS.register("adagrad")
class Adagrad(Optimizer):
    """Steps divided by the root of the sum of all squared gradients so far.

    Args:
        initial_accumulator_value: where that sum starts.
        epsilon: added to the sum, inside the root.
    """

    kind = "adagrad_update"
    _attributes = ("epsilon",)
    initial_accumulator_value: float
    epsilon: float

    def __init__(
        self,
        learning_rate: LearningRateLike = 0.001,
        initial_accumulator_value: float = 0.1,
        epsilon: float = 1e-7,
        **options: Unpack[OptimizerOptions],
    ) -> None:
        super().__init__(learning_rate, **options)
        self.keep(locals())

    def slots(self, shape: Sequence[int]) -> dict[str, Slot]:
        return {"accumulator": Slot(tuple(shape), float(self.initial_accumulator_value))}


@OPTIMIZERS.register("adadelta")
class Adadelta(Optimizer):
    """Steps in the unit of the weights: the ratio of the running root mean squares of moves and gradients.

    Args:
        learning_rate: factor of the step; 1.0 is the paper's.
        rho: share of the old means kept at each step.
        epsilon: added to both mean squares.
    """

    kind = "adadelta_update"
    _attributes = ("rho", "epsilon")
    rho: float
    epsilon: float

    def __init__(
        self,
        learning_rate: LearningRateLike = 0.001,
        rho: float = 0.95,
        epsilon: float = 1e-7,
        **options: Unpack[OptimizerOptions],
    ) -> None:
        super().__init__(learning_rate, **options)
        require_share(rho=rho)
        self.keep(locals())

    def _slot_names(self) -> tuple[str, ...]:
        return "accumulated_grad", "accumulated_delta_var"


class TwoBetas(Optimizer):
    """The arguments that Adamax, Nadam and Lamb share with Adam."""

    _attributes = ("beta_1", "beta_2", "epsilon")
    beta_1: float
    beta_2: float
    epsilon: float

    def __init__(
        self,
        learning_rate: LearningRateLike = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        **options: Unpack[OptimizerOptions],
    ) -> None:
        super().__init__(learning_rate, **options)
        require_share(beta_1=beta_1, beta_2=beta_2)
        self.keep(locals())


@OPTIMIZERS.register("adamax")
class Adamax(TwoBetas):
    """Adam with the decayed maximum of |g| in place of the mean square. Arguments as `Adam`."""

    kind = "adamax_update"

    def _slot_names(self) -> tuple[str, ...]:
        return "momentum", "norm"


@OPTIMIZERS.register("nadam")
class Nadam(TwoBetas):
    """Adam with Nesterov momentum. Arguments as `Adam`."""

    kind = "nadam_update"

    def slots(self, shape: Sequence[int]) -> dict[str, Slot]:
        shape = tuple(shape)
        return {"momentum": Slot(shape, 0.0), "velocity": Slot(shape, 0.0), "u_product": Slot((), 1.0)}


@OPTIMIZERS.register("lion")
class Lion(Optimizer):
    """Steps of equal size in every weight, by the sign of a momentum; wants a smaller rate than Adam.

    Args:
        beta_1: share of the momentum in the direction of the step.
        beta_2: share of the old momentum kept.
    """

    kind = "lion_update"
    _attributes = ("beta_1", "beta_2")
    beta_1: float
    beta_2: float

    def __init__(
        self,
        learning_rate: LearningRateLike = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.99,
        **options: Unpack[OptimizerOptions],
    ) -> None:
        super().__init__(learning_rate, **options)
        if not 0 < beta_1 <= 1:
            raise ArgumentError(f"beta_1 must be greater than 0 and at most 1, got {beta_1!r}.")
        self.keep(locals())

    def _slot_names(self) -> tuple[str, ...]:
        return ("momentum",)
