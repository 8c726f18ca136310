"""What fine-tuning made of a network: new, kept and moved layers, distances, and the table as JSON."""

import json

import numpy as np
import pytest

from kernelearn import Input, Sequential, explain, layers
from kernelearn.errors import ArgumentError, FormatError
from kernelearn.explain.kernel.movement import Movement


def network():
    return Sequential(
        [
            Input((6,)),
            layers.Dense(4, name="a"),
            layers.BatchNormalization(name="norm"),
            layers.Dense(4, name="b"),
            layers.Dense(2, name="head"),
        ]
    )


def test_layers_before_and_after():
    model = network()
    before = model.clone()
    model.freeze(until="norm")
    kernel = model.get_layer("b").kernel
    kernel.assign(kernel.numpy() + 0.5)
    found = explain.movement(before, model.replace_head(3, name="new"))
    rows = {row.layer: row for row in found.layers}
    assert [(name, row.state, row.is_frozen) for name, row in rows.items()] == [
        ("a", "as it was", True),
        ("norm", "as it was", True),
        ("b", "taken over, moved", False),
        ("new", "new", False),
    ]
    assert rows["b"].distance == pytest.approx(0.5 * np.sqrt(16), rel=1e-5)
    length = np.sqrt(sum((w**2).sum() for w in before.get_layer("b").get_weights()))
    assert rows["b"].relative == pytest.approx(rows["b"].distance / length, rel=1e-5)
    assert found.shares() == {"a": 0.0, "norm": 0.0, "b": 1.0, "new": 0.0}
    assert (found.taken_over, found.total) == (64, 79)
    assert "64 of 79 weights (81.0 %)" in found.in_words() and "new: new." in found.in_words()
    assert rows["new"].distance is None and "81.0 %" not in str(found.table())


def test_a_layer_of_the_same_name_may_be_new():
    model = network()
    found = explain.movement(model.clone(), model, new=["head"])
    assert [row.state for row in found.layers] == ["as it was"] * 3 + ["new"]
    assert found.shares()["a"] == 0.0


def test_as_json_and_back():
    model = network()
    found = explain.movement(model.clone(), model)
    assert Movement.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    with pytest.raises(FormatError, match="layers"):
        Movement.from_dict({"layers": [{"layer": 3}]})


def test_networks_without_anything_in_common():
    other = Sequential([Input((6,)), layers.Dense(4, name="other")])
    with pytest.raises(ArgumentError, match="no weight in common"):
        explain.movement(other, network())
