"""Feature maps of probe images: the module in inference mode, and afterwards as if nothing had been asked.

It is the module without wrappers that is asked: one process of several does it alone, so nothing may wait for
the others, and compiled code does not call the hooks that take the maps.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np

from kernelearn.watching.pytorch.hooks import Hook
from kernelearn.watching.pytorch.layouts import array_of, images_last
from kernelearn.watching.pytorch.names import Names, plain_module
from kernelearn.watching.seen import Array


class Probing:
    """Probe images and the outputs of convolutions and dense layers for them.

    Args:
        images: (n, ...) tensor as the module takes it.
    """

    def __init__(self, module: Any, names: Names, images: Any) -> None:
        import torch

        self._module = plain_module(module)
        self._images = torch.as_tensor(images).detach().clone()
        kinds = (torch.nn.modules.conv._ConvNd, torch.nn.Linear)
        self._owners = {
            path.rpartition("/")[0]: owner for path, owner in names.owners.items() if isinstance(owner, kinds)
        }

    def images(self) -> dict[str, Array]:
        """What a record of the images holds."""
        values = _channels_last(self._images)
        return {"images": values, "ids": np.full(len(values), -1, np.int64)}

    def maps(self) -> Mapping[str, Array]:
        """Layer -> its output for the images, channels last."""
        import torch

        found: dict[str, Array] = {}
        handles = [
            owner.register_forward_hook(Hook(_keeper(found, name))) for name, owner in self._owners.items()
        ]
        parameter = next(self._module.parameters(), None)
        images = self._images if parameter is None else self._images.to(parameter.device)
        try:
            with _as_it_was(self._module), _eager(), torch.random.fork_rng(), torch.no_grad():
                self._module.eval()
                self._module(images)
        finally:
            for handle in handles:
                handle.remove()
        return found


def _keeper(found: dict[str, Array], name: str) -> Callable[..., None]:
    def keep(module: Any, arguments: Any, output: Any) -> None:
        found[name] = _channels_last(output)

    return keep


def _channels_last(tensor: Any) -> Array:
    array = np.array(array_of(tensor), np.float32)
    return np.ascontiguousarray(images_last(array)) if array.ndim > 2 else array


def _eager() -> Any:
    """Without compiled code, where there may be some."""
    import torch

    has_some = "torch._dynamo" in sys.modules
    return torch.compiler.set_stance("force_eager") if has_some else nullcontext()


@contextmanager
def _as_it_was(module: Any) -> Iterator[None]:
    """Leave every part in the mode, training or not, that it was in."""
    modes = [(part, part.training) for part in module.modules()]
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode
