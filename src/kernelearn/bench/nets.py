"""The networks that are compared, with the input and the batches that each is measured on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kernelearn.errors import unknown_name

CLASSES = 10


@dataclass(frozen=True)
class Net:
    """A network of the zoo with what it is measured on."""

    name: str
    input_shape: tuple[int, int, int]
    batches: tuple[int, ...]

    def build(self) -> Any:
        """The model, with the same weights at every call."""
        from kernelearn.models import zoo
        from kernelearn.utils import set_random_seed

        set_random_seed(0)
        return zoo.get(self.name)(self.input_shape, CLASSES)


NETS = {
    "lenet": Net("lenet", (28, 28, 1), (32, 64, 128)),
    "vgg_small": Net("vgg_small", (32, 32, 3), (64,)),
    "resnet20": Net("resnet20", (32, 32, 3), (64,)),
    "resnet18": Net("resnet18", (32, 32, 3), (32,)),
}


def find_net(name: str) -> Net:
    """The network of this name.

    Raises: UnknownNameError listing the names.
    """
    if name not in NETS:
        raise unknown_name("network", name, NETS)
    return NETS[name]
