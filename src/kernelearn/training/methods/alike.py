"""Whether several processes are about to train the same, and what differs where they are not.

Sums of shards of different batches, networks or rates would be added up like any others, and vectors of
different lengths waited for. So before each step every process says in a few bytes what it is about to do.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kernelearn.errors import ArgumentError
from kernelearn.parallel import Exchange
from kernelearn.training.callbacks import LambdaCallback
from kernelearn.training.fingerprint import about_model, differences
from kernelearn.training.steps.step import Batch, Clock

if TYPE_CHECKING:
    from kernelearn.training.callbacks import Callback
    from kernelearn.training.methods.base import TrainerBase

# Part of what a process says -> what it is, for people. Those of `SHOWN` are short enough to be shown.
WORDS = {
    "model": "which of the models it is",
    "epochs": "the epochs",
    "terminate_on_nan": "terminate_on_nan",
    "callbacks": "the callbacks",
    "engine": "the engine",
    "batch": "the batch",
    "rate": "the learning rate",
    "updates": "the number of updates so far",
    "clock": "the learning rate, the seed or the number of the step",
    "values": "the values of the batch, which every process is given whole",
    "weights": "the weights or what the optimizer keeps, which something has set on one process alone",
    "step": "what a step computes",
}
SHOWN = ("epochs", "terminate_on_nan", "callbacks", "engine", "batch", "rate", "updates")

Parts = dict[str, str]


def about_fit(model: TrainerBase, watchers: Iterable[Callback]) -> Parts:
    """What has to be the same in a `fit`, beside its fingerprint."""
    plan = model.plan
    # NOTE: what a callback of the user's own does on one process alone is noticed when it moves something.
    kinds = [type(one) for one in watchers if not one.on_first_only]
    ours = [k.__name__ for k in kinds if k.__module__.startswith("kernelearn.") and k is not LambdaCallback]
    return {
        "epochs": f"{plan.initial_epoch} to {plan.epochs}" if plan else "",
        "terminate_on_nan": str(plan.stops_at_non_finite) if plan else "",
        "callbacks": ", ".join(ours) or "none",
        "engine": str(model.engine),
    }


def about_step(model: TrainerBase, batch: Batch, clock: Clock, is_single: bool) -> Parts:
    """What has to be the same in a step.

    Args:
        is_single: nobody has compared the data that the batch is from.
    """
    # NOTE: of inputs a process may have its own rows alone.
    sizes = ", ".join(str(array.shape[1:]) for array in batch.inputs().values())
    found = {
        "batch": f"{batch.rows} of {sizes}",
        "rate": repr(clock.learning_rate),
        "updates": str(clock.iterations),
        "step": model.programs.digest_for(batch),
        "model": str(model.number),
    }
    if is_single:
        found["values"] = checksum(batch.arrays.values())
    return found


def about_own_step(arrays: Sequence[np.ndarray], clock: Sequence[Any], programs: Sequence[str]) -> Parts:
    """The same of a step of the model's own.

    Args:
        arrays: what it was given, which every process has whole.
        clock: seed and number of the step, and what its optimizers are at.
        programs: digests of what it computes.
    """
    return {
        "batch": ", ".join(f"{array.dtype}{list(array.shape)}" for array in arrays),
        "values": checksum(arrays),
        "clock": repr(clock),
        "step": repr(programs),
    }


def agree(exchange: Exchange, parts: Parts) -> None:
    """Make sure that all processes say the same.

    Raises: ArgumentError naming what differs, on every process.
    """
    if len(set(exchange.all_say(short(parts)))) > 1:
        check(exchange.all_say(parts))


def short(parts: Mapping[str, str]) -> bytes:
    """A few bytes that any change of a part changes."""
    return hashlib.blake2b(repr(sorted(parts.items())).encode(), digest_size=16).digest()


def checksum(arrays: Iterable[np.ndarray]) -> str:
    """A number that says by mistake alone that other values are the same: some gigabytes a second."""
    found = 0
    for array in arrays:
        found = zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data, found)
    return str(found)


def check(found: Sequence[Mapping[str, str]]) -> None:
    """Make sure that all processes say the same.

    Args:
        found: of each process, parts of `WORDS` or of a fingerprint.
    Raises: ArgumentError naming what differs.
    """
    for rank, other in enumerate(found):
        if parts := _differing(found[0], other):
            raise ArgumentError(
                f"Process {rank} trains something else than process 0; what differs: {'; '.join(parts)}. "
                "Run the same script with the same data everywhere."
            )


def _differing(first: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    named = [name for name in WORDS if first.get(name, "") != other.get(name, "")]
    parts = differences(first, other, None)
    if parts or len(named) > 1:
        named = [name for name in named if name != "step"]  # it follows from the others
    for name in named:
        values = f" ({first[name]} and {other[name]})" if name in SHOWN else ""
        parts.append(f"{WORDS[name]}{values}")
    return parts


def details(model: TrainerBase, parts: Parts) -> Parts:
    """Parts with all that can be said of the model, once they are known to differ."""
    return {**about_single(model), **parts}


def about_single(model: TrainerBase) -> Parts:
    """What has to be the same of all models that begin to train on single batches."""
    found = {**about_model(model), "engine": str(model.engine)}
    del found["learning_rate"]  # that of the first process is taken over
    return found


# --- weights that something other than a step has set


def versions(model: TrainerBase) -> int:
    """A number that every change of a weight, or of what the optimizer keeps, raises."""
    # NOTE: each step asks, and it takes long to go through all layers.
    held = model.programs.held.values() or [*model.weights, *model.programs.slots.values()]
    return sum(one.version for one in held)


def digest_of_weights(model: TrainerBase) -> str:
    """Of all weights, and of what the optimizer keeps."""
    weights = hashlib.blake2b()
    for weight in [*model.weights, *model.programs.slots.values()]:
        weights.update(np.ascontiguousarray(weight.numpy()).data)
    return weights.hexdigest()
