"""Ten trainings as users of PyTorch write them. Each is `train(prepare, steps) -> losses`.

`prepare(model, optimizer)` is the one line that somebody adds: it gives the model to call, which is the same
one, a watched one or a compiled one. Data is made up, with something in it that can be learned.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any

Train = Callable[..., list[float]]
NAMES = (
    "mnist",
    "cifar_amp",
    "unet",
    "signals",
    "gan",
    "siamese",
    "finetuning",
    "lightning_module",
    "trainer",
    "own_function",
)


def script(name: str) -> Train:
    """The training of this name."""
    return import_module(f"{__name__}.{name}").train  # type: ignore[no-any-return]


def as_it_is(model: Any, optimizer: Any) -> Any:
    """What `prepare` is in a training without us."""
    return model
