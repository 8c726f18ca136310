"""A step like the last one, past Dynamo: of PyTorch's own modules all that a step depends on is known.

Dynamo's guards look at some hundred objects one by one, and behind kernels that take the cache that is a
tenth of a step of a small network. Here the same is compared in a few long runs of C: the attributes of all
modules by identity, the sizes of their dictionaries, the functions that they call, and the state of the
process. Whatever differs, or is not understood, goes Dynamo's way, which compiles anew or not, as ever.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from kernelearn.torch.inside import GLOBAL_HOOKS, GlobalState, count_hooks, is_as_usual, keys_of

_PLAIN = (bool, int, float, str, type(None), torch.dtype)
_OWN = "torch.nn.modules."
_CONTAINERS = "torch.nn.modules.container"


class Shortcut:
    """A call that Dynamo let through, and what it depended on.

    Args:
        call: what Dynamo ran; given: what it was given.
        batch: what the step was called with.
    Raises: NotPlain where something is not understood.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Any,
        batch: Sequence[Any],
        call: Callable[..., Any],
        given: Sequence[Any],
    ) -> None:
        if not is_as_usual():
            raise NotPlain
        self.call, self._state, self._of = call, GlobalState(), (model, loss)
        modules = [*model.modules(), *(loss.modules() if isinstance(loss, nn.Module) else ())]
        if not isinstance(loss, nn.Module) and getattr(F, getattr(loss, "__name__", ""), None) is not loss:
            raise NotPlain
        self._modules, self._classes = modules, list(map(type, modules))
        self._hooks = count_hooks()
        self._dicts = list(_dicts_of(modules))
        self._sizes, self._values = list(map(len, self._dicts)), list(self._all_values())
        self._names = sorted(set(chain.from_iterable(map(_names_in, {*self._classes}))))
        self._functions = list(map(F.__dict__.get, self._names))
        own = (chain(m.parameters(recurse=False), m.buffers(recurse=False)) for m in modules)
        self._standing = list(chain.from_iterable(own))
        self._kinds = [(x.requires_grad, x.shape) for x in self._standing]
        self._batch = [_signature(x) for x in batch]
        self._aliases = _aliases(batch)
        known = {id(x) for x in self._standing}
        numbers = {id(x): number for number, x in enumerate(batch)}
        self._given = [x if id(x) in known else None for x in given]
        others = [(i, id(x)) for i, x in enumerate(given) if id(x) not in known]
        if known & numbers.keys() or not numbers.keys() >= {key for _, key in others}:
            raise NotPlain
        self._from_batch = [(i, numbers[key]) for i, key in others]

    def is_for(self, model: nn.Module, loss: Any, batch: Sequence[Any]) -> bool:
        """Whether Dynamo would find nothing that has changed."""
        return (
            model is self._of[0]
            and loss is self._of[1]
            and bool(self._state.check())
            and count_hooks() == self._hooks
            and is_as_usual()
            and len(batch) == len(self._batch)
            and all(type(x) is torch.Tensor for x in batch)
            and [_signature(x) for x in batch] == self._batch
            and _aliases(batch) == self._aliases
            and list(map(type, self._modules)) == self._classes
            and list(map(len, self._dicts)) == self._sizes
            and all(map(operator.is_, self._all_values(), self._values))
            and [(x.requires_grad, x.shape) for x in self._standing] == self._kinds
            and all(map(operator.is_, map(F.__dict__.get, self._names), self._functions))
        )

    def run(self, batch: Sequence[Any]) -> Any:
        """What Dynamo would run."""
        given = list(self._given)
        for position, number in self._from_batch:
            given[position] = batch[number]
        return self.call(*given)

    def _all_values(self) -> Iterator[Any]:
        return chain.from_iterable(map(dict.values, self._dicts))


class NotPlain(Exception):
    """A step depends on something that is not understood here."""


def _dicts_of(modules: Sequence[nn.Module]) -> Iterator[dict[str, Any]]:
    """What modules of PyTorch's own keep, and the hooks of all modules, where there are any.

    Raises: NotPlain for a module of another's, or one that keeps something else than numbers and tensors.
    """
    yield from filter(None, GLOBAL_HOOKS)
    for module in modules:
        kept = module.__dict__
        if not type(module).__module__.startswith(_OWN) or "forward" in kept:
            raise NotPlain
        yield kept
        for name, value in kept.items():
            if isinstance(value, dict):
                # NOTE: hooks are counted; of the other empty ones `forward` reads those of containers alone.
                if value or type(module).__module__ == _CONTAINERS:
                    yield value
            elif not (isinstance(value, set) and name == "_non_persistent_buffers_set") and not _is_plain(
                value
            ):
                raise NotPlain


def _is_plain(value: Any) -> bool:
    """Whether it cannot change without being another object."""
    return isinstance(value, _PLAIN) or (type(value) is tuple and all(map(_is_plain, value)))


def _names_in(kind: type) -> Iterator[str]:
    """Functions of `torch.nn.functional` that the methods of a class may call."""
    for base in kind.__mro__:
        if base.__module__.startswith(_OWN):
            for method in vars(base).values():
                yield from (n for n in getattr(method, "__code__", _Nameless).co_names if n in F.__dict__)


class _Nameless:
    co_names: tuple[str, ...] = ()


def _signature(x: Any) -> tuple[Any, ...]:
    """What Dynamo compares of a tensor, and its sizes, whichever of them may vary."""
    if type(x) is not torch.Tensor:
        raise NotPlain
    return x.shape, x.stride(), x.dtype, x.requires_grad, keys_of(x)


def _aliases(batch: Sequence[Any]) -> list[int]:
    """For each tensor the first that is the same one."""
    return [next(i for i, y in enumerate(batch) if y is x) for x in batch]
