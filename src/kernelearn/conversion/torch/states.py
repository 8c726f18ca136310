"""State dicts: the weights of a model under the names and in the layouts of PyTorch, and back.

`entries` of a model need no PyTorch; pairs are found by name, by names that are given, or by order.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernelearn._optional import require
from kernelearn.conversion.torch.writing.plan import State
from kernelearn.conversion.torch.writing.planning import plan_of
from kernelearn.errors import ArgumentError, ArgumentTypeError, FormatError, ShapeError
from kernelearn.models import Model

Arrays = Mapping[str, NDArray[Any]]
# Entries that may be missing or left over: they count batches and are read by nobody.
_COUNTERS = "num_batches_tracked"
# Under which a file may hold the state dict besides other things.
_HOLDERS = ("state_dict", "model_state_dict", "model", "net", "module")


def to_torch_state_dict(model: Model) -> dict[str, Any]:
    """The weights of a model as a state dict: what `to_torch(model).state_dict()` holds.

    Raises: ArgumentError for a layer whose weights PyTorch has no place for; MissingDependencyError without
        PyTorch.
    """
    torch = require("torch", "state dicts of PyTorch")
    return {key: torch.from_numpy(array) for key, array in arrays_for_torch(model).items()}


def arrays_for_torch(model: Model) -> dict[str, NDArray[Any]]:
    """The same as arrays; needs no PyTorch."""
    return {key: np.array(state.to_torch(), order="C") for key, state in entries(model).items()}


def entries(model: Model) -> dict[str, State]:
    """Name in the state dict -> what stands there."""
    return {name: state for name, state in _states(model).items() if state.is_kept}


def _states(model: Model) -> dict[str, State]:
    """Name -> what stands there; constants that are no part of a state dict among them."""
    plan = plan_of(model, is_whole=False)
    return {
        f"{step.name}.{key}" if key else step.name: state
        for step in plan.steps
        for key, state in step.states.items()
    }


def load_torch_state_dict(
    model: Model, state_dict: Any, names: Mapping[str, str] | None = None, strict: bool = True
) -> dict[str, str]:
    """Give a model the weights of a state dict, each in the layout that it has here.

    Layers and modules are paired by their names; where none agrees, by their order, which must give the same
    kinds and shapes one after the other (and is told in a warning). Nothing is assigned before all fits.

    Args:
        model: built.
        state_dict: of a module, or the path of a `.pt`, `.pth` or `.safetensors` file.
        names: layer -> module, {"conv1": "features.0"}; the others keep their names.
        strict: refuse what is left over on either side; False takes what fits by name.
    Returns: weight here -> entry of the state dict.
    Raises: ArgumentError listing both sides, ShapeError, FormatError for damage and for code in a file.
    """
    if not isinstance(state_dict, str | os.PathLike):
        return assign(model, as_arrays(state_dict), names, strict)
    content, has_order = read_state_dict(state_dict)
    return assign(model, as_arrays(content), names, strict, has_order=has_order)


def assign(
    model: Model,
    arrays: Arrays,
    names: Mapping[str, str] | None = None,
    strict: bool = True,
    by_position: bool = False,
    skip_mismatch: bool = False,
    has_order: bool = True,
) -> dict[str, str]:
    """Pair, check, and then assign; see `load_torch_state_dict`.

    Args:
        has_order: whether the order of the arrays is that of the module: not in a .safetensors file.
    """
    states = _states(model)
    known = {key: state for key, state in states.items() if state.is_kept}
    # NOTE: a module that PyTorch has pickled holds its constants in its state dict, too.
    arrays = {name: array for name, array in arrays.items() if name in known or name not in states}
    if by_position and not has_order:
        raise ArgumentError("A .safetensors file keeps no order of its arrays: pair them by name.")
    pairs = _by_order(known, arrays) if by_position else _paired(known, arrays, names, strict, has_order)
    if skip_mismatch:
        pairs = {key: other for key, other in pairs.items() if _shape(known[key]) == arrays[other].shape}
    for key, other in pairs.items():
        _check(key, known[key], other, arrays[other])
    for key, other in pairs.items():
        take = known[key].from_torch
        if take is not None:
            take(arrays[other])
    return {path: other for key, other in pairs.items() for path in known[key].paths}


def _shape(state: State) -> tuple[int, ...]:
    return tuple(state.to_torch().shape)


def _check(key: str, state: State, other: str, array: NDArray[Any]) -> None:
    there = state.to_torch()
    if there.shape != array.shape:
        raise ShapeError(
            f"{other!r} has shape {array.shape} in the state dict, where {key!r} of the model has "
            f"{there.shape} "
            "in PyTorch's layout. Nothing was assigned."
        )
    if state.from_torch is None and not key.endswith(_COUNTERS) and not np.array_equal(there, array):
        raise ArgumentError(
            f"{other!r} holds other values than {key!r}, which is fixed here. Nothing was assigned; give a "
            "layer of normalization center=True and scale=True, or convert the module once more if it is a "
            "buffer of the module."
        )


def _paired(
    known: Mapping[str, State],
    arrays: Arrays,
    names: Mapping[str, str] | None,
    strict: bool,
    has_order: bool,
) -> dict[str, str]:
    """Entry of the model -> entry of the state dict."""
    if names is not None:
        _check_names(known, names)
    wanted = {key: _renamed(key, names or {}) for key in known}
    pairs = {key: other for key, other in wanted.items() if other in arrays}
    counted = [key for key in pairs if not key.endswith(_COUNTERS)]
    if not counted and not names:
        prefix = _common_prefix(arrays)
        shorter = {name.removeprefix(prefix): array for name, array in arrays.items()}
        if prefix and any(key in shorter for key in known):
            return {k: prefix + v for k, v in _paired(known, shorter, {"": ""}, strict, False).items()}
        if strict and has_order:
            return _told(_by_order(known, arrays))
    missing = [key for key in known if key not in pairs and known[key].from_torch is not None]
    used = set(pairs.values())
    extra = [name for name in arrays if name not in used and not name.endswith(_COUNTERS)]
    if strict and (missing or extra):
        raise ArgumentError(_both_sides("The names do not agree", known, arrays, missing, extra))
    return pairs


def _check_names(known: Mapping[str, State], names: Mapping[str, str]) -> None:
    if not isinstance(names, Mapping):
        raise ArgumentTypeError('names must be a dict of layer and module, {"conv1": "features.0"}.')
    layers = {key.rpartition(".")[0] for key in known} | set(known)
    parts = {".".join(name.split(".")[: i + 1]) for name in layers for i in range(name.count(".") + 1)}
    unknown = [name for name in names if name and name.replace("/", ".") not in parts]
    if unknown:
        raise ArgumentError(
            f"names has {unknown}, which are no layers with weights; the model has {sorted(layers)}."
        )


def _renamed(key: str, names: Mapping[str, str]) -> str:
    """The key with the longest name before it replaced."""
    for name in sorted(names, key=len, reverse=True):
        here = name.replace("/", ".")
        if name and (key == here or key.startswith(f"{here}.")):
            return names[name] + key[len(here) :]
    return key


def _common_prefix(arrays: Arrays) -> str:
    firsts = {name.partition(".")[0] for name in arrays}
    return f"{firsts.pop()}." if len(firsts) == 1 else ""


def _by_order(known: Mapping[str, State], arrays: Arrays) -> dict[str, str]:
    """One after the other: the same last names and shapes."""
    ours = [key for key in known if known[key].from_torch is not None]
    theirs = [name for name in arrays if not name.endswith(_COUNTERS)]
    ends = [(key.rpartition(".")[2], _shape(known[key])) for key in ours]
    others = [(name.rpartition(".")[2], arrays[name].shape) for name in theirs]
    if ends != others:
        raise ArgumentError(
            _both_sides("Neither the names nor the order of shapes agree", known, arrays, ours, theirs)
        )
    return dict(zip(ours, theirs))


def _told(pairs: dict[str, str]) -> dict[str, str]:
    shown = ", ".join(f"{key} <- {other}" for key, other in list(pairs.items())[:4])
    warnings.warn(
        f"No name of the state dict is one of the model's: weights were paired by their order ({shown}, "
        "...). Two "
        "layers of one shape that changed places would not be seen; names={...} says which is which.",
        UserWarning,
        stacklevel=5,
    )
    return pairs


def _both_sides(
    what: str, known: Mapping[str, State], arrays: Arrays, missing: list[str], extra: list[str]
) -> str:
    ours = "\n".join(f"  {key} {_shape(known[key])}" for key in missing[:20]) or "  (none)"
    theirs = "\n".join(f"  {name} {arrays[name].shape}" for name in extra[:20]) or "  (none)"
    return (
        f"{what}; nothing was assigned.\nOnly the model has ({len(missing)}):\n{ours}\nOnly the state "
        "dict has "
        f'({len(extra)}):\n{theirs}\nSay which is which with names={{"layer": "module"}}, or take what '
        "agrees "
        "with strict=False."
    )


def as_arrays(state_dict: Any) -> dict[str, NDArray[Any]]:
    """Tensors or arrays by name, as arrays; half precision as float32.

    Raises: ArgumentTypeError for what is no state dict.
    """
    if not isinstance(state_dict, Mapping):
        raise ArgumentTypeError(
            f"A state dict is a dict of tensors by name, got {type(state_dict).__name__}; of a module it is "
            "module.state_dict()."
        )
    found = {}
    for name, value in state_dict.items():
        if hasattr(value, "detach"):
            value = value.detach().cpu()
            value = (value.float() if str(value.dtype) == "torch.bfloat16" else value).numpy()
        if not isinstance(value, np.ndarray | np.generic):
            raise ArgumentTypeError(f"{name!r} of the state dict is {type(value).__name__}, not a tensor.")
        found[str(name)] = np.asarray(value)
    return found


def read_state_dict(path: Any) -> tuple[Any, bool]:
    """The tensors of a `.safetensors`, `.pt` or `.pth` file, and whether they stand in the module's order.

    Raises: FormatError.
    """
    from kernelearn.conversion import safetensors
    from kernelearn.conversion.torch.state_files import tensors_of
    from kernelearn.formats.model_files import format_to_read

    kind = format_to_read(path)
    if kind is not None and kind.title == "safetensors":
        return safetensors.read(path)[0], False
    return tensors_of(path), True


def held(content: Any, path: Any) -> Any:
    """The state dict in what a file holds: alone, or beside optimiser and epoch.

    Raises: FormatError.
    """
    for name in _HOLDERS:
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            return content[name]
    if (
        not isinstance(content, Mapping)
        or not all(hasattr(v, "detach") for v in content.values())
        or not content
    ):
        raise FormatError(
            f"{os.fspath(path)!r} holds no state dict of PyTorch. Save one with "
            "torch.save(module.state_dict(), path)."
        )
    return content
