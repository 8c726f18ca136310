"""Which array of a file is which weight of a model: by true names, or, where that is asked for, by position.

Keras itself pairs by position alone. Two layers of one shape that have changed places are then swapped
without a word, so positions count here only where the caller says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

from kernelearn.conversion.keras.known import safe_name
from kernelearn.conversion.keras.states import (
    all_in_order,
    children,
    is_plain_model,
    is_trained,
    model_layers,
    own_weights,
)
from kernelearn.errors import ArgumentError, FormatError, ShapeError
from kernelearn.formats.hdf5 import Array, Group, names_of
from kernelearn.layers import DepthwiseConv1D, DepthwiseConv2D, SpectralNormalization
from kernelearn.layers.core.base import Layer
from kernelearn.layers.core.weight import Weight
from kernelearn.models import Model

# The groups of layers in a model's group: of Keras 3, and of the `.keras` files of Keras 2.
_PLACES = ("layers", "_layer_checkpoint_dependencies")
# Names that weights have in older files.
_OLD_NAMES = {"depthwise_kernel": "kernel", "sn_u": "vector_u"}


@dataclass
class Pairs:
    """What was found.

    Attributes:
        found: weight and array, with the place of the array in the file.
        unused: places in the file that hold weights and no layer of the model is called like.
        odd: places where numbers of weights differ, in words.
    """

    what: str
    by_position: bool = False
    found: list[tuple[Weight, Array, str]] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)


# --- .weights.h5


def of_groups(model: Model, tree: Group, what: str, by_position: bool) -> Pairs:
    """Pairs for the groups of a `.weights.h5`.

    Raises: FormatError for groups without names, unless positions are to be used.
    """
    pairs = Pairs(what, by_position)
    _of_group(pairs, model, tree, "")
    return pairs


def _of_group(pairs: Pairs, layer: Layer, group: Group, place: str) -> None:
    own, stored = own_weights(layer), _numbered(group.group("vars"), f"{place}/vars", pairs.what)
    if isinstance(layer, SpectralNormalization) and len(stored) == 1:
        own = own[1:]
    if len(own) != len(stored):
        pairs.odd.append(
            f"layer {layer.name!r} ({type(layer).__name__}) has {len(own)} weights of its own, "
            f"{place or '/'} {len(stored)}"
        )
    else:
        pairs.found += [(w, a, f"{place}/vars/{i}") for i, (w, a) in enumerate(zip(own, stored))]
    if is_plain_model(layer):
        _of_layers(pairs, layer, group, place)
        return
    for child in children(layer):
        spot = next((p for p in child.places if group.group(p).members), child.places[0])
        _of_group(pairs, child.layer, group.group(spot), f"{place}/{spot}")


def _numbered(group: Group, place: str, what: str) -> list[Array]:
    """The arrays 0, 1, 2, ... of a group."""
    arrays = [group.members.get(str(i)) for i in range(len(group.members))]
    if not all(isinstance(array, Array) for array in arrays):
        odd = sorted(name for name in group.members if not name.isdigit())
        raise FormatError(
            f"{what}: {place} holds {odd or sorted(group.members)}, expected arrays numbered from 0. Weights "
            "of quantised or adapted (LoRA) layers have no counterpart here: save the merged model."
        )
    return arrays  # type: ignore[return-value]


def _of_layers(pairs: Pairs, model: Any, group: Group, place: str) -> None:
    """The layers of a model with the groups that have their names, or that stand at their places."""
    spot = next((p for p in _PLACES if group.group(p).members), _PLACES[0])
    inside = {n: g for n, g in group.group(spot).members.items() if isinstance(g, Group)}
    true = {name: inner.group("vars").attributes.get("name") for name, inner in inside.items()}
    if not pairs.by_position and all(true.values()):
        _by_names(pairs, model, {str(true[n]): (n, g) for n, g in inside.items()}, f"{place}/{spot}")
        return
    if not pairs.by_position and any(_holds_arrays(inner) for inner in inside.values()):
        raise FormatError(
            f"{pairs.what}: its groups do not say the names of their layers, as in files of Keras 2 "
            "and of early versions of Keras 3. Load with by_position=True to pair them by their order, as "
            "Keras does."
        )
    used = set()
    for child in children(model):
        name = child.places[0].partition("/")[2]
        used.add(name)
        _of_group(pairs, child.layer, inside.get(name, Group()), f"{place}/{spot}/{name}")
    pairs.unused += [f"{spot}/{n}" for n, g in inside.items() if n not in used and _holds_arrays(g)]


def _by_names(pairs: Pairs, model: Any, inside: dict[str, tuple[str, Group]], place: str) -> None:
    names = set()
    for layer in model_layers(model):
        names.add(layer.name)
        if layer.name in inside:
            spot, group = inside[layer.name]
            _of_group(pairs, layer, group, f"{place}/{spot}")
    pairs.unused += [
        f"{n!r} ({place}/{s})" for n, (s, g) in inside.items() if n not in names and _holds_arrays(g)
    ]


def _holds_arrays(group: Group) -> bool:
    return any(isinstance(member, Array) for _, member in group.walk())


# --- the older .h5


def of_old_layers(model: Model, tree: Group, what: str, by_position: bool, has_config: bool) -> Pairs:
    """Pairs for `model_weights`, or for a file of weights, of an older `.h5`.

    Args:
        has_config: the model was made from the same file, so that orders within a layer agree.
    """
    pairs = Pairs(what, by_position)
    names = names_of(tree.attributes, "layer_names")
    stored = {name: _old_weights(tree.group(name), name, what) for name in names}
    stored = {name: arrays for name, arrays in stored.items() if arrays}
    layers = [layer for layer in model_layers(model) if layer.weights]
    if by_position:
        if len(stored) != len(layers):
            pairs.odd.append(f"the model has {len(layers)} layers with weights, the file {len(stored)}")
        for layer, (name, arrays) in zip(layers, stored.items()):
            _old_layer(pairs, layer, arrays, name, True)
        return pairs
    called = {safe_name(name): name for name in stored}
    for layer in layers:
        if layer.name in called:
            name = called.pop(layer.name)
            _old_layer(pairs, layer, stored[name], name, has_config)
    pairs.unused += [repr(name) for name in called.values()]
    return pairs


def _old_weights(group: Group, place: str, what: str) -> list[tuple[str, Array]]:
    found = []
    for name in names_of(group.attributes, "weight_names"):
        array = group.array(name)
        if array is None:
            raise FormatError(f"{what}: {place} names the weight {name!r}, which is not there.")
        found.append((name.split(":")[0], array))
    return found


def _old_layer(
    pairs: Pairs, layer: Layer, stored: list[tuple[str, Array]], place: str, may_use_order: bool
) -> None:
    """The weights of a layer by their names; by Keras's order where names do not tell and orders agree."""
    wanted = list(paths_of(layer))
    if len(wanted) != len(stored):
        pairs.odd.append(f"layer {layer.name!r} has {len(wanted)} weights, {place!r} {len(stored)}")
        return
    matched = _by_endings(wanted, stored)
    if matched is None and may_use_order:
        weights = all_in_order(layer)
        weights.sort(key=lambda weight: not is_trained(weight))
        matched = list(zip(weights, stored))
    if matched is None:
        pairs.odd.append(
            f"the names of the weights in {place!r}, {[name for name, _ in stored][:4]}, do not tell which "
            f"of layer {layer.name!r} they are"
        )
        return
    pairs.found += [(weight, array, f"{place}: {name}") for weight, (name, array) in matched]


