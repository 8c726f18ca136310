"""Accuracy of LeNet on MNIST digits after 5 epochs, here and in Keras: 8,000 images to train, 2,000 to test.

    python benchmarks/lenet_mnist.py FOLDER [--engine kernelearn|keras] [--seeds 3]

FOLDER holds the MNIST test split as IDX files. Run once per engine; prints accuracies and their mean.
"""

import argparse
import statistics
import time

import numpy as np


def load_digits(folder: str):
    """((8000 images, labels), (2000 images, labels)), images float32 in [0, 1]."""
    from kernelearn.data import load

    data = load(folder, test=2000, shuffle_split=False)
    return data.train.arrays(), data.test.arrays()


def kernelearn_model():
    """LeNet as the zoo has it."""
    from kernelearn.models import zoo

    model = zoo.lenet((28, 28, 1), 10)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def keras_model():
    """The same network, declared in Keras."""
    import keras
    from keras import layers

    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def set_seed(engine: str, seed: int) -> None:
    """Make one run repeatable."""
    if engine == "keras":
        import keras

        keras.utils.set_random_seed(seed)
    else:
        from kernelearn.utils import set_random_seed

        set_random_seed(seed)


def main() -> None:
    """Train once per seed and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--engine", choices=("kernelearn", "keras"), default="kernelearn")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    train, test = load_digits(options.folder)
    accuracies = []
    for seed in range(options.seeds):
        set_seed(options.engine, seed)
        model = keras_model() if options.engine == "keras" else kernelearn_model()
        started = time.perf_counter()
        model.fit(*train, batch_size=64, epochs=5, verbose=0)
        seconds = time.perf_counter() - started
        _, accuracy = model.evaluate(*test, verbose=0)
        accuracies.append(float(np.float64(accuracy)))
        rate = 5 * len(train[0]) / seconds
        print(f"{options.engine} seed {seed}: test accuracy {accuracy:.4f}, {rate:,.0f} images/s", flush=True)
    print(
        f"{options.engine} mean test accuracy over {options.seeds} seeds: {statistics.mean(accuracies):.4f}"
    )


if __name__ == "__main__":
    main()
