"""The network under construction: layers with names and weights of the module, values moved in place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernelearn import layers
from kernelearn.conversion.torch.layouts import inverse
from kernelearn.conversion.torch.placed import IMAGES, Placed, channels_last
from kernelearn.conversion.torch.reading.table import Call
from kernelearn.layers.core.operation import OperationLayer
from kernelearn.layers.core.structure import taken_apart
from kernelearn.layers.core.tensor import Tensor


@dataclass(frozen=True)
class Learned:
    """A tensor of the module that becomes a weight.

    Attributes:
        tensor: as PyTorch has it.
        moved: gives it the layout of the layer.
    """

    tensor: Any
    moved: Callable[[Any], Any] = np.asarray


@dataclass
class Network:
    """Makes layers, one after another.

    Attributes:
        dtype: float type of the layers.
        names: id of a tensor of the module -> its name in the state dict.
        origins: id of a tensor that was computed from others of the module -> what it was computed from.
        taken: weight here, "features.0/kernel" -> its name in the state dict.
        notes: what is not as it was, one sentence each.
        roots: id of a tensor that has the numbers of one of the module in another shape -> that one.
        shapes: name of an array that is no weight of a layer -> its shape in PyTorch.
        kept: names in the state dict.
        buffers: layer -> name of the fixed tensor of the module that it computes with, and which of that
            tensor's axes stands where.
        flattened: layer that flattens -> which axis of the module stands where in its input.
        start: the first input, of which arrays that are the same for every image take the number of images.
    """

    dtype: str
    names: Mapping[int, str] = field(default_factory=dict)
    origins: dict[int, tuple[str, ...]] = field(default_factory=dict)
    taken: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    roots: dict[int, Any] = field(default_factory=dict)
    shapes: dict[str, list[int]] = field(default_factory=dict)
    kept: frozenset[str] = frozenset()
    buffers: dict[str, tuple[str, list[int]]] = field(default_factory=dict)
    flattened: dict[str, list[int]] = field(default_factory=dict)
    start: Any = None
    _layer_names: set[str] = field(default_factory=set)
    _shared: dict[Any, Any] = field(default_factory=dict)
    _owner: dict[str, Any] = field(default_factory=dict)

    def unique(self, name: str) -> str:
        """A name that no layer has yet."""
        stem = name.strip(".") or "torch"
        found, number = stem, 0
        while found in self._layer_names:
            number += 1
            found = f"{stem}_{number}"
        self._layer_names.add(found)
        return found

    def note(self, sentence: str) -> None:
        """Remember, once, what is not as it was."""
        if sentence not in self.notes:
            self.notes.append(sentence)

    # --- layers

    def layer(
        self, call: Call, kind: Any, inputs: Any, weights: Mapping[str, Learned] | None = None, **given: Any
    ) -> Tensor:
        """A layer of this class called on tensors, with the weights of the module.

        Args:
            kind: the class.
            inputs: a tensor or a list of them; a tuple for a layer that takes them one by one.
            weights: path of a weight below the layer -> what it holds.
            given: arguments of the class; `suffix` is added to the name of the call, `places` says in which
                order features stand.
        """
        suffix, places = given.pop("suffix", ""), given.pop("places", None)
        if not weights:
            return _called(self._made(call, kind, suffix, given), inputs)
        use = (kind.__name__, repr(sorted(given.items())), None if places is None else places.tobytes())
        key = (*use, suffix, *sorted(self._sources(weights)))
        if key in self._shared:
            return _called(self._shared[key], inputs)
        self._check_not_tied(call, weights, use)
        made = self._made(call, kind, suffix, given)
        result = _called(made, inputs)
        paths = made.weight_paths()
        self.fill(made, {path: (paths[path], part) for path, part in weights.items()})
        self._shared[key] = made
        return result

    def _made(self, call: Call, kind: Any, suffix: str, given: Mapping[str, Any]) -> Any:
        return kind(**given, name=self.unique(call.name + suffix), dtype=self.dtype)

    def fill(self, layer: Any, parts: Mapping[str, tuple[Any, Learned]]) -> None:
        """Give weights their values, names and whether they are trained."""
        trained = []
        for path, (weight, part) in parts.items():
            weight.assign(part.moved(self.array(part.tensor)))
            name = self.names.get(id(part.tensor))
            if name is not None:
                self.taken[f"{layer.name}/{path}"] = name
            if weight.role == "parameter":
                trained.append((weight, bool(part.tensor.requires_grad)))
        if trained and not any(wanted for _, wanted in trained):
            layer.trainable = False
        for weight, wanted in trained:
            if not wanted and layer.trainable:
                weight.trainable = False
                self.note(
                    f"{layer.name}: {weight.name} is not trained; a file of the model does not keep that."
                )

    def _sources(self, weights: Mapping[str, Learned]) -> list[str]:
        return [
            name
            for part in weights.values()
            for name in self.origins.get(
                id(part.tensor), (self.names.get(id(part.tensor), str(id(part.tensor))),)
            )
        ]

    def _check_not_tied(self, call: Call, weights: Mapping[str, Learned], use: Any) -> None:
        for name in self._sources(weights):
            if self._owner.setdefault(name, use) != use:
                call.refuse(
                    f"uses {name!r}, which another operation uses too, in another way: tied weights "
                    "would come "
                    "apart in training",
                    "Give each its own copy of the parameter before converting.",
                )

    def op(self, call: Call, function: str, *args: Any, suffix: str = "", **keywords: Any) -> Any:
        """A function of `kernelearn.ops` as a node; tensors stand among the arguments."""
        given, tensors = taken_apart(args, keywords, lambda value: isinstance(value, Tensor))
        made = OperationLayer(
            function, given.args, given.keywords, name=self.unique(call.name + suffix), dtype=self.dtype
        )
        result = made(tensors if len(tensors) > 1 else tensors[0])
        return made.arranged(result if isinstance(result, list) else [result])

    # --- constants

    def array(self, tensor: Any) -> NDArray[Any]:
        """Numbers of a tensor of the module, floats in the type of the layers."""
        values = tensor.detach().cpu()
        if values.is_floating_point():
            return np.asarray(values.double().numpy(), dtype=self.dtype)
        return np.asarray(values.numpy())

    def keep_name(self, result: Any, tensor: Any, order: Sequence[int]) -> None:
        """Remember which buffer of the module a layer computes with, to give it back by its name.

        Args:
            result: of the layer.
            tensor: of the module.
            order: which axis of the module stands where in the layer.
        """
        name = self.names.get(id(tensor))
        if name in self.kept:
            self.buffers[result.node.layer.name] = (name, list(order))
            self.shapes[name] = list(tensor.shape)

    def is_learned(self, tensor: Any) -> bool:
        """Whether a tensor is a parameter that is trained, or was computed from one."""
        return bool(tensor.requires_grad) or id(tensor) in self.origins

    # --- values moved in place

    def ordered(self, call: Call, x: Placed, order: Sequence[int]) -> Placed:
        """A value with its axes in this order."""
        x = self.in_order(call, x)
        order = tuple(order)
        if order == x.order:
            return x
        if order[0] != x.order[0]:
            call.refuse(
                f"needs axis {order[0]} of its input first, where the images (axis {x.order[0]}) have "
                "to stay",
                "Keep the images on axis 0 of the module.",
            )
        dims = [x.order.index(axis) for axis in order[1:]]
        if _moves_nothing(x, order):
            tensor = self.layer(
                call,
                layers.Reshape,
                x.tensor,
                suffix=".reshape",
                target_shape=[x.shape[axis] for axis in order[1:]],
            )
        else:
            tensor = self.layer(call, layers.Permute, x.tensor, dims=dims, suffix=".permute")
        return Placed(tensor, x.shape, order)

    def in_order(self, call: Call, x: Placed) -> Placed:
        """A value whose features stand in the order of the module."""
        if x.places is None:
            return x
        tensor = self.op(call, "take", x.tensor, inverse(x.places), axis=-1, suffix=".reorder")
        return Placed(tensor, x.shape, x.order)

    def plain(self, call: Call, x: Placed) -> Placed:
        """A value with its axes as the module has them, but for the images, which stay first."""
        rest = [axis for axis in range(x.rank) if axis != x.images_axis]
        return self.ordered(call, x, (x.images_axis, *rest))

    def images(self, call: Call, x: Placed) -> Placed:
        """A value (n, c, *space) with the channels last."""
        if x.shape[0] != IMAGES:
            call.refuse(
                f"is given a value of shape {shown(x.shape)}, whose first axis is not that of the images",
                "Give the module inputs with a batch axis, and keep it first.",
            )
        return self.ordered(call, x, channels_last(x.rank))


def _called(layer: Any, inputs: Any) -> Any:
    return layer(*inputs) if isinstance(inputs, tuple) else layer(inputs)


def _moves_nothing(x: Placed, order: Sequence[int]) -> bool:
    """Whether only axes of size 1 change their places."""
    return [a for a in x.order if x.shape[a] != 1] == [a for a in order if x.shape[a] != 1]


def shown(shape: Sequence[int]) -> tuple[Any, ...]:
    """A shape for a message, None for the images, "6 n" for six times as many as there are images."""
    return tuple(_shown(size) for size in shape)


def _shown(size: int) -> Any:
    if size == IMAGES:
        return None
    return f"{size // IMAGES} n" if size and size % IMAGES == 0 else size
