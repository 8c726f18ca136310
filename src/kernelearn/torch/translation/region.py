"""A region under construction: nodes of PyTorch's graph become operations of one program.

Rules ask it for the buffers of a node's tensors in the order of axes that they work in. Where an order is not
the one that a buffer has, a transposition is added; rewrites join it with what is beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.fx import Node

from kernelearn.engine.program import Buffer, ProgramBuilder
from kernelearn.torch.translation.table import BESIDES_FLOATS, RULES, CannotTranslate, arguments
from kernelearn.torch.translation.values import Order, Value, channels_last

# Operators whose result is the memory of what they are given.
SAME_MEMORY = ("reshape", "fix_images", "open_images", "stop_gradient")
FLOATS = (torch.float32, torch.bfloat16)
# How the engine calls the types that an input may have. Numbers of bfloat16 are float32 inside a region.
NAMES = {
    torch.float32: "float32",
    torch.bfloat16: "float32",
    torch.int64: "int64",
    torch.int32: "int32",
    torch.bool: "bool",
}


class Region:
    """Adds nodes to a program.

    Attributes:
        graph: the builder.
        given: what the region is given, in the order in which it was asked for.
        declared: given node -> its value as it was declared, in the order of its memory.
        uncounted: name of class numbers -> the number of those that do not count.
    """

    def __init__(self) -> None:
        self.graph = ProgramBuilder(training=True)
        self.declared: dict[Node, Value] = {}
        self.uncounted: dict[str, int] = {}
        self._values: dict[Node, Value | tuple[Value | None, ...]] = {}

    # ------------------------------------------------------------------ what rules ask for
    def images(self, node: Node) -> Buffer:
        """A tensor of images with channels last."""
        if self.shape(node)[:1] != (None,):
            raise CannotTranslate(f"the first axis of {tuple(node.meta['val'].shape)} does not count images")
        return self.take(node, channels_last(len(self.shape(node))))

    def plain(self, node: Node) -> Buffer:
        """A tensor with the axes in PyTorch's order."""
        return self.take(node, tuple(range(len(self.shape(node)))))

    def weight(self, node: Node, order: Order) -> Buffer:
        """A tensor without images, with its axes in this order."""
        if self.shape(node)[:1] == (None,):
            raise CannotTranslate(f"a weight of shape {tuple(node.meta['val'].shape)} comes from the images")
        if len(order) != len(self.shape(node)):
            raise CannotTranslate(f"a weight has {len(self.shape(node))} axes; {len(order)} were expected")
        return self.take(node, order)

    def take(self, node: Node, order: Order) -> Buffer:
        """A tensor with axis order[k] as axis k."""
        return self.turned(self.value(node), order)

    def value(self, node: Node) -> Value:
        """A tensor as it lies."""
        if node not in self._values:
            self._declare(node)
        found = self._values[node]
        if not isinstance(found, Value):
            raise CannotTranslate(f"{node} is several tensors")
        return found

    def alike(self, *nodes: Node) -> tuple[list[Buffer], Order]:
        """Tensors of equal rank as buffers of one order, and that order: the first one's."""
        order = self.value(nodes[0]).order
        if any(len(self.shape(node)) != len(order) for node in nodes):
            raise CannotTranslate(f"tensors of {[len(self.shape(node)) for node in nodes]} axes")
        return [self.take(node, order) for node in nodes], order

    def turned(self, value: Value, order: Order) -> Buffer:
        """A value's buffer with axis order[k] of the tensor as axis k."""
        if value.order == order:
            return value.buffer
        axes = tuple(value.order.index(axis) for axis in order)
        shape = value.buffer.shape
        moved = [axis for axis in axes if shape[axis] != 1]
        if moved == sorted(moved):  # the same memory
            return self.add("reshape", value.buffer, shape=tuple(shape[axis] for axis in axes))
        if shape[:1] == (None,) and axes[0] != 0:
            raise CannotTranslate("the axis of the images would not be the first any more")
        return self.add("transpose", value.buffer, axes=axes)

    def shape(self, node: Node) -> tuple[int | None, ...]:
        """A tensor's sizes in PyTorch's order, None for the number of images."""
        value = self._values.get(node)
        if not isinstance(value, Value):
            return sizes(node)
        return tuple(value.buffer.shape[value.order.index(axis)] for axis in range(len(value.order)))

    def precision(self, node: Node) -> str:
        """What operands of a product are rounded to."""
        return "bfloat16" if node.meta["val"].dtype == torch.bfloat16 else "float32"

    def add(self, operator: str, *buffers: Buffer, **attrs: Any) -> Any:
        """An operation; its result, or a tuple of them."""
        return self.graph.add(operator, *buffers, **attrs)

    # ------------------------------------------------------------------ what the walk over the graph asks for
    def translate(self, node: Node) -> None:
        """Add a node; what it reads and no node before it made is given to the region."""
        if is_getitem(node):
            source, number = node.args
            picked = self.picked(source, number)  # type: ignore[arg-type]
            if picked is None:
                raise CannotTranslate(f"result {number} of {source} is not computed")
            self._values[node] = picked
            return
        rule = RULES.get(node.target)
        if rule is None:
            raise CannotTranslate(f"{name_of(node)} has no translation")
        _check_given(node)
        with self.graph.scope(node.name):
            found = rule(self, node, *arguments(node))
        _compare(node, found)
        self._values[node] = found
        _check_results(self, node)

    def picked(self, source: Node, number: int) -> Value | None:
        """One of several results; None if the rule does not give it."""
        values = self._values.get(source)
        return values[number] if isinstance(values, tuple) and number < len(values) else None

    def root(self, name: str) -> str:
        """The buffer whose memory this one is."""
        made = {op.outputs[0]: op.inputs[0] for op in self.graph.operations if op.operator in SAME_MEMORY}
        while name in made:
            name = made[name]
        return name

    def _declare(self, node: Node) -> None:
        """An input of the program, in the order of its memory (the axis of the images is the first)."""
        tensor, shape = node.meta["val"], self.shape(node)
        order = memory_order(tensor, is_batched(node))
        name = f"given/{node.name}"
        declare = self.graph.input if is_batched(node) else self.graph.given_weight
        buffer = declare(name, tuple(shape[axis] for axis in order), NAMES[tensor.dtype])
        self.declared[node] = self._values[node] = Value(buffer, order)


