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
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Self, TypedDict

from numpy.typing import NDArray

from kernelearn import _notebook, config, constraints, initializers, regularizers
from kernelearn._configurable import Configurable, describes_itself
from kernelearn.engine.program import Buffer, ProgramBuilder
from kernelearn.errors import NotBuiltError, ShapeError, TracingError
from kernelearn.layers.core import calling
from kernelearn.layers.core.arguments import as_json, checked_factor, kept
from kernelearn.layers.core.keras_names import KerasNames
from kernelearn.layers.core.naming import check_name, snake_case, unique_name
from kernelearn.layers.core.notes import CallNotes
from kernelearn.layers.core.own import is_own, lower_call, note_made, usual_given
from kernelearn.layers.core.own_config import config_of, made_from
from kernelearn.layers.core.structure import Given, add_kind, filled, is_shape, with_places
from kernelearn.layers.core.tensor import Node
from kernelearn.layers.core.weight import Weight
from kernelearn.registry import Registry
from kernelearn.regularizers import RegularizerLike
from kernelearn.tracing import current, function, lifted, opened, unwrapped, wrapped

LAYERS = Registry("layer")
# Attributes that tell whether `__init__` of this class and of models has run.
_MADE_BY_INIT = frozenset(
    {"name", "built", "dtype", "notes", "activity_regularizer", "declared_input_shape"}
    | {"_trainable", "_weights", "_nodes", "_layers", "_calls", "programs", "inputs", "outputs", "input_keys"}
)

