"""The fingerprint of a training: what has to be the same for a run to go on where it stopped.

Backups, checkpoints, recordings and the command line all compare this. It says part by part what a training
is, so that a refusal can name the part that differs. State is no part of it: weights, the place in the
epoch, a learning rate that a callback changed.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from kernelearn import losses, metrics, optimizers
from kernelearn.data.fingerprint import is_same_data, why_not_comparable
from kernelearn.errors import ArgumentError
from kernelearn.layers.core.base import LAYERS
from kernelearn.parallel import world
from kernelearn.parallel.rounding import TRANSPORTS
from kernelearn.training.own.fitting import overrides

if TYPE_CHECKING:
    from kernelearn.optimizers import Optimizer
    from kernelearn.training.methods.base import TrainerBase
    from kernelearn.training.plan import FitPlan, Validation
    from kernelearn.training.steps.objectives import Objective

# Name of a part -> what the text is about, for people.
PARTS = {
    "data": "the training data (images, targets or sample weights)",
    "validation": "the validation data",
    "validation_steps": "validation_steps, validation_batch_size or validation_freq",
    "class_weight": "class_weight",
    "network": "the network (its layers, their arguments or what is frozen)",
    "loss": "the loss, its weights or the metrics",
    "optimizer": "the optimizer or its arguments",
    "learning_rate": "the learning rate or its schedule",
    "policy": "the precision policy",
    "batch_size": "the batch size",
    "shards": "the number of shards of a batch, or their transport",
    "steps_per_epoch": "steps_per_epoch",
    "shuffle": "shuffle",
    "seed": "the seed",
}
_DATA = ("data", "validation")
_NONE = "none"

Fingerprint = dict[str, str]


def fingerprint(model: TrainerBase, plan: FitPlan) -> Fingerprint:
    """Part -> text, which any change of that part changes. Reads all data once (about a second a gigabyte).

    Args:
        model: compiled and built.
        plan: of the `fit`.
    """
    validation = plan.validation
    return {
        "data": plan.data.fingerprint,
        "validation": _NONE if validation is None else validation.data.data.fingerprint,
        "validation_steps": _NONE if validation is None else _validation(validation),
        "class_weight": _text(sorted((plan.class_weight or {}).items())),
        **about_model(model),
        "batch_size": str(plan.batch_size),
        "steps_per_epoch": str(plan.steps),
        "shuffle": str(bool(plan.shuffle)),
        "seed": _NONE if plan.seed is None else str(plan.seed),
    }


def about_model(model: TrainerBase) -> Fingerprint:
    """The parts that say what is trained, and how, whatever the data."""
    return {
        "network": network_fingerprint(model),
        "loss": _text([*map(_objective, model.programs.objectives), *_own_code(model)]),
        "optimizer": _text(_optimizer(model)),
        "learning_rate": rate_text(model.programs.clock(0).learning_rate, model.optimizer),
        "policy": model.policy,
        "shards": _shards(model),
    }


def _shards(model: TrainerBase) -> str:
    programs = model.programs
    # NOTE: the usual transport is not written, so that a training from before there was another goes on.
    other = [programs.transport] if programs.transport != TRANSPORTS[0] else []
    return " ".join([str(world.shards_of(programs.shards)), *other])


def _validation(validation: Validation) -> str:
    return _text([validation.data.asked, validation.data.batch_size, validation.every])


def differences(saved: Mapping[str, str], now: Mapping[str, str], rate: str | None = None) -> list[str]:
    """The parts, in words, in which two fingerprints differ; parts that one of them lacks are left out.

    Args:
        rate: the learning rate in the saved state: a program that goes on with it is the same too.
    """
    return [PARTS[part] for part in PARTS if _differ(part, saved, now, rate)]


def doubts(saved: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Data of which nobody can say whether it is the same, each with the reason."""
    found = []
    for part in _DATA:
        texts = saved.get(part, _NONE), now.get(part, _NONE)
        if _NONE not in texts and is_same_data(*texts) is None:
            found.append(f"{PARTS[part]}, because {why_not_comparable(texts[0])}")
    return found


