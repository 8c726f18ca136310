"""Optimisers that see a weight as a matrix. They are computed by NumPy, not by compiled kernels.

Every class also takes the arguments of `Optimizer`. Their formulas are in `engine.updates`.
"""

import re
from collections.abc import Sequence
from typing import Any, Unpack

from kernelearn.errors import ArgumentError
from kernelearn.optimizers.base import OPTIMIZERS, LearningRateLike, Optimizer, OptimizerOptions, Slot
from kernelearn.optimizers.methods import require_share


@OPTIMIZERS.register("adafactor")
class Adafactor(Optimizer):
    """Steps relative to the size of the weight, divided by mean squares of rows and columns: little memory.

    Args:
        beta_2_decay: power of the number of the step with which the mean squares forget, below 0.
        epsilon_1: added to squares.
        epsilon_2: smallest size that a weight is taken to have.
        clip_threshold: largest root mean square of a step before it is scaled down.
        relative_step: as in Keras, and without effect: the learning rate is at most 1 / sqrt(step) anyway.
    """

    kind = "adafactor_update"
    _attributes = ("beta_2_decay", "epsilon_1", "epsilon_2", "clip_threshold")
    beta_2_decay: float
    epsilon_1: float
    epsilon_2: float
    clip_threshold: float
    relative_step: bool

    def __init__(
        self,
        learning_rate: LearningRateLike = 0.001,
        beta_2_decay: float = -0.8,
        epsilon_1: float = 1e-30,
        epsilon_2: float = 1e-3,
        clip_threshold: float = 1.0,
        relative_step: bool = True,
        **options: Unpack[OptimizerOptions],
    ) -> None:
        super().__init__(learning_rate, **options)
        self.keep(locals())
        if not beta_2_decay < 0 or not clip_threshold > 0:
            raise ArgumentError(
                "beta_2_decay must be below 0 and clip_threshold above 0, got "
                f"{beta_2_decay!r} and {clip_threshold!r}."
            )

    def slots(self, shape: Sequence[int]) -> dict[str, Slot]:
        shape = tuple(shape)
        is_matrix = len(shape) >= 2
        sizes = {
            "row": shape[:-1] if is_matrix else (),
            "column": (*shape[:-2], shape[-1]) if is_matrix else (),
            "velocity": () if is_matrix else shape,
        }
        return {name: Slot(size, 0.0) for name, size in sizes.items()}


@OPTIMIZERS.register("muon")
class Muon(Optimizer):
    """Orthogonal steps for matrices, AdamW for everything else: kernels of convolutions, biases, embeddings.

    Args:
        adam_beta_1, adam_beta_2, epsilon, adam_weight_decay, adam_lr_ratio: of AdamW; its learning rate is
            the ratio times this one.
        weight_decay: of matrices.
        exclude_layers: regular expressions; weights whose path one of them is found in get AdamW.
        exclude_embeddings: whether weights with "embedding" in their path do.
        muon_a, muon_b, muon_c, ns_steps: of the iteration that makes matrices orthogonal.
        momentum, nesterov: of matrices.
        rms_rate: a step is this times the root of the longer side; None: the learning rate alone.
    """

    kind = "muon_update"
    _attributes = ("momentum", "nesterov", "ns_steps", "rms_rate", "muon_a", "muon_b", "muon_c")
    adam_beta_1: float
    adam_beta_2: float
    adam_weight_decay: float | None
    adam_lr_ratio: float
    epsilon: float
    exclude_layers: list[str]
    exclude_embeddings: bool
    muon_a: float
    muon_b: float
    muon_c: float
    momentum: float
    ns_steps: int
    nesterov: bool
    rms_rate: float | None

    def __init__(
        self,
        learning_rate: LearningRateLike = 0.001,
        adam_beta_1: float = 0.9,
        adam_beta_2: float = 0.999,
        adam_weight_decay: float | None = 0.004,
        epsilon: float = 1e-7,
        weight_decay: float | None = 0.004,
        exclude_layers: Sequence[str] | None = None,
        exclude_embeddings: bool = True,
        muon_a: float = 3.4445,
        muon_b: float = -4.775,
        muon_c: float = 2.0315,
        adam_lr_ratio: float = 1.0,
        momentum: float = 0.95,
        ns_steps: int = 5,
        nesterov: bool = True,
        rms_rate: float | None = 0.2,
        **options: Any,
    ) -> None:
        super().__init__(learning_rate, weight_decay=weight_decay, **options)
        require_share(adam_beta_1=adam_beta_1, adam_beta_2=adam_beta_2, momentum=momentum)
        self.exclude_layers = list(exclude_layers or ())
        self.keep(locals())
        if not adam_lr_ratio > 0 or ns_steps < 1:
            raise ArgumentError(
                "adam_lr_ratio must be above 0 and ns_steps at least 1, got "
                f"{adam_lr_ratio!r} and {ns_steps!r}."
            )

    def is_matrix(self, variable: Any) -> bool:
        """Whether a weight gets orthogonal steps."""
        path = str(getattr(variable, "path", variable))
        if len(variable.shape) != 2 or (self.exclude_embeddings and "embedding" in path.lower()):
            return False
        return not any(re.search(pattern, path) for pattern in self.exclude_layers)

    def kind_for(self, variable: Any) -> str:
        return self.kind if self.is_matrix(variable) else "adam_update"

    def attrs(self, variable: Any = None) -> dict[str, Any]:
        attributes = super().attrs(variable)
        if variable is None or self.is_matrix(variable):
            return attributes
        decays = self.adam_weight_decay is not None and self.uses_weight_decay(variable)
        ratio = self.adam_lr_ratio
        adam = {"beta_1": self.adam_beta_1, "beta_2": self.adam_beta_2, "epsilon": self.epsilon}
        # NOTE: the ratio multiplies the learning rate of the decay as well, but not in Keras.
        decay = float(self.adam_weight_decay or 0.0) / ratio if decays else 0.0
        every = {"every": attributes["every"]} if "every" in attributes else {}
        return {**adam, "weight_decay": decay, "multiplier": ratio, **every}

    def slots_for(self, variable: Any) -> dict[str, Slot]:
        names = ("momentum",) if self.is_matrix(variable) else ("momentum", "velocity")
        return {name: Slot(tuple(variable.shape), 0.0) for name in names}

    def _slot_names(self) -> tuple[str, ...]:
        return ("momentum",)
