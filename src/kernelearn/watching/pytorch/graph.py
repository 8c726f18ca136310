"""Uses of weights in a step, found in autograd's graph: nothing of the module is wrapped or changed.

From the outputs of a forward pass, `grad_fn` and `next_functions` lead to every convolution and matrix
product whose gradient will be computed. A node keeps the input that it used, in the type that it used; a hook
before it gets the gradient of its output, for exactly this call. So a shared module gives one use a call, an
own module that calls functions is seen too, and in-place operations behind a layer disturb nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kernelearn.watching.pytorch.layouts import array_of, images_last, kernel_last
from kernelearn.watching.seen import Array

# Nodes through which the gradient of a weight passes as it is, but for its axes.
_TURNS = ("TBackward", "TransposeBackward")
_PASSES = (*_TURNS, "ToCopyBackward", "ViewBackward", "AliasBackward", "CloneBackward", "UnsafeViewBackward")
COMPILED, CHECKPOINT = "CompiledFunction", "CheckpointFunction"
Guard = Callable[[Callable[..., Any]], Callable[..., Any]]


def _as_it_is(function: Callable[..., Any]) -> Callable[..., Any]:
    return function


@dataclass
class Use:
    """One use of a weight in one forward pass.

    Attributes:
        weight, bias: the parameters; None where there is no bias.
        kind: "conv", "conv_transpose" or "dense".
        turned: whether a dense weight is stored as (outputs, inputs).
        order: number of the weight's use in the pass, from 0.
        x, delta: in this library's layouts, once the backward pass has come by.
        attrs: of the operator.
        kernel_shape: as the operator has it here.
    """

    weight: Any
    bias: Any
    kind: str
    order: int
    turned: bool = True
    x: Array | None = None
    delta: Array | None = None
    attrs: dict[str, Any] = field(default_factory=dict)
    kernel_shape: tuple[int, ...] = ()

    def turned_right(self, weight: Array) -> Array:
        """The weight, or its gradient, in this library's layout."""
        if self.kind != "dense":
            return kernel_last(weight)
        return weight.T if self.turned else weight


class Inputs:
    """Where the inputs of uses are read: from the graph, or from what modules were called with.

    A tensor that activation checkpointing saved may be unpacked once, by PyTorch itself. The modules around
    it are hooked in the next recorded pass, and what they are called with is kept.

    Args:
        own: ids of the parameters of the module that is watched; other networks may stand before it.
    Attributes:
        are_needed: whether a saved tensor was met that must not be looked at.
        kept: id of a weight -> inputs of its module, in the order of the calls.
    """

    def __init__(self, own: Container[int]) -> None:
        self.own, self.are_needed = own, False
        self.kept: dict[int, list[Any]] = {}

    def reader(self, node: Any, name: str, use: Use) -> Callable[[], Array] | None:
        """How to read the input of a use; None if it cannot be read in this pass."""
        raw = getattr(node, f"_raw{name}", None)
        if getattr(raw, "unpack_hook", None) is None:
            return lambda: array_of(getattr(node, name))
        self.are_needed = True
        kept = self.kept.get(id(use.weight), [])
        if len(kept) <= use.order:
            return None
        return lambda: kept[use.order]


@dataclass
class Pass:
    """What one forward pass of the module left to its backward pass.

    Attributes:
        rows: images in it.
        guard: gives a hook that calls a function.
        uses: in the order of their calls.
        is_compiled: whether a compiled part hides what it does.
        derived: parameters that other code turns into a weight before it is used.
        is_checkpointed: whether a part is computed a second time behind the graph that is seen.
        handles: of the hooks; a hook and its node hold each other, so that they have to be removed.
    """

    rows: int
    guard: Guard = _as_it_is
    uses: list[Use] = field(default_factory=list)
    is_compiled: bool = False
    is_checkpointed: bool = False
    derived: list[Any] = field(default_factory=list)
    handles: list[Any] = field(default_factory=list)

    @property
    def came_back(self) -> bool:
        """Whether a backward pass came by; one without uses that are seen does not say."""
        return not self.uses or any(use.delta is not None for use in self.uses)

    def before(self, node: Any, hook: Callable[[Any], None]) -> None:
        """Call a hook with the gradients that come to a node."""
        self.handles.append(node.register_prehook(self.guard(hook)))

    def release(self) -> None:
        """Take the hooks away, whether the backward pass came by or not."""
        for handle in self.handles:
            handle.remove()
        self.handles.clear()


def find_uses(outputs: Iterable[Any], rows: int, inputs: Inputs, guard: Guard = _as_it_is) -> Pass:
    """Walk the graph below some outputs and put a hook before every use of a weight.

    Args:
        inputs: of modules whose saved tensors must not be looked at, see `Inputs`.
        guard: gives a hook that calls a function.
    """
    found = Pass(rows, guard)
    for node in sorted(_nodes(outputs), key=_number):
        name = node.name()
        found.is_compiled |= COMPILED in name
        found.is_checkpointed |= CHECKPOINT in name
        reader = _reader_of(node, name)
        if reader is None:
            continue
        use = reader(node, found, inputs)
        if use is not None:
            found.uses.append(use)
    return found


