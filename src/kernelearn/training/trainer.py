"""compile, fit, evaluate and predict: the loop that runs a model's programs. `Model` inherits from `Trainer`.

What it needs from its model is `Trainable`; `programs` holds the steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from kernelearn import config, optimizers
from kernelearn.data import StreamDataset
from kernelearn.engine import progress
from kernelearn.engine.backends import resolve_engine
from kernelearn.engine.program import Program
from kernelearn.errors import ArgumentError, NonFiniteError
from kernelearn.training import checkpoint, feeds
from kernelearn.training.callbacks import CallbackList, History, TerminateOnNaN
from kernelearn.training.diagnosis import diagnose_non_finite
from kernelearn.training.plan import FitPlan, Validation
from kernelearn.training.programs import CompileArguments, Programs, StepProgram
from kernelearn.training.state import FitState
from kernelearn.training.step import Arrays, Batch, Clock, StepReport, input_name

if TYPE_CHECKING:
    from kernelearn.engine.program import ProgramBuilder
    from kernelearn.layers.base import Layer, Weight
    from kernelearn.layers.tensor import Tensor
    from kernelearn.optimizers import Optimizer

DEFAULT_BATCH = 32


class Trainer:
    """The training half of a model.

    Attributes:
        programs: the steps, and what `compile` said.
        stop_training: a callback sets it to end `fit` after the batch.
        history: the `History` of the last `fit`.
        fit_state: where `fit` stands; None before the first.
        fit_data: what `fit` is training on, for callbacks.
        last_step: the report that a callback asked for with `watch_step`.
    """

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

    def _init_training(self) -> None:
        self.programs = Programs(self)
        self.stop_training = False
        self.history: History | None = None
        self.fit_state: FitState | None = None
        self.fit_data: Any = None
        self.last_step: StepReport | None = None
        self._watched: dict[str, str] | None = None
        self._seed: int | None = None

    # --- compile

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        engine: str | None = None,
        policy: str | None = None,
    ) -> None:
        """Say what training does. `trainable` of every layer is read here.

        Args:
            optimizer: name, config or object.
            loss: name or `Loss`; for several outputs a list or a dict by output name.
            loss_weights: factors of the outputs' losses.
            metrics: names or objects; for several outputs a list of lists or a dict.
            weighted_metrics: the same, with sample weights.
            engine: "cpu" (compiled), "reference" (NumPy), or None for the default: "cpu", or what
                KERNELEARN_ENGINE says. Programs in float64 always run on the reference engine.
            policy: "float32", "mixed_bfloat16" (convolutions and dense layers multiply operands rounded to
                bfloat16; weights and sums stay float32) or None for `config.policy()`.
        """
        self.programs.compile(
            optimizers.get(optimizer),
            CompileArguments(loss, loss_weights, metrics, weighted_metrics),
            resolve_engine(engine),
            config.policy() if policy is None else config.check_policy(policy),
        )

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

    def step(self, kind: str = "train") -> StepProgram:
        """A "train", "test" or "predict" step: its program, its variables, and a way to run it.

        Raises: NotBuiltError before shapes are known, or without what `compile` has to say.
        """
        return self.programs.step(kind)

    def program(self, kind: str = "train") -> Program:
        """The program of a "train", "test" or "predict" step, to print or inspect."""
        return self.step(kind).program

    def batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: Mapping[int, float] | None = None,
    ) -> Batch:
        """One batch of arrays as a "train" or "test" step takes it.

        Raises: ShapeError, DataError, ArgumentError for what does not fit the model and its losses.
        """
        found = feeds.ready_batch(x, y, self.inputs) if sample_weight is None else None
        if found is None:
            data = feeds.make_dataset(x, y, sample_weight)
            self._prepare_for(data)
            found = next(iter(data.batches(max(len(data), 1))))
        bx, by, weight = found
        return self._batch(bx, by, feeds.class_weights(by, weight, class_weight))

    def results(self) -> dict[str, Any]:
        """Loss and metrics so far: of the epoch, or of the last batch or evaluation."""
        return self.programs.results.logs()

    # --- fit

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: str | int = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: Mapping[int, float] | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int = 1,
        seed: int | None = None,
        terminate_on_nan: bool = True,
    ) -> History:
        """Train.

        Args:
            x, y: arrays (lists or dicts for several inputs or outputs), a `Dataset` or a stream of batches.
            batch_size: samples per update, 32 by default; a stream of batches keeps its own.
            epochs: index after the last epoch; with `initial_epoch` the number trained is the difference.
            verbose: "auto", 0 (nothing), 1 (progress bar), 2 (a line per epoch).
            validation_split: share of the last rows to hold out, before shuffling.
            validation_data: (x, y) or (x, y, sample_weight), or a Dataset.
            class_weight: class number -> factor of its samples' loss.
            steps_per_epoch, validation_steps: use only so many batches.
            validation_freq: validate every so many epochs.
            seed: of shuffling, dropout and augmentation; None draws one from `set_random_seed`'s sequence.
            terminate_on_nan: stop with NonFiniteError, naming step, layer and first bad tensor, when the
                loss is not finite. The weights are then those before the bad step.
        Returns: History, with one value an epoch under the name of the loss, each metric and their val_
            twins.
        """
        _check_counts(1, steps_per_epoch=steps_per_epoch, validation_steps=validation_steps)
        _check_counts(1, validation_freq=validation_freq)
        _check_counts(0, epochs=epochs, initial_epoch=initial_epoch)
        data, held_out = feeds.training_and_validation(
            (x, y, sample_weight), validation_split, validation_data
        )
        self._prepare_for(data)
        validation = None
        if held_out is not None:
            size = _batch_size(held_out, validation_batch_size or batch_size)
            validation = Validation(held_out, size, validation_steps, validation_freq)
        size = _batch_size(data, batch_size)
        steps = _steps(data, size, steps_per_epoch)
        plan = FitPlan(data, size, steps, epochs, shuffle, class_weight, validation, terminate_on_nan)
        self.fit_state = FitState(config.next_seed() if seed is None else int(seed), initial_epoch)
        self.stop_training = False
        self.programs.results.reset()
        params = {"epochs": epochs, "steps": steps, "batch_size": size, "verbose": verbose}
        loop = CallbackList(callbacks, True, verbose != 0, self, **params)
        self._watched, self.last_step, self.fit_data = None, None, data
        with loop, progress.quiet(verbose == 0):
            self._train_epochs(plan, loop, self.fit_state)
        self.last_step = self.fit_data = None
        return loop.history or History()

    def _train_epochs(self, plan: FitPlan, loop: CallbackList, state: FitState) -> None:
        """Train until the last epoch is over or a callback has set `stop_training`."""
        loop.on_train_begin()
        logs: dict[str, Any] = {}
        while state.epoch < plan.epochs and not self.stop_training:
            self._train_epoch(plan, loop, state)
            logs = self.results()
            if plan.validation is not None and (state.epoch + 1) % plan.validation.every == 0:
                logs.update(self._validate(plan.validation, loop))
            ended = state.epoch
            state.epoch, state.batch = ended + 1, 0
            self.programs.results.reset()
            loop.on_epoch_end(ended, _history_order(logs))
        loop.on_train_end(logs)

    def _train_epoch(self, plan: FitPlan, loop: CallbackList, state: FitState) -> None:
        """Train on the rest of one epoch."""
        is_checked = plan.stops_at_non_finite and not any(isinstance(c, TerminateOnNaN) for c in loop)
        batches, rows = plan.batches(state), plan.rows(state)
        loop.on_epoch_begin(state.epoch)
        for bx, by, weight in islice(batches, plan.steps_left(state)):
            loop.on_train_batch_begin(state.batch)
            batch = self._batch(bx, by, feeds.class_weights(by, weight, plan.class_weight))
            watched = self._watched is not None
            clock = self.programs.clock(state.seed)
            loss = self._train_on(batch, clock, rows.of(state.epoch, state.batch) if watched else None)
            if is_checked and not np.isfinite(loss):
                raise NonFiniteError(diagnose_non_finite(self.step("train"), batch, clock))
            state.batch += 1
            loop.on_train_batch_end(state.batch - 1, self.results())
            if self.stop_training:
                break
        close = getattr(batches, "close", None)
        if close:
            close()

    def watch_step(self, buffers: Mapping[str, str] | None = None) -> None:
        """Ask for a report of the next training step: for callbacks, in `on_train_batch_begin`.

        It is in `last_step` when `on_train_batch_end` is called. The numbers of the step are the same with
        and without it, and a step that nobody asks about costs nothing.

        Args:
            buffers: label -> name of a buffer of `program("train")` that the report is to hold too.
        """
        self._watched = dict(buffers or {})

    def _train_on(self, batch: Batch, clock: Clock, rows: np.ndarray | None = None) -> float:
        """Run one training step; gives its loss."""
        watched, self._watched = self._watched, None
        result = self.programs.watching(watched or {}).run(batch, clock)
        loss = result.loss
        if np.isfinite(loss):
            self.programs.count_update()
        if watched is not None:
            self.last_step = StepReport(loss, clock.learning_rate, batch, rows, result.buffers(watched))
        self.programs.results.add(result, batch)
        return loss

    # --- evaluate and predict

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: str | int = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Any = None,
        return_dict: bool = False,
    ) -> Any:
        """Loss and metrics on data, in inference mode.

        Returns: the loss, or [loss, metric, ...] if there are metrics; with `return_dict` a dict by name.
        """
        data = feeds.make_dataset(x, y, sample_weight)
        self._prepare_for(data)
        batch_size = _batch_size(data, batch_size)
        count = _steps(data, batch_size, steps)
        loop = CallbackList(
            callbacks, False, verbose != 0, self, steps=count, batch_size=batch_size, verbose=verbose
        )
        with loop, progress.quiet(verbose == 0):
            logs = self._test(data, batch_size, count, loop)
        return _returned(logs, return_dict)

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: str | int = "auto",
        steps: int | None = None,
        callbacks: Any = None,
    ) -> Any:
        """Outputs for data, in inference mode: an array, or a list of them for several outputs."""
        data = feeds.make_dataset(x)
        self._prepare_for(data)
        batch_size = _batch_size(data, batch_size)
        count = _steps(data, batch_size, steps)
        step = self.step("predict")
        loop = CallbackList(
            callbacks, False, verbose != 0, self, steps=count, batch_size=batch_size, verbose=verbose
        )
        parts: list[list[np.ndarray]] = [[] for _ in self.outputs]
        with loop, progress.quiet(verbose == 0):
            loop.on_predict_begin()
            for number, (bx, _, _) in enumerate(islice(data.batches(batch_size), count)):
                loop.on_predict_batch_begin(number)
                result = step.run(feeds.image_batch(bx, self.inputs, self.input_names))
                for i, part in enumerate(parts):
                    part.append(result.prediction(i))
                loop.on_predict_batch_end(number)
            loop.on_predict_end()
        return _one_or_list([part[0] if len(part) == 1 else np.concatenate(part) for part in parts])

    def predict_on_batch(self, x: Any) -> Any:
        """Outputs for one batch of arrays."""
        if not feeds.is_ready(x, self.inputs):
            return self.predict(x, batch_size=max(len(_first(x)), 1), verbose=0)
        with progress.quiet():
            result = self.step("predict").run(Batch.of({input_name(0): np.ascontiguousarray(x)}))
        return _one_or_list([result.prediction(i) for i in range(len(self.outputs))])

    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: Mapping[int, float] | None = None,
        return_dict: bool = False,
    ) -> Any:
        """One update on one batch of arrays; gives its loss and metrics."""
        batch = self.batch(x, y, sample_weight, class_weight)
        if self._seed is None:
            self._seed = config.next_seed()
        self.programs.results.reset()
        self._train_on(batch, self.programs.clock(self._seed))
        return _returned(self.results(), return_dict)

    def test_on_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False
    ) -> Any:
        """Loss and metrics of one batch of arrays, in inference mode."""
        batch = self.batch(x, y, sample_weight)
        self.programs.results.reset()
        self.programs.results.add(self.step("test").run(batch), batch)
        return _returned(self.results(), return_dict)

    # --- what a checkpoint holds

    def training_state(self) -> tuple[dict[str, Any], Arrays]:
        """Everything that decides the rest of the run: (JSON values, arrays)."""
        return checkpoint.state_of(self)

    def restore_training_state(self, values: dict[str, Any], arrays: Arrays) -> None:
        """Take over what `training_state` gave.

        Raises: FormatError if it belongs to another model or optimiser; nothing is changed then.
        """
        checkpoint.restore_state(self, values, arrays)

    # --- helpers

    def ensure_shape(self, x: Any) -> None:
        """Give the model its input shape from a first batch; models that have one ignore it."""

    def _prepare_for(self, data: Any) -> None:
        if not self.outputs:
            self.ensure_shape(data)

    def _batch(self, x: Any, y: Any, weight: Any) -> Batch:
        return feeds.batch(x, y, weight, self, self.programs.objectives)

    def _validate(self, validation: Validation, loop: CallbackList) -> dict[str, Any]:
        """Evaluate at the end of an epoch of `fit`."""
        steps = _steps(validation.data, validation.batch_size, validation.steps)
        logs = self._test(validation.data, validation.batch_size, steps, loop)
        return {f"val_{name}": value for name, value in logs.items()}

    def _test(
        self, data: Any, batch_size: int | None, steps: int | None, loop: CallbackList
    ) -> dict[str, Any]:
        """Loss and metrics; those of an epoch that is being trained are put aside meanwhile."""
        step, results = self.step("test"), self.programs.results
        aside = results.state()
        results.reset()
        loop.on_test_begin()
        for number, (bx, by, weight) in enumerate(islice(data.batches(batch_size), steps)):
            loop.on_test_batch_begin(number)
            batch = self._batch(bx, by, weight)
            results.add(step.run(batch), batch)
            loop.on_test_batch_end(number, results.logs())
        logs = results.logs()
        results.restore(aside)
        loop.on_test_end(logs)
        return logs


def _check_counts(least: int, **counts: Any) -> None:
    """Raise ArgumentError for anything but None or a whole number of at least `least`."""
    for name, value in counts.items():
        is_whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
        if value is not None and not (is_whole and value >= least):
            raise ArgumentError(f"{name} must be a whole number of at least {least}, got {value!r}.")


def _batch_size(data: Any, given: int | None) -> int | None:
    """Samples in a batch: as given, else 32; None (batches as they come) for a stream that is not told."""
    return given if given is not None or isinstance(data, StreamDataset) else DEFAULT_BATCH


def _steps(data: Any, batch_size: int | None, limit: int | None) -> int | None:
    """Batches in one pass, at most `limit`; None if unknown."""
    count = data.steps(batch_size)
    return limit if count is None else count if limit is None else min(count, limit)


def _returned(logs: dict[str, Any], return_dict: bool) -> Any:
    """Results as Keras gives them: a dict if wanted, else the loss alone or a list."""
    if return_dict:
        return logs
    values = list(logs.values())
    return values[0] if len(values) == 1 else values


def _history_order(logs: dict[str, Any]) -> dict[str, Any]:
    """Training values by name, then validation values by name: the order of Keras's history."""
    return dict(sorted(logs.items(), key=lambda item: (item[0].startswith("val_"), item[0])))


def _first(x: Any) -> Any:
    if isinstance(x, Mapping):
        return next(iter(x.values()))
    return x[0] if isinstance(x, list | tuple) else x


def _one_or_list(values: list[np.ndarray]) -> Any:
    return values[0] if len(values) == 1 else values
