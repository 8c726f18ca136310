"""Other heads for a network: which layer makes the classes, another one in its place, or a first one.

What is made shares all other layers with the model that it is made from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kernelearn.errors import ArgumentError
from kernelearn.layers.core.own import is_own
from kernelearn.layers.core.tensor import Node
from kernelearn.models.transfer import inputs_of, recall

if TYPE_CHECKING:
    from kernelearn.layers.core.base import Layer
    from kernelearn.models.model import Model

POOLINGS = ("avg", "max", "flatten")


@dataclass(frozen=True)
class Head:
    """The end of a network: a last layer with weights, and what follows it without any.

    Attributes:
        node: the call of the layer with weights.
        behind: the calls after it, in order, without a last activation.
        has_activation: whether the answer goes through an activation at the end.
    """

    node: Node
    behind: list[Node]
    has_activation: bool


def replace_head(model: Model, classes: int, activation: Any, name: str | None) -> Model:
    """See `Model.replace_head`."""
    from kernelearn.models.model import Model

    _check_one_output(model.need_shapes(), "replace_head")
    last = model.outputs[0].node
    if isinstance(last.layer, Model) and last in model.calls and not is_own(type(last.layer)):
        inner = replace_head(last.layer, classes, activation, name)
        return Model(inputs_of(model), recall(last, last.inputs, inner)[0], name=model.name)
    head = _head(model)
    layer = _new_head(model, head, classes, activation, name)
    x: Any = layer(head.node.inputs[0])
    for node in head.behind:
        x = recall(node, [x])[0]
    if head.behind and activation is not None:
        x = _activation(model, activation)(x)
    return Model(inputs_of(model), x, name=model.name)


def add_head(model: Model, classes: int, activation: Any, pooling: str, name: str | None) -> Model:
    """See `Model.add_head`."""
    from kernelearn.layers import Dense
    from kernelearn.models.model import Model

    _check_one_output(model.need_shapes(), "add_head")
    if pooling not in POOLINGS:
        raise ArgumentError(f"pooling must be one of {', '.join(map(repr, POOLINGS))}; got {pooling!r}.")
    x: Any = model.outputs[0]
    if len(x.shape) > 2:
        x = _pooling(len(x.shape) - 2, pooling)(x)
    return Model(inputs_of(model), _named(model, Dense(classes, activation=activation, name=name))(x))


def head_layer(model: Model) -> Layer:
    """The layer that `replace_head` would replace.

    Raises: ArgumentError if there is none.
    """
    _check_one_output(model.need_shapes(), "replace_head")
    last = model.outputs[0].node.layer
    from kernelearn.models.model import Model

    return head_layer(last) if isinstance(last, Model) and not is_own(type(last)) else _head(model).node.layer


def _check_one_output(model: Model, what: str) -> None:
    if len(model.outputs) != 1 or is_own(type(model)):
        raise ArgumentError(
            f"{what} needs a model of joined layers with one output; {model.name!r} has "
            + (
                "a call of its own."
                if is_own(type(model))
                else f"{len(model.outputs)}: {model.output_names}."
            )
        )


def _head(model: Model) -> Head:
    """Walk back from the output over calls without weights, to the layer that makes the classes."""
    from kernelearn.layers import Activation, Conv1D, Conv2D, Conv3D, Dense, Softmax

    behind: list[Node] = []
    node = model.outputs[0].node
    has_activation = isinstance(node.layer, Activation | Softmax)
    while node in model.calls and not node.layer.weights and len(node.inputs) == 1:
        behind.insert(0, node)
        node = node.inputs[0].node
    layer = node.layer if node in model.calls else None
    is_map = len(model.outputs[0].shape) > 2
    is_conv = isinstance(layer, Conv1D | Conv2D | Conv3D)
    is_pointwise = is_conv and set(layer.kernel_size) == {1}  # type: ignore[union-attr]
    if not isinstance(layer, Dense) and not (is_conv and (is_map or is_pointwise)):
        found = (
            f"ends in {type(layer).__name__} {layer.name!r}"
            if layer
            else "has no layer with weights at its end"
        )
        raise ArgumentError(
            "replace_head needs a model with one output that ends in a Dense layer, or in a convolution of "
            f"size 1 (pooling, Flatten and an Activation may follow); {model.name!r} {found}. For a "
            "network without a head use add_head(classes)."
        )
    return Head(node, behind[:-1] if has_activation else behind, has_activation)


def _new_head(model: Model, head: Head, classes: int, activation: Any, name: str | None) -> Layer:
    """A layer of the same kind for other classes, with fresh weights."""
    old = head.node.layer
    config = {k: v for k, v in old.get_config().items() if k not in ("name", "trainable")}
    size = "units" if "units" in config else "filters"
    # What stands behind it keeps the layer's own activation in front of it: ReLU before a pooling.
    own = activation if not head.behind else (config.get("activation") if head.has_activation else None)
    made: Layer = type(old).from_config({**config, size: classes, "activation": own, "name": name})
    return _named(model, made)


def _activation(model: Model, activation: Any) -> Layer:
    from kernelearn.layers import Activation

    return _named(model, Activation(activation))


def _named(model: Model, layer: Layer) -> Layer:
    """The layer, with a name that the model has not."""
    taken = {other.name for other in model.layers}
    stem, number = layer.name, 1
    while layer.name in taken:
        layer.name, number = f"{stem}_{number}", number + 1
    return layer


def _pooling(axes: int, kind: str) -> Layer:
    from kernelearn import layers

    if kind == "flatten":
        return layers.Flatten()
    made: Layer = getattr(layers, f"Global{'Average' if kind == 'avg' else 'Max'}Pooling{axes}D")()
    return made
