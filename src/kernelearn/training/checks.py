"""Everything about a `fit` that can be known before its first step, looked at before its first step.

A wrong shape of validation data or a field in a file name that never exists would otherwise be found after
the first epoch, with the work of an epoch lost.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from kernelearn.data import Dataset
from kernelearn.data.arrays import as_target, map_arrays
from kernelearn.errors import ArgumentError
from kernelearn.training import feeds
from kernelearn.training.callbacks.base import Callback, KnownLogs, overrides
from kernelearn.training.own.fitting import data_of
from kernelearn.training.steps.step_cache import SIGNATURES_KEPT

if TYPE_CHECKING:
    from kernelearn.training.callbacks import CallbackList
    from kernelearn.training.plan import FitPlan
    from kernelearn.training.trainer import Trainer

# Rows of targets that are looked at together.
_ROWS = 4096


def check_fit(model: Trainer, plan: FitPlan, loop: CallbackList) -> None:
    """Look at data, callbacks and numbers of steps.

    Raises: ShapeError, DataError, ArgumentError for what would fail later.
    """
    _check_steps(plan)
    if plan.validation is not None:
        _check_data(model, plan.validation.data.data, None, "test")
    logs = _check_data(model, plan.data, plan.class_weight)
    known = _known_logs(logs, plan, loop, model.programs.own_steps.has("train"))
    for callback in loop:
        callback.check(known)


def check_step_count(what: str, asked: int | None, there: int | None) -> None:
    """Warn of more steps than the data has."""
    if asked is not None and there is not None and asked > there:
        warnings.warn(
            f"{what}={asked}, but the data has {there} batches, so only {there} steps are done. Give at most "
            f"{what}={there}, or more data.",
            UserWarning,
            stacklevel=4,
        )


def _check_steps(plan: FitPlan) -> None:
    check_step_count("steps_per_epoch", plan.steps_per_epoch, plan.pass_steps)
    if plan.validation is not None:
        validation = plan.validation.data
        check_step_count("validation_steps", validation.asked, validation.there)
    epochs = plan.epochs - plan.initial_epoch
    _check_lasts(plan.data, plan.steps_per_epoch, epochs, "data", "steps_per_epoch")
    if plan.validation is not None:
        found = plan.validation.data
        times = plan.epochs // plan.validation.every - plan.initial_epoch // plan.validation.every
        _check_lasts(found.data, found.asked, times, "validation data", "validation_steps")


def _check_lasts(data: Any, steps: int | None, passes: int, what: str, argument: str) -> None:
    """Raise ArgumentError for a generator that is to be read to its end more than once."""
    if getattr(data, "is_one_pass", False) and steps is None and passes > 1:
        raise ArgumentError(
            f"The {what} is a generator, good for one pass, but {passes} epochs read it. Give the "
            f"function that makes it (without calling it), or {argument} if it never ends."
        )


def _check_data(
    model: Trainer, data: Any, class_weight: Mapping[Any, Any] | None, kind: str = "train"
) -> dict[str, Any]:
    """Look at the images' shape, all targets and all weights; gives logs of the kind that comes."""
    if model.programs.own_steps.has(kind):
        return _own_logs(model, data, class_weight, kind)
    if not isinstance(data, Dataset):
        _check_stream(model, data)
        return model.results()
    feeds.check_sizes(data, model.inputs, model.input_names)
    objectives = model.programs.objectives
    is_free = model.programs.has_own_total  # its code alone knows which targets it takes
    for targets, rows in () if is_free else _parts(data):
        feeds.class_weights(targets, None, class_weight, objectives)
        feeds.program_targets(targets, None, objectives, rows, model.dtype)
    results = model.programs.results
    # NOTE: the last one is the first example, so that its size is the one that a model met last.
    for row in data.first_of_each_size()[:SIGNATURES_KEPT][::-1]:
        x, y, weight = next(iter(data.subset([row]).batches(1)))
        batch = model.batch_of(x, y, weight, class_weight)
    model.programs.try_own_code(batch)
    objectives = model.programs.objectives_at(model.programs.signature(batch))
    logs = results.try_metrics(batch, objectives, model.dtype)
    results.reset()
    return logs


def _own_logs(model: Trainer, data: Any, class_weight: Any, kind: str) -> dict[str, Any]:
    """The names that a step of the model's own reports, for a batch that is like those that come."""
    if class_weight is not None:
        raise ArgumentError("A train_step of the model's own takes sample_weight, not class_weight.")
    if not isinstance(data, Dataset):
        return {"loss": 0.0}
    size = len(data) if model.plan is None or model.plan.batch_size is None else model.plan.batch_size
    batch = next(iter(data.batches(min(size, len(data)))))
    return dict.fromkeys(model.programs.own_steps.names(kind, data_of(*batch)), 0.0)


def _check_stream(model: Trainer, data: Any) -> None:
    """The shape of the first images, where looking at them takes none away."""
    if not getattr(data, "is_one_pass", False) or model.programs.objectives is None:
        return
    shapes = data.x_shape
    empty = map_arrays(
        lambda shape: np.empty((0, *shape), model.dtype), shapes if _is_several(shapes) else [shapes]
    )
    parts = empty if _is_several(shapes) else empty[0]
    feeds.program_inputs(parts, model.inputs, model.input_names)


def _is_several(shapes: Any) -> bool:
    return isinstance(shapes, Mapping) or (bool(shapes) and isinstance(shapes[0], list | tuple))


def _parts(data: Dataset) -> Iterator[tuple[Any, int]]:
    """Targets as batches have them, some thousand rows at a time, and the number of rows."""
    for part in data.padded(None).batch_rows(_ROWS):
        labels = data.labels
        targets = None if labels is None else map_arrays(lambda a, part=part: as_target(a[part]), labels)
        yield targets, len(part)


def _known_logs(batch: dict[str, Any], plan: FitPlan, loop: CallbackList, is_open: bool) -> KnownLogs:
    validation = {f"val_{name}": value for name, value in batch.items()} if plan.validation else {}
    added = {name: 0.5 for callback in loop for name in callback.adds_to_logs}
    return KnownLogs(
        batch=batch,
        epoch={**batch, **validation, **added},
        validates_each_epoch=plan.validation is not None and plan.validation.every == 1,
        batch_may_grow=is_open or any(_may_add(c, "on_train_batch_end", "on_batch_end") for c in loop),
        epoch_may_grow=is_open or any(_may_add(c, "on_epoch_end") for c in loop),
    )


def _may_add(callback: Callback, *hooks: str) -> bool:
    """Whether a callback of the user's own may put names into these logs that nobody knows of."""
    is_ours = type(callback).__module__.startswith("kernelearn.")
    return any(overrides(callback, hook) and not (is_ours and hook not in vars(callback)) for hook in hooks)