def _differ(part: str, saved: Mapping[str, str], now: Mapping[str, str], rate: str | None) -> bool:
    if part not in saved or part not in now:
        return False
    texts = saved[part], now[part]
    if part in _DATA and _NONE not in texts:
        return is_same_data(*texts) is False
    if part == "seed" and _NONE in texts:
        return False  # one was drawn; the saved one is taken over
    if part == "learning_rate" and rate is not None and now[part] == rate:
        return False
    return texts[0] != texts[1]


def network_fingerprint(model: TrainerBase) -> str:
    """Of the structure of a network: the same for one that is built again and gets other automatic names."""
    config: Any
    try:
        config = LAYERS.serialize(model)
    except ArgumentError:  # a layer of the user's own that cannot be written down
        config = [type(layer).__name__ for layer in model.flat_layers()]
    shapes = [[list(weight.shape), bool(weight.trainable)] for weight in model.weights]
    return _text([_without_names(config, {}), shapes])


def _without_names(value: Any, numbers: dict[str, int]) -> Any:
    """A config in which the names of layers are numbers, in the order in which they come."""
    if isinstance(value, Mapping):
        return {key: _numbered(key, part, numbers) for key, part in value.items() if key != "keys"}
    if isinstance(value, list | tuple):
        return [_without_names(part, numbers) for part in value]
    return value


def _numbered(key: str, part: Any, numbers: dict[str, int]) -> Any:
    if key in ("name", "layer") and isinstance(part, str):
        return numbers.setdefault(part, len(numbers))
    return _without_names(part, numbers)


def _own_code(model: TrainerBase) -> list[str]:
    """The texts of the methods of training that a model defines itself."""
    names = ("compute_loss", "compute_metrics", "train_step")
    return [_function(getattr(type(model), name)) for name in names if overrides(model, name)]


def _objective(objective: Objective) -> Any:
    measured = (*objective.metrics, *objective.weighted)
    return [
        _config(losses, objective.loss),
        objective.weight,
        [_config(metrics, metric) for metric in measured],
        len(objective.weighted),
    ]


def _optimizer(model: TrainerBase) -> Any:
    optimizer = model.optimizer
    if optimizer is None:
        return None
    without_decay = [i for i, w in enumerate(model.weights) if not optimizer.uses_weight_decay(w)]
    parts = [optimizer.kind, optimizer.attrs(), optimizer.clipping, without_decay]
    # NOTE: only where there is one, so that a training from before there were averages goes on.
    averaged = [optimizer.ema_momentum, optimizer.ema_overwrite_frequency] if optimizer.use_ema else []
    others = [optimizer.attrs(w) for w in model.weights if optimizer.kind_for(w) != optimizer.kind]
    return [*parts, *averaged, *others]


def rate_text(rate: float, optimizer: Optimizer | None) -> str:
    """A learning rate, or the schedule that sets it."""
    schedule = None if optimizer is None else optimizer.schedule
    if schedule is None:
        return repr(float(rate))
    if optimizer is not None and isinstance(schedule, optimizers.schedules.LearningRateSchedule):
        return _text(optimizers.schedules.serialize(schedule))
    return _function(schedule)


def _config(family: Any, value: Any) -> Any:
    if value is None:
        return None
    try:
        return family.serialize(value)
    except ArgumentError:
        # NOTE: what a function of the user's own is wrapped in says nothing; its text does.
        return _function(getattr(value, "function", getattr(value, "fn", type(value))))


def _function(value: Any) -> str:
    """A function or class by its text where that is known, else by its name."""
    try:
        return _text(inspect.getsource(value))
    except (OSError, TypeError):
        return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', type(value).__name__)}"


def _text(value: Any) -> str:
    """A short text for JSON values and arrays in them."""
    written = json.dumps(value, sort_keys=True, default=_plain)
    return hashlib.blake2b(written.encode(), digest_size=12).hexdigest()


def _plain(value: Any) -> Any:
    """What JSON does not know, as something that it does."""
    if isinstance(value, np.ndarray):
        return [value.dtype.str, list(value.shape), hashlib.blake2b(value.tobytes()).hexdigest()]
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Iterable):
        return list(value)
    return _function(type(value))
