"""The loops: epochs and batches of `fit`, and a pass over data for `evaluate` and `predict`.

A loop takes batches from a `Feed` or a `Pass`, runs a step on each, and tells the callbacks.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from kernelearn import config
from kernelearn.data.part import Choice
from kernelearn.engine import progress
from kernelearn.errors import ArgumentError, NonFiniteError
from kernelearn.parallel.meeting_point import FIT
from kernelearn.training import checks, feeds, together
from kernelearn.training.callbacks import CallbackList, History, TerminateOnNaN
from kernelearn.training.diagnosis import diagnose_non_finite
from kernelearn.training.own.fitting import data_of
from kernelearn.training.plan import Feed, FitPlan, Pass, warn_of_end
from kernelearn.training.predictions import Predictions
from kernelearn.training.state import FitState
from kernelearn.training.steps.step import Batch, StepReport

if TYPE_CHECKING:
    from kernelearn.training.methods.base import TrainerBase
    from kernelearn.training.trainer import Trainer


def fit(model: Trainer, plan: FitPlan, callbacks: Any, verbose: str | int) -> History:
    """Train as planned; see `Trainer.fit`."""
    with together.working(FIT):
        return _fit(model, plan, callbacks, verbose)


def _fit(model: Trainer, plan: FitPlan, callbacks: Any, verbose: str | int) -> History:
    seed = together.seed_of(config.next_seed() if plan.seed is None else plan.seed)
    verbose = together.verbose_here(verbose)
    state = model.fit_state = FitState.at(seed, plan.initial_epoch)
    model.stop_training = False
    model.programs.look_for_changes()
    model.programs.results.reset()
    model.input_range.begin()
    params = {"epochs": plan.epochs, "steps": plan.steps, "batch_size": plan.batch_size, "verbose": verbose}
    watchers = CallbackList(callbacks, True, verbose != 0, model, **params)
    together.drop_writers(watchers)
    model.watched, model.last_step, model.fit_data, model.plan = None, None, plan.data, plan
    model.watched_at = {}
    with (
        together.one_stops_all(),
        watchers,
        progress.quiet(verbose == 0),
        contextlib.closing(Feed(plan, state, together.rows_read(model, plan.data))) as feed,
    ):
        together.check_shared(model, watchers, lambda: checks.check_fit(model, plan, watchers))
        model.programs.make_slots(plan.data)
        _train_epochs(model, plan, watchers, feed)
    model.last_step = model.fit_data = model.plan = None
    return watchers.history or History()


def _train_epochs(model: Trainer, plan: FitPlan, watchers: CallbackList, feed: Feed) -> None:
    """Train until the last epoch is over, the data ends or a callback has set `stop_training`."""
    state, results = feed.state, model.programs.results
    watchers.on_train_begin()
    together.share_state(model, watchers)
    logs: dict[str, Any] = {}
    while state.epoch < plan.epochs and not model.stop_training:
        if feed.is_exhausted():
            warn_of_end("the training", state.epoch, plan.epochs, "epochs")
            break
        _train_epoch(model, plan, watchers, feed)
        logs = results.logs()
        if plan.validation is not None and (state.epoch + 1) % plan.validation.every == 0:
            logs.update(_validate(model, plan.validation.data, watchers))
        ended = state.end_epoch()
        results.reset()
        watchers.on_epoch_end(ended, _history_order(logs))
        together.check_same_weights(model)
        together.share_stop(model)
    model.programs.finish_averages()
    watchers.on_train_end(logs)
    together.end_fit(model)


def _validate(model: Trainer, plan: Pass, watchers: CallbackList) -> dict[str, Any]:
    """The "val_" values of an epoch; none, with a warning, where the validation data has ended."""
    if plan.has_ended():
        warn_of_end("the validation", 0, plan.asked)
        return {}
    logs = test(model, plan, watchers, together.sharing_in_fit(plan))
    return {f"val_{name}": value for name, value in logs.items()}


def _train_epoch(model: Trainer, plan: FitPlan, watchers: CallbackList, feed: Feed) -> None:
    """Train on the rest of one epoch."""
    is_checked = plan.stops_at_non_finite and not any(isinstance(c, TerminateOnNaN) for c in watchers)
    state, rows = feed.state, plan.rows(feed.state)
    model.programs.own_steps.loss.reset_state()
    watchers.on_epoch_begin(state.epoch)
    model.programs.look_for_changes()
    for bx, by, weight in feed.epoch():
        watchers.on_train_batch_begin(state.batch)
        if model.programs.own_steps.has("train"):
            run_own(model, "train", (bx, by, weight), state.seed, _number(state), is_checked)
        else:
            batch = model.batch_of(bx, by, weight, plan.class_weight)
            own = None if model.watched is None else rows.of(state.data_pass, state.pass_batch)
            loss = train_on(model, batch, state.seed, own)
            if is_checked and not np.isfinite(loss):
                step = model.programs.step_for("train", batch)
                clock = model.programs.clock(state.seed)
                raise NonFiniteError(diagnose_non_finite(step, together.whole(batch), clock))
        state.count_batch()
        watchers.on_train_batch_end(state.batch - 1, model.programs.results.logs())
        together.share_stop(model)
        if model.stop_training:
            return
    feed.end_epoch()


def _number(state: FitState) -> int:
    """The number of a step of the model's own, for its random numbers: the same after a resume."""
    return state.epoch * 2**24 + state.batch


