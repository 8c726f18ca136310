"""evaluate and predict, and what is done with a single batch: passes over data without an epoch."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from kernelearn.data import StreamDataset
from kernelearn.engine import progress
from kernelearn.parallel.meeting_point import BATCH, EVALUATE, PREDICT
from kernelearn.training import checks, feeds, loop, together
from kernelearn.training.callbacks import CallbackList
from kernelearn.training.methods.base import TrainerBase
from kernelearn.training.plan import Data, Pass
from kernelearn.training.steps.step import Batch, input_name

DEFAULT_BATCH = 32


class Passes(TrainerBase):
    """Evaluation, prediction and single batches; see `Trainer`."""

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
            loop.train_on(self, batch, seed, is_single=True)
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

    def _pass_over(self, data: Data, batch_size: int | None, steps: int | None, given: Any) -> Pass:
        """One pass over data for `evaluate` or `predict`."""
        self.prepare_for(data, given)
        feeds.check_sizes(data, self.inputs, self.input_names)
        plan = Pass(data, batch_size_of(data, batch_size), steps)
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


def batch_size_of(data: Any, given: int | None) -> int | None:
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
