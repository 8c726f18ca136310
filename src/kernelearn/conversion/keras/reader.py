"""Configs of Keras files -> our objects: layers, initialisers, regularisers, constraints, activations.

A `Reader` belongs to one file. It looks names up in `known` and in what the caller has registered, and
refuses by name what is not there: layer, class, key, value, and what to do.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kernelearn._configurable import arguments_of
from kernelearn._serializable import registered_object
from kernelearn.conversion.keras import known
from kernelearn.errors import FormatError, KernelearnError, UnknownNameError, UnregisteredError
from kernelearn.formats.foreign import reason
from kernelearn.layers import InputLayer, Lambda, Layer
from kernelearn.layers.core.arguments import activation_name
from kernelearn.layers.functions import hard_sigmoid_of_keras_2

_DEEPEST = 40  # configs inside of configs
_FAMILY_OF_KEY = ("initializer", "regularizer", "constraint")
_FLOATS = ("float32", "float64")
# Policies whose numbers are computed in float32 here, which is said.
_NARROW = ("mixed_bfloat16", "mixed_float16", "bfloat16", "float16")
_ADAPTED = {("optimizer", "decay")}  # keys that become something else
_CODE = ("__lambda__", "__typespec__", "__class__")


@dataclass
class Reader:
    """What is known while one file is read.

    Attributes:
        what: the file, for messages.
        version: of the Keras that wrote it, (major, minor).
        custom: names of layers -> functions for Lambda layers, and what `custom_objects` holds else.
        shared: number in the file -> object that stands in several places.
        policies: layer -> its dtype policy, where it is not float32.
    """

    what: str
    version: tuple[int, int] = (3, 0)
    custom: Mapping[str, Any] = field(default_factory=dict)
    shared: dict[Any, Any] = field(default_factory=dict)
    policies: dict[str, str] = field(default_factory=dict)
    path: list[str] = field(default_factory=list)

    # --- errors

    def refuse(self, text: str) -> FormatError:
        """An error that says where in the file something is."""
        return FormatError(f"{self.place()}: {text}")

    def place(self) -> str:
        """The file and the place in it."""
        return ": ".join([self.what, *([" > ".join(self.path)] if self.path else [])])

    @contextmanager
    def at(self, place: str) -> Iterator[None]:
        """Within this, whatever is raised says this place.

        Raises: FormatError; UnknownNameError for classes that are not known.
        """
        if len(self.path) > _DEEPEST:
            raise self.refuse("configs lie inside of each other deeper than in any network.")
        self.path.append(place)
        try:
            yield
        except (FormatError, UnregisteredError, MemoryError):
            raise
        except UnknownNameError as error:
            if str(error).startswith(self.what):
                raise
            raise UnknownNameError(f"{self.place()}: {error}") from error
        except KernelearnError as error:
            raise self.refuse(reason(error) + ".") from error
        except (TypeError, ValueError, KeyError, IndexError, AttributeError, OverflowError) as error:
            raise self.refuse(f"its config cannot be used: {reason(error)}.") from error
        finally:
            self.path.pop()

    # --- plain values

    def plain(self, value: Any, depth: int = 0) -> Any:
        """A JSON value with Keras's words for tuples, arrays and slices as what they mean."""
        if depth > _DEEPEST:
            raise self.refuse("values lie inside of each other deeper than in any network.")
        if isinstance(value, list):
            return [self.plain(part, depth + 1) for part in value]
        if not isinstance(value, dict):
            return value
        name = value.get("class_name")
        held = value.get("config")
        if name == "__tuple__":
            parts = value.get("items", (held or {}).get("items") if isinstance(held, dict) else None)
            return tuple(self.plain(part, depth + 1) for part in parts or ())
        if name == "TensorShape":
            return self.plain(value.get("items"), depth + 1)
        if name == "__slice__" and isinstance(held, dict):
            return slice(*(self.plain(held.get(key), depth + 1) for key in ("start", "stop", "step")))
        if name == "__ellipsis__":
            return ...
        if name in ("__numpy__", "__tensor__") and isinstance(held, dict):
            return np.asarray(held["value"], str(held.get("dtype", "float32")))
        if name in _CODE:
            raise self.refuse(f"it holds Python code ({name}), which is never run.")
        return {key: self.plain(part, depth + 1) for key, part in value.items()}

    # --- objects

    def object(self, family: str, given: Any) -> Any:
        """An initialiser, regulariser, constraint, schedule, loss, metric or optimiser; names stay names."""
        if given is None or isinstance(given, str):
            return given
        if not isinstance(given, dict) or not isinstance(given.get("class_name"), str):
            raise self.refuse(f"expected a {family}, found {_shown(given)}.")
        shared = given.get("shared_object_id")
        if shared is not None and (family, shared) in self.shared:
            return self.shared[family, shared]
        name, config = given["class_name"], given.get("config")
        if name == "function":
            return self.function(family, config, given)
        if not isinstance(config, dict):
            raise self.refuse(f"the {family} {name} has no config, but {_shown(config)}.")
        with self.at(f"{family} {name}"):
            cls = self.class_of(family, given)
            made = cls(**self.arguments(family, cls, name, config))
        if shared is not None:
            self.shared.setdefault((family, shared), made)
        return made

    def class_of(self, family: str, given: Mapping[str, Any]) -> Any:
        """The class that a config means: one of ours, or one that the caller has registered.

        Raises: UnregisteredError; UnknownNameError for a class of Keras that has no counterpart.
        """
        name, full = str(given["class_name"]), given.get("registered_name")
        found = known.class_in(family, name) if known.is_keras_module(given.get("module")) else None
        if found is not None and (full in (None, name) or family == "optimizer"):
            return found
        own = registered_object(str(full or name)) or registered_object(name)
        if own is not None:
            return own
        if found is not None:
            return found
        if known.is_keras_module(given.get("module")) and ">" not in str(full or name):
            raise UnknownNameError(
                f"there is no counterpart of Keras's {family} {name} here. Write the model without it, or "
                f"write one yourself with the same arguments and load with custom_objects={{{name!r}: ...}}."
            )
        raise UnregisteredError(
            f"{self.place()}: the {family} {full or name!s} is code of somebody's own, and "
            f"nothing is run because a file names it. Load with custom_objects={{{name!r}: YourClass}}, a "
            "class for kernelearn, or put @kernelearn.saving.register() above it."
        )

    def arguments(self, family: str, cls: Any, name: str, config: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of our class for a config.

        Raises: FormatError for a key that has no meaning here.
        """
        taken = {**arguments_of(cls).kinds}
        closed = arguments_of(cls).is_closed
        values: dict[str, Any] = {}
        renames = known.RENAMED.get(family, {})
        for key, value in config.items():
            ours = renames.get((name, key), renames.get(("*", key), key))
            if known.harmless(family, cls.__name__, key, value) and ours not in taken:
                continue
            if ours not in taken and closed and (family, key) not in _ADAPTED:
                raise self.refuse(
                    f"the attribute {key}={_shown(value)} has no counterpart here. Set it to what it is by "
                    "default in Keras and save again, or leave the layer out."
                )
            values[ours] = self.argument(family, ours, value)
        return self.adapted(family, name, values)

    def argument(self, family: str, key: str, value: Any) -> Any:
        """One argument: an object, where its name says so."""
        rule = key.rpartition("_")[2]
        if rule in _FAMILY_OF_KEY and family == "layer":
            return self.object(rule, value)
        if key == "activation" and family == "layer":
            return self.activation(value)
        if key == "learning_rate" and isinstance(value, dict):
            return self.object("schedule", value)
        if key == "layer" and family == "layer":
            return self.layer(value)
        return self.plain(value)

    def adapted(self, family: str, name: str, values: dict[str, Any]) -> dict[str, Any]:
        """Values that older versions write in another form."""
        axis = values.get("axis")
        if name.startswith(("BatchNormalization", "SyncBatch")) and isinstance(axis, list) and len(axis) == 1:
            values["axis"] = axis[0]
        if name.startswith("SyncBatch"):
            values["synchronized"] = True
        if family == "loss" and values.get("reduction") == "auto":
            values["reduction"] = "sum_over_batch_size"
        if family == "optimizer":
            values.pop("name", None)
            if not values.get("use_ema"):
                values.pop("ema_overwrite_frequency", None)  # Keras 2 writes one all the same
            decay = values.pop("decay", 0.0)
            if decay:  # lr / (1 + decay * step), of Keras 2
                start = known.FAMILIES["schedule"]["InverseTimeDecay"]
                values["learning_rate"] = start(values.get("learning_rate", 0.001), 1, decay)
        if family == "metric" and values.get("thresholds") is not None and name == "AUC":
            values.pop("num_thresholds", None)
        return values

    def activation(self, given: Any) -> Any:
        """An activation: a name, a layer, or a function that is registered."""
        if isinstance(given, dict) and given.get("class_name") == "function":
            return self.function("activation", given.get("config"), given)
        if isinstance(given, dict):
            return self.layer(given)
        if given is None:
            return None
        own = registered_object(str(given))
        if own is not None and not _is_activation(str(given)):
            return own
        if given == "hard_sigmoid" and self.version[0] < 3:
            return hard_sigmoid_of_keras_2
        return activation_name(given)

    def function(self, family: str, name: Any, given: Mapping[str, Any]) -> Any:
        """A function that a file names: an activation or loss of Keras by name, else a registered one."""
        if not isinstance(name, str):
            raise self.refuse(f"the {family} is a function without a name, {_shown(name)}.")
        own = registered_object(str(given.get("registered_name"))) or registered_object(name)
        if own is not None:
            return own
        if family == "activation" and _is_activation(name):
            return self.activation(name)
        if family in ("loss", "metric"):
            return name
        raise UnregisteredError(
            f"{self.place()}: the {family} is the function {name!r}, and nothing is run "
            f"because a file names it. Load with custom_objects={{{name!r}: your_function}}."
        )

    # --- layers

    def layer(self, given: Any) -> Any:
        """A layer, or a model inside of another one."""
        if not isinstance(given, dict) or not isinstance(given.get("class_name"), str):
            raise self.refuse(f"expected a layer, found {_shown(given)}.")
        shared = given.get("shared_object_id")
        if shared is not None and ("layer", shared) in self.shared:
            return self.shared["layer", shared]
        made = self._layer(given)
        if shared is not None:
            self.shared.setdefault(("layer", shared), made)
        return made

    def _layer(self, given: Mapping[str, Any]) -> Any:
        from kernelearn.conversion.keras import graphs

        name, config = given["class_name"], given.get("config")
        if not isinstance(config, dict):
            raise self.refuse(f"the layer {name} has no config, but {_shown(config)}.")
        with self.at(f"layer {config.get('name', given.get('name', '?'))!r} ({name})"):
            if known.is_keras_module(given.get("module")) and name in known.MODELS:
                return graphs.model(self, given)
            if known.is_keras_module(given.get("module")) and name == "InputLayer":
                return self.input_layer(config)
            if name == "Lambda":
                return self.lambda_layer(config)
            return self.usual_layer(given, config)

    def usual_layer(self, given: Mapping[str, Any], config: Mapping[str, Any]) -> Any:
        name, cls = given["class_name"], self.class_of("layer", given)
        values = dict(config)
        if isinstance(values.get("name"), str):
            values["name"] = known.safe_name(values["name"])
        batch_shape = self.plain(values.pop("batch_input_shape", None))
        dtype = self.policy(values.pop("dtype", None), str(values.get("name", name)))
        if name not in known.LAYERS:
            return self.own_layer(cls, given, values)
        values = self.arguments("layer", cls, name, values)
        if batch_shape is not None:
            values["input_shape"] = tuple(batch_shape)[1:]
        if "dtype" in arguments_of(cls).kinds:
            values["dtype"] = dtype
        made = cls(**values)
        known.warn_of_difference(self.what, made)
        return made

    def own_layer(self, cls: Any, given: Mapping[str, Any], values: dict[str, Any]) -> Any:
        """A layer of a class that the caller has registered, from its own config."""
        made = cls.from_config({key: self.plain(value) for key, value in values.items()})
        if not isinstance(made, Layer):
            raise self.refuse(f"custom_objects gives {cls!r} for it, which makes no layer of kernelearn.")
        return made

    def input_layer(self, config: Mapping[str, Any]) -> Any:
        shape = self.plain(config.get("batch_shape", config.get("batch_input_shape")))
        if not isinstance(shape, list | tuple) or not shape:
            raise self.refuse(f"an input needs a batch_shape, found {_shown(shape)}.")
        for key in ("sparse", "ragged", "optional"):
            if config.get(key):
                raise self.refuse(f"{key}=True has no counterpart here: inputs are whole, dense arrays.")
        kind = config.get("dtype")
        kind = self.policy(kind, "") if not isinstance(kind, str) or kind in _NARROW else kind
        return InputLayer(batch_shape=(None, *shape[1:]), dtype=kind, name=self.name(config))

    def lambda_layer(self, config: Mapping[str, Any]) -> Any:
        """A Lambda, whose function the caller gives under the layer's name, or under its own."""
        name, function = str(config.get("name")), config.get("function")
        wanted = function.get("config") if isinstance(function, dict) else function
        found = self.custom.get(name)
        if found is None and isinstance(wanted, str):
            found = registered_object(wanted)
        if not callable(found):
            raise self.refuse(
                "it holds Python code, which is never run. Give the function, written with kernelearn.ops: "
                f"load_model(path, custom_objects={{{name!r}: function}})."
            )
        arguments = self.plain(config.get("arguments") or {})
        return Lambda(found, arguments=arguments, name=self.name(config))

    def name(self, config: Mapping[str, Any]) -> str | None:
        """The name of a layer; None if the file gives none."""
        given = config.get("name")
        return known.safe_name(given) if isinstance(given, str) else None

    def policy(self, given: Any, layer: str) -> str:
        """The float type of a layer's weights; what is computed more exactly here is noted."""
        name = given
        if isinstance(given, dict):
            held = given.get("config")
            name = held.get("name") if isinstance(held, dict) else None
            if name is None and isinstance(held, dict) and held.get("dtype"):
                name = held["dtype"]
        if name is None:
            return "float32"
        if name in _FLOATS:
            return str(name)
        if name in _NARROW:
            self.policies[layer] = str(name)
            return "float32"
        raise self.refuse(
            f"dtype={_shown(name)} has no counterpart here: layers compute in float32 or float64."
        )

    def warn_of_policies(self) -> None:
        """Say where numbers are computed more exactly than in the file's Keras."""
        names = sorted(set(self.policies.values()))
        if names:
            warnings.warn(
                f"{self.what} was made under the policy {', '.join(names)}: weights are read exactly, and "
                'everything is computed in float32. compile(policy="mixed_bfloat16") rounds products.',
                UserWarning,
                stacklevel=6,
            )


def _is_activation(name: str) -> bool:
    try:
        activation_name(name)
    except KernelearnError:
        return False
    return True


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:100]}..."
