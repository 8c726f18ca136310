"""compile and fit: the loop that runs a model's programs. `Model` inherits from `Trainer`.

Evaluation and prediction are in `methods`; `programs` holds the steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from kernelearn import config, optimizers
from kernelearn.engine.backends import resolve_engine
from kernelearn.engine.program import Program
from kernelearn.errors import ArgumentError
from kernelearn.training import feeds, keras_names, loop, together
from kernelearn.training.callbacks import History
from kernelearn.training.methods.passes import Passes, batch_size_of
from kernelearn.training.plan import FitPlan, Pass, Validation
from kernelearn.training.steps import layer_rates
from kernelearn.training.steps.compiled import CompileArguments
from kernelearn.training.steps.signature import of_shapes
from kernelearn.training.steps.step_program import StepProgram


class Trainer(Passes):
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
            size = batch_size_of(held_out, validation_batch_size or batch_size)
            validation = Validation(Pass(held_out, size, validation_steps), validation_freq)
        plan = FitPlan(
            data,
            batch_size_of(data, batch_size),
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


def _check_counts(least: int, **counts: Any) -> None:
    """Raise ArgumentError for anything but None or a whole number of at least `least`."""
    for name, value in counts.items():
        is_whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
        if value is not None and not (is_whole and value >= least):
            raise ArgumentError(f"{name} must be a whole number of at least {least}, got {value!r}.")
