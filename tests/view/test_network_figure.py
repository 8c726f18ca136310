"""Pictures of networks: every layer is there with its shape and weights, every way, every neuron and tie."""

import matplotlib.text
import numpy as np
import pytest

from kernelearn import Input, Model, Sequential, layers, utils
from kernelearn.errors import ArgumentError
from kernelearn.models import zoo
from kernelearn.view import plot_network, plot_neurons


def ways_of(figure):
    return [text for text in figure.axes[0].texts if getattr(text, "arrow_patch", None) is not None]


def words_of(figure):
    return "\n".join(text.get_text() for text in figure.findobj(matplotlib.text.Text))


def test_every_layer_is_drawn_with_its_shape_and_weights():
    model = zoo.lenet((12, 12, 1), 3)
    words = words_of(plot_network(model))
    for layer in model.layers:
        assert layer.name in words
        if layer.weights:
            assert f"{layer.count_params():,} weights" in words
    assert f"{model.count_params():,} weights" in words


def test_branches_have_their_ways_and_what_keeps_the_shape_stands_in_the_box_before():
    x = Input((8, 8, 2), name="x")
    first = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(4, 3, padding="same", name="first")(x)))
    second = layers.Conv2D(4, 3, padding="same", name="second", trainable=False)(first)
    figure = plot_network(Model(x, layers.Add(name="sum")([first, second])))
    words = words_of(figure)
    assert "+ BatchNormalization\n+ ReLU" in words and "frozen" in words
    assert len(ways_of(figure)) == 4  # x -> first -> second -> sum, first -> sum


def test_a_long_network_goes_on_below():
    assert len(ways_of(plot_network(zoo.MODELS["resnet20"]((16, 16, 3), 4)))) > 30


def test_every_neuron_and_every_tie():
    stack = [
        layers.Conv2D(1, 2, name="c"),
        layers.MaxPooling2D(2),
        layers.Flatten(),
        layers.Dense(3, name="d"),
    ]
    model = Sequential([Input((5, 5, 1)), *stack])
    (axis,) = plot_neurons(model).axes
    conv, dense = axis.collections[0], axis.collections[1]
    assert len(conv.get_segments()) == 16 * 4  # each output reads 2 x 2 pixels
    assert len(np.unique(conv.get_colors(), axis=0)) == 4  # tied to four numbers
    assert len(dense.get_segments()) == 4 * 3
    assert [len(part.get_offsets()) for part in axis.collections[2:]] == [25, 16, 4, 3]


def test_what_is_too_large_or_no_chain_is_refused():
    with pytest.raises(ArgumentError, match="at most 64 units"):
        plot_neurons(zoo.lenet((12, 12, 1), 3))
    x = Input((4,))
    with pytest.raises(ArgumentError, match="chains"):
        plot_neurons(Model(x, layers.Add()([x, layers.Dense(4)(x)])))


def test_keras_users_find_it(tmp_path):
    path = tmp_path / "model.png"
    utils.plot_model(zoo.lenet((12, 12, 1), 3), path, show_shapes=True)
    assert path.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ArgumentError, match="show_nothing"):
        utils.plot_model(zoo.lenet((12, 12, 1), 3), path, show_nothing=True)
