"""A checkpoint: everything that decides the rest of a run, in one file.

It holds the model's training state (weights, optimizer, position in the epoch, random state) and the state of
every callback. Whoever restores it goes on bitwise as the run that wrote it would have.
"""

import warnings
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from kernelearn.errors import FormatError
from kernelearn.formats import native
from kernelearn.formats.foreign import refused
from kernelearn.formats.json_shape import Every, check_json
from kernelearn.formats.safe_zip import COPY
from kernelearn.storage import PathLike
from kernelearn.training.carried import SavedSlots, flags_of, owners_of, restore_flags
from kernelearn.training.steps.step import Arrays

if TYPE_CHECKING:
    from kernelearn.engine.variable import Variable
    from kernelearn.training.callbacks.base import Callback
    from kernelearn.training.methods.base import TrainerBase

KIND = "training checkpoint"
_ARRAY = "__array__"
_RESULTS = "results/"
_SLOTS = "slots/"
_OTHER = "The saved state belongs to another model or optimiser:"
_SHAPE = {
    "about": dict,
    "training": {
        "input_range?": Every(float),
        "iterations?": int,
        "learning_rate?": float,
        "fit?": {"seed": int, "epoch": int, "batch": int},
        "trainable?": {"layers": [bool], "weights": [bool]},
        "slots_of?": [int],
    },
    "stop_training": bool,
    "callbacks": Every(object),
}


def save_checkpoint(
    path: PathLike, model: "TrainerBase", callbacks: Iterable["Callback"] = (), **about: Any
) -> None:
    """Write the state of a run, atomically.

    Args:
        path: the file.
        model: gives `training_state()`.
        callbacks: whose states are kept too.
        about: what else to write down, JSON-able; `load_checkpoint` gives it back.
    Raises: StorageError.
    """
    config, arrays = model.training_state()
    stored = {f"model/{name}": array for name, array in arrays.items()}
    states = {key: pack(c.get_state(), f"callbacks/{key}", stored) for key, c in _keyed(callbacks)}
    whole = {
        "kind": KIND,
        "about": about,
        "training": config,
        "stop_training": bool(getattr(model, "stop_training", False)),
        "callbacks": {key: state for key, state in states.items() if state},
    }
    native.write(path, whole, stored)


def read_about(path: PathLike) -> dict[str, Any]:
    """What `save_checkpoint` was given as `about`, without touching any model.

    Raises: FormatError, also if the file is not a checkpoint.
    """
    about: dict[str, Any] = _checked_kind(native.read_config(path), path)["about"]
    return about


def load_checkpoint(path: PathLike, model: "TrainerBase", callbacks: Iterable["Callback"] = ()) -> None:
    """Put the state of a run back into a model and callbacks that were made by the same code.

    Callbacks are matched by their class, and by their order among those of one class. A new callback starts
    afresh; a saved state that nobody takes gives a warning.

    Raises: FormatError if the file is damaged or is not a checkpoint; nothing is changed then.
    """
    config, arrays = native.read(path)
    _checked_kind(config, path)
    training = {
        name.removeprefix("model/"): array for name, array in arrays.items() if name.startswith("model/")
    }
    # A file can be whole and hold values that nobody can take over.
    with refused(repr(str(path)), FormatError, COPY):
        states = {key: unpack(state, arrays) for key, state in config["callbacks"].items()}
        before = model.training_state()
        try:
            model.restore_training_state(config["training"], training)
            for key, callback in _keyed(callbacks):
                if key in states:
                    callback.set_state(states.pop(key))
        except Exception:
            model.restore_training_state(*before)
            raise
    model.stop_training = config["stop_training"]
    if states:
        warnings.warn(
            f"The checkpoint {str(path)!r} has the state of callbacks that are not there now: "
            f"{', '.join(states)}. The run goes on without them.",
            UserWarning,
            stacklevel=2,
        )


def state_of(model: "TrainerBase") -> tuple[dict[str, Any], Arrays]:
    """Everything that decides the rest of a run: (JSON values, arrays)."""
    arrays = {name: variable.numpy() for name, variable in _variables(model).items()}
    values: dict[str, Any] = {"input_range": dict(model.input_range.largest)}
    results, optimizer = model.programs.known_results, model.optimizer
    if results is not None:
        arrays.update((f"{_RESULTS}{name}", array) for name, array in results.state().items())
    if optimizer is not None:
        values["iterations"] = optimizer.iterations
        if optimizer.schedule is None:
            values["learning_rate"] = optimizer.learning_rate
    owners = owners_of(model)
    if owners is not None:
        values["trainable"], values["slots_of"] = flags_of(model), owners
    if model.fit_state is not None:
        values["fit"] = model.fit_state.to_config()
    return values, arrays


