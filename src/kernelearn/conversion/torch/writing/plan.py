"""The plan of a module: its parts with their arguments, in order, and where each weight goes. No PyTorch yet.

Values are (n, c, ...) in PyTorch where they are (n, ..., c) here; `Placed` keeps the account.
"""

from __future__ import annotations

import keyword
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from kernelearn.conversion.torch.layouts import inverse
from kernelearn.conversion.torch.placed import IMAGES, Placed, channels_first
from kernelearn.conversion.torch.shapes import reshaped_by
from kernelearn.errors import ArgumentError

Array = NDArray[Any]


@dataclass(frozen=True)
class Ref:
    """The result of a step, or an input; `name` is what the step is called in the graph."""

    name: str


@dataclass(frozen=True)
class State:
    """One entry of the state dict, and the weight here that it holds.

    Attributes:
        to_torch: the array as PyTorch has it.
        from_torch: gives the weights here their values; None for what is fixed.
        is_trained: whether gradients are computed for it.
        is_buffer: whether it is a buffer: running statistics, constants.
        paths: of the weights here.
        is_kept: False for constants that the module computes with and its state dict does not hold.
    """

    to_torch: Callable[[], Array]
    from_torch: Callable[[Array], None] | None = None
    is_trained: bool = True
    is_buffer: bool = False
    paths: tuple[str, ...] = ()
    is_kept: bool = True


def fixed(array: Array) -> State:
    """A constant of the module."""
    return State(lambda: array, None, False, True, is_kept=False)


@dataclass(frozen=True)
class Step:
    """One part of the module.

    Attributes:
        name: path in the module, "features.0", or the name of a value.
        kind: "module", "function" or "state".
        target: class name in torch.nn; dotted name of a function below torch or operator; "" for a state.
        args, keywords: of the constructor or of the function, with `Ref`s in a function's.
        inputs: of a module.
        states: name below the path -> what it holds.
    """

    name: str
    kind: str
    target: str
    args: tuple[Any, ...] = ()
    keywords: Mapping[str, Any] = field(default_factory=dict)
    inputs: tuple[Any, ...] = ()
    states: Mapping[str, State] = field(default_factory=dict)


# Attributes of torch.nn.Module, Sequential and torch.fx.GraphModule that are likely names of layers.
_TAKEN = frozenset((
    "add_module", "append", "apply", "buffers", "call", "children", "code", "compile", "cpu", "cuda",
    "double", "eval", "extend", "float", "forward", "graph", "half", "insert", "modules", "parameters",
    "pop", "recompile", "state_dict", "to", "train", "training", "type", "zero_grad",
))  # fmt: skip


def _is_taken(part: str) -> bool:
    return keyword.iskeyword(part) or part in _TAKEN