Shape = tuple[int | None, ...]


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
        learning_rate_multiplier: scales the learning rate of this layer's weights; 0 leaves them alone and
            costs no gradient (to freeze batch statistics as well, set `trainable`).
    Attributes:
        notes: what it remembers of its calls.
        supports_masking: whether the mask of an input holds for the output as well; see `compute_mask`.
        called_training: the mode of a call on arrays that does not say `training=`: inference, but for the
            layers that are there to change images at random.
    """

    given_arguments: tuple[tuple[Any, ...], dict[str, Any]]
    without_effect: ClassVar[Mapping[str, tuple[Any, ...]]] = {"autocast": (True, False, None)}
    outside_config: ClassVar[frozenset[str]] = frozenset({"input_shape"})
    called_training: ClassVar[bool] = False
    supports_masking: bool = False
    loses_masks_silently: ClassVar[bool] = False

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
        self.learning_rate_multiplier = checked_factor(learning_rate_multiplier)
        self.declared_input_shape = None if input_shape is None else (None, *input_shape)
        self._trainable = bool(trainable)
        self._weights: list[Weight] = []
        self._nodes: list[Node] = []
        self.notes = CallNotes(made_in_call=note_made())

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, Weight) and not value.has_own_name:
            value.take_name(name)
        if "_nodes" not in self.__dict__ and isinstance(value, Layer | Weight):
            raise self._without_init()
        super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        if name in _MADE_BY_INIT and "_nodes" not in self.__dict__:
            raise self._without_init()
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}.")

    def _without_init(self) -> NotBuiltError:
        code = getattr(type(self).__init__, "__code__", None)
        where = f" ({code.co_filename.rpartition('/')[2]}, line {code.co_firstlineno})" if code else ""
        return NotBuiltError(
            f"{type(self).__name__}.__init__{where} does not begin with super().__init__(): write it as its "
            "first line."
        )

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "build" in cls.__dict__:
            cls.build = _building_once(cls.__dict__["build"])  # type: ignore[method-assign]

    def kept_value(self, name: str, value: Any, kind: str) -> Any:
        return kept(name, value, kind)

    def note_arguments(self, args: tuple[Any, ...], arguments: Mapping[str, Any]) -> None:
        if describes_itself(type(self)):
            self.__dict__["given_arguments"] = (args, dict(arguments))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as JSON values: `from_config` makes an equal layer from them.

        A class outside of this package needs no attributes for it: its arguments are kept as they were given.

        Raises: ArgumentError for an argument that a file cannot hold.
        """
        if describes_itself(type(self)):
            return config_of(self)
        return super().get_config()

    @classmethod
    def check_declaration(cls) -> None:
        if not describes_itself(cls):
            super().check_declaration()

    # --- what subclasses declare

    # NOTE: the catch-all signatures let subclasses name as many inputs as they take.
    def build(self, *input_shapes: Any, **unused: Any) -> None:
        """Make the weights for inputs of these shapes (batch first)."""
        self.built = True
        if is_own(type(self)) and self.has_usual_build():
            self.compute_output_shape(*input_shapes)  # builds the layers that it holds

    def lower(self, graph: ProgramBuilder, *inputs: Any, **unused: Any) -> Any:
        """Add this layer's operators to `graph`; return its output buffer, or a tuple of them.

        A layer with a `call` of its own need not say it: the call is traced.
        """
        if is_own(type(self)):
            return self.lower_given(graph, None, inputs)
        raise NotImplementedError(
            f"{type(self).__name__} must define call(self, x), with functions of kernelearn.ops, or "
            "lower(self, graph, x), with operators of the engine."
        )

    def call(self, *inputs: Any, **unused: Any) -> Any:
        """What the layer computes, in code that is traced; a layer of one's own says it here.

        A class that extends a layer of the library reaches that layer's computation with super().call(x).
        """
        graph = current()
        if graph is None:
            raise TracingError(
                f"call is for code that is being traced: call the layer itself, {self.name}(x), on arrays."
            )
        parts = inputs[0] if len(inputs) == 1 and isinstance(inputs[0], list | tuple) else inputs
        library: Any = next(cls for cls in type(self).__mro__ if "lower" in cls.__dict__)
        made = library.lower(self, graph, *unwrapped([opened(lifted(graph, part)) for part in parts]))
        return wrapped(graph, list(made) if isinstance(made, tuple) else made)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Which steps of the output count, in code that is traced: by default those of the input.

        Only where `supports_masking` is True, or where a class says something else here.

        Args:
            inputs: a traced value, or a list of several.
            mask: (n, steps) booleans, or None for all; a list of them for several inputs.
        """
        given = mask if isinstance(mask, list | tuple) else [mask]
        return next((one for one in given if one is not None), None)

    def add_loss(self, loss: Any) -> None:
        """Add a penalty to the loss that is trained on: a value of `call`; of several numbers their sum.

        Raises: TracingError outside of `call`.
        """
        graph = current()
        if graph is None:
            raise TracingError(
                f"Layer {self.name!r}: add_loss is for `call`, where the loss of a step is made. A penalty "
                "on a weight is its regularizer: add_weight(..., regularizer=...)."
            )
        value = lifted(graph, loss)
        graph.penalties.append((value if not value.shape else function("sum")(value)).buffer)

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
        return made_from(cls, values) if describes_itself(cls) else cls(**values)

    # --- calling

    def __call__(self, *args: Any, training: bool | None = None, **keywords: Any) -> Any:
        """Apply to symbolic tensors, giving symbolic tensors; to arrays, giving arrays; or, in code that is
        traced, to its values.

        Args:
            args, keywords: the input, or a list of several; for a layer with a `call` of its own whatever
                that takes.
            training: True for dropout, noise, augmentation and batch statistics, False for inference. None:
                for tensors what the model does when it runs; for arrays inference, but for the layers that
                change images at random, which do so when they are called.
        """
        return calling.call(self, args, keywords, training)

    def ensure_built(self, input_shapes: Sequence[Any]) -> None:
        """Call `build` the first time.

        Raises: ShapeError for a number of inputs that the layer does not take.
        """
        if not is_own(type(self)):
            calling.check_count(self, len(input_shapes))
        if not self.built and not self.has_usual_build():
            try:
                self.build(*input_shapes)
            except ShapeError as error:
                raise ShapeError(f"Layer {self.name!r}: {error}") from error
        self.built = True

    @classmethod
    def has_usual_build(cls) -> bool:
        """Whether the class makes no weights itself when it is built."""
        return cls.build is Layer.build

    def compute_output_shape(self, *input_shapes: Any) -> Any:
        """Output shape(s) for these input shapes (batch first), building the layer if needed."""
        shapes: list[Any] = []
        given = Given(with_places(input_shapes, is_shape, shapes, each_once=False))
        calling.build(self, given, shapes)
        specs = self.infer_specs([(tuple(s), self.dtype) for s in shapes], given)
        if is_own(type(self)):
            return filled(self.notes.form, [shape for shape, _ in specs])
        return specs[0][0] if len(specs) == 1 else [shape for shape, _ in specs]

    @property
    def input(self) -> Any:
        """The tensor(s) this layer was first called on."""
        return calling.one_or_list(self._first_node().inputs)

    @property
    def output(self) -> Any:
        """The tensor(s) this layer's first call gave; use it to make a model that ends at this layer."""
        return calling.one_or_list(self._first_node().outputs)

    def _first_node(self) -> Node:
        if not self._nodes:
            raise NotBuiltError(
                f"Layer {self.name!r} has not been called on a tensor yet; add it to a model first."
            )
        return self._nodes[0]

    def last_node(self) -> Node:
        """The last call on tensors."""
        return self._nodes[-1]

    def add_node(self, node: Node) -> None:
        """Remember a call."""
        self._nodes.append(node)

    def drop_node(self, node: Node) -> None:
        """Forget a call that another one stands for."""
        self._nodes = [other for other in self._nodes if other is not node]

    def infer_specs(
        self, specs: Sequence[tuple[Shape, str]], given: Given | None = None
    ) -> list[tuple[Shape, str]]:
        """(shape, type) of each output; None for sizes that follow from sizes which are not known yet.

        Args:
            given: how the call is written, for a layer with a `call` of its own.
        """
        return calling.infer(self, list(specs), given)

    def run_on_arrays(self, arrays: list[NDArray[Any]], training: bool | None) -> Any:
        """What the layer gives for arrays."""
        arrays, was_one = self._as_batches(arrays)
        self.ensure_built([(None, *a.shape[1:]) for a in arrays])
        results = calling.run_alone(self, arrays, training)
        return calling.one_or_list([result[0] if was_one else result for result in results])

    def _as_batches(self, arrays: list[NDArray[Any]]) -> tuple[list[NDArray[Any]], bool]:
        """Arrays with the samples on their first axis, and whether one sample was given without it."""
        return arrays, False

    def lower_given(self, graph: ProgramBuilder, given: Given | None, inputs: Sequence[Buffer]) -> Any:
        """`lower`, for a call that was written like this."""
        if is_own(type(self)):
            return lower_call(self, graph, given or usual_given(self, len(inputs)), inputs)
        return self.lower(graph, *inputs)

    # --- what `lower` is written with

    def use(self, graph: ProgramBuilder, weight: Weight) -> Buffer:
        """The buffer of a weight, with or without gradient as the `trainable` of its layer says."""
        owner = weight.owner or self
        return graph.variable(weight, weight.role, trainable=owner.trainable and weight.trainable)

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


add_kind("layer", Layer, LAYERS.serialize, LAYERS.get)
for _kind, _base, _family in (
    ("initializer", initializers.Initializer, initializers),
    ("regularizer", regularizers.Regularizer, regularizers),
    ("constraint", constraints.Constraint, constraints),
):
    add_kind(_kind, _base, _family.serialize, _family.get)