def is_getitem(node: Node) -> bool:
    """Whether a node takes one of several results."""
    return getattr(node.target, "__name__", "") == "getitem" and node.target not in RULES


def is_batched(node: Node) -> bool:
    """Whether the first axis of a tensor counts images."""
    return bool(node.meta.get("batched"))


def sizes(node: Node) -> tuple[int | None, ...]:
    """A tensor's sizes, None for the number of images.

    Raises: CannotTranslate where another size is open.
    """
    shape = tuple(node.meta["val"].shape)
    found = (None, *shape[1:]) if is_batched(node) else shape
    if any(size is not None and type(size) is not int for size in found):
        raise CannotTranslate(f"sizes other than the number of images are open: {shape}")
    return found


def memory_order(tensor: torch.Tensor, is_of_images: bool) -> Order:
    """The axes of a tensor from the farthest apart to the nearest; as they are where memory has gaps."""
    plain, steps = tuple(range(tensor.dim())), tensor.stride()
    orders = [plain, channels_last(len(plain))]
    if all(type(step) is int for step in steps):
        orders.append(tuple(sorted(plain, key=lambda axis: -steps[axis])))
    dense = (order for order in orders if lies_in(tensor, order) and (not is_of_images or order[0] == 0))
    return next(dense, plain)


def lies_in(tensor: torch.Tensor, order: Order) -> bool:
    """Whether a tensor lies in memory in this order of its axes, without gaps."""
    step: Any = 1
    for axis in reversed(order):
        size = tensor.shape[axis]
        # NOTE: an open size is never compared: that would be a guard of Dynamo's.
        if (type(size) is not int or size != 1) and tensor.stride(axis) != step:
            return False
        step = step * size
    return True


def name_of(node: Node) -> str:
    """How people know an operator."""
    return (
        str(node.target)
        if hasattr(node.target, "_schema")
        else getattr(node.target, "__name__", str(node.target))
    )


def _compare(node: Node, found: Value | tuple[Value | None, ...]) -> None:
    """Whether the sizes of what a rule gave are those that PyTorch says."""
    meta = node.meta["val"]
    values: Sequence[Value | None] = found if isinstance(found, tuple) else (found,)
    tensors = meta if isinstance(meta, tuple | list) else (meta,)
    for value, tensor in zip(values, tensors, strict=False):
        if value is None:
            continue
        if (value.buffer.dtype == "bool") != (tensor.dtype == torch.bool):
            raise CannotTranslate(
                f"{name_of(node)} would be of type {value.buffer.dtype}, not {tensor.dtype}"
            )
        shape = tuple(tensor.shape)
        said = tuple(shape[axis] for axis in value.order)
        made = value.buffer.shape
        opened = (None, *said[1:]) if made[:1] == (None,) else said
        if len(made) != len(said) or any(type(b) is type(a) and a != b for a, b in zip(made, opened)):
            raise CannotTranslate(f"{name_of(node)} would have shape {made} instead of {said}")


def _check_results(region: Region, node: Node) -> None:
    """Whether all results that somebody reads are computed, and have a type that the engine has."""
    if isinstance(node.meta["val"], torch.Tensor):
        _check_type(node.meta["val"])
        return
    read = [user.args[1] for user in node.users if is_getitem(user)]
    for number, value in enumerate(node.meta["val"]):
        if region.picked(node, number) is not None:
            _check_type(value)
        elif number in read:
            raise CannotTranslate(f"result {number} of {name_of(node)} is not computed")


def _check_given(node: Node) -> None:
    taken = BESIDES_FLOATS[node.target]
    whole, conditions = (
        {id(n) for i in numbers for n in _nodes(arguments(node)[i])}
        for numbers in (taken.whole_numbers, taken.conditions)
    )
    for source in node.all_input_nodes:
        value = source.meta.get("val")
        if not isinstance(value, torch.Tensor):
            continue
        if id(source) in whole and value.dtype in (torch.int64, torch.int32):
            continue
        _check_type(value, id(source) in conditions)
        if value.dtype != torch.float32 and source.meta.get("of_module"):
            raise CannotTranslate(f"weights of type {value.dtype}")


def _check_type(value: torch.Tensor, may_be_condition: bool = True) -> None:
    allowed = FLOATS if torch.is_autocast_enabled("cpu") else FLOATS[:1]
    allowed = (*allowed, torch.bool) if may_be_condition else allowed
    if value.dtype not in allowed or value.device.type != "cpu" or value.layout != torch.strided:
        raise CannotTranslate(f"a tensor of {value.dtype} on {value.device}")


def _nodes(argument: object) -> list[Node]:
    if isinstance(argument, Node):
        return [argument]
    return [n for n in argument if isinstance(n, Node)] if isinstance(argument, tuple | list) else []