def paths_of(layer: Layer) -> Iterator[tuple[Weight, tuple[str, ...]]]:
    """Weights, each once, with names of the layers that they lie in and their own."""
    seen: set[int] = set()
    stack: list[tuple[Layer, tuple[str, ...]]] = [(layer, (layer.name,))]
    while stack:
        inner, way = stack.pop(0)
        for weight in own_weights(inner):
            if id(weight) not in seen:
                seen.add(id(weight))
                yield weight, (*way, weight.name)
        inside = [(c.layer, (*way, c.layer.name)) for c in children(inner)]
        stack = inside + stack


def _by_endings(
    wanted: Sequence[tuple[Weight, tuple[str, ...]]], stored: Sequence[tuple[str, Array]]
) -> list[tuple[Weight, tuple[str, Array]]] | None:
    """Each weight with the one stored name whose end is most like its path; None where that does not tell."""
    matched = []
    for weight, path in wanted:
        likeness = [
            (_common_end(path, tuple(name.split("/")), weight), (name, array)) for name, array in stored
        ]
        best = max(score for score, _ in likeness)
        chosen = [entry for score, entry in likeness if score == best]
        if best == 0 or len(chosen) != 1:
            return None
        matched.append((weight, chosen[0]))
    taken = {name for _, (name, _) in matched}
    return matched if len(taken) == len(matched) else None


