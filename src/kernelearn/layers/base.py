"""What every layer is: a declaration of arguments and weights that adds operators to a program.

A layer never computes. Subclasses give
    __init__(...)             keep the arguments: `self.keep(locals())`, or one by one
    build(*input_shapes)      make the weights with `add_weight`
    lower(graph, *inputs)     add operators to the program under construction, return its output buffer(s)
The config follows from the signature of `__init__`, output shapes from `lower`: the operator table knows the
shape of every result.
"""

from __future__ import annotations

import functools
import inspect
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Self, TypedDict

import numpy as np
from numpy.typing import NDArray

from kernelearn import _notebook, config, constraints, initializers, regularizers
from kernelearn._configurable import Configurable
from kernelearn.constraints import ConstraintLike
from kernelearn.engine.backends import prepare
from kernelearn.engine.program import Buffer, ProgramBuilder
from kernelearn.engine.variable import Variable
from kernelearn.errors import ArgumentError, NotBuiltError, ShapeError
from kernelearn.initializers.base import InitializerLike
from kernelearn.initializers.from_layer import expect_values
from kernelearn.layers.arguments import as_json, kept
from kernelearn.layers.keras_names import KerasNames
from kernelearn.layers.tensor import Node, Tensor
from kernelearn.layers.unknown_sizes import inferred
from kernelearn.registry import Registry
from kernelearn.regularizers import RegularizerLike
from kernelearn.tracing import BatchSizeNeeded

LAYERS = Registry("layer")
_name_counts: dict[str, int] = {}
# Names of nested layers are joined, and a file takes 1,000 characters.
_LONGEST_NAME = 240
# Numbers of images that show which sizes depend on them.
_TRIED = (8, 16)

Shape = tuple[int | None, ...]


class Weight(Variable):
    """A layer's variable with what applies to it after or besides the gradient.

    Attributes:
        regularizer: penalty added to the loss, or None.
        constraint: projection applied after every update, or None.
        role: "parameter", or "state" for moving statistics.
    """

    def __init__(
        self,
        value: NDArray[Any],
        name: str,
        trainable: bool = True,
        regularizer: Any = None,
        constraint: Any = None,
    ) -> None:
        super().__init__(value, name, trainable)
        self.regularizer = regularizer
        self.constraint = constraint
        self.role = "parameter" if trainable else "state"


def snake_case(name: str) -> str:
    """Conv2D -> conv2d, MaxPooling2D -> max_pooling2d, ReLU -> re_lu: Keras's automatic names."""
    words = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", words).lower()


def unique_name(stem: str) -> str:
    """conv2d, conv2d_1, conv2d_2, ... within the process; `kernelearn.utils.clear_session` starts again."""
    count = _name_counts.get(stem, 0)
    _name_counts[stem] = count + 1
    return stem if count == 0 else f"{stem}_{count}"


def check_name(name: str) -> None:
    """Refuse a name that no file could hold.

    Raises: ArgumentError.
    """
    found = [text for text in ("/", "\\", "\0") if text in name]
    reason = f"contains {found[0]!r}" if found else ""
    reason = reason or ("stands for a folder" if name in (".", "..") else "")
    reason = reason or (f"has {len(name)} characters" if len(name) > _LONGEST_NAME else "")
    if not reason and any("\ud800" <= letter <= "\udfff" for letter in name):
        reason = "has characters that cannot be written as UTF-8"
    if reason:
        shown = f"{name[:40]!r}..." if len(name) > 40 else repr(name)
        raise ArgumentError(
            f"The name of a layer becomes part of file names, so it must be plain text without '/' and "
            f"backslashes, of at most {_LONGEST_NAME} characters; {shown} {reason}."
        )


def reset_names() -> None:
    """Start the automatic names again."""
    _name_counts.clear()


class WeightRules(TypedDict):
    """How one weight begins, and what applies to it besides the gradient: names, config dicts or objects."""

    initializer: Any
    regularizer: Any
    constraint: Any


class LayerOptions(TypedDict, total=False):
    """The arguments that every layer takes; see `Layer`."""

    name: str | None
    trainable: bool
    input_shape: Sequence[int] | None
    dtype: str | None
    activity_regularizer: RegularizerLike
    learning_rate_multiplier: float
    autocast: bool | None