def run_own(
    model: TrainerBase,
    kind: str,
    batch: tuple[Any, Any, Any],
    seed: int,
    number: int,
    is_checked: bool = False,
) -> dict[str, Any]:
    """Run a step of the model's own on (x, y, sample weight); its logs.

    Raises: NonFiniteError for a loss that is not finite, if asked to look.
    """
    if model.watched is not None:
        model.programs.step(kind)  # raises: there are no buffers to watch
    logs = model.programs.own_steps.run(kind, data_of(*batch), seed, number)
    model.programs.results.note(logs)
    loss = logs.get("loss", 0.0)
    if is_checked and not np.all(np.isfinite(loss)):
        raise NonFiniteError(
            f"The loss of {type(model).__name__}.{kind}_step is not finite: {loss}. Lower the learning rate, "
            "or look for a division by zero or a logarithm of zero in the step."
        )
    return logs


def own_on_batch(
    model: TrainerBase, kind: str, x: Any, y: Any, weight: Any, class_weight: Any
) -> dict[str, Any]:
    """One step of the model's own on one batch of arrays.

    Raises: ArgumentError for class weights.
    """
    if class_weight is not None:
        raise ArgumentError("A train_step of the model's own takes sample_weight, not class_weight.")
    data = feeds.make_dataset(x, y, weight, model.inputs)
    model.prepare_for(data, x)
    batch = next(iter(data.batches(max(len(data), 1))))
    model.programs.results.reset()
    model.programs.own_steps.loss.reset_state()
    seed, model.own_count = 0, model.own_count + 1
    if kind == "train":
        model.programs.own_steps.names(kind, data_of(*batch))  # some weights are made when it is traced
        seed = model.train_seed()
    return run_own(model, kind, batch, seed, model.own_count)


def train_on(
    model: TrainerBase, batch: Batch, seed: int, rows: np.ndarray | None = None, is_single: bool = False
) -> float:
    """Run one training step and collect what it gave; its loss.

    Args:
        rows: which rows of the data the batch consists of, for the report that a callback asked for.
        is_single: the batch is from no `fit`.
    """
    model.input_range.train_on(batch)
    together.begin_step(model, batch, seed, is_single)
    watched = _watched(model, batch)
    clock = model.programs.clock(seed)
    result = model.programs.step_for("train", batch, watched).run(batch, clock)
    loss = result.loss
    if np.isfinite(loss):
        model.programs.count_update()
    if watched is not None:
        model.last_step = StepReport(loss, clock.learning_rate, batch, rows, result.buffers(watched))
    model.programs.results.add(result, batch)
    together.end_step(model)
    return loss


def _watched(model: TrainerBase, batch: Batch) -> dict[str, str] | None:
    """Label -> buffer of what callbacks asked for of the step on this batch; None where nobody did."""
    asked, only_at = model.watched, model.watched_at
    model.watched, model.watched_at = None, {}
    if not asked or not only_at:
        return asked
    here = model.programs.signature(batch)
    return {label: name for label, name in asked.items() if only_at.get(label, here) == here}


def test(
    model: TrainerBase,
    plan: Pass,
    watchers: CallbackList,
    sharing: together.Sharing,
) -> dict[str, Any]:
    """Loss and metrics of a pass; those of an epoch that is being trained are put aside meanwhile.

    Args:
        sharing: with other processes.
    """
    programs = model.programs
    programs.look_for_changes()
    results = programs.results
    aside = results.state()
    results.reset()
    watchers.on_test_begin()
    tracker = programs.own_steps.loss
    so_far = tracker.get_state()
    tracker.reset_state()
    if programs.own_steps.has("test"):
        for number, data in enumerate(plan.batches()):
            watchers.on_test_batch_begin(number)
            run_own(model, "test", data, 0, number)
            watchers.on_test_batch_end(number, results.logs())
    else:
        begun = _begun(model, plan, watchers, sharing.read)
        for number, (batch, result) in enumerate(sharing.results(model, begun)):
            results.add(result, batch)
            watchers.on_test_batch_end(number, results.logs())
    tracker.set_state(so_far)
    logs = results.logs()
    results.restore(aside)
    watchers.on_test_end(logs)
    return logs


def _begun(model: TrainerBase, plan: Pass, watchers: CallbackList, read: Choice | None) -> Iterator[Batch]:
    """The batches of a test, each announced."""
    for number, (bx, by, weight) in enumerate(plan.batches(read)):
        watchers.on_test_batch_begin(number)
        batch = model.batch_of(bx, by, weight)
        if number == 0:
            model.input_range.meet(batch)
        yield batch


def predict(model: TrainerBase, plan: Pass, watchers: CallbackList, sharing: together.Sharing) -> list[Any]:
    """Each output for all samples of a pass."""
    model.programs.look_for_changes()
    found = Predictions(len(model.outputs), plan)
    watchers.on_predict_begin()
    begun = _begun_images(model, plan, watchers, sharing.read)
    for number, (batch, result) in enumerate(sharing.results(model, begun, "predict")):
        found.add([result.prediction(i) for i in range(len(model.outputs))], batch)
        watchers.on_predict_batch_end(number)
    watchers.on_predict_end()
    return found.outputs()


def _begun_images(
    model: TrainerBase, plan: Pass, watchers: CallbackList, read: Choice | None
) -> Iterator[Batch]:
    """The batches of a prediction, each announced."""
    for number, (bx, _, _) in enumerate(plan.batches(read)):
        watchers.on_predict_batch_begin(number)
        batch = feeds.image_batch(bx, model.inputs, model.input_names)
        if number == 0:
            model.input_range.meet(batch)
        yield batch


def _history_order(logs: dict[str, Any]) -> dict[str, Any]:
    """Training values by name, then validation values by name: the order of Keras's history."""
    return dict(sorted(logs.items(), key=lambda item: (item[0].startswith("val_"), item[0])))
