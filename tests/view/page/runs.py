"""Small recorded networks of every kind that the page draws."""

import numpy as np

from kernelearn import Sequential, layers
from kernelearn.recording import Recorder, Run
from kernelearn.utils import set_random_seed


def pictures(shape, count=24, classes=3, seed=0):
    """(images, classes) with something to learn in them."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count)
    images = rng.normal(size=(count, *shape)).astype("float32")
    return images + labels.reshape(-1, *[1] * len(shape)).astype("float32") / 2, labels


def answer(classes=3):
    return layers.Dense(classes, activation="softmax", name="answer")


# Name -> (shape of an image, layers up to the flat end). `conv` is the layer that is looked at.
NETWORKS = {
    "relu and pool": lambda: (
        (8, 8, 1),
        [layers.Conv2D(4, 3, activation="relu", name="conv"), layers.MaxPooling2D(2)],
    ),
    "same, stride, colours": lambda: (
        (7, 6, 3),
        [layers.Conv2D(4, 3, strides=2, padding="same", activation="tanh", name="conv")],
    ),
    "dilated, overlapping pool": lambda: (
        (9, 9, 2),
        [
            layers.Conv2D(3, 2, dilation_rate=2, activation="leaky_relu", name="conv"),
            layers.MaxPooling2D(3, strides=2, padding="same"),
        ],
    ),
    "normalised": lambda: (
        (6, 6, 1),
        [
            layers.Conv2D(4, 3, use_bias=False, name="conv"),
            layers.BatchNormalization(name="norm"),
            layers.ReLU(),
            layers.MaxPooling2D(2),
        ],
    ),
    "mean of windows": lambda: (
        (8, 8, 1),
        [layers.Conv2D(4, 3, activation="elu", name="conv"), layers.AveragePooling2D(2)],
    ),
    "mean of the map": lambda: (
        (6, 6, 2),
        [layers.Conv2D(5, 3, activation="relu", name="conv"), layers.GlobalAveragePooling2D()],
    ),
    "grouped": lambda: (
        (6, 6, 4),
        [layers.Conv2D(4, 3, groups=2, activation="relu", name="conv"), layers.MaxPooling2D(2)],
    ),
    "transposed": lambda: (
        (4, 4, 2),
        [layers.Conv2DTranspose(3, 3, strides=2, activation="relu", name="conv"), layers.MaxPooling2D(3)],
    ),
    "depthwise": lambda: ((6, 6, 3), [layers.DepthwiseConv2D(3, activation="relu", name="conv")]),
    "one axis": lambda: (
        (12, 2),
        [layers.Conv1D(4, 3, activation="relu", name="conv"), layers.MaxPooling1D(2)],
    ),
    "plain sum": lambda: ((5, 5, 1), [layers.Conv2D(3, 2, name="conv")]),
    "dense": lambda: ((10,), [layers.Dense(6, activation="relu", name="conv")]),
}


def recorded(folder, name="relu and pool", optimizer="adam", epochs=2, below=(), **recorder):
    """(Run, images, classes) of a network, every step recorded in full."""
    shape, stack = NETWORKS[name]()
    images, labels = pictures(shape)
    set_random_seed(0)
    model = Sequential([layers.Input(shape), *below, *stack, layers.Flatten(name="flat"), answer()])
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    options = {"kernels_every": 1, "ledger_every": 2, "gradients_every": 1, "maps_every": 2, **recorder}
    model.fit(
        images,
        labels,
        batch_size=8,
        epochs=epochs,
        seed=0,
        verbose=0,
        callbacks=[Recorder(folder, **options)],
    )
    return Run(folder), images, labels
