"""The networks that are compared, with the input and the batches that each is measured on.

`NETS` are the zoo's, measured unless others are named; `FAMILIES` one of each kind, from `families`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kernelearn.errors import unknown_name

CLASSES = 10
ALL = "all"


@dataclass(frozen=True)
class Net:
    """A network with what it is measured on.

    Attributes:
        name: of a function of the zoo, or of `families`.
        input_shape: of one input, channels last.
        batches: of training.
        predicted: batches of inference.
    """

    name: str
    input_shape: tuple[int, ...]
    batches: tuple[int, ...]
    predicted: tuple[int, ...] = (1, 256)

    def build(self, input_shape: Sequence[int] | None = None) -> Any:
        """The model, with the same weights at every call; for inputs of another shape if one is given."""
        from kernelearn.bench.nets import families
        from kernelearn.models import zoo
        from kernelearn.utils import set_random_seed

        set_random_seed(0)
        make = getattr(families, self.name) if self.name in FAMILIES else zoo.get(self.name)
        return make(tuple(input_shape or self.input_shape), CLASSES)


def _of(*nets: Net) -> dict[str, Net]:
    return {net.name: net for net in nets}


NETS = _of(
    Net("lenet", (28, 28, 1), (32, 64, 128)),
    Net("vgg_small", (32, 32, 3), (64,)),
    Net("resnet20", (32, 32, 3), (64,)),
    Net("resnet18", (32, 32, 3), (32,)),
)
FAMILIES = _of(
    Net("strided", (115, 115, 3), (32,), (1, 32)),
    Net("volumes", (16, 32, 32, 1), (16,), (1, 32)),
    Net("bottleneck", (112, 112, 3), (16,), (1, 32)),
    Net("convnext", (64, 64, 3), (32,), (1, 32)),
    Net("resnext", (112, 112, 3), (16,), (1, 32)),
    Net("dilated", (32, 32, 3), (32,), (1, 32)),
    Net("signals", (1024, 8), (32,), (1, 32)),
    Net("mobile", (96, 96, 3), (32,), (1, 32)),
    Net("perceptron", (784,), (128,), (1, 32)),
    Net("tanh_means", (32, 32, 3), (64,), (1, 32)),
    Net("densenet", (32, 32, 3), (32,), (1, 32)),
    Net("unet", (64, 64, 3), (8,), (1, 32)),
)


def find_net(name: str) -> Net:
    """The network of this name.

    Raises: UnknownNameError listing the names.
    """
    known = {**NETS, **FAMILIES}
    if name not in known:
        raise unknown_name("network", name, known)
    return known[name]


def expanded(names: Sequence[str]) -> tuple[str, ...]:
    """The names with "all" replaced by those of all networks; each once."""
    every = (*NETS, *FAMILIES)
    return tuple(dict.fromkeys(one for name in names for one in (every if name == ALL else (name,))))
