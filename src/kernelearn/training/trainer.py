"""compile, fit, evaluate and predict: the loop that runs a model's programs. `Model` inherits from `Trainer`.

A Trainer needs from its model: `inputs` and `outputs` (symbolic tensors), `input_names`, `output_names`,
`lower`, `flat_layers()`, `weights`, `dtype`, and `ensure_shape(x)` for models that learn their input shape
from data.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any

import numpy as np

from kernelearn import config, optimizers
from kernelearn.data import StreamDataset
from kernelearn.engine import progress
from kernelearn.engine.backends import prepare, resolve_engine
from kernelearn.engine.reference.executor import ReferenceExecutable
from kernelearn.engine.variable import Variable
from kernelearn.errors import ArgumentError, FormatError, NonFiniteError, NotBuiltError
from kernelearn.training import feeds, step
from kernelearn.training.callbacks import CallbackList, History, TerminateOnNaN
from kernelearn.training.objectives import Objective, make_objectives
from kernelearn.training.plan import FitPlan, Validation
from kernelearn.training.running import RunningResults
from kernelearn.training.state import FitState, StepReport

Arrays = dict[str, np.ndarray]
DEFAULT_BATCH = 32


class Trainer:
    """The training half of a model."""

    # What a model gives.
    inputs: list
    outputs: list
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
    def weights(self) -> list:
        """All weights, in a fixed order."""
        raise NotImplementedError

    def _init_training(self) -> None:
        self.optimizer: Any = None
        self.stop_training = False
        self.history: Any = None
        self.fit_state: FitState | None = None
        self._arguments: dict[str, Any] | None = None
        self._objectives: list[Objective] | None = None
        self._running: RunningResults | None = None
        self._slots: dict[str, Variable] = {}
        self._executables: dict[Any, Any] = {}
        self.fit_data: Any = None  # what `fit` is training on, for callbacks
        self.last_step: StepReport | None = None
        self._watched: dict[str, str] | None = None
        self._seed: int | None = None
        self._engine: str | None = None
        self._policy: str | None = None

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
        before = self.optimizer
        self.optimizer = optimizers.get(optimizer)
        if self.optimizer is not before:
            self._slots = {}
        self._engine = resolve_engine(engine)
        self._policy = config.policy() if policy is None else config.check_policy(policy)
        self._arguments = {
            "loss": loss,
            "loss_weights": loss_weights,
            "metrics": metrics,
            "weighted_metrics": weighted_metrics,
        }
        self._objectives = self._running = None
        self._executables = {}
        if self.outputs:
            self._finish_compiling()

    def _finish_compiling(self) -> None:
        """Resolve losses and metrics and build the training program, now that shapes are known."""
        if self._arguments is None:
            raise NotBuiltError("Call model.compile(optimizer, loss) before training or evaluating.")
        if self._objectives is not None:
            return
        shapes = [(name, tensor.shape) for name, tensor in zip(self.output_names, self.outputs)]
        a = self._arguments
        self._objectives = make_objectives(
            shapes, a["loss"], a["loss_weights"], a["metrics"], a["weighted_metrics"]
        )
        self._running = RunningResults(self._objectives)
        if any(o.loss is not None for o in self._objectives):
            self._executables["train"] = prepare(
                *step.build_training(self, self._objectives, self.optimizer, self._slots), self._engine
            )

    @property
    def compiled(self) -> bool:
        """Whether `compile` was called."""
        return self._arguments is not None

    @property
    def policy(self) -> str:
        """The precision policy: what `compile` was given, before that the process's default."""
        return self._policy or config.policy()

    def forget_programs(self) -> None:
        """Throw the built programs away: the structure of the model has changed."""
        self._executables = {}
        self._objectives = self._running = None

    def program(self, kind: str = "train") -> Any:
        """The program of a "train", "test" or "predict" step, to print or inspect."""
        return self._executable(kind).program

    def _executable(self, kind: str) -> Any:
        if not self.outputs:
            raise NotBuiltError(
                "The model has no shapes yet: give input_shape, call build(), or fit it first."
            )
        if kind == "predict" and kind not in self._executables:
            self._executables[kind] = prepare(*step.build_prediction(self), self._engine)
        elif kind not in self._executables:
            self._finish_compiling()
            if kind == "test":
                self._executables[kind] = prepare(
                    *step.build_test(self, self._objectives or []), self._engine
                )
        if kind not in self._executables:
            raise NotBuiltError("The model was compiled without a loss; give compile(loss=...) to train it.")
        return self._executables[kind]

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
        self._results().reset()
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
            logs = self._results().logs()
            if plan.validation is not None and (state.epoch + 1) % plan.validation.every == 0:
                logs.update(self._validate(plan.validation, loop))
            ended = state.epoch
            state.epoch, state.batch = ended + 1, 0
            self._results().reset()
            loop.on_epoch_end(ended, _history_order(logs))
        loop.on_train_end(logs)

    def _train_epoch(self, plan: FitPlan, loop: CallbackList, state: FitState) -> None:
        """Train on the rest of one epoch."""
        is_checked = plan.stops_at_non_finite and not any(isinstance(c, TerminateOnNaN) for c in loop)
        batches, rows = plan.batches(state), plan.rows(state)
        loop.on_epoch_begin(state.epoch)
        for bx, by, weight in islice(batches, plan.steps_left(state)):
            loop.on_train_batch_begin(state.batch)
            inputs = self._batch(bx, by, feeds.class_weights(by, weight, plan.class_weight))
            watched = self._watched is not None
            loss = self._train_on(inputs, state.seed, rows.of(state.epoch, state.batch) if watched else None)
            if is_checked and not np.isfinite(loss):
                raise NonFiniteError(self.diagnose_non_finite(inputs, state.seed))
            state.batch += 1
            loop.on_train_batch_end(state.batch - 1, self._results().logs())
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

    def _watching(self, buffers: dict[str, str]) -> Any:
        """The training step that gives back these buffers too; prepared once for each set of them."""
        executable = self._executable("train")
        if not buffers:
            return executable
        key = ("train", frozenset(buffers.items()))
        if key not in self._executables:
            program = executable.program.keeping(**buffers)
            self._executables[key] = prepare(program, executable.variables, self._engine)
        return self._executables[key]

    def _train_on(self, inputs: Arrays, seed: int, rows: np.ndarray | None = None) -> float:
        """Run one training step; gives its loss."""
        watched, self._watched = self._watched, None
        executable = self._executable("train") if watched is None else self._watching(watched)
        clock = self._clock(seed)
        results = executable.run({**inputs, **clock})
        loss = float(results["loss"])
        if np.isfinite(loss):
            self.optimizer.iterations += 1
        if watched is not None:
            buffers = {label: results[label] for label in watched}
            self.last_step = StepReport(loss, float(clock["learning_rate"]), inputs, rows, buffers)
        self._results().add(results, inputs, len(inputs["x_0"]))
        return loss

    def _clock(self, seed: int) -> Arrays:
        """The inputs of a training step that are no data."""
        done = self.optimizer.iterations
        return {
            "seed": np.asarray(seed, np.int64),
            "step": np.asarray(done, np.int64),
            "update": np.asarray(done + 1, np.int64),
            "learning_rate": np.asarray(self.optimizer.learning_rate, np.float64),
        }

    def diagnose_non_finite(self, inputs: Arrays, seed: int = 0) -> str:
        """Run a step again, one operation at a time, and name the first tensor that is not finite."""
        executable = self._executable("train")
        where = f"Step {self.optimizer.iterations + 1}: the loss is not finite."
        for name, array in (*inputs.items(), *((n, v.value) for n, v in executable.variables.items())):
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                return f"{where} First bad tensor: {name!r}, already before this step. {_REMEDY}"
        reference = ReferenceExecutable(executable.program, executable.variables)
        for op, arrays in reference.trace({**inputs, **self._clock(seed)}):
            bad = [n for n in op.outputs if arrays[n].dtype.kind == "f" and not np.isfinite(arrays[n]).all()]
            if bad:
                layer = f" of layer {op.layer!r}" if op.layer else ""
                origin = f"{bad[0]!r}, result of {op.operator!r}{layer} ({op.phase})"
                return f"{where} First bad tensor: {origin}. {_REMEDY}"
        return f"{where} {_REMEDY}"

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
        executable = self._executable("predict")
        loop = CallbackList(
            callbacks, False, verbose != 0, self, steps=count, batch_size=batch_size, verbose=verbose
        )
        parts: list[list[np.ndarray]] = [[] for _ in self.outputs]
        with loop, progress.quiet(verbose == 0):
            loop.on_predict_begin()
            for number, (bx, _, _) in enumerate(islice(data.batches(batch_size), count)):
                loop.on_predict_batch_begin(number)
                results = executable.run(feeds.program_inputs(bx, self.inputs, self.input_names))
                for i, part in enumerate(parts):
                    part.append(results[f"y_pred_{i}"])
                loop.on_predict_batch_end(number)
            loop.on_predict_end()
        joined = [part[0] if len(part) == 1 else np.concatenate(part) for part in parts]
        return joined[0] if len(joined) == 1 else joined

    def predict_on_batch(self, x: Any) -> Any:
        """Outputs for one batch of arrays."""
        if not feeds.is_ready(x, self.inputs):
            return self.predict(x, batch_size=max(len(_first(x)), 1), verbose=0)
        with progress.quiet():
            results = self._executable("predict").run({step.input_name(0): x})
        found = [results[f"y_pred_{i}"] for i in range(len(self.outputs))]
        return found[0] if len(found) == 1 else found

    def train_on_batch(
        self, x, y=None, sample_weight=None, class_weight=None, return_dict: bool = False
    ) -> Any:
        """One update on one batch of arrays; gives its loss and metrics."""
        inputs = self._single_batch(x, y, sample_weight, class_weight)
        if self._seed is None:
            self._seed = config.next_seed()
        self._results().reset()
        self._train_on(inputs, self._seed)
        return _returned(self._results().logs(), return_dict)

    def test_on_batch(self, x, y=None, sample_weight=None, return_dict: bool = False) -> Any:
        """Loss and metrics of one batch of arrays, in inference mode."""
        inputs = self._single_batch(x, y, sample_weight, None)
        self._results().reset()
        self._results().add(self._executable("test").run(inputs), inputs, len(inputs["x_0"]))
        return _returned(self._results().logs(), return_dict)

    # --- what a checkpoint holds

    def training_state(self) -> tuple[dict[str, Any], Arrays]:
        """Everything that decides the rest of the run: (JSON values, arrays)."""
        arrays = {f"weights/{i:04d}": w.numpy() for i, w in enumerate(self.weights)}
        arrays.update((f"slots/{name}", slot.numpy()) for name, slot in self._slots.items())
        values: dict[str, Any] = {}
        if self._running is not None:
            arrays.update((f"results/{name}", array) for name, array in self._running.state().items())
        if self.optimizer is not None:
            values["iterations"] = self.optimizer.iterations
            if self.optimizer.schedule is None:
                values["learning_rate"] = self.optimizer.learning_rate
        if self.fit_state is not None:
            values["fit"] = self.fit_state.to_config()
        return values, arrays

    def restore_training_state(self, values: dict[str, Any], arrays: Arrays) -> None:
        """Take over what `training_state` gave.

        Raises: FormatError if it belongs to another model or optimiser; nothing is changed then.
        """
        expected = {f"weights/{i:04d}": w for i, w in enumerate(self.weights)}
        expected.update({f"slots/{name}": slot for name, slot in self._slots.items()})
        saved = {n: a for n, a in arrays.items() if not n.startswith("results/")}
        if {n: v.shape for n, v in expected.items()} != {n: a.shape for n, a in saved.items()}:
            raise FormatError(
                "The saved state belongs to another model or optimiser: names or shapes of arrays differ."
            )
        for name, variable in expected.items():
            variable.assign(saved[name])
        results = {n.removeprefix("results/"): a for n, a in arrays.items() if n.startswith("results/")}
        if results and self._running is not None:
            self._running.restore(results)
        if self.optimizer is not None:
            self.optimizer.iterations = values.get("iterations", 0)
            if "learning_rate" in values and self.optimizer.schedule is None:
                self.optimizer.learning_rate = values["learning_rate"]
        if self.fit_state is not None and "fit" in values:
            self.fit_state.restore(values["fit"])

    # --- helpers

    def ensure_shape(self, x: Any) -> None:
        """Give the model its input shape from a first batch; models that have one ignore it."""

    def _results(self) -> RunningResults:
        if self._running is None:
            self._finish_compiling()
        assert self._running is not None
        return self._running

    def _prepare_for(self, data: Any) -> None:
        if not self.outputs:
            self.ensure_shape(data)

    def _batch(self, x: Any, y: Any, weight: Any) -> Arrays:
        inputs = feeds.program_inputs(x, self.inputs, self.input_names)
        self._finish_compiling()
        rows = len(inputs["x_0"])
        inputs.update(feeds.program_targets(y, weight, self._objectives or [], rows, self.dtype))
        return inputs

    def _single_batch(self, x, y, sample_weight, class_weight) -> Arrays:
        batch = feeds.ready_batch(x, y, self.inputs) if sample_weight is None else None
        if batch is None:
            data = feeds.make_dataset(x, y, sample_weight)
            self._prepare_for(data)
            batch = next(iter(data.batches(max(len(data), 1))))
        bx, by, weight = batch
        return self._batch(bx, by, feeds.class_weights(by, weight, class_weight))

    def _validate(self, validation: Validation, loop: CallbackList) -> dict[str, Any]:
        """Evaluate at the end of an epoch of `fit`."""
        steps = _steps(validation.data, validation.batch_size, validation.steps)
        logs = self._test(validation.data, validation.batch_size, steps, loop)
        return {f"val_{name}": value for name, value in logs.items()}

    def _test(
        self, data: Any, batch_size: int | None, steps: int | None, loop: CallbackList
    ) -> dict[str, Any]:
        """Loss and metrics; those of an epoch that is being trained are put aside meanwhile."""
        executable, results = self._executable("test"), self._results()
        aside = results.state()
        results.reset()
        loop.on_test_begin()
        for number, (bx, by, weight) in enumerate(islice(data.batches(batch_size), steps)):
            loop.on_test_batch_begin(number)
            inputs = self._batch(bx, by, weight)
            results.add(executable.run(inputs), inputs, len(inputs["x_0"]))
            loop.on_test_batch_end(number, results.logs())
        logs = results.logs()
        results.restore(aside)
        loop.on_test_end(logs)
        return logs


_REMEDY = "Lower the learning rate, scale the inputs to about [0, 1], or clip gradients (clipnorm=1.0)."


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