class Plan:
    """A module under construction."""

    def __init__(self, dtype: str, is_whole: bool = True) -> None:
        self.dtype, self.is_whole = dtype, is_whole
        self.steps: list[Step] = []
        self.inputs: list[Ref] = []
        self.orders: list[tuple[int, ...]] = []  # which axis of the model stands where, for each input
        self.outputs: list[Ref] = []
        self.output_orders: list[tuple[int, ...]] = []
        self.output_keys: list[str] | None = None
        self._names: dict[str, int] = {}
        self._shared: dict[tuple[int, str], str] = {}
        self.notes: list[str] = []
        self.shapes: dict[str, list[int]] = {}  # of arrays that came from PyTorch, by name
        self.buffers: dict[str, tuple[str, list[int]]] = {}  # layer -> name of its constant there, and axes
        self.flattened: dict[str, list[int]] = {}  # layer -> axes of what it flattens in PyTorch

    # --- what is added

    def unique(self, name: str) -> str:
        """A name that no part has yet, of parts that can be attributes of a module."""
        name = ".".join(part + "_" * _is_taken(part) for part in name.replace("/", ".").split("."))
        count = self._names.get(name, 0)
        self._names[name] = count + 1
        return name if not count else self.unique(f"{name}_{count}")

    def module(
        self,
        at: Site,
        target: str,
        x: Any,
        *args: Any,
        states: Mapping[str, State] | None = None,
        suffix: str = "",
        **keywords: Any,
    ) -> Ref:
        """A module of torch.nn applied to a value, or to a tuple of them. Calls of one layer share it."""
        key = (id(at.layer), suffix)
        if states and key in self._shared:
            name = self._shared[key]
            states = {}
        else:
            name = self.unique(at.name + suffix)
            self._shared[key] = name
        self.steps.append(Step(name, "module", target, args, keywords, (x,), states or {}))
        return self._result()

    def call(self, at: Site, target: str, *args: Any, suffix: str = "", **keywords: Any) -> Ref:
        """A function, "torch.cat", of values and numbers."""
        self.steps.append(Step(at.name + suffix, "function", target, args, keywords))
        return self._result()

    def state(self, at: Site, state: State, suffix: str = "") -> Ref:
        """A parameter or buffer as a value."""
        key = (id(at.layer), f"state{suffix}")
        known = key in self._shared
        name = self._shared.setdefault(key, at.name + suffix if known else self.unique(at.name + suffix))
        self.steps.append(Step(name, "state", "", states={} if known else {"": state}))
        return self._result()

    def constant(self, at: Site, array: Array, suffix: str) -> Ref:
        """A fixed array, with its axes as they are in the module."""
        return self.state(at, fixed(array), suffix)

    def buffer(self, name: str, array: Array) -> Ref:
        """A buffer under the name that it had in PyTorch."""
        is_known = any(step.name == name for step in self.steps)
        state = State(lambda: array, None, False, True)
        self.steps.append(Step(name, "state", "", states={} if is_known else {"": state}))
        return self._result()

    def _result(self) -> Ref:
        return Ref(f"value_{len(self.steps)}")

    def result_of(self, index: int) -> Ref:
        """What a step gives."""
        return Ref(f"value_{index + 1}")

    def note(self, sentence: str) -> None:
        """Remember, once, what is not as it was."""
        if sentence not in self.notes:
            self.notes.append(sentence)

    def warn(self) -> None:
        """Tell what is not as it was."""
        for note in self.notes:
            warnings.warn(f"to_torch: {note}", UserWarning, stacklevel=3)

    # --- values moved in place

    def ordered(self, at: Site, x: Placed, order: Sequence[int]) -> Placed:
        """A value with its axes in this order."""
        x = self.in_order(at, x)
        if tuple(order) == x.order:
            return x
        dims = tuple(x.order.index(axis) for axis in order)
        return Placed(self.call(at, "torch.permute", x.tensor, dims), x.shape, tuple(order))

    def in_order(self, at: Site, x: Placed) -> Placed:
        """A value whose features stand as the model has them."""
        if x.places is None:
            return x
        places = inverse(x.places)
        chosen = self.constant(at, places.astype(np.int64), "_order")
        return Placed(self.call(at, "torch.index_select", x.tensor, 1, chosen), x.shape, x.order)

    def plain(self, at: Site, x: Placed) -> Placed:
        """A value with its axes as the model has them."""
        return self.ordered(at, x, tuple(range(x.rank)))

    def images(self, at: Site, x: Placed, data_format: str = "channels_last") -> Placed:
        """A value with the channels on axis 1 in PyTorch."""
        order = channels_first(x.rank) if data_format == "channels_last" else tuple(range(x.rank))
        return self.ordered(at, x, order)

    def with_shape(self, at: Site, x: Placed, shape: Sequence[int]) -> Placed:
        """A value in another shape of the model."""
        return reshaped_by(
            x,
            tuple(shape),
            lambda value: self.in_order(at, value),
            lambda value, order: self.ordered(at, value, order),
            lambda value, sizes: self._reshaped(at, value, sizes),
        ) or at.refuse("mixes images with each other", "Keep the first axis for the images.")

    def _reshaped(self, at: Site, x: Ref, sizes: Sequence[int]) -> Ref:
        if len(sizes) == 1:
            return self.module(at, "Flatten", x, 1)
        return self.call(at, "torch.reshape", x, (-1, *sizes))


@dataclass(frozen=True)
class Site:
    """A layer where it is called.

    Attributes:
        layer: the layer.
        name: its path in the module.
        node: the call.
        shapes: of the results, `IMAGES` for the number of images.
    """

    layer: Any
    name: str
    node: Any
    shapes: tuple[tuple[int, ...], ...]

    def refuse(self, reason: str, remedy: str) -> NoReturn:
        """Raise ArgumentError that names the layer."""
        kind = type(self.layer).__name__
        function = f" of ops.{self.layer.function}" if kind == "OperationLayer" else ""
        raise ArgumentError(f"Layer {self.layer.name!r} ({kind}{function}) {reason}. {remedy}")

    def weight(
        self,
        name: str,
        to_torch: Callable[[Array], Array] = np.asarray,
        from_torch: Callable[[Array], Array] = np.asarray,
        is_buffer: bool = False,
    ) -> State:
        """A weight of the layer as an entry of the state dict."""
        weight = self.layer.weight_paths()[name]
        trained = not is_buffer and bool(self.layer.trainable and weight.trainable)

        def take(array: Array) -> None:
            weight.assign(from_torch(np.asarray(array, weight.dtype)))

        path = f"{self.name}/{name}"
        return State(lambda: to_torch(weight.numpy()), take, trained, is_buffer, (path,))


def sizes_known(site: Site, shape: Sequence[int | None]) -> tuple[int, ...]:
    """A shape with `IMAGES` first.

    Raises: ArgumentError if another size is open.
    """
    if any(size is None for size in shape[1:]):
        site.refuse(
            f"gives shape {tuple(shape)}, which has open sizes besides the number of images",
            "Give the model an input shape with whole numbers: model.build((None, 224, 224, 3)).",
        )
    return (IMAGES, *(int(size or 0) for size in shape[1:]))