def restore_state(model: "TrainerBase", values: dict[str, Any], arrays: Arrays) -> None:
    """Take over what `state_of` gave.

    Raises: FormatError if it belongs to another model or optimiser; nothing is changed then.
    """
    saved = {name: array for name, array in arrays.items() if not name.startswith(_RESULTS)}
    if "slots_of" in values:
        _restore_by_weight(model, values, saved)
    else:
        _restore_in_order(model, saved)
    results, optimizer = model.programs.known_results, model.optimizer
    found = {n.removeprefix(_RESULTS): a for n, a in arrays.items() if n.startswith(_RESULTS)}
    if found and results is not None:
        results.restore(found)
    if optimizer is not None:
        optimizer.iterations = values.get("iterations", 0)
        if "learning_rate" in values and optimizer.schedule is None:
            optimizer.learning_rate = values["learning_rate"]
    if values.get("input_range"):
        model.input_range.restore(values["input_range"])
    if model.fit_state is not None and "fit" in values:
        model.fit_state.restore(values["fit"])


def _restore_by_weight(model: "TrainerBase", values: dict[str, Any], saved: Arrays) -> None:
    """Weights by their order, the optimiser's arrays by the weights that they are carried for."""
    slots = {n.removeprefix(_SLOTS): a for n, a in saved.items() if n.startswith(_SLOTS)}
    weights = [array for name, array in saved.items() if not name.startswith(_SLOTS)]
    if [weight.shape for weight in model.weights] != [array.shape for array in weights]:
        raise FormatError(f"{_OTHER} kinds or shapes of arrays differ.")
    found = SavedSlots(model, values["slots_of"], slots)
    has_other_layers = restore_flags(model, values["trainable"])
    for weight, array in zip(model.weights, weights, strict=True):
        weight.assign(array)
    if found.restore() or has_other_layers:
        model.programs.build_anew()


def _restore_in_order(model: "TrainerBase", saved: Arrays) -> None:
    """Everything by its order: a state that does not say whose the optimiser's arrays are."""
    expected = _variables(model)
    if [_place(n, v.shape) for n, v in expected.items()] != [_place(n, a.shape) for n, a in saved.items()]:
        raise FormatError(f"{_OTHER} kinds or shapes of arrays differ.")
    for variable, array in zip(expected.values(), saved.values(), strict=True):
        variable.assign(array)


def _variables(model: "TrainerBase") -> dict[str, "Variable"]:
    """What training changes: weights by their number, slots of the optimiser by name."""
    weights: dict[str, Variable] = {f"weights/{i:04d}": w for i, w in enumerate(model.weights)}
    return {**weights, **{f"{_SLOTS}{name}": slot for name, slot in model.programs.slots.items()}}


def _place(name: str, shape: tuple[int, ...]) -> tuple[list[str], tuple[int, ...]]:
    """What an array is, without the name of its layer: a network that is built again has other ones."""
    return name.split("/")[-2:], shape


def pack(state: Any, name: str, arrays: Arrays) -> Any:
    """A nested state with its arrays moved to `arrays`, each replaced by its name there.

    >>> arrays = {}
    >>> pack({"best": 0.5, "weights": [np.zeros(2)]}, "stop", arrays)
    {'best': 0.5, 'weights': [{'__array__': 'stop/weights/0'}]}
    >>> list(arrays)
    ['stop/weights/0']
    """
    if isinstance(state, np.ndarray):
        arrays[name] = state
        return {_ARRAY: name}
    if isinstance(state, dict):
        return {key: pack(value, f"{name}/{key}", arrays) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return [pack(value, f"{name}/{i}", arrays) for i, value in enumerate(state)]
    return state


def unpack(state: Any, arrays: Arrays) -> Any:
    """The inverse of `pack`."""
    if isinstance(state, dict):
        if set(state) == {_ARRAY}:
            return arrays[state[_ARRAY]]
        return {key: unpack(value, arrays) for key, value in state.items()}
    if isinstance(state, list):
        return [unpack(value, arrays) for value in state]
    return state


def _keyed(callbacks: Iterable["Callback"]) -> Iterator[tuple[str, "Callback"]]:
    """Each callback with a name that the next run gives it too: "EarlyStopping", "EarlyStopping-2", ..."""
    counts: dict[str, int] = {}
    for callback in callbacks:
        name = type(callback).__name__
        counts[name] = counts.get(name, 0) + 1
        yield (name if counts[name] == 1 else f"{name}-{counts[name]}"), callback


def _checked_kind(config: dict[str, Any], path: PathLike) -> dict[str, Any]:
    if config.get("kind") != KIND:
        raise FormatError(
            f"{str(path)!r} is a kernelearn file, but not a training checkpoint (it says it is "
            f"{config.get('kind')!r}). Load models with kernelearn.models.load_model."
        )
    check_json(config, _SHAPE, repr(str(path)), FormatError)
    return config
