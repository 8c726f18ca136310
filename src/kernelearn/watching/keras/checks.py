"""What can be watched of Keras: said before the first step, by name and with what to do instead."""

from __future__ import annotations

from typing import Any

from kernelearn.errors import ArgumentError
from kernelearn.watching.keras.steps import STEPS


def check_keras(keras: Any) -> str:
    """The backend of a Keras that can be watched.

    Raises: ArgumentError for Keras 2, and for another backend.
    """
    version = str(getattr(keras, "__version__", "0"))
    if int(version.split(".")[0]) < 3:
        raise ArgumentError(f"watch_keras: this is Keras {version}; it needs Keras 3.")
    backend = str(keras.backend.backend())
    if backend not in STEPS:
        raise ArgumentError(
            f"watch_keras: Keras runs on {backend!r}; trainings are seen on {', '.join(STEPS)}. Set "
            "KERAS_BACKEND before Keras is imported."
        )
    return backend


def check_model(model: Any, backend: str) -> None:
    """Raise ArgumentError for a model whose steps cannot be told apart, or are spread over devices."""
    import keras

    if getattr(model, "optimizer", None) is None:
        raise ArgumentError("watch_keras: the model has no optimizer; compile it before fit.")
    if getattr(model, "steps_per_execution", 1) not in (None, 1):  # a number, or "auto"
        raise ArgumentError(
            "watch_keras: with steps_per_execution > 1 Keras tells callbacks of several steps at a time. "
            "Compile the model with steps_per_execution=1."
        )
    strategy = getattr(model, "distribute_strategy", None) if backend == "tensorflow" else None
    if getattr(strategy, "num_replicas_in_sync", 1) > 1:
        raise ArgumentError(
            "watch_keras: the model is trained by copies on several devices (tf.distribute). Watch a run on "
            "one device."
        )
    if keras.distribution.distribution() is not None:
        raise ArgumentError(
            "watch_keras: arrays are spread over devices (keras.distribution). Watch a run on one device: "
            "keras.distribution.set_distribution(None)."
        )
