"""Ten whole steps on the CPU engine: every optimiser against the reference, for any number of threads."""

import numpy as np
import pytest

import kernelearn as kl
from kernelearn import optimizers
from kernelearn.engine.cpu.machine import threads
from kernelearn.engine.cpu.plan import Fallback

OPTIMIZERS = {
    "sgd": lambda: optimizers.SGD(0.05, momentum=0.9, nesterov=True, clipnorm=1.0),
    "adam": lambda: optimizers.Adam(1e-3),
    "adamw": lambda: optimizers.AdamW(1e-3, global_clipnorm=1.0),
    "amsgrad": lambda: optimizers.Adam(1e-3, amsgrad=True, clipvalue=0.1),
    "rmsprop": lambda: optimizers.RMSprop(1e-3, centered=True, momentum=0.5, epsilon=1e-3),
    "adagrad": lambda: optimizers.Adagrad(0.01),
    "adadelta": lambda: optimizers.Adadelta(1.0),
    "adamax": lambda: optimizers.Adamax(1e-3),
    "nadam": lambda: optimizers.Nadam(1e-3),
    "lion": lambda: optimizers.Lion(1e-4),
}


def network() -> kl.Sequential:
    """Random layers, penalties and constraints: whatever has a part in a step."""
    return kl.Sequential(
        [
            kl.Input((12, 12, 1)),
            kl.layers.Conv2D(
                5,
                3,
                activation="gelu",
                kernel_regularizer=kl.regularizers.L1L2(0.01, 0.01),
                kernel_constraint=kl.constraints.MaxNorm(1.0, axis=(0, 1, 2)),
            ),
            kl.layers.PReLU(shared_axes=[1, 2]),
            kl.layers.SpatialDropout2D(0.3),
            kl.layers.GaussianNoise(0.1),
            kl.layers.Flatten(),
            kl.layers.Dropout(0.4),
            kl.layers.Dense(4, activation="softmax", activity_regularizer=kl.regularizers.L2(0.1)),
        ]
    )


def train(engine: str, optimizer, count: int = 1) -> tuple[list[np.ndarray], list]:
    """Weights after ten steps, and the operations that have no kernel."""
    kl.utils.set_random_seed(1)
    rng = np.random.default_rng(0)
    x, y = rng.random((8, 12, 12, 1)).astype("float32"), rng.integers(0, 4, 8)
    model = network()
    model.compile(optimizer, "sparse_categorical_crossentropy", engine=engine)
    threads.set_num_threads(count)
    try:
        for _ in range(10):
            model.train_on_batch(x, y)
    finally:
        threads.set_num_threads(None)
    executable = model.step("train").executable
    calls = executable.calls() if engine == "cpu" else []
    return model.get_weights(), [c.operation.operator for c in calls if isinstance(c, Fallback)]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_ten_steps(name):
    expected, _ = train("reference", OPTIMIZERS[name]())
    found, without_kernel = train("cpu", OPTIMIZERS[name]())
    assert without_kernel == []
    for a, b in zip(expected, found):
        # NOTE: an optimiser that divides by the size of a gradient magnifies the rounding of a small one.
        np.testing.assert_allclose(b, a, rtol=0, atol=1e-5 * np.abs(a).max())
    for count in (2, 3, 8):
        for a, b in zip(found, train("cpu", OPTIMIZERS[name](), count)[0]):
            np.testing.assert_array_equal(a, b, err_msg=f"{count} threads")
