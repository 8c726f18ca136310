"""The weights of a module under the paths of a run: "layer1.0.conv1/kernel" for layer1.0.conv1.weight."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from kernelearn.watching.pytorch.layouts import array_of, kernel_last, weight_name
from kernelearn.watching.seen import Array, SeenWeight

Turn = Callable[[Array], Array]


def plain_module(module: Any) -> Any:
    """The module inside of wrappers: of compiled code, of several processes."""
    import torch

    while True:
        if hasattr(module, "_orig_mod"):
            module = module._orig_mod
        elif isinstance(module, torch.nn.parallel.DistributedDataParallel):
            module = module.module
        else:
            return module


_WRAPPERS = ("module.", "_orig_mod.")


def _same(array: Array) -> Array:
    return array


def _turned(array: Array) -> Array:
    return array.T


@dataclass(frozen=True)
class Placement:
    """Where the model of a run has the numbers of a parameter.

    Attributes:
        path, shape: there.
        rows: of a dense kernel: which row of the parameter each of its rows is; None for the same order.
    """

    path: str
    shape: tuple[int, ...]
    rows: Array | None


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
        self._placements: dict[int, Placement] = {}
        self._constants: dict[str, Array] = {}
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

    def changed(self, module: Any) -> tuple[list[str], list[str]]:
        """(names of parameters that are new in a module, paths of those that it has no more)."""
        now = {id(p): name for name, p in module.named_parameters()}
        new = [name for key, name in now.items() if key not in self.paths]
        kept = self._torch.nn.Parameter
        gone = [path for path, t in self.tensors.items() if isinstance(t, kept) and id(t) not in now]
        return new, gone

    def learn(self, uses: Iterable[Any]) -> None:
        """Note how the weights of some uses are laid out: own modules may use any parameter in any way."""
        for use in uses:
            dense = _turned if use.turned else _same
            self._turns[id(use.weight)] = dense if use.kind == "dense" else kernel_last

    def path(self, tensor: Any) -> str | None:
        """The path of a parameter; None for one that is not the module's."""
        return self.paths.get(id(tensor))

    def turned(self, tensor: Any, values: Any) -> Array:
        """Something of a parameter's shape (itself, its gradient, a slot) as the run holds it."""
        array, placed = self.laid_out(tensor, values), self._placements.get(id(tensor))
        if placed is None:
            return array
        return array.reshape(placed.shape) if placed.rows is None else array[placed.rows]

    def laid_out(self, tensor: Any, values: Any) -> Array:
        """The same in this library's layout, wherever the model of the run has it."""
        return self._turns[id(tensor)](array_of(values))

    def rows(self, tensor: Any) -> Array | None:
        """The order in which the run has the inputs of a dense layer; None for the module's own."""
        placed = self._placements.get(id(tensor))
        return None if placed is None else placed.rows

    def place(self, placements: Mapping[int, Placement], constants: Mapping[str, Array]) -> None:
        """Hold the weights under the names, and in the order, of the model of the run.

        Args:
            constants: path -> weights of that model that are no tensor of the module.
        """
        self._placements, self._constants = dict(placements), dict(constants)
        renamed = {self.paths[key]: placed.path for key, placed in placements.items()}
        self.paths = {key: renamed.get(path, path) for key, path in self.paths.items()}
        self.tensors = {renamed.get(path, path): tensor for path, tensor in self.tensors.items()}
        self.owners = {renamed.get(path, path): owner for path, owner in self.owners.items()}

    def weights(self) -> Mapping[str, SeenWeight]:
        """Path -> weight, for all of them."""
        found = {path: self._seen(tensor) for path, tensor in self.tensors.items()}
        return found | {path: _constant(value) for path, value in self._constants.items()}

    def _seen(self, tensor: Any) -> SeenWeight:
        return SeenWeight(self.turned(tensor, tensor).shape, lambda: self.turned(tensor, tensor))


def _constant(value: Array) -> SeenWeight:
    return SeenWeight(value.shape, lambda: value)


def _plain(prefix: str) -> str:
    """The name of a module without what wrappers put before it."""
    for wrapper in _WRAPPERS:
        while prefix.startswith(wrapper) or prefix == wrapper[:-1]:
            prefix = prefix[len(wrapper) :]
    return prefix.replace("._orig_mod", "")
