"""Small public functions, where Keras users look for them."""

from collections.abc import Callable
from typing import Any

import numpy as np

from kernelearn._lazy import on_first_use
from kernelearn.config import floatx, set_floatx, set_random_seed
from kernelearn.errors import ArgumentError
from kernelearn.layers.core.naming import reset_names

__all__ = [
    "clear_session",
    "floatx",
    "set_floatx",
    "set_random_seed",
    "to_categorical",
    "unpack_x_y_sample_weight",
]


__getattr__: Callable[[str], Any]
__dir__: Callable[[], list[str]]
# A figure is looked up by name, where Keras users look for it.
__getattr__, __dir__ = on_first_use(
    __name__, {"plot_model": "kernelearn.view.network_figure"}, names=[*__all__, "plot_model"]
)


def clear_session() -> None:
    """Start the automatic layer names again (conv2d, conv2d_1, ...)."""
    reset_names()


def unpack_x_y_sample_weight(data: Any) -> tuple[Any, Any, Any]:
    """(x, y, sample_weight) of what a `train_step` is given; None for what is not there.

    >>> unpack_x_y_sample_weight(("images", "labels"))
    ('images', 'labels', None)
    """
    if not isinstance(data, tuple):
        return data, None, None
    if len(data) > 3:
        raise ArgumentError(
            f"A batch is x, (x, y) or (x, y, sample_weight); got a tuple of {len(data)} parts."
        )
    x, y, weight = (*data, None, None)[:3]
    return x, y, weight


def to_categorical(y, num_classes: int | None = None) -> np.ndarray:
    """Class numbers (n,) as one-hot rows (n, num_classes), float32.

    >>> to_categorical([0, 2])
    array([[1., 0., 0.],
           [0., 0., 1.]], dtype=float32)
    """
    labels = np.asarray(y)
    if labels.size and (labels.min() < 0 or not np.array_equal(labels, labels.astype(np.int64))):
        raise ArgumentError("to_categorical takes class numbers 0, 1, 2, ...; got others.")
    labels = labels.astype(np.int64)
    if labels.ndim > 1 and labels.shape[-1] == 1:
        labels = labels[..., 0]
    classes = num_classes or int(labels.max(initial=-1)) + 1
    if labels.size and labels.max() >= classes:
        raise ArgumentError(f"Class number {labels.max()} does not fit into num_classes={classes}.")
    return np.eye(classes, dtype=np.float32)[labels]