def _common_end(path: tuple[str, ...], name: tuple[str, ...], weight: Weight) -> int:
    last = name[-1]
    is_depthwise = isinstance(weight.owner, DepthwiseConv1D | DepthwiseConv2D)
    if last in _OLD_NAMES and (last != "depthwise_kernel" or is_depthwise):
        last = _OLD_NAMES[last]
    count = 0
    for one, other in zip(reversed(path), reversed((*name[:-1], last))):
        if one != safe_name(other):
            break
        count += 1
    return count


# --- putting them in


def assign(model: Model, pairs: Pairs, by_name: bool, skip_mismatch: bool, remedy: str) -> list[str]:
    """Give the weights their arrays, all of them or (with `by_name`) those that were found.

    Args:
        remedy: what to do where names differ.
    Returns: names of the weights that were set.
    Raises: ShapeError, ArgumentError or FormatError; then no weight was changed.
    """
    paths = {id(weight): path for path, weight in model.weight_paths().items()}
    fitting = [(w, a) for w, a, _ in pairs.found if w.shape == a.shape]
    if not skip_mismatch:
        _check_shapes(pairs, paths)
        if pairs.odd:
            raise FormatError(f"{pairs.what}: {pairs.odd[0]}. {remedy}")
    if not by_name and not skip_mismatch:
        _check_complete(model, pairs, paths, remedy)
    if not fitting and paths:
        raise ArgumentError(
            f"{pairs.what}: no layer of the file has the name of one of the model's "
            f"{list(paths.values())[:4]} ... "
            f"{remedy}"
        )
    for weight, array in [(weight, array.read()) for weight, array in fitting]:
        weight.assign(array.astype(weight.dtype))
    return list(dict.fromkeys(paths[id(weight)] for weight, _ in fitting if id(weight) in paths))


def _check_shapes(pairs: Pairs, paths: dict[int, str]) -> None:
    for weight, array, place in pairs.found:
        if weight.shape != array.shape:
            raise ShapeError(
                f"{pairs.what}: weight {paths.get(id(weight), weight.path)!r} has the shape {weight.shape}, "
                f"{place} the shape {array.shape}. Use skip_mismatch=True to leave such weights as they are."
            )


def _check_complete(model: Model, pairs: Pairs, paths: dict[int, str], remedy: str) -> None:
    found = {id(weight) for weight, _, _ in pairs.found}
    lacking = [path for key, path in paths.items() if key not in found]
    if lacking or pairs.unused:
        parts = [f"nothing for {lacking[:5]}"] if lacking else []
        parts += (
            [f"weights of {', '.join(pairs.unused[:5])}, which the model does not have"]
            if pairs.unused
            else []
        )
        raise FormatError(f"{pairs.what} has {', and '.join(parts)}. {remedy}")


BY_POSITION = (
    "Use by_name=True to take those layers whose names agree, or by_position=True to pair layers by their "
    "order, as Keras does."
)


def total(arrays: Iterable[Any]) -> int:
    """How many numbers a tree holds."""
    return sum(prod(member.shape) for member in arrays if isinstance(member, Array))
