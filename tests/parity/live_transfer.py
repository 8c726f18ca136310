"""Transfer learning with living peers: trained there, handed over, fine-tuned here, given back.

    python -m pytest tests/parity/live_transfer.py

One worked example for each direction of docs/transfer.md. Needs the conversion rooms `conversion.keras`,
`conversion.torch` and `conversion.onnx`; a room or a peer that is not there is skipped by name.
"""

import importlib.util
import subprocess
import sys

import numpy as np
import pytest

import kernelearn as kl
from kernelearn.conversion.standalone import export_standalone
from kernelearn.data import load
from kernelearn.initializers import FromLayer
from kernelearn.models import CachedFeatures

LOSS = "sparse_categorical_crossentropy"


def room(name):
    """Skip where a conversion room is not there yet."""
    return pytest.importorskip(f"kernelearn.conversion.{name}", reason=f"no conversion.{name}")


@pytest.fixture(scope="module")
def digits():
    x, y = load("digits").train.arrays()
    few = y < 5
    return (x[few], y[few]), (x[~few], y[~few] - 5)


@pytest.fixture(scope="module")
def trained_in_keras(digits, tmp_path_factory):
    """A small network that Keras has trained, and its file."""
    keras = pytest.importorskip("keras")
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.layers.Input((8, 8, 1)),
            keras.layers.Conv2D(8, 3, padding="same", name="conv1"),
            keras.layers.BatchNormalization(name="norm1"),
            keras.layers.ReLU(name="relu1"),
            keras.layers.Conv2D(16, 3, activation="relu", name="conv2"),
            keras.layers.Flatten(name="flat"),
            keras.layers.Dense(5, activation="softmax", name="classifier"),
        ]
    )
    model.compile("adam", LOSS, metrics=["accuracy"])
    (x, y), _ = digits
    model.fit(x, y, epochs=3, verbose=0)
    path = tmp_path_factory.mktemp("keras") / "theirs.keras"
    model.save(path)
    return model, path


@pytest.fixture(scope="module")
def trained_in_torch(digits):
    """A small network that PyTorch has trained, in inference mode."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    module = torch.nn.Sequential(
        torch.nn.Conv2d(1, 8, 3, padding=1),
        torch.nn.BatchNorm2d(8),
        torch.nn.ReLU(),
        torch.nn.Conv2d(8, 16, 3),
        torch.nn.ReLU(),
        torch.nn.Flatten(),
        torch.nn.Linear(576, 5),
    )
    (x, y), _ = digits
    images, labels = torch.from_numpy(first(x)), torch.from_numpy(y)
    optimizer = torch.optim.Adam(module.parameters(), 2e-3)
    for _ in range(40):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(module(images), labels).backward()
        optimizer.step()
    return module.eval()


def first(x):
    """Channels first."""
    return np.ascontiguousarray(np.moveaxis(x, -1, 1))


def tuned(model, data):
    """The five other digits learned behind the frozen first layers."""
    x, y = data
    new = model.replace_head(5, name="others")
    new.freeze(until=[layer.name for layer in new.layers if layer.weights][1])
    new.compile("adam", LOSS, metrics=["accuracy"], learning_rate_multipliers={"others": 2.0})
    CachedFeatures(new).fit(x, y, epochs=8, verbose=0, seed=0)
    assert new.evaluate(x, y, verbose=0, return_dict=True)["accuracy"] > 0.9
    new.compile("adam", LOSS, learning_rate_multipliers={"others": 1.0})  # no other program has factors
    return new


def give_to_onnx_and_to_numpy(model, x, folder):
    """Export both ways, and compare with ours."""
    expected = model.predict(x[:16], verbose=0)
    export_standalone(model, folder / "alone")
    np.save(folder / "x.npy", x[:16])
    command = [sys.executable, str(folder / "alone" / "predict.py"), str(folder / "x.npy")]
    subprocess.run([*command, "--out", str(folder / "y.npy")], check=True, capture_output=True)
    np.testing.assert_allclose(np.load(folder / "y.npy"), expected, atol=1e-5)
    if importlib.util.find_spec("kernelearn.conversion.onnx") is None:
        return
    from kernelearn.cli.convert.origins import alike, runner_for

    model.save(folder / "tuned.onnx")
    pytest.importorskip("onnxruntime")
    run = runner_for(folder / "tuned.onnx")
    (found,) = alike(run(folder / "tuned.onnx", [x[:16]]), [expected.shape])
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_from_keras_and_back(digits, trained_in_keras, tmp_path):
    room("keras")
    theirs, path = trained_in_keras
    (x, _), others = digits
    model = kl.load_model(path)
    np.testing.assert_allclose(model.predict(x[:16], verbose=0), theirs.predict(x[:16], verbose=0), atol=1e-5)
    new = tuned(model, others)
    new.save(tmp_path / "tuned.keras")
    import keras

    back = keras.saving.load_model(tmp_path / "tuned.keras")
    expected = new.predict(others[0][:16], verbose=0)
    np.testing.assert_allclose(back.predict(others[0][:16], verbose=0), expected, atol=1e-5)
    give_to_onnx_and_to_numpy(new, others[0], tmp_path)


def test_kernels_of_a_living_model_of_keras(trained_in_keras):
    theirs, _ = trained_in_keras
    layer = kl.layers.Conv2D(8, 3, kernel_initializer=FromLayer(theirs, "conv1"))
    kl.Sequential([kl.layers.Input((8, 8, 1)), layer])
    np.testing.assert_array_equal(layer.kernel.numpy(), theirs.get_layer("conv1").get_weights()[0])


def test_from_torch_and_back(digits, trained_in_torch, tmp_path):
    room("torch")
    import torch

    (x, _), others = digits
    model = kl.from_torch(trained_in_torch, torch.zeros(1, 1, 8, 8))
    with torch.no_grad():
        expected = trained_in_torch(torch.from_numpy(first(x[:16]))).numpy()
    np.testing.assert_allclose(model.predict(x[:16], verbose=0), expected, atol=1e-4)
    new = tuned(model, others)
    back = kl.to_torch(new).eval()
    with torch.no_grad():
        found = back(torch.from_numpy(first(others[0][:16]))).numpy()
    np.testing.assert_allclose(found, new.predict(others[0][:16], verbose=0), atol=1e-5)
    give_to_onnx_and_to_numpy(new, others[0], tmp_path)


def test_the_command_line_compares_with_the_origin(trained_in_keras, tmp_path):
    room("keras")
    from kernelearn.cli import main

    _, path = trained_in_keras
    target = tmp_path / "ours.kernelearn"
    names = ["--class-names", ",".join("01234")]
    assert main(["convert", str(path), str(target), *names]) == 0
    assert (
        main(["finetune", str(path), "digits", "--head", "--epochs", "1", "-q", "--run", str(tmp_path / "r")])
        == 0
    )
    x = np.random.default_rng(0).random((8, 8, 8, 1), "float32")
    np.savez(tmp_path / "d.npz", x=x, y=np.arange(8) % 5)
    again = tmp_path / "again.kernelearn"
    assert main(["convert", str(path), str(again), "--check", str(tmp_path / "d.npz")]) == 0
