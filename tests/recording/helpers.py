"""Small models and runs that the tests of recording share."""

import numpy as np

from kernelearn import Sequential, set_random_seed
from kernelearn.callbacks import Callback
from kernelearn.layers import BatchNormalization, Conv2D, Dense, Flatten
from kernelearn.recording import Recorder, Run, RunWriter
from kernelearn.recording.files.layout import Field, Layout

SHAPE = (6, 6, 1)
KERNEL = (3, 3, 1, 2)


def make_data(count=20, classes=3, shape=SHAPE, dtype="float32"):
    rng = np.random.default_rng(0)
    return rng.normal(size=(count, *shape)).astype(dtype), rng.integers(0, classes, count)


def make_model(optimizer="sgd", metrics=("accuracy",), norm=True, seed=1):
    set_random_seed(seed)
    layers = [
        Conv2D(2, 3, activation="relu", name="conv", input_shape=SHAPE),
        *([BatchNormalization(name="norm")] if norm else []),
        Flatten(name="flatten"),
        Dense(3, activation="softmax", name="dense"),
    ]
    model = Sequential(layers)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=list(metrics))
    return model


class KeepWeights(Callback):
    """Lists of all weights and optimiser slots after every update, by name: what a run has to agree with."""

    def __init__(self):
        super().__init__()
        self.weights, self.slots = [], []

    def on_train_begin(self, logs=None):
        if not self.weights:
            self._keep()

    def on_train_batch_end(self, batch, logs=None):
        self._keep()

    def _keep(self):
        self.weights.append({name: w.numpy() for name, w in self.model.weight_paths().items()})
        self.slots.append({name: slot.numpy() for name, slot in self.model.programs.slots.items()})


def record(folder, model=None, epochs=2, batch_size=8, data=None, callbacks=(), fit=None, **options):
    """Train and record; gives (model, run)."""
    model = model or make_model()
    x, y = data or make_data()
    recorder = Recorder(folder, **options)
    model.fit(
        x,
        y,
        epochs=epochs,
        batch_size=batch_size,
        verbose=0,
        seed=0,
        callbacks=[recorder, *callbacks],
        **(fit or {}),
    )
    return model, Run(folder)


def kernel_of(step):
    """What `write_run` writes as the kernel of a step."""
    return np.arange(18, dtype="float32").reshape(KERNEL) + 100 * step


LAYOUTS = (
    Layout("kernels", (Field("conv/kernel", "<f4", KERNEL),)),
    Layout("steps", (Field("loss", "<f8", ()), Field("images", "<i8", (None,))), 4),
)


def write_step(writer, step):
    """One step of a run that needs no training: every number follows from the step."""
    writer.write("kernels", step, {"conv/kernel": kernel_of(step)})
    writer.write(
        "steps", step, {"loss": 1 / (step + 1), "images": np.arange(step % 4 + 1) + step}, step % 4 + 1
    )
    writer.commit()


def write_run(folder, steps=6):
    """A finished run of `write_step`s, without a model."""
    with RunWriter.create(folder, {}) as writer:
        writer.begin_segment(0, LAYOUTS)
        writer.event("begun", 0)
        for step in range(steps):
            write_step(writer, step)
        writer.event("finished", steps - 1)
    return folder


def assert_is_prefix(run, steps):
    """The run holds steps 0..n-1 of `write_step`, n at most `steps`, and every number of them is right."""
    found = run.steps.tolist()
    assert found == list(range(len(found))) and len(found) <= steps
    for step in found:
        assert np.array_equal(run.kernels("conv", step), kernel_of(step))
        assert run.batch(step).images.tolist() == [step + i for i in range(step % 4 + 1)]
    counted, values = run.scalars("loss")
    assert counted.tolist() == list(range(len(counted))) and len(found) <= len(counted) <= steps
    assert np.array_equal(values, 1 / (counted + 1))
    return len(found)
