"""compile, fit, evaluate and predict: the loop that runs a model's programs. `Model` inherits from `Trainer`.

What it needs from its model is `Trainable`; `programs` holds the steps.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kernelearn import config, optimizers
from kernelearn.data import Dataset, StreamDataset
from kernelearn.engine import progress
from kernelearn.engine.backends import resolve_engine
from kernelearn.engine.program import Program
from kernelearn.errors import ArgumentError, NotBuiltError
from kernelearn.parallel.meeting_point import BATCH, EVALUATE, PREDICT
from kernelearn.training import checkpoint, checks, feeds, keras_names, loop, together
from kernelearn.training.callbacks import CallbackList, History
from kernelearn.training.fingerprint import Fingerprint, fingerprint
from kernelearn.training.input_range import InputRange
from kernelearn.training.own.overriding import Overridable
from kernelearn.training.plan import Data, FitPlan, Pass, Validation
from kernelearn.training.state import FitState
from kernelearn.training.steps import layer_rates
from kernelearn.training.steps.programs import CompileArguments, Programs, StepProgram
from kernelearn.training.steps.signature import Signature, of_shapes
from kernelearn.training.steps.step import Arrays, Batch, StepReport, input_name

if TYPE_CHECKING:
    from kernelearn.engine.program import ProgramBuilder
    from kernelearn.layers.core.base import Layer
    from kernelearn.layers.core.tensor import Tensor
    from kernelearn.layers.core.weight import Weight
    from kernelearn.metrics import Metric
    from kernelearn.optimizers import Optimizer

DEFAULT_BATCH = 32


class Trainer(Overridable, keras_names.TrainerNames):
    """The training half of a model.

    Attributes:
        programs: the steps, and what `compile` said.
        stop_training: a callback sets it to end `fit` after the batch.
        history: the `History` of the last `fit`.
        is_shaped_by_data: whether its input shape is that of the first data it met, not one that it was told.
        fit_state: where `fit` stands; None before the first.
        plan, fit_data: what `fit` is doing and what it is training on, for callbacks.
        watched, watched_at: buffers of the next step that a callback asked for with `watch_step`, by label,
            and the sizes of images at which alone some of them are wanted.
        last_step: the report of that step.
        done_to_first: what a callback did to the model on the first process alone since the last step, as
            functions of a model: other processes do it before the next one.
        own_count: steps of the model's own on single batches so far.
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
        self._breaks = 0  # of steps, when the seed was drawn
        self.own_count = 0
        self.input_range = InputRange()
        self.plan: FitPlan | None = None
        self.is_shaped_by_data = False
        self._when_saved: list[Callable[[], None]] = []

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
        run_eagerly: bool = False,
        steps_per_execution: int | str = 1,
        jit_compile: bool | str | None = "auto",
        auto_scale_loss: bool = True,
        learning_rate_multipliers: layer_rates.Multipliers = None,
        shards: int | None = None,
        transport: str = "float32",
    ) -> None:
        """Say what training does.

        A layer that is frozen, released or changed afterwards counts as it is at the next step, as in Keras.

        Args:
            optimizer: name, config or object.
            loss: name or `Loss`; for several outputs a list or a dict by output name.
            loss_weights: factors of the outputs' losses.
            metrics: names or objects; for several outputs a list of lists or a dict.
            weighted_metrics: the same, with sample weights.
            engine: "cpu" (compiled), "reference" (NumPy), or None for the default: "cpu", or what
                KERNELEARN_ENGINE says.
            policy: "float32", "mixed_bfloat16" (convolutions and dense layers multiply operands rounded to
                bfloat16; weights and sums stay float32) or None for `config.policy()`.
            run_eagerly: True is another word for engine="reference": one operator after another, in NumPy.
            shards: cut each batch into so many parts that are computed one by one and added in a fixed order,
                so that any number of processes gives the same weights, bit by bit. Batch statistics are those
                of a part. None: the batch as a whole, or 12 parts where several processes train.
            transport: "bfloat16" rounds the gradients of shards, and every sum of them, to bfloat16 (three
                decimal digits), so that half as many bytes travel between processes. It belongs to the
                training: one process alone rounds the same. "float32" leaves them as they are.
            steps_per_execution, jit_compile, auto_scale_loss: as in Keras, and without effect on results:
                every step is compiled, callbacks hear of each, and losses need no scaling.
            learning_rate_multipliers: factors of the learning rate of single layers, by name, path or
                pattern: {"backbone": 0.1, "conv*": 0.01}; or one number, such as 0.4: each layer with weights
                learns that much slower than the one behind it. They are the layers' own
                `learning_rate_multiplier` from now on; 0 leaves weights alone and costs no gradient.
        Raises: ArgumentError, UnknownNameError for a layer that is not there.
        """
        engine = keras_names.engine_of(engine, run_eagerly)
        _check_counts(1, shards=shards)
        together.check_shards(shards, transport)
        keras_names.check_without_effect(steps_per_execution, jit_compile, auto_scale_loss)
        used = optimizers.get(optimizer)
        layer_rates.set_multipliers(self, learning_rate_multipliers)
        self.programs.compile(
            used,
            CompileArguments(loss, loss_weights, metrics, weighted_metrics),
            resolve_engine(engine),
            config.policy() if policy is None else config.check_policy(policy),
            shards,
            transport,
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

    def step(self, kind: str = "train", input_shape: Any = None) -> StepProgram:
        """A "train", "test" or "predict" step: its program, its variables, and a way to run it.

        Args:
            input_shape: of one sample, for a model that takes images of any size: (64, 64, 3), or a list of
                such for several inputs. None for the sizes that the model met last.
        Raises: NotBuiltError before shapes are known, or without what `compile` has to say; ShapeError for a
            shape that the model does not take.
        """
        is_one = input_shape is not None and all(np.ndim(size) == 0 for size in input_shape)
        return self.programs.step(kind, [input_shape] if is_one else input_shape)

    def program(self, kind: str = "train", input_shape: Any = None) -> Program:
        """The program of a "train", "test" or "predict" step, to print or inspect; arguments as of `step`."""
        return self.step(kind, input_shape).program

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
        class_weight: Mapping[Any, Any] | None = None,
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
            class_weight: class number -> factor of the loss of its samples, in a mask of its positions; for
                several outputs a dict of such by output name.
            sample_weight: (n,) factors of the samples' loss, or a factor for each position of a mask; for
                several outputs a list or a dict by output name.
            steps_per_epoch: batches in an epoch; the next one goes on where it stopped. Where the data runs
                out the epoch ends, with a warning.
            validation_steps: use only so many batches.
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
            (x, y, sample_weight), validation_split, validation_data, self.inputs
        )
        data, held_out = together.shared_data(data, "data"), together.shared_data(held_out, "validation data")
        self.prepare_for(data, x)
        validation = None
        if held_out is not None:
            self.prepare_for(held_out)
            size = _batch_size(held_out, validation_batch_size or batch_size)
            validation = Validation(Pass(held_out, size, validation_steps), validation_freq)
        plan = FitPlan(
            data,
            _batch_size(data, batch_size),
            steps_per_epoch,
            epochs,
            initial_epoch,
            shuffle,
            class_weight,
            validation,
            None if seed is None else int(seed),
            terminate_on_nan,
        )
        return loop.fit(self, plan, callbacks, verbose)

    def training_fingerprint(self) -> Fingerprint:
        """What the running `fit` is, part by part: for callbacks that continue what an earlier one began.

        Raises: NotBuiltError outside of `fit`.
        """
        if self.plan is None:
            raise NotBuiltError("A training has a fingerprint while fit runs; ask for it in a callback.")
        return fingerprint(self, self.plan)

    def watch_step(self, buffers: Mapping[str, str] | None = None, shapes: Any = None) -> None:
        """Ask for a report of the next training step: for callbacks, in `on_train_batch_begin`.

        It is in `last_step` when `on_train_batch_end` is called. The numbers of the step are the same with
        and without it, and a step that nobody asks about costs nothing. Any number of callbacks may ask: the
        one report holds what all of them want.

        Args:
            buffers: label -> name of a buffer of `program("train")` that the report is to hold too.
            shapes: of one sample of every input, for a model that takes any: the report holds these buffers
                only if the images of the step have these sizes.
        Raises: ArgumentError for a label that stands for another buffer already.
        """
        asked = {} if self.watched is None else self.watched
        for label, name in (buffers or {}).items():
            if asked.setdefault(label, name) != name:
                raise ArgumentError(
                    f"watch_step: another callback has the label {label!r} for the buffer {asked[label]!r}; "
                    f"use another one for {name!r}, such as its own name."
                )
            if shapes is not None:
                self.watched_at[label] = of_shapes(shapes, self.inputs)
        self.watched = asked

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
        data = feeds.make_dataset(x, y, sample_weight, self.inputs)
        plan = self._pass_over(data, batch_size, steps, x)
        with (
            together.shared_pass(self, plan, EVALUATE) as sharing,
            self._watching(plan, callbacks, verbose, sharing) as watchers,
        ):
            logs = loop.test(self, plan, watchers, sharing)
        return _returned(logs, return_dict)

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: str | int = "auto",
        steps: int | None = None,
        callbacks: Any = None,
    ) -> Any:
        """Outputs for data, in inference mode: an array, or a list of them for several outputs.

        An output whose size follows the images is a list of arrays, one for each image, where these are of
        several sizes: `predict([first, second])` gives two maps.
        """
        plan = self._pass_over(feeds.make_dataset(x, tensors=self.inputs), batch_size, steps, x)
        with (
            together.shared_pass(self, plan, PREDICT) as sharing,
            self._watching(plan, callbacks, verbose, sharing) as watchers,
        ):
            return self.arranged(loop.predict(self, plan, watchers, sharing))

    def predict_on_batch(self, x: Any) -> Any:
        """Outputs for one batch of arrays."""
        if not feeds.is_ready(x, self.inputs):
            return self.predict(x, batch_size=max(len(_first(x)), 1), verbose=0)
        with progress.quiet():
            batch = Batch.of({input_name(0): np.ascontiguousarray(x)})
            self.input_range.meet(batch)
            result = self.programs.step_on("predict", batch).run(batch)
        return self.arranged([result.prediction(i) for i in range(len(self.outputs))])

    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: Mapping[Any, Any] | None = None,
        return_dict: bool = False,
    ) -> Any:
        """One update on one batch of arrays; gives its loss and metrics."""
        if self.programs.own_steps.has("train"):
            with together.working(BATCH):
                logs = loop.own_on_batch(self, "train", x, y, sample_weight, class_weight)
            return _returned(logs, return_dict)
        batch = self.batch(x, y, sample_weight, class_weight)
        self.programs.look_for_changes()
        with together.working(BATCH):
            seed = self.train_seed()
            self.programs.results.reset()
            loop.train_on(self, batch, seed)
        return _returned(self.results(), return_dict)

    def test_on_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False
    ) -> Any:
        """Loss and metrics of one batch of arrays, in inference mode."""
        if self.programs.own_steps.has("test"):
            return _returned(loop.own_on_batch(self, "test", x, y, sample_weight, None), return_dict)
        batch = self.batch(x, y, sample_weight)
        self.programs.look_for_changes()
        self.programs.results.reset()
        self.input_range.meet(batch)
        self.programs.results.add(self.programs.step_for("test", batch).run(batch), batch)
        return _returned(self.results(), return_dict)

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

    def training_state(self) -> tuple[dict[str, Any], Arrays]:
        """Everything that decides the rest of the run: (JSON values, arrays)."""
        return checkpoint.state_of(self)

    def restore_training_state(self, values: dict[str, Any], arrays: Arrays) -> None:
        """Take over what `training_state` gave.

        Raises: FormatError if it belongs to another model or optimiser; nothing is changed then.
        """
        checkpoint.restore_state(self, values, arrays)

    # --- shared by the methods above

    def ensure_shape(self, data: Any, given: Any = None) -> None:
        """Give the model its input shape from a first batch; models that have one ignore it."""

    def open_to(self, shape: Any) -> None:
        """Take images of another size from now on, where the size of the first ones was all that said one.

        Nothing changes for a model whose layers do not take it, or that was told its input shape.
        """

    def _pass_over(self, data: Data, batch_size: int | None, steps: int | None, given: Any) -> Pass:
        """One pass over data for `evaluate` or `predict`."""
        self.prepare_for(data, given)
        feeds.check_sizes(data, self.inputs, self.input_names)
        plan = Pass(data, _batch_size(data, batch_size), steps)
        checks.check_step_count("steps", steps, plan.there)
        return plan

    @contextlib.contextmanager
    def _watching(
        self, plan: Pass, callbacks: Any, verbose: str | int, sharing: together.Sharing
    ) -> Iterator[CallbackList]:
        """The callbacks of `evaluate` or `predict`, closed at the end; of those who share it one speaks."""
        verbose = together.verbose_here(verbose) if sharing.are_several else verbose
        params = {"steps": plan.steps, "batch_size": plan.batch_size, "verbose": verbose}
        watchers = CallbackList(callbacks, False, verbose != 0, self, **params)
        if sharing.are_several:
            together.drop_writers(watchers)
        with watchers, progress.quiet(verbose == 0):
            yield watchers

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


def _check_counts(least: int, **counts: Any) -> None:
    """Raise ArgumentError for anything but None or a whole number of at least `least`."""
    for name, value in counts.items():
        is_whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
        if value is not None and not (is_whole and value >= least):
            raise ArgumentError(f"{name} must be a whole number of at least {least}, got {value!r}.")


def _batch_size(data: Any, given: int | None) -> int | None:
    """Samples in a batch: as given, else 32; None (batches as they come) for a stream that is not told."""
    return given if given is not None or isinstance(data, StreamDataset) else DEFAULT_BATCH


def _returned(logs: dict[str, Any], return_dict: bool) -> Any:
    """Results as Keras gives them: a dict if wanted, else the loss alone or a list."""
    if return_dict:
        return logs
    values = list(logs.values())
    return values[0] if len(values) == 1 else values


def _first(x: Any) -> Any:
    if isinstance(x, Mapping):
        return next(iter(x.values()))
    return x[0] if isinstance(x, list | tuple) else x
