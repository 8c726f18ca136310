"""Small recorded trainings that the tests of figures and reports read."""

import numpy as np

from kernelearn import Sequential, layers
from kernelearn.recording import Recorder, Run
from kernelearn.utils import set_random_seed


def bars_of(count=64, seed=0):
    """(images, classes): class 0 has a vertical bar, class 1 a horizontal one."""
    rng = np.random.default_rng(seed)
    classes = rng.integers(0, 2, count)
    images = 0.2 * rng.random((count, 8, 8, 1)).astype("float32")
    images[classes == 0, :, 3:5] += 0.7
    images[classes == 1, 3:5, :] += 0.7
    return images, classes


def record(folder, stack, images, targets, **options):
    """Train a stack of layers and give its Run; options as in `record_model`."""
    set_random_seed(0)
    return record_model(
        folder, Sequential([layers.Input(images.shape[1:]), *stack]), images, targets, **options
    )


def record_model(
    folder,
    model,
    images,
    targets,
    loss="sparse_categorical_crossentropy",
    epochs=2,
    class_weight=None,
    **recorder,
):
    """Train a model and give its Run; further options are those of the Recorder."""
    # The reference engine: the pictures of figures are compared, and its numbers are the same everywhere.
    model.compile("adam", loss, engine="reference")
    options = {"kernels_every": 1, "ledger_every": 1, "gradients_every": 1, "maps_every": 4, **recorder}
    model.fit(
        images,
        targets,
        batch_size=16,
        epochs=epochs,
        class_weight=class_weight,
        seed=0,
        verbose=0,
        callbacks=[Recorder(folder, **options)],
    )
    return Run(folder)


def two_convolutions():
    """A stack for `bars_of`, with names."""
    return [
        layers.Conv2D(4, 3, activation="relu", name="edges"),
        layers.MaxPooling2D(2, name="pool"),
        layers.Conv2D(6, 2, activation="relu", name="parts"),
        layers.Flatten(name="flat"),
        layers.Dense(2, activation="softmax", name="answer"),
    ]


def recorded_bars(folder, **options):
    """The run that most tests read: eight updates of a small network on bars."""
    images, classes = bars_of()
    return record(folder, two_convolutions(), images, classes, **options)
