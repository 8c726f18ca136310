"""Five training steps of small networks against Keras, weight by weight, from golden_training.npz."""

import json
from pathlib import Path

import numpy as np
import pytest

import kernelearn
from kernelearn import callbacks, config
from tests.parity.training_cases import CASES, STEPS

GOLDEN = np.load(Path(__file__).parents[1] / "parity" / "golden_training.npz")
BY_NAME = {case.name: case for case in CASES}


@pytest.fixture(autouse=True)
def float64():
    config.set_floatx("float64")
    yield
    config.set_floatx("float32")


def run(case):
    """Weights after every step, and the loss of the epoch."""
    model = case.make(kernelearn)
    x, y = case.data()
    model.set_weights(case.weights([w.shape for w in model.get_weights()]))
    model.compile(case.optimizer(kernelearn), case.loss, engine="reference")
    steps = []
    record = callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: steps.append(model.get_weights())
    )
    history = model.fit(x, y, case.batch_size, shuffle=False, verbose=0, callbacks=[record])
    return steps, history.history["loss"]


def test_the_file_was_made_for_these_cases():
    assert json.loads(str(GOLDEN["meta"]))["cases"] == list(BY_NAME)


@pytest.mark.parametrize("name", BY_NAME)
def test_five_steps(name):
    steps, losses = run(BY_NAME[name])
    assert len(steps) == STEPS
    for number, weights in enumerate(steps):
        for i, array in enumerate(weights):
            expected = GOLDEN[f"{name}/step{number}_{i}"]
            assert array.shape == expected.shape
            np.testing.assert_allclose(
                array, expected, rtol=1e-10, atol=1e-11, err_msg=f"weight {i} after step {number}"
            )
    np.testing.assert_allclose(losses, GOLDEN[f"{name}/loss"], rtol=1e-10)
    assert f"{name}/step0_{len(steps[0])}" not in GOLDEN.files
