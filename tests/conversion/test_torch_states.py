"""State dicts of PyTorch without PyTorch: golden numbers, pairs by name and order, refusals."""

from pathlib import Path

import numpy as np
import pytest

from kernelearn import Input, Model, Sequential, errors, layers, load_torch_state_dict
from kernelearn.conversion.torch.states import arrays_for_torch
from kernelearn.models import zoo

GOLDEN = dict(np.load(Path(__file__).with_name("golden_torch.npz")))


def golden(name):
    start = f"{name}/state/"
    state = {key.removeprefix(start): value for key, value in GOLDEN.items() if key.startswith(start)}
    return state, GOLDEN[f"{name}/x"], GOLDEN[f"{name}/y"]


def cnn():
    return Sequential(
        [
            Input((8, 6, 3)),
            layers.ZeroPadding2D(1),
            layers.Conv2D(4, 3, 2, name="conv"),
            layers.BatchNormalization(epsilon=1e-5, momentum=0.9, name="norm"),
            layers.ReLU(),
            layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2, name="deep"),
            layers.PReLU(shared_axes=[1, 2], name="act"),
            layers.Conv2DTranspose(2, 2, 2, name="up"),
            layers.GroupNormalization(2, epsilon=1e-5, name="group"),
            layers.Flatten(),
            layers.Dense(5, name="head"),
        ]
    )


def tokens():
    x = Input((6, 8))
    y = layers.Add()([x, layers.LearnedArray((6, 8), name="positions")(x)])
    z = layers.MultiHeadAttention(2, 4, name="attention")(y, y)
    return Model(x, layers.LayerNormalization(epsilon=1e-5, name="norm")(layers.Add()([y, z])))


@pytest.mark.parametrize("name, make", [("cnn", cnn), ("tokens", tokens)])
def test_golden_state_dicts(name, make):
    """Every layout, dense rows behind flattened maps included: the predictions are PyTorch's."""
    state, x, y = golden(name)
    model = make()
    pairs = load_torch_state_dict(model, state)
    assert set(pairs) == set(model.weight_paths())
    ours = model.predict(np.moveaxis(x, 1, -1) if x.ndim == 4 else x, verbose=0)
    assert np.abs(ours - y).max() < 1e-5
    back = arrays_for_torch(model)
    assert set(back) == set(state)
    for key, array in state.items():
        assert array.shape == back[key].shape and np.array_equal(array, back[key])


@pytest.mark.parametrize("name", ["lenet", "vgg_small", "resnet20"])
def test_zoo_round_trip(name):
    model = zoo.get(name)((32, 32, 3), 10)
    arrays = arrays_for_torch(model)
    other = zoo.get(name)((32, 32, 3), 10)
    load_torch_state_dict(other, arrays)
    for ours, theirs in zip(model.get_weights(), other.get_weights(), strict=True):
        assert np.array_equal(ours, theirs)


def test_other_names():
    state, x, y = golden("cnn")
    renamed = {f"net.{key}": value for key, value in state.items()}
    model = cnn()
    load_torch_state_dict(model, renamed)  # one prefix for all
    numbered = {k.replace("conv.", "0.").replace("norm.", "1."): v for k, v in state.items()}
    with pytest.raises(errors.ArgumentError) as caught:
        load_torch_state_dict(model, numbered)
    for text in ("conv.weight (4, 3, 3, 3)", "0.weight (4, 3, 3, 3)", "nothing was assigned"):
        assert text in str(caught.value)
    load_torch_state_dict(model, numbered, names={"conv": "0", "norm": "1"})
    assert np.abs(model.predict(np.moveaxis(x, 1, -1), verbose=0) - y).max() < 1e-5
    taken = load_torch_state_dict(model, numbered, strict=False)
    assert "head/kernel" in taken and "conv/kernel" not in taken


def test_by_order_is_told_and_checked():
    state, _, _ = golden("cnn")
    foreign = {f"{len(key)}_{key}": value for key, value in state.items()}
    model = cnn()
    with pytest.warns(UserWarning, match="by their order"):
        load_torch_state_dict(model, foreign)
    turned = dict(reversed(foreign.items()))
    with pytest.raises(errors.ArgumentError, match="order of shapes"):
        load_torch_state_dict(model, turned)


@pytest.mark.parametrize(
    "change, error",
    [
        (lambda s: {**s, "head.weight": np.zeros((5, 95), np.float32)}, errors.ShapeError),
        (lambda s: {k: v for k, v in s.items() if k != "act.weight"}, errors.ArgumentError),
        (lambda s: {**s, "more.weight": np.zeros(3)}, errors.ArgumentError),
        (lambda s: {**s, "conv.bias": "text"}, errors.ArgumentTypeError),
        (lambda s: list(s), errors.ArgumentTypeError),
        (lambda s: {}, errors.ArgumentError),
    ],
)
def test_what_does_not_fit_changes_nothing(change, error):
    model = cnn()
    before = model.get_weights()
    with pytest.raises(error):
        load_torch_state_dict(model, change(golden("cnn")[0]))
    for ours, old in zip(model.get_weights(), before):
        assert np.array_equal(ours, old)


def test_names_must_be_layers():
    with pytest.raises(errors.ArgumentError, match="no layers"):
        load_torch_state_dict(cnn(), golden("cnn")[0], names={"cnov": "conv"})
    with pytest.raises(errors.ArgumentTypeError, match="dict"):
        load_torch_state_dict(cnn(), golden("cnn")[0], names=["conv"])


def test_weights_that_the_model_does_not_have():
    """A scale that PyTorch learned and the layer does not have is refused, unless it is 1."""
    model = Sequential([Input((4,)), layers.BatchNormalization(scale=False, name="n")])
    state = {
        "n.weight": np.ones(4, np.float32),
        "n.bias": np.full(4, 2, np.float32),
        "n.running_mean": np.zeros(4, np.float32),
        "n.running_var": np.ones(4, np.float32),
    }
    load_torch_state_dict(model, state)
    assert np.array_equal(model.get_layer("n").beta.numpy(), state["n.bias"])
    with pytest.raises(errors.ArgumentError, match="fixed here"):
        load_torch_state_dict(model, {**state, "n.weight": np.full(4, 2, np.float32)})


def test_layers_that_pytorch_does_not_have():
    """Without weights they are no obstacle for a state dict; with weights they are named."""
    model = Sequential(
        [Input((4, 4, 2)), layers.UnitNormalization(), layers.Flatten(), layers.Dense(2, name="d")]
    )
    assert arrays_for_torch(model)["d.weight"].shape == (2, 32)
    odd = Sequential([Input((6, 6, 2)), layers.LocallyConnected2D(2, 3, name="odd")])
    with pytest.raises(errors.ArgumentError, match="odd"):
        arrays_for_torch(odd)
