"""Write small files of Keras, with what it predicts and how its loss falls in three steps from there.

    KERAS_BACKEND=jax python -m tests.parity.make_golden_keras_files keras
    KERAS_BACKEND=tensorflow python -m tests.parity.make_golden_keras_files keras
    python -m tests.parity.make_golden_keras_files tf_keras        # Keras 2

in the environment of the peers; `tf_keras` is Keras 2 as a package. The files are read by
tests/conversion/test_keras_golden.py.
"""

import importlib
import sys
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent.parent / "conversion" / "golden_keras"


def data():
    rng = np.random.RandomState(0)
    return rng.normal(size=(4, 6, 6, 2)).astype("float32"), np.eye(3)[rng.randint(0, 3, 4)].astype("float32")


def sequential(keras):
    la = keras.layers
    model = keras.Sequential(
        [
            la.Conv2D(3, 3, activation="hard_sigmoid", name="first", input_shape=(6, 6, 2)),
            la.BatchNormalization(name="norm"),
            la.DepthwiseConv2D(2, name="each"),
            la.Flatten(name="flat"),
            la.Dense(3, activation="softmax", kernel_regularizer="l2", name="last"),
        ]
    )
    model.get_layer("first").trainable = False
    return model


def functional(keras):
    la = keras.layers
    start = keras.Input((6, 6, 2), name="image")
    shared = la.Conv2D(2, 3, padding="same", name="shared")
    parts = [la.Conv2D(2, 1, name="inside", input_shape=(6, 6, 2)), la.BatchNormalization(name="bn")]
    inner = keras.Sequential(parts, name="inner")
    inner.get_layer("bn").trainable = False
    both = la.Concatenate(name="both")([shared(shared(start)), inner(start)])
    bent = la.LeakyReLU(0.2, name="bent")(both)
    pooled = la.GlobalAveragePooling2D(name="pooled")(la.SeparableConv2D(4, 2, name="apart")(bent))
    return keras.Model(start, la.Dense(3, name="out")(pooled))


def write(keras, label):
    x, y = data()
    for make in (sequential, functional):
        keras.utils.set_random_seed(1)
        model = make(keras)
        model.compile(keras.optimizers.Adam(0.01), "mse", metrics=["mae"])
        model.train_on_batch(x, y)
        for ending in (".keras", ".h5"):
            model.save(FOLDER / f"{label}-{make.__name__}{ending}")
        model.save_weights(FOLDER / f"{label}-{make.__name__}.weights.h5")
        results = {"x": x, "y": y, "predicted": model.predict(x, verbose=0)}
        results["losses"] = np.array([float(model.train_on_batch(x, y)[0]) for _ in range(3)])
        np.savez(FOLDER / f"{label}-{make.__name__}.npz", **results)


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    library = importlib.import_module(sys.argv[1])
    write(library, "keras2" if sys.argv[1] == "tf_keras" else f"keras3-{library.backend.backend()}")
