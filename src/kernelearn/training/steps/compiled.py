"""What `compile` said about a model, and what followed from it: losses, metrics, moving averages."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from kernelearn.engine.variable import Variable
from kernelearn.errors import NotBuiltError
from kernelearn.layers.activations import is_constant_softmax
from kernelearn.training.own.fitting import OwnSteps, overrides
from kernelearn.training.ownership import claimed
from kernelearn.training.running import RunningResults
from kernelearn.training.steps.changes import Reading
from kernelearn.training.steps.objectives import Objective, make_objectives
from kernelearn.training.steps.own_losses import own_metrics
from kernelearn.training.steps.signature import is_open
from kernelearn.training.steps.step import Clock
from kernelearn.training.steps.step_cache import StepCache
from kernelearn.training.steps.step_program import StepProgram
from kernelearn.training.trainable import Trainable

if TYPE_CHECKING:
    from kernelearn.optimizers import Optimizer


@dataclass(frozen=True)
class CompileArguments:
    """What `compile` was told about losses and metrics, as it was told."""

    loss: Any = None
    loss_weights: Any = None
    metrics: Any = None
    weighted_metrics: Any = None


class Compiled:
    """What `compile` said, and the losses and metrics made of it; see `Programs`."""

    def __init__(self, model: Trainable) -> None:
        self.model = model
        self.arguments: CompileArguments | None = None
        self.optimizer: Optimizer | None = None
        self.engine: str | None = None
        self.policy: str | None = None
        self.is_averaged = False
        self._objectives: list[Objective] | None = None
        self._results: RunningResults | None = None
        self._token = object()  # stands for the model where it must outlive it
        self._steps: StepCache[StepProgram] = StepCache()
        self._reading: Reading | None = None
        # Batches since the steps were built anew, and how often in a row there were hardly any.
        self._handed_out = self._hasty = 0
        self.own_steps = OwnSteps(model)  # type: ignore[arg-type]
        self._needs_rows: set[str] = set()  # kinds of steps that are made for a number of images
        self._trained: Mapping[str, Variable] = {}
        self.shards: int | None = None
        self.transport = "float32"

    def compile(
        self,
        optimizer: Optimizer,
        arguments: CompileArguments,
        engine: str,
        policy: str,
        shards: int | None = None,
        transport: str = "float32",
    ) -> None:
        """Take over what `compile` says."""
        self.shards, self.transport = shards, transport
        optimizer = claimed(optimizer, self._token, self.model.name)
        if optimizer is not self.optimizer:
            self.is_averaged = False
        self.optimizer, self.arguments, self.engine, self.policy = optimizer, arguments, engine, policy
        self.own_steps = OwnSteps(self.model)  # type: ignore[arg-type]
        self.forget()
        if self.model.outputs:
            self.finish()

    def compile_like(self, other: Self) -> None:
        """Train as another model does, with the same optimizer: for a model that shares its layers.

        Raises: NotBuiltError before that was compiled.
        """
        optimizer, arguments = other.compiled_optimizer(), other.arguments
        self._token = other._token
        is_same = self.optimizer is optimizer and self.arguments is arguments and self.engine == other.engine
        if is_same and (self.shards, self.transport) == (other.shards, other.transport):
            return
        assert arguments is not None and other.engine is not None and other.policy is not None
        self.compile(optimizer, arguments, other.engine, other.policy, other.shards, other.transport)

    @property
    def slots(self) -> dict[str, Variable]:
        """Name -> array that the optimiser carries from step to step; empty before `compile`."""
        return {} if self.optimizer is None else self.optimizer.carried

    def forget(self) -> None:
        """Throw everything away that was made from the structure of the model: it has changed."""
        self._steps.clear()
        self._reading = None
        self._trained = {}
        self._objectives = self._results = None

    def build_anew(self) -> None:
        """Make the steps again when they are next wanted: what they are made of is another now."""
        self._steps.clear()
        self._reading = None
        self._trained = {}

    def finish(self) -> None:
        """Resolve losses and metrics and build the training step, now that shapes are known."""
        optimizer = self.compiled_optimizer()
        if self._objectives is None:
            self._resolve(optimizer)
            self._build_ahead()

    def _resolve(self, optimizer: Optimizer) -> None:
        model, told = self.model, self.arguments or CompileArguments()
        shapes = [(name, tensor.shape) for name, tensor in zip(model.output_names, model.outputs)]
        self._objectives = make_objectives(
            shapes, told.loss, told.loss_weights, told.metrics, told.weighted_metrics
        )
        self._results = RunningResults(self._objectives, lambda: own_metrics(model))
        self._warn_of_constants()
        self._reading = Reading(model, self._objectives, optimizer)

    def _build_ahead(self) -> None:
        """Build the training step where nothing of it depends on the first batch."""
        raise NotImplementedError

    def _warn_of_constants(self) -> None:
        """Say where an output is 1 whatever goes in, so that nothing can be learned."""
        for name, tensor in zip(self.model.output_names, self.model.outputs):
            if is_constant_softmax(tensor.node.layer, tensor.shape):
                warnings.warn(
                    f"Output {name!r} is a softmax over a single number, which is always 1: nothing can be "
                    "learned. For two classes use one unit with activation='sigmoid', or two units.",
                    UserWarning,
                    stacklevel=5,
                )

    # --- losses and metrics

    @property
    def objectives(self) -> list[Objective]:
        """Loss and metrics of each output."""
        self.finish()
        assert self._objectives is not None
        return self._objectives

    @property
    def results(self) -> RunningResults:
        """Loss and metrics of the epoch so far."""
        self.finish()
        assert self._results is not None
        return self._results

    @property
    def known_results(self) -> RunningResults | None:
        """`results`, or None before `compile` or before the shapes are known."""
        return self._results

    @property
    def has_loss(self) -> bool:
        """Whether there is something to train for."""
        return self.has_own_total or any(objective.loss is not None for objective in self._objectives or ())

    @property
    def has_own_targets(self) -> bool:
        """Whether the shapes of targets are known only when a batch comes: a loss of one's own takes any."""
        return any(objective.has_own_loss for objective in self._objectives or ())

    @property
    def has_own_total(self) -> bool:
        """Whether the model says itself what is trained on."""
        return overrides(self.model, "compute_loss")

    @property
    def is_open(self) -> bool:
        """Whether a size of the inputs is known only when a batch comes."""
        return is_open(self.model.inputs)

    # --- the optimiser

    def clock(self, seed: int) -> Clock:
        """The clock of the next training step."""
        return Clock.of(self.compiled_optimizer(), seed)

    def count_update(self) -> None:
        """Note that a training step has changed the weights."""
        self.compiled_optimizer().iterations += 1

    def compiled_optimizer(self) -> Optimizer:
        """The optimiser.

        Raises: NotBuiltError before `compile`.
        """
        if self.optimizer is None:
            raise NotBuiltError("Call model.compile(optimizer, loss) before training or evaluating.")
        return self.optimizer
