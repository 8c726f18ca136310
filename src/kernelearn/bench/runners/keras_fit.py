"""Keras as a contestant, with the backend that KERAS_BACKEND names: `fit` for whole epochs."""

from __future__ import annotations

import importlib
import os
from typing import Any

import numpy as np

from kernelearn._optional import require
from kernelearn.bench.nets.blueprint import Blueprint, Step, load_weights
from kernelearn.bench.runners import LEARNING_RATE, MOMENTUM, Prepared


def load(threads: int) -> KerasFit:
    """The runner; the backend is read from the environment when Keras is imported."""
    backend = os.environ.get("KERAS_BACKEND", "")
    if backend == "torch":
        importlib.import_module("torch").set_num_threads(threads)
    elif backend == "tensorflow":
        tensorflow = importlib.import_module("tensorflow")
        tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
        tensorflow.config.threading.set_inter_op_parallelism_threads(1)
    elif backend:
        importlib.import_module(backend)
    return KerasFit(require("keras", "comparing with Keras"), backend)


class KerasFit:
    """Keras on one backend."""

    def __init__(self, keras: Any, backend: str) -> None:
        self._keras, self._backend = keras, backend

    def versions(self) -> dict[str, str]:
        """Of Keras and of the backend."""
        backend = importlib.import_module(self._backend)
        return {"keras": self._keras.__version__, self._backend: backend.__version__}

    def prepare(self, task: dict[str, Any]) -> Prepared:
        """Build what the task says."""
        if task.get("dtype", "float32") == "float32":
            self._keras.mixed_precision.set_dtype_policy("float32")
        else:
            self._keras.mixed_precision.set_dtype_policy(f"mixed_{task['dtype']}")
        return _Fit(self._keras, task)


class _Fit:
    """One epoch of so many batches."""

    note = ""

    def __init__(self, keras: Any, task: dict[str, Any]) -> None:
        blueprint = Blueprint.from_dict(task["blueprint"])
        self._batch = task["batch"]
        self._model = build(keras, blueprint, load_weights(task["weights"]))
        rate = task.get("rate", LEARNING_RATE)
        optimizers = {
            "sgd": lambda: keras.optimizers.SGD(rate, momentum=MOMENTUM),
            "adam": lambda: keras.optimizers.Adam(rate),
        }
        self._model.compile(optimizers[task["optimizer"]](), "sparse_categorical_crossentropy")
        self._x, self._y = blueprint.images(self._batch)

    def ready(self, count: int) -> None:
        """Images for so many batches."""
        images = count * self._batch
        if len(self._x) != images:
            self._x = np.resize(self._x, (images, *self._x.shape[1:]))
            self._y = np.resize(self._y, images)

    def run(self, count: int) -> float | None:
        """An epoch; its mean loss."""
        history = self._model.fit(self._x, self._y, batch_size=self._batch, epochs=1, verbose=0)
        return float(history.history["loss"][-1])


def build(keras: Any, blueprint: Blueprint, weights: dict[str, np.ndarray]) -> Any:
    """The network as a Keras model with these weights."""
    inputs = keras.Input(blueprint.input_shape)
    values = [inputs]
    for step in blueprint.steps:
        given = [values[i] for i in step.inputs]
        values.append(_layer(keras, blueprint, step)(given if len(given) > 1 else given[0]))
    model = keras.Model(inputs, values[-1])
    for layer in model.layers:
        if layer.weights:
            layer.set_weights([weights[f"{layer.name}/{weight.name}"] for weight in layer.weights])
    return model


def _layer(keras: Any, blueprint: Blueprint, step: Step) -> Any:
    layers, attrs, rank = keras.layers, step.attrs, blueprint.rank(step)
    makers = {
        "conv": lambda: getattr(layers, f"Conv{rank}D")(**attrs, name=step.name),
        "depthwise": lambda: getattr(layers, f"DepthwiseConv{rank}D")(**attrs, name=step.name),
        "conv_transpose": lambda: getattr(layers, f"Conv{rank}DTranspose")(**attrs, name=step.name),
        "dense": lambda: layers.Dense(**attrs, name=step.name),
        "batch_norm": lambda: layers.BatchNormalization(**attrs, name=step.name),
        "layer_norm": lambda: layers.LayerNormalization(**attrs, name=step.name),
        "activation": lambda: layers.Activation(attrs["function"]),
        "max_pool": lambda: getattr(layers, f"MaxPooling{rank}D")(**attrs),
        "average_pool": lambda: getattr(layers, f"AveragePooling{rank}D")(**attrs),
        "average": lambda: getattr(layers, f"GlobalAveragePooling{rank}D")(),
        "flatten": layers.Flatten,
        "add": layers.Add,
        "concatenate": layers.Concatenate,
    }
    return makers[step.kind]()
