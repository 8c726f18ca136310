"""Every registered layer keeps the contract of `check_layer`, and every layer has an example."""

import numpy as np
import pytest

from kernelearn.layers import LAYERS, Dense
from tests.layers.contract import call, check_layer, training_step
from tests.layers.examples import EXAMPLES

RANDOM = [example for example in EXAMPLES if example.draws]


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_layer(example):
    check_layer(example)


def test_every_registered_layer_has_an_example():
    made_by_input = {"InputLayer"}
    models = {name for name, cls in LAYERS._classes.items() if cls.__module__.startswith("kernelearn.models")}
    assert sorted(set(LAYERS._classes) - {e.name for e in EXAMPLES} - made_by_input - models) == []


@pytest.mark.parametrize("example", RANDOM, ids=str)
def test_random_layers_act_in_training_only(example):
    layer, _, output = training_step(example)
    inference = call(layer, example.inputs("float64"))
    assert np.abs(output - inference).max() > 1e-3


@pytest.mark.parametrize("example", [e for e in EXAMPLES if e.weights], ids=str)
def test_frozen_layers_get_no_gradient(example):
    layer = example.make(trainable=False)
    call(layer, example.inputs())
    assert layer.trainable_weights == [] and len(layer.non_trainable_weights) == len(example.weights)


def test_build_called_by_hand_makes_the_weights_once():
    layer = Dense(3)
    layer.build((None, 2))
    layer.build((None, 2))
    assert layer.built
    assert layer.compute_output_shape((None, 2)) == (None, 3)
    assert [w.shape for w in layer.weights] == [(2, 3), (3,)]