class Layer(KerasNames, Configurable):
    """Base of all layers.

    Args:
        name: unique in a model; made from the class name if None.
        trainable: False keeps the weights as they are and skips their gradients. Read when the model is
            compiled.
        input_shape: shape of one sample, without the batch; lets `Sequential` build at once.
        dtype: float type of the weights; the process's default if None.
        activity_regularizer: penalty on the layer's output, divided by the number of images.
        learning_rate_multiplier: scales the learning rate of this layer's weights.
    Attributes:
        called_training: the mode of a call on arrays that does not say `training=`: inference, but for the
            layers that are there to change images at random.
    """

    without_effect: ClassVar[Mapping[str, tuple[Any, ...]]] = {"autocast": (True, False, None)}
    outside_config: ClassVar[frozenset[str]] = frozenset({"input_shape"})
    called_training: ClassVar[bool] = False

    def __init__(
        self,
        *,
        name: str | None = None,
        trainable: bool = True,
        input_shape: Sequence[int] | None = None,
        dtype: str | None = None,
        activity_regularizer: RegularizerLike = None,
        learning_rate_multiplier: float = 1.0,
        **keras_options: Any,
    ) -> None:
        self.refuse_rest(keras_options)
        self.name = str(name) if name else unique_name(snake_case(type(self).__name__))
        check_name(self.name)
        self.built = False
        self.dtype = dtype or config.floatx()
        self.activity_regularizer = regularizers.get(activity_regularizer)
        self.learning_rate_multiplier = float(learning_rate_multiplier)
        self.declared_input_shape = None if input_shape is None else (None, *input_shape)
        self._trainable = bool(trainable)
        self._weights: list[Weight] = []
        self._nodes: list[Node] = []

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "build" in cls.__dict__:
            cls.build = _building_once(cls.__dict__["build"])  # type: ignore[method-assign]

    def kept_value(self, name: str, value: Any, kind: str) -> Any:
        return kept(name, value, kind)

    # --- what subclasses declare

    # NOTE: the catch-all signatures let subclasses name as many inputs as they take.
    def build(self, *input_shapes: Any, **unused: Any) -> None:
        """Make the weights for inputs of these shapes (batch first)."""
        self.built = True

    def lower(self, graph: ProgramBuilder, *inputs: Any, **unused: Any) -> Any:
        """Add this layer's operators to `graph`; return its output buffer, or a tuple of them."""
        raise NotImplementedError(f"{type(self).__name__} must define lower(graph, *inputs).")

    def is_in_config(self, name: str) -> bool:
        if name == "activity_regularizer":
            return self.activity_regularizer is not None
        if name == "learning_rate_multiplier":
            return self.learning_rate_multiplier != 1.0
        return super().is_in_config(name)

    def config_value(self, name: str) -> Any:
        if name == "trainable":
            return self._trainable
        return as_json(name, getattr(self, name))

    @classmethod
    def from_config(cls, values: dict[str, Any]) -> Self:
        """A new layer from what `get_config` gave."""
        return cls(**values)

    # --- weights

    def rules(self, weight: str) -> WeightRules:
        """The arguments that `add_weight` takes for one weight, from `weight`_initializer and the like."""
        initializer, regularizer, constraint = (
            getattr(self, f"{weight}_{rule}", None) for rule in ("initializer", "regularizer", "constraint")
        )
        return {"initializer": initializer, "regularizer": regularizer, "constraint": constraint}

    def add_weight(
        self,
        name: str,
        shape: Sequence[int | None],
        initializer: InitializerLike = "zeros",
        trainable: bool = True,
        regularizer: RegularizerLike = None,
        constraint: ConstraintLike = None,
    ) -> Weight:
        """Make a weight of this shape: `add_weight("kernel", shape, **self.rules("kernel"))`.

        Args:
            initializer: a name, object, array or function; regularizer, constraint: names, objects or None.
        """
        expect_values(f"{self.name}/{name}", shape)
        value = np.asarray(initializers.get(initializer)(tuple(shape), dtype=self.dtype), self.dtype)
        weight = Weight(value, name, trainable, regularizers.get(regularizer), constraints.get(constraint))
        weight.path = f"{self.name}/{name}"
        self._weights.append(weight)
        return weight

    @property
    def trainable(self) -> bool:
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._trainable = bool(value)

    @property
    def weights(self) -> list[Weight]:
        """All weights: trained ones first, then moving statistics."""
        return self._weights

    @property
    def trainable_weights(self) -> list[Weight]:
        return [w for w in self.weights if w.trainable and self._trainable]

    @property
    def non_trainable_weights(self) -> list[Weight]:
        trained = {id(w) for w in self.trainable_weights}
        return [w for w in self.weights if id(w) not in trained]

    def get_weights(self) -> list[NDArray[Any]]:
        """Copies of all weights, in Keras's order."""
        return [w.numpy() for w in self.weights]

    def set_weights(self, arrays: Sequence[NDArray[Any]]) -> None:
        """Replace all weights.

        Raises: ShapeError if the number or a shape differs; then nothing is changed.
        """
        expected, got = [w.shape for w in self.weights], [np.shape(a) for a in arrays]
        if expected != got:
            raise ShapeError(f"{self.name!r} has weights of shapes {expected}; got arrays of shapes {got}.")
        for weight, array in zip(self.weights, arrays):
            weight.assign(array)

    def count_params(self) -> int:
        """Number of weights."""
        return sum(int(np.prod(w.shape)) for w in self.weights)

    # --- calling

    def __call__(self, inputs: Any, *, training: bool | None = None) -> Any:
        """Apply to symbolic tensors, giving symbolic tensors, or to arrays, giving arrays.

        Args:
            training: True for dropout, noise, augmentation and batch statistics, False for inference. None:
                for tensors what the model does when it runs; for arrays inference, but for the layers that
                change images at random, which do so when they are called.
        """
        tensors = tuple(inputs) if isinstance(inputs, list | tuple) else (inputs,)
        if not all(isinstance(t, Tensor) for t in tensors):
            return self._run_on_arrays([np.asarray(t) for t in tensors], training)
        self.ensure_built([t.shape for t in tensors])
        specs = self.infer_specs([(t.shape, t.dtype) for t in tensors])
        node = Node(self, tensors, training=None if training is None else bool(training))
        node.outputs = tuple(Tensor(shape, dtype, node, i) for i, (shape, dtype) in enumerate(specs))
        self._nodes.append(node)
        return node.outputs[0] if len(node.outputs) == 1 else list(node.outputs)

    def ensure_built(self, input_shapes: Sequence[Shape]) -> None:
        """Call `build` the first time.

        Raises: ShapeError for a number of inputs that the layer does not take.
        """
        self._check_count(len(input_shapes))
        if not self.built:
            try:
                self.build(*input_shapes)
            except ShapeError as error:
                raise ShapeError(f"Layer {self.name!r}: {error}") from error
            self.built = True

    def compute_output_shape(self, *input_shapes: Shape) -> Any:
        """Output shape(s) for these input shapes (batch first), building the layer if needed."""
        self.ensure_built(input_shapes)
        shapes = [shape for shape, _ in self.infer_specs([(s, self.dtype) for s in input_shapes])]
        return shapes[0] if len(shapes) == 1 else shapes

    @property
    def input(self) -> Any:
        """The tensor(s) this layer was first called on."""
        return _one_or_list(self._first_node().inputs)

    @property
    def output(self) -> Any:
        """The tensor(s) this layer's first call gave; use it to make a model that ends at this layer."""
        return _one_or_list(self._first_node().outputs)

    def _first_node(self) -> Node:
        if not self._nodes:
            raise NotBuiltError(
                f"Layer {self.name!r} has not been called on a tensor yet; add it to a model first."
            )
        return self._nodes[0]

    def infer_specs(self, specs: Sequence[tuple[Shape, str]]) -> list[tuple[Shape, str]]:
        """(shape, type) of each output; None for sizes that follow from sizes which are not known yet."""
        return inferred(self._infer, list(specs))

    def _infer(self, specs: Sequence[tuple[Shape, str]]) -> list[tuple[Shape, str]]:
        """Shapes and types of the outputs; None for the number of images and what depends on it."""
        try:
            return self._specs(specs, None)
        except BatchSizeNeeded:
            few, many = (self._specs(specs, images) for images in _TRIED)
            return [
                (tuple(a if a == b else None for a, b in zip(x, y)), dtype)
                for (x, dtype), (y, _) in zip(few, many)
            ]

    def _specs(self, specs: Sequence[tuple[Shape, str]], images: int | None) -> list[tuple[Shape, str]]:
        graph = ProgramBuilder(dtype=self.dtype, batch=images)
        with graph.scope(self.name):
            inputs = [graph.input(f"input_{i}", *spec) for i, spec in enumerate(specs)]
            shapes = [(b.shape, b.dtype) for b in _as_tuple(self.lower(graph, *inputs))]
        return [((images, *shape[1:]) if shape[:1] == (None,) else shape, dtype) for shape, dtype in shapes]

    def _run_on_arrays(self, arrays: list[NDArray[Any]], training: bool | None) -> Any:
        arrays, was_one = self._as_batches(arrays)
        self.ensure_built([(None, *a.shape[1:]) for a in arrays])
        mode = self.called_training if training is None else training
        try:
            graph = self._program_for(arrays, mode, None)
        except BatchSizeNeeded:
            graph = self._program_for(arrays, mode, len(arrays[0]))
        program = graph.build()
        feed: dict[str, Any] = {f"input_{i}": array for i, array in enumerate(arrays)}
        if "seed" in program.buffers:
            feed |= {"seed": config.next_seed(), "step": 0}
        results = prepare(program, graph.variables).run(feed)
        given = [results[str(i)] for i in range(len(graph.outputs))]
        return _one_or_list([array[0] if was_one else array for array in given])

    def _program_for(self, arrays: list[NDArray[Any]], training: bool, images: int | None) -> ProgramBuilder:
        """The layer alone, lowered for arrays of these shapes; outputs are labelled by their numbers."""
        graph = ProgramBuilder(training, dtype=self.dtype, batch=images)
        inputs = [graph.input(f"input_{i}", (None, *a.shape[1:])) for i, a in enumerate(arrays)]
        with graph.scope(self.name):
            outputs = _as_tuple(self.lower(graph, *inputs))
        graph.outputs = {str(i): b.name for i, b in enumerate(outputs)}
        return graph

    def _as_batches(self, arrays: list[NDArray[Any]]) -> tuple[list[NDArray[Any]], bool]:
        """Arrays with the samples on their first axis, and whether one sample was given without it."""
        return arrays, False

    def _check_count(self, given: int) -> None:
        """Raise ShapeError unless `lower` takes this many inputs."""
        parameters = list(inspect.signature(self.lower).parameters.values())[1:]
        positional = [p for p in parameters if p.kind == p.POSITIONAL_OR_KEYWORD]
        if len(positional) == len(parameters) and given != len(positional):
            raise ShapeError(
                f"{type(self).__name__} {self.name!r} takes {len(positional)} input(s), got {given}. A "
                "list or tuple counts as several inputs: give one array, np.asarray(...), for one."
            )

    # --- what `lower` is written with

    def use(self, graph: ProgramBuilder, weight: Weight) -> Buffer:
        """The buffer of one of this layer's weights, with or without gradient as `trainable` says."""
        return graph.variable(weight, weight.role, trainable=self._trainable and weight.trainable)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name!r} built={self.built}>"

    def _repr_html_(self) -> str:
        rows = [
            [
                w.name.rpartition("/")[2],
                " x ".join(map(str, w.shape)),
                f"{math.prod(w.shape):,}",
                "yes" if w.trainable else "no",
            ]
            for w in self.weights
        ]
        title = f"{type(self).__name__} {self.name}" + ("" if self.built else " (not built yet)")
        return _notebook.table(title, ["weight", "shape", "numbers", "trainable"], rows)


def _building_once(build: Callable[..., None]) -> Callable[..., None]:
    """`build` that marks the layer as built, and does nothing when it is: weights are made once."""

    @functools.wraps(build)
    def once(self: Layer, *input_shapes: Any, **options: Any) -> None:
        if not self.built:
            build(self, *input_shapes, **options)
            self.built = True

    return once


def _as_tuple(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def _one_or_list(values: Sequence[Any]) -> Any:
    return values[0] if len(values) == 1 else list(values)
