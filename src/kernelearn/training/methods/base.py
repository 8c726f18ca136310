"""What all methods of a trainer stand on: what it holds, and how data becomes a batch of its steps.

What it needs from its model is `Trainable`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kernelearn import config
from kernelearn.data import Dataset
from kernelearn.errors import ArgumentError, NotBuiltError
from kernelearn.training import checkpoint, feeds, keras_names, together
from kernelearn.training.callbacks import History
from kernelearn.training.fingerprint import Fingerprint, fingerprint
from kernelearn.training.input_range import InputRange
from kernelearn.training.own.overriding import Overridable
from kernelearn.training.plan import FitPlan
from kernelearn.training.state import FitState
from kernelearn.training.steps.programs import Programs
from kernelearn.training.steps.signature import Signature
from kernelearn.training.steps.step import Arrays, Batch, StepReport

if TYPE_CHECKING:
    from kernelearn.engine.program import ProgramBuilder
    from kernelearn.layers.core.base import Layer
    from kernelearn.layers.core.tensor import Tensor
    from kernelearn.layers.core.weight import Weight
    from kernelearn.metrics import Metric
    from kernelearn.optimizers import Optimizer


class TrainerBase(Overridable, keras_names.TrainerNames):
    """What a trainer holds; see `Trainer`."""

    # What a model gives: see `Trainable`.
    name: str
    inputs: list[Tensor]
    outputs: list[Tensor]
    dtype: str

    @property
    def input_names(self) -> list[str]:
        """Names of the inputs, in order."""
        raise NotImplementedError

    @property
    def output_names(self) -> list[str]:
        """Names of the outputs, in order."""
        raise NotImplementedError

    @property
    def weights(self) -> list[Weight]:
        """All weights, in a fixed order."""
        raise NotImplementedError

    def lower(self, graph: ProgramBuilder, *inputs: Any, **unused: Any) -> Any:
        """Add the operators of the network to a program."""
        raise NotImplementedError

    def flat_layers(self) -> Sequence[Layer]:
        """All layers that are no models, each once."""
        raise NotImplementedError

    def arranged(self, outputs: list[Any]) -> Any:
        """One thing for each output, in the form in which the model gives its outputs."""
        raise NotImplementedError

    def _init_training(self) -> None:
        self.programs = Programs(self)
        self.stop_training = False
        self.history: History | None = None
        self.fit_state: FitState | None = None
        self.fit_data: Any = None
        self.last_step: StepReport | None = None
        self.watched: dict[str, str] | None = None
        self.watched_at: dict[str, Signature] = {}
        self.done_to_first: list[Callable[[Any], None]] = []
        self._seed: int | None = None
        self.number = 0  # of those that several processes train on single batches, in turn
        self.versions = 0  # of weights behind the last step, see `together`
        self._breaks = 0  # of steps, when the seed was drawn
        self.own_count = 0
        self.input_range = InputRange()
        self.plan: FitPlan | None = None
        self.is_shaped_by_data = False
        self._when_saved: list[Callable[[], None]] = []

    # --- what `compile` said, and what came of it

    @property
    def compiled(self) -> bool:
        """Whether `compile` was called."""
        return self.programs.arguments is not None

    @property
    def optimizer(self) -> Optimizer | None:
        """What `compile` was given; None before."""
        return self.programs.optimizer

    @property
    def policy(self) -> str:
        """The precision policy: what `compile` was given, before that the process's default."""
        return self.programs.policy or config.policy()

    @property
    def engine(self) -> str | None:
        """Name of the engine that `compile` chose; None before."""
        return self.programs.engine

    @property
    def metrics(self) -> list[Metric]:
        """The metrics of `compile`, as objects."""
        return list(self.metrics_by_name.values())

    @property
    def metrics_by_name(self) -> dict[str, Metric]:
        """Name in the logs -> metric; empty before `compile` or before the shapes are known."""
        known = self.programs.known_results
        return {} if known is None else dict(known.metrics)

    def results(self) -> dict[str, Any]:
        """Loss and metrics so far: of the epoch, or of the last batch or evaluation."""
        return self.programs.results.logs()

    # --- data and seeds

    def batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: Mapping[Any, Any] | None = None,
    ) -> Batch:
        """One batch of arrays as a "train" or "test" step takes it.

        Raises: ShapeError, DataError, ArgumentError for what does not fit the model and its losses.
        """
        found = feeds.ready_batch(x, y, self.inputs) if sample_weight is None else None
        if found is None:
            data = feeds.make_dataset(x, y, sample_weight, self.inputs)
            self.prepare_for(data, x)
            feeds.check_one_size(data)
            found = next(iter(data.batches(max(len(data), 1))))
        bx, by, weight = found
        return self.batch_of(bx, by, weight, class_weight)

    def batch_of(self, x: Any, y: Any, weight: Any, class_weight: Mapping[Any, Any] | None = None) -> Batch:
        """What a dataset or stream gave as a batch, as a "train" or "test" step takes it."""
        made = feeds.image_batch(x, self.inputs, self.input_names)
        if self.programs.has_own_total:
            if class_weight is not None:
                raise ArgumentError(
                    "A compute_loss of the model's own takes sample_weight, not class_weight."
                )
            return feeds.with_anything(made, y, weight, self.dtype)
        objectives = self.programs.objectives_at(self.programs.signature(made))
        weights = feeds.class_weights(y, weight, class_weight, objectives)
        return feeds.with_targets(made, y, weights, objectives, self.dtype)

    def ensure_shape(self, data: Any, given: Any = None) -> None:
        """Give the model its input shape from a first batch; models that have one ignore it."""

    def open_to(self, shape: Any) -> None:
        """Take images of another size from now on, where the size of the first ones was all that said one.

        Nothing changes for a model whose layers do not take it, or that was told its input shape.
        """

    def prepare_for(self, data: Any, given: Any = None) -> None:
        """Give the model the shapes that data has, where it has none yet."""
        if not self.outputs:
            # NOTE: a train_step of the model's own may do without a call and without known shapes.
            is_free = self.programs.own_steps.has("train")
            with contextlib.suppress(*([NotBuiltError, ArgumentError] if is_free else [])):
                self.ensure_shape(data, given)
            self.is_shaped_by_data = True
        elif self.is_shaped_by_data and isinstance(data, Dataset) and len(self.inputs) == 1:
            self.open_to(data.x_shape)

    def train_seed(self) -> int:
        """The seed of training steps on single batches, drawn once: of all processes, which begin alike.

        Where a step was given up by some of them, they begin anew.
        """
        breaks = together.breaks()
        if self._seed is None or self._breaks != breaks:
            self._seed, self._breaks = together.begun_outside_of_fit(self), breaks
        return self._seed

    # --- what a checkpoint holds

    def when_saved(self, action: Callable[[], None]) -> None:
        """Call this once, when the model or its weights are next saved."""
        self._when_saved.append(action)

    def note_saved(self) -> None:
        """Tell those who wait for it that the model is safe in a file."""
        actions, self._when_saved = self._when_saved, []
        for action in actions:
            action()

    def training_fingerprint(self) -> Fingerprint:
        """What the running `fit` is, part by part: for callbacks that continue what an earlier one began.

        Raises: NotBuiltError outside of `fit`.
        """
        if self.plan is None:
            raise NotBuiltError("A training has a fingerprint while fit runs; ask for it in a callback.")
        return fingerprint(self, self.plan)

    def training_state(self) -> tuple[dict[str, Any], Arrays]:
        """Everything that decides the rest of the run: (JSON values, arrays)."""
        return checkpoint.state_of(self)

    def restore_training_state(self, values: dict[str, Any], arrays: Arrays) -> None:
        """Take over what `training_state` gave.

        Raises: FormatError if it belongs to another model or optimiser; nothing is changed then.
        """
        checkpoint.restore_state(self, values, arrays)
