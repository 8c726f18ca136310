"""Around the circle: Keras -> ours -> PyTorch -> ours -> ONNX -> ours -> Keras, and the other way round.

    python -m pytest tests/parity/live_circle_files.py

Predictions stay within rounding at each stop, and no number of the weights is lost or changed by a bit,
wherever it stands then. A stop that cannot write a network exactly refuses it by name, and the network skips
that stop. Random networks: KERNELEARN_CIRCLE, 4 by default, 30 for a release. Keras runs on PyTorch, or
on KERAS_BACKEND.
"""

import os
import warnings

os.environ.setdefault("KERAS_BACKEND", "torch")
import keras
import numpy as np
import onnxruntime
import pytest
import torch

import kernelearn as kl
from kernelearn.conversion.keras.living import OTHERWISE_ON_PYTORCH
from kernelearn.conversion.onnx import from_onnx, to_onnx
from kernelearn.errors import ArgumentError
from kernelearn.models import zoo
from tests.conversion.onnx.random_networks import network, randomize
from tests.parity import keras_networks

COUNT = int(os.environ.get("KERNELEARN_CIRCLE", "4"))
QUICK = 2  # random networks of every change
SEEDS = [seed if seed < QUICK else pytest.param(seed, marks=pytest.mark.slow) for seed in range(COUNT)]
BOUND = 1e-4
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture(autouse=True)
def _float32():
    before = keras.config.floatx()
    keras.config.set_floatx("float32")
    yield
    keras.config.set_floatx(before)


def listed(found):
    if isinstance(found, dict):
        return list(found.values())
    return list(found) if isinstance(found, list | tuple) else [found]


def channels_first(array):
    return np.ascontiguousarray(np.moveaxis(array, -1, 1)) if array.ndim > 2 else array


def through_torch(model, x):
    module = kl.to_torch(model, check=False)
    with torch.no_grad():
        found = listed(module(torch.from_numpy(channels_first(x))))
    back = kl.from_torch(module, (2, *channels_first(x).shape[1:]), check=False)
    return [one.numpy() for one in found], back


def through_onnx(model, x):
    proto = to_onnx(model)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options)
    found = session.run(None, {proto.graph.input[0].name: x})
    return found, from_onnx(proto.SerializeToString())


def through_keras(model, x):
    theirs = kl.to_keras(model)
    return [np.asarray(one) for one in listed(theirs.predict(x, verbose=0))], kl.from_keras(theirs)


def through_safetensors(model, x, folder):
    model.save(folder / "m.safetensors")
    back = kl.load_model(folder / "m.safetensors")
    return listed(back.predict(x, verbose=0)), back


def computes_otherwise(model):
    """Whether Keras on PyTorch has other numbers for a layer, as `to_keras` says."""
    return keras.config.backend() == "torch" and any(
        type(layer).__name__.startswith(kind) and is_other(layer)
        for layer in model.layers
        for kind, is_other, _ in OTHERWISE_ON_PYTORCH
    )


STOPS = {"torch": through_torch, "onnx": through_onnx, "keras": through_keras}


def numbers(model):
    """All numbers of the weights, in order of size: what moving them about does not change."""
    return np.unique(np.concatenate([np.ravel(w.numpy()).astype(np.float32) for w in model.weights]))


def alike(found, expected, where):
    assert len(found) == len(expected), where
    for one, other in zip(found, expected):
        one = one if one.shape == other.shape else np.moveaxis(one, 1, -1)
        assert one.shape == other.shape, where
        largest = max(float(np.abs(other).max(initial=0)), 1e-3)
        difference = float(np.abs(one.astype(float) - other).max(initial=0)) / largest
        assert difference < BOUND, (where, difference)


def around(model, x, order):
    """Take a model from stop to stop. Returns: the stops that were made, and why the others were not."""
    expected, given = listed(model.predict(x, verbose=0)), numbers(model)
    made, refusals = [], {}
    for name in order:
        try:
            found, back = STOPS[name](model, x)
        except ArgumentError as error:
            refusals[name] = str(error)
            assert "'" in str(error), error  # names a layer
            continue
        if name != "keras" or not computes_otherwise(model):
            alike(found, expected, f"in {name}")
        alike(listed(back.predict(x, verbose=0)), expected, f"back from {name}")
        lost = given[~np.isin(given, numbers(back))]
        assert not lost.size, (name, lost)
        model = back
        made.append(name)
    return made, refusals


def random_weights(model, seed):
    randomize(model, np.random.default_rng(seed))
    return model


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, shape", [("lenet", (28, 28, 1)), ("vgg_small", (32, 32, 3)), ("resnet20", (32, 32, 3))]
)
@pytest.mark.parametrize("order", [("torch", "onnx", "keras"), ("keras", "onnx", "torch")], ids="-".join)
def test_networks_of_the_zoo(name, shape, order):
    model = random_weights(zoo.get(name)(shape, 10), 1)
    x = np.random.default_rng(0).random((3, *shape), np.float32)
    made, refusals = around(model, x, order)
    assert made == list(order), refusals


@pytest.mark.parametrize("seed", SEEDS)
def test_random_networks_of_keras(seed, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs, x, _, _ = keras_networks.random_network(keras, seed)
    x = x.astype(np.float32)
    model = random_weights(kl.from_keras(theirs), seed)
    model = through_safetensors(model, x, tmp_path)[1]
    # NOTE: PyTorch's attention has no other widths than the channels, and Keras has none of the functions
    # that attention is in ONNX: such networks come from Keras first.
    has_attention = any(isinstance(layer, kl.layers.MultiHeadAttention) for layer in model.layers)
    order = ("keras", "torch", "onnx") if has_attention else ("torch", "onnx", "keras")
    made, refusals = around(model, x, order)
    assert len(made) >= 2, refusals


@pytest.mark.parametrize("seed", SEEDS)
def test_random_networks_of_ours(seed):
    model = network(seed)
    x = np.random.default_rng(seed).normal(size=(3, *model.input_shape[1:])).astype(np.float32)
    made, refusals = around(model, x, ("keras", "torch", "onnx"))
    assert len(made) >= 2, refusals
