"""Networks ready to use, by name: `lenet`, `vgg_small`, `resnet20`, `resnet18`.

Each is a function of (input_shape, classes) that gives an uncompiled model whose layers have explicit names.
"""

from collections.abc import Callable
from typing import Any

from kernelearn.errors import unknown_name
from kernelearn.models.zoo.lenet import lenet
from kernelearn.models.zoo.resnet import resnet18, resnet20
from kernelearn.models.zoo.vgg import vgg_small

__all__ = ["MODELS", "get", "lenet", "resnet18", "resnet20", "vgg_small"]

MODELS: dict[str, Callable[..., Any]] = {
    "lenet": lenet,
    "vgg_small": vgg_small,
    "resnet20": resnet20,
    "resnet18": resnet18,
}


def get(name: str) -> Callable[..., Any]:
    """The function that makes the network of this name.

    Raises: UnknownNameError listing the names.

    >>> get("lenet")((28, 28, 1), 10).name
    'lenet'
    """
    if name not in MODELS:
        raise unknown_name("model", name, MODELS)
    return MODELS[name]
