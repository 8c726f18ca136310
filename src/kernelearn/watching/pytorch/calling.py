"""How a module is called in its training, as a call that can be made again with tensors alone.

Models of Transformers are called by names, `model(pixel_values=..., labels=...)`, with switches and None in
between, take their targets and give their loss. `from_torch` reads a module that takes tensors and gives
tensors: here a copy becomes one, by a `forward` of its own that fills in the rest.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# What a module calls its targets and the rest of its answer, where it gives its loss itself.
TARGETS, LOSS, ANSWER = "labels", "loss", "logits"
# Losses that such a module may have computed, by the class of torch.nn.
_INNER = ("CrossEntropyLoss", "MSELoss", "BCEWithLogitsLoss")
_SAME = 1e-5


@dataclass(frozen=True)
class Example:
    """A call of a module with few images.

    Attributes:
        arguments, options: that it was called with; tensors are detached, on the processor, of two images.
        tensors: all of them, but for targets that the answer does without.
    """

    arguments: tuple[Any, ...]
    options: Mapping[str, Any]

    @property
    def tensors(self) -> tuple[Any, ...]:
        """What the module computes its answer from, in the order of the call."""
        return tuple(leaf for leaf in self._flat()[0] if _is_tensor(leaf))

    @property
    def targets(self) -> Any:
        """What it was given to compare its answer with; None for nothing."""
        return self.options.get(TARGETS)

    def _flat(self) -> tuple[list[Any], Any]:
        from torch.utils import _pytree

        options = {name: value for name, value in self.options.items() if name != TARGETS}
        return _pytree.tree_flatten((self.arguments, options))

    def ask(self, module: Any) -> None:
        """Let a module, a copy, be called with `tensors` alone, and give tensors without a loss."""
        from torch.utils import _pytree

        leaves, spec = self._flat()
        if not self.options and all(_is_tensor(one) for one in self.arguments):
            return
        kind = type(module)

        def forward(self: Any, *given: Any) -> Any:
            values = iter(given)
            filled = [next(values) if _is_tensor(leaf) else leaf for leaf in leaves]
            arguments, options = _pytree.tree_unflatten(filled, spec)
            return answer_of(kind.forward(self, *arguments, **options))

        module.__class__ = type(kind.__name__, (kind,), {"forward": forward, "__module__": kind.__module__})


def example_of(arguments: tuple[Any, ...], options: Mapping[str, Any]) -> Example | None:
    """The call of a module, of two of its images; None where no image was seen."""
    from torch.utils import _pytree

    leaves, spec = _pytree.tree_flatten((arguments, dict(options)))
    rows = next((len(leaf) for leaf in leaves if _is_tensor(leaf) and leaf.dim()), 0)
    if not rows:
        return None

    def few(leaf: Any) -> Any:
        if not _is_tensor(leaf):
            return leaf
        is_by_image = leaf.dim() and len(leaf) == rows
        return (leaf.detach()[:2] if is_by_image else leaf.detach()).cpu().clone()

    arguments, options = _pytree.tree_unflatten([few(leaf) for leaf in leaves], spec)
    return Example(arguments, options)


def answer_of(outputs: Any) -> Any:
    """What a module gives besides its loss: its answer where that has its usual name, else all tensors."""
    if not isinstance(outputs, Mapping):
        return outputs
    if _is_tensor(outputs.get(ANSWER)):
        return outputs[ANSWER]
    rest = {name: value for name, value in outputs.items() if name != LOSS and _is_tensor(value)}
    return next(iter(rest.values())) if len(rest) == 1 else rest


def loss_within(module: Any, example: Example) -> Any:
    """The loss of torch.nn that a module computes itself, found by comparing numbers; None for another.

    A module that was given targets is asked once more, in a copy.
    """
    import torch

    if not _is_tensor(example.targets):
        return None
    with torch.no_grad():
        twin = copy.deepcopy(module).cpu().eval()
        outputs = twin(*example.arguments, **example.options)
        if not isinstance(outputs, Mapping) or not _is_tensor(outputs.get(LOSS)):
            return None
        given, loss = answer_of(outputs), outputs[LOSS]
        for name in _INNER:
            criterion = getattr(torch.nn, name)()
            if _is_same(criterion, given, example.targets, loss):
                return criterion
    return None


def _is_same(criterion: Any, answer: Any, targets: Any, loss: Any) -> bool:
    if not _is_tensor(answer) or loss.dim():
        return False
    if targets.is_floating_point() and targets.shape != answer.shape:
        return False
    try:
        found = criterion(answer, targets)
    except (RuntimeError, ValueError, IndexError):  # targets of another kind
        return False
    return bool((found - loss).abs() <= _SAME * loss.abs())


def _is_tensor(value: Any) -> bool:
    return hasattr(value, "grad_fn")
