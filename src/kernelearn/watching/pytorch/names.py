"""The weights of a module under the paths of a run: "layer1.0.conv1/kernel" for layer1.0.conv1.weight."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from kernelearn.watching.pytorch.layouts import array_of, kernel_last, weight_name
from kernelearn.watching.seen import Array, SeenWeight

Turn = Callable[[Array], Array]
_WRAPPERS = ("module.", "_orig_mod.")


def _same(array: Array) -> Array:
    return array


def _turned(array: Array) -> Array:
    return array.T


class Names:
    """Path of every parameter and statistic of a module, and how each is turned into this library's layout.

    Attributes:
        paths: id of a tensor -> path.
        tensors: path -> tensor, in the order of the module.
        owners: path -> the module that holds it.
    """

    def __init__(self, module: Any) -> None:
        import torch

        self._torch = torch
        self.paths: dict[int, str] = {}
        self.tensors: dict[str, Any] = {}
        self.owners: dict[str, Any] = {}
        self._turns: dict[int, Turn] = {}
        for prefix, owner in module.named_modules():
            self._add(_plain(prefix) or type(module).__name__.lower(), owner)

    def _add(self, layer: str, owner: Any) -> None:
        nn = self._torch.nn
        is_norm = hasattr(owner, "running_mean") or isinstance(owner, nn.LayerNorm | nn.GroupNorm)
        own = [*owner.named_parameters(recurse=False), *owner.named_buffers(recurse=False)]
        for name, tensor in own:
            if tensor is None or id(tensor) in self.paths or not tensor.is_floating_point():
                continue
            path = f"{layer}/{weight_name(name, tuple(tensor.shape), is_norm)}"
            self.paths[id(tensor)], self.tensors[path], self.owners[path] = path, tensor, owner
            self._turns[id(tensor)] = self._usual_turn(owner, name)

    def _usual_turn(self, owner: Any, name: str) -> Turn:
        nn = self._torch.nn
        if name == "weight" and isinstance(owner, nn.modules.conv._ConvNd):
            return kernel_last
        return _turned if name == "weight" and isinstance(owner, nn.Linear) else _same

    def learn(self, uses: Iterable[Any]) -> None:
        """Note how the weights of some uses are laid out: own modules may use any parameter in any way."""
        for use in uses:
            dense = _turned if use.turned else _same
            self._turns[id(use.weight)] = dense if use.kind == "dense" else kernel_last

    def path(self, tensor: Any) -> str | None:
        """The path of a parameter; None for one that is not the module's."""
        return self.paths.get(id(tensor))

    def turned(self, tensor: Any, values: Any) -> Array:
        """Something of a parameter's shape (itself, its gradient, a slot) in this library's layout."""
        return self._turns[id(tensor)](array_of(values))

    def weights(self) -> Mapping[str, SeenWeight]:
        """Path -> weight, for all of them."""
        return {path: self._seen(tensor) for path, tensor in self.tensors.items()}

    def _seen(self, tensor: Any) -> SeenWeight:
        return SeenWeight(self.turned(tensor, tensor).shape, lambda: self.turned(tensor, tensor))


def _plain(prefix: str) -> str:
    """The name of a module without what wrappers put before it."""
    for wrapper in _WRAPPERS:
        while prefix.startswith(wrapper) or prefix == wrapper[:-1]:
            prefix = prefix[len(wrapper) :]
    return prefix.replace("._orig_mod", "")