def _nodes(outputs: Iterable[Any]) -> Iterator[Any]:
    waiting = [output.grad_fn for output in outputs if output.grad_fn is not None]
    seen: set[Any] = set()
    while waiting:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        yield node
        waiting.extend(below for below, _ in node.next_functions if below is not None)


def _number(node: Any) -> int:
    return int(node._sequence_nr()) if hasattr(node, "_sequence_nr") else 0


Reader = Callable[[Any, Pass, Inputs], Use | None]


def _reader_of(node: Any, name: str) -> Reader | None:
    if "onvolution" in name and hasattr(node, "_saved_weight"):
        return _convolution
    return next((reader for beginning, reader in _PRODUCTS.items() if name.startswith(beginning)), None)


def _convolution(node: Any, found: Pass, inputs: Inputs) -> Use | None:
    edges = node.next_functions
    weight, _ = _leaf(edges[1][0], found.derived)
    if weight is None or id(weight) not in inputs.own:
        return None
    bias = _leaf(edges[2][0], [])[0] if len(edges) > 2 else None
    is_transposed = bool(getattr(node, "_saved_transposed", False))
    use = Use(weight, bias, "conv_transpose" if is_transposed else "conv", _calls_of(weight, found))
    attrs, read = _windows(node, weight.dim() - 2), inputs.reader(node, "_saved_input", use)
    if read is None:
        return None

    def before(gradients: Any) -> None:
        if gradients[0] is None:
            return
        use.x, use.delta = _copied(images_last(read())), _copied(images_last(array_of(gradients[0])))
        use.attrs = {**attrs, "output_size": list(use.delta.shape[1:-1])} if is_transposed else attrs
        shape = tuple(weight.shape)
        use.kernel_shape = (*shape[2:], shape[1], shape[0])

    found.before(node, before)
    return use


def _calls_of(weight: Any, found: Pass) -> int:
    """How often a weight was used in this pass so far."""
    return sum(use.weight is weight for use in found.uses)


def _windows(node: Any, rank: int) -> dict[str, Any]:
    """Attributes of a convolution, as JSON values."""
    padding = _numbers(node._saved_padding, rank)
    return {
        "stride": _numbers(node._saved_stride, rank),
        "padding": [[size, size] for size in padding],
        "dilation": _numbers(node._saved_dilation, rank),
        "groups": int(getattr(node, "_saved_groups", 1)),
    }


def _numbers(values: Any, rank: int) -> list[int]:
    found = [int(value) for value in values]
    return found * rank if len(found) == 1 else found[-rank:]


def _product(position: int, other: str, bias: int | None) -> Reader:
    """The reader of a matrix product whose operand number `position` may be a weight."""

    def reader(node: Any, found: Pass, inputs: Inputs) -> Use | None:
        edges = node.next_functions
        weight, turns = _leaf(edges[position][0], found.derived)
        if weight is None or weight.dim() != 2 or id(weight) not in inputs.own:
            return None
        of_bias = None if bias is None or len(edges) <= bias else _leaf(edges[bias][0], [])[0]
        # A linear layer multiplies by the transpose of what it stores.
        is_turned = bool(turns % 2) or node.name().startswith("Linear")
        use = Use(weight, of_bias, "dense", _calls_of(weight, found), is_turned)
        read = inputs.reader(node, other, use)
        if read is None:
            return None

        def before(gradients: Any) -> None:
            if gradients[0] is None:
                return
            use.x, use.delta = _copied(read()), _copied(array_of(gradients[0]))
            shape = tuple(weight.shape)
            use.kernel_shape = shape[::-1] if is_turned else shape

        found.before(node, before)
        return use

    return reader


# Beginning of a node's name -> who reads it: operand that may be the weight, where the other is, the bias.
_PRODUCTS: Mapping[str, Reader] = {
    "AddmmBackward": _product(2, "_saved_mat1", 0),
    "MmBackward": _product(1, "_saved_self", None),
    "LinearBackward": _product(1, "_saved_input", 2),
}


def _leaf(node: Any, derived: list[Any]) -> tuple[Any, int]:
    """(the parameter below an edge or None, how often it was transposed on the way).

    A weight that code of the user makes from parameters has several below it, or something else in between;
    these go into `derived`.
    """
    turns = 0
    while node is not None and not hasattr(node, "variable"):
        name = node.name()
        if not name.startswith(_PASSES):
            derived.extend(_leaves(node))
            return None, turns
        turns += name.startswith(_TURNS)
        node = node.next_functions[0][0]
    return (None if node is None else node.variable), turns


def _leaves(node: Any) -> list[Any]:
    """Parameters close below a node; a whole network below it means that it is no weight."""
    found, waiting, looked = [], [node], 0
    while waiting and looked < 32:
        below = waiting.pop()
        looked += 1
        if hasattr(below, "variable"):
            found.append(below.variable)
        waiting.extend(n for n, _ in below.next_functions if n is not None)
    return [] if waiting else found


def _copied(array: Array) -> Array:
    """A copy, in float32: what the step goes on with may be written over."""
    return np.array(array, np.float32, order="C", copy=True)
