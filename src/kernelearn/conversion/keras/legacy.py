"""`.h5`: one HDF5 file of structure, weights, training state, as Keras 2 wrote it and Keras 3 still can."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

from kernelearn.conversion.keras import pairing, slots
from kernelearn.conversion.keras.compiling import compiled
from kernelearn.conversion.keras.reader import Reader
from kernelearn.conversion.keras.states import all_in_order, is_trained, model_layers, trained_in_order
from kernelearn.conversion.keras.zipped import WRITTEN_VERSION, built, version_of, written_config
from kernelearn.errors import FormatError
from kernelearn.formats import hdf5
from kernelearn.formats.foreign import open_plain, parse_json
from kernelearn.formats.hdf5 import Array, Group, held, names_of
from kernelearn.formats.safe_zip import COPY
from kernelearn.layers.core.weight import Weight
from kernelearn.models import Model
from kernelearn.storage import PathLike, atomic_write

_WEIGHTS, _OPTIMIZER = "model_weights", "optimizer_weights"
# What Keras 2 calls the arrays that an optimiser carries.
_OLD_SLOTS = {
    "m": "momentum",
    "v": "velocity",
    "vhat": "velocity_hat",
    "momentum": "momentum",
    "rms": "velocity",
    "velocity": "velocity",
    "mg": "average_gradient",
    "average_gradient": "average_gradient",
    "accumulator": "accumulator",
    "accum_grad": "accumulated_grad",
    "accum_var": "accumulated_delta_var",
    "accumulated_grad": "accumulated_grad",
    "accumulated_delta_var": "accumulated_delta_var",
    "linear": "linear",
}


def is_old(tree: Group) -> bool:
    """Whether an HDF5 file is laid out in the older way."""
    return "layer_names" in tree.attributes or "layer_names0" in tree.attributes or _WEIGHTS in tree.members


def load_model(path: PathLike, custom_objects: Mapping[str, Any] | None, compile: bool) -> Model:
    """The model of an older `.h5` file.

    Raises: FormatError, UnknownNameError.
    """
    what = repr(str(path))
    with open_plain(path, FormatError) as file, hdf5.reading(file, what) as tree:
        config = _json(tree, "model_config", what)
        if config is None:
            raise FormatError(
                f"{what} holds weights and no structure. Make the model, then model.load_weights(path)."
            )
        _check_origin(tree, what)
        reader = Reader(what, version_of(tree.attributes.get("keras_version")), custom_objects or {})
        model = built(reader, config, tree)
        pairs = pairing.of_old_layers(model, tree.group(_WEIGHTS), what, False, has_config=True)
        pairing.assign(model, pairs, False, False, COPY)
        training = _json(tree, "training_config", what)
        if compile and training is not None and compiled(reader, model, training):
            _take_optimizer(reader, model, tree)
        reader.warn_of_policies()
    return model


def load_weights(
    model: Model, path: PathLike, by_name: bool, skip_mismatch: bool, by_position: bool
) -> list[str]:
    """The weights of an HDF5 file of Keras, of whichever version, into a model; see `Model.load_weights`."""
    from kernelearn.conversion.keras import weights

    return weights.load_weights(model, path, by_name, skip_mismatch, by_position)


def pairs_of(model: Model, tree: Group, what: str, by_position: bool) -> pairing.Pairs:
    """Pairs for an older file, of a whole model or of weights alone."""
    _check_origin(tree, what)
    inside = tree.group(_WEIGHTS) if _WEIGHTS in tree.members else tree
    return pairing.of_old_layers(model, inside, what, by_position, has_config=False)


def _check_origin(tree: Group, what: str) -> None:
    """Refuse files whose kernels mean something else.

    Raises: FormatError.
    """
    inside = tree.group(_WEIGHTS)
    for attributes in (tree.attributes, inside.attributes):
        if attributes.get("backend") == "theano":
            raise FormatError(
                f"{what} was written under Theano, which turns the kernels of convolutions round. Open it "
                "with Keras 2 under TensorFlow and save it again."
            )
    version = tree.attributes.get("keras_version", inside.attributes.get("keras_version"))
    if str(version).startswith("1.") or (version is None and "model_config" in tree.attributes):
        raise FormatError(
            f"{what} was written by Keras 1, whose weights have another layout. Open it with Keras 2 and "
            "save it again."
        )


def _json(tree: Group, name: str, what: str) -> dict[str, Any] | None:
    text = tree.attributes.get(name)
    if text is None:
        return None
    content = parse_json(str(text).encode(), f"{what}: {name}", FormatError, COPY)
    if not isinstance(content, dict):
        raise FormatError(f"{what}: {name} is damaged: it should be a dict. {COPY}")
    return content


# --- optimisers


def _take_optimizer(reader: Reader, model: Model, tree: Group) -> None:
    """Give the optimiser what the file has of it."""
    group = tree.group(_OPTIMIZER)
    names = names_of(group.attributes, "weight_names")
    arrays = [(name.split(":")[0], group.array(name)) for name in names]
    stored = [(name, array) for name, array in arrays if array is not None]
    if not stored:
        return
    if reader.version[0] >= 3:
        slots.take(model, [array for _, array in stored], reader.what, reader.version)
        return
    _take_old(model, stored, _old_paths(model, tree.group(_WEIGHTS)), reader.what)


def _old_paths(model: Model, group: Group) -> dict[str, Weight]:
    """The names that Keras 2 gave the weights -> ours."""
    pairs = pairing.of_old_layers(model, group, "", False, has_config=True)
    return {place.partition(": ")[2]: weight for weight, _, place in pairs.found}


def _take_old(model: Model, stored: list[tuple[str, Array]], paths: Mapping[str, Weight], what: str) -> None:
    """Arrays of Keras 2: "Adam/m/conv/kernel", or "Adam/conv/kernel/m"."""
    found: list[tuple[Weight, str, Array]] = []
    steps = None
    unknown = []
    for name, array in stored:
        last = name.rpartition("/")[2]
        if array.shape == () and last in ("iter", "iteration", "iterations", "Variable"):
            steps = int(array.read())
        elif array.shape == () and last in ("learning_rate", "decay", "lr", "current_learning_rate"):
            continue
        else:
            place = _old_slot(name, paths)
            if place is None:
                unknown.append(name)
            else:
                found.append((*place, array))
    optimizer = model.programs.compiled_optimizer()
    odd = [w.path for w, slot, a in found if slot not in optimizer.slots_for(w) or w.shape != a.shape]
    if unknown or odd or steps is None:
        warnings.warn(
            f"{what}: the state of its optimiser is not read "
            f"({', '.join([*unknown, *odd][:3]) or 'no steps'}): training goes on as from its first step.",
            UserWarning,
            stacklevel=6,
        )
        return
    optimizer.iterations = steps
    for weight, slot, array in found:
        slots.put(model, weight, slot, array.read())


def _old_slot(name: str, paths: Mapping[str, Weight]) -> tuple[Weight, str] | None:
    """The weight and the slot that a name of Keras 2 means."""
    parts = name.split("/")
    parts = parts[1:] if parts[0] == "training" else parts
    for slot, path in ((parts[1], parts[2:]), (parts[-1], parts[1:-1])) if len(parts) > 2 else ():
        weight = paths.get("/".join(path))
        if weight is not None and slot in _OLD_SLOTS:
            return weight, _OLD_SLOTS[slot]
    return None


# --- writing


def save_model(model: Model, path: PathLike) -> None:
    """Write a model as Keras 3 writes an `.h5` file.

    Raises: ArgumentError naming layer, class and attribute of what Keras does not have.
    """
    config = written_config(model)
    compile_config = config.pop("compile_config", None)
    attributes: dict[str, Any] = {
        "keras_version": WRITTEN_VERSION,
        "backend": "tensorflow",
        "model_config": json.dumps({"class_name": config["class_name"], "config": config["config"]}),
    }
    members: dict[str, Group | Array] = {_WEIGHTS: _layers_group(model)}
    if compile_config is not None:
        optimizer = compile_config.pop("optimizer")
        kept = ("loss", "loss_weights", "metrics", "weighted_metrics")
        training = {key: compile_config[key] for key in kept}
        attributes["training_config"] = json.dumps({**training, "optimizer_config": optimizer})
        members[_OPTIMIZER] = _optimizer_group(model)
    with atomic_write(path) as file:
        hdf5.write(file, Group(members, attributes))
    model.note_saved()


def save_weights(model: Model, path: PathLike) -> None:
    """Write the weights of a model as Keras 3 writes them into an `.h5` file that is no `.weights.h5`."""
    model.need_shapes()
    with atomic_write(path) as file:
        hdf5.write(file, _layers_group(model))
    model.note_saved()


def _layers_group(model: Model) -> Group:
    """Groups by the names of layers, with the weights that are trained before the others."""
    attributes = {
        "layer_names": [layer.name for layer in model_layers(model)],
        "backend": "tensorflow",
        "keras_version": WRITTEN_VERSION,
    }
    members: dict[str, Group | Array] = {}
    for layer in sorted(model_layers(model), key=lambda layer: layer.name):
        names = {id(w): "/".join(path) for w, path in pairing.paths_of(layer)}
        weights = sorted(all_in_order(layer), key=lambda weight: not is_trained(weight))
        members[layer.name] = _named((names[id(w)], w.numpy()) for w in weights)
    members["top_level_model_weights"] = _named(())
    return Group(members, attributes)


def _named(arrays: Iterable[tuple[str, Any]]) -> Group:
    group = Group(attributes={"weight_names": []})
    for name, array in arrays:
        folder, _, last = name.rpartition("/")
        inner = group
        for part in filter(None, folder.split("/")):
            found = inner.members.setdefault(part, Group())
            assert isinstance(found, Group)
            inner = found
        inner.members[last] = held(array)
        group.attributes["weight_names"].append(name)
    return group


def _optimizer_group(model: Model) -> Group:
    weights = trained_in_order(model)
    optimizer = model.programs.compiled_optimizer()
    heads = ["iteration"] + (["learning_rate"] if optimizer.schedule is None else [])
    entries = [
        f"{_flat_path(entry.weight)}_{entry.slot or 'unused'}_{i}"
        for i, entry in enumerate(slots.entries(optimizer, weights))
    ]
    names = [f"{optimizer.name}/{name}" for name in (*heads, *entries)]
    return _named(zip(names, slots.state(model), strict=True))


def _flat_path(weight: Weight | None) -> str:
    return "all" if weight is None else weight.path.replace("/", "_")
