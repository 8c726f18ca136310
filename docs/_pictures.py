"""Makes the pictures of the pages from one recorded training on the digits: `python docs/_pictures.py`."""

import tempfile
from pathlib import Path
from typing import Any

from kernelearn import Sequential, explain
from kernelearn.data import load
from kernelearn.layers import Conv2D, Dense, Flatten, MaxPooling2D
from kernelearn.recording import Recorder, Run
from kernelearn.utils import set_random_seed

PICTURES = Path(__file__).resolve().parent / "pictures"
_DPI = 72
_EPOCHS = 10


def recorded(folder: str, data: Any) -> Run:
    """The small network of the page on how kernels learn, with every step recorded."""
    set_random_seed(1)
    model = Sequential(
        [
            Conv2D(8, 3, activation="relu", input_shape=data.input_shape, name="edges"),
            MaxPooling2D(2),
            Flatten(),
            Dense(data.classes, activation="softmax", name="classes"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    recorder = Recorder(folder, kernels_every=1, ledger_every=30)
    model.fit(data.train, epochs=_EPOCHS, callbacks=[recorder], verbose=0)
    return Run(folder)


def main() -> None:
    """Write every picture."""
    PICTURES.mkdir(exist_ok=True)
    data = load("digits")
    with tempfile.TemporaryDirectory() as folder:
        run = recorded(folder, data)
        step = int(run.ledger_steps[1])
        layer = run.model().get_layer("edges")
        images = data.test.arrays()[0][:4]
        figures = {
            "filmstrip": explain.plot_filmstrip(run, "edges", filters=(0, 1, 3, 4)),
            "ledger": explain.plot_ledger(explain.ledger(run, "edges", step, weight=(1, 1, 0, 3))),
            "dense": explain.plot_dense_equivalent(explain.dense_equivalent(layer, data.input_shape)),
            "unit": explain.plot_unit(explain.unit(run, "edges", 3, image=images[0])),
            "neuron": explain.plot_unit_neuron(explain.unit(run, "edges", 3, image=images[0])),
            "delta": explain.plot_delta(explain.delta(run, "edges", data.train, filter=3, step=step)),
            "activation": explain.plot_activation(
                explain.activation(run, "edges", images), images, channels=(0, 1, 3)
            ),
            "maps": explain.plot_feature_maps(
                explain.feature_maps(run.model(), images, ["edges"])["edges"], images, "edges"
            ),
        }
        for name, figure in figures.items():
            figure.savefig(PICTURES / f"{name}.png", dpi=_DPI)


if __name__ == "__main__":
    main()
