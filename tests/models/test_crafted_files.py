"""Model files whose checksums are right and whose content is not what any program writes."""

import copy
import tracemalloc

import numpy as np
import pytest

from kernelearn import layers, models
from kernelearn.errors import FormatError, KernelearnError
from kernelearn.formats import native
from kernelearn.training.checkpoint import load_checkpoint, save_checkpoint


def network():
    return models.Sequential(
        [
            layers.Input((6, 6, 1)),
            layers.Conv2D(2, 3, activation="relu", name="conv"),
            layers.BatchNormalization(name="norm"),
            layers.Flatten(name="flat"),
            layers.Dense(3, activation="softmax", name="dense"),
        ]
    )


@pytest.fixture
def saved(tmp_path):
    model = network()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(np.zeros((8, 6, 6, 1)), np.arange(8) % 3, epochs=1, verbose=0)
    model.save(tmp_path / "m.kernelearn")
    return tmp_path / "m.kernelearn"


def places(value, at=()):
    """Every place in nested lists and dicts."""
    yield at
    listed = dict(enumerate(value)) if isinstance(value, list) else value
    for key, item in listed.items() if isinstance(listed, dict) else ():
        yield from places(item, (*at, key))


def with_value(content, place, value):
    changed = copy.deepcopy(content)
    *way, last = place
    inner = changed
    for key in way:
        inner = inner[key]
    inner[last] = value
    return changed


WRONG = [None, [], {}, "x", -1, 1e308, [[]], True, {"class_name": []}, 10**30]


def test_any_wrong_value_is_one_error(saved, tmp_path):
    content, arrays = native.read(saved)
    tried = 0
    for number, place in enumerate(list(places(content))[1:]):
        value = WRONG[number % len(WRONG)]
        native.write(tmp_path / "bad.kernelearn", with_value(content, place, value), arrays)
        try:
            models.load_model(tmp_path / "bad.kernelearn")
        except KernelearnError:
            tried += 1
    assert tried > 20


@pytest.mark.parametrize("value", [[3], {"a": 1}, None, "three", 2.5])
@pytest.mark.parametrize("name", ["filters", "kernel_size", "units", "axis", "name", "activation"])
def test_what_a_layer_does_not_take(saved, tmp_path, name, value):
    content, arrays = native.read(saved)
    place = next(p for p in places(content["model"]) if p and p[-1] == name and len(p) > 2)
    native.write(tmp_path / "bad.kernelearn", with_value(content, ("model", *place), value), arrays)
    try:
        models.load_model(tmp_path / "bad.kernelearn")
    except KernelearnError as error:
        assert "bad.kernelearn" in str(error) or "Unknown" in str(error)


@pytest.mark.parametrize("name", ["filters", "kernel_size", "units"])
def test_sizes_are_compared_before_memory_is_taken(saved, tmp_path, name):
    content, arrays = native.read(saved)
    place = next(p for p in places(content["model"]) if p and p[-1] == name)
    size = [20_000, 20_000] if name == "kernel_size" else 40_000_000
    native.write(tmp_path / "big.kernelearn", with_value(content, ("model", *place), size), arrays)
    tracemalloc.start()
    try:
        with pytest.raises(FormatError):
            models.load_model(tmp_path / "big.kernelearn")
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def test_a_whole_file_still_loads(saved):
    model = models.load_model(saved)
    assert model.compiled
    assert model.count_params() == network().count_params()


def test_a_layer_is_not_a_model(saved, tmp_path):
    content, arrays = native.read(saved)
    layer = next(item for item in content["model"]["config"]["layers"] if item["class_name"] == "Dense")
    native.write(tmp_path / "bad.kernelearn", {**content, "model": layer}, arrays)
    with pytest.raises(FormatError, match="not a model"):
        models.load_model(tmp_path / "bad.kernelearn")


def test_a_checkpoint_with_wrong_values_changes_nothing(tmp_path):
    model = network()
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(np.zeros((8, 6, 6, 1)), np.arange(8) % 3, epochs=1, verbose=0)
    save_checkpoint(tmp_path / "c.kernelearn", model, steps=1)
    content, arrays = native.read(tmp_path / "c.kernelearn")
    before = [weight.numpy() for weight in model.weights]
    for place, value in [
        (("training", "iterations"), "x"),
        (("training", "fit"), []),
        (("training", "fit", "epoch"), None),
        (("callbacks",), [1]),
        (("callbacks",), {"A": {"__array__": "nowhere"}}),
        (("callbacks",), {"A": {"__array__": []}}),
        (("stop_training",), "no"),
        (("about",), 3),
    ]:
        if place == ("training", "fit", "epoch"):
            content["training"]["fit"] = {"seed": 0, "epoch": 0, "batch": 0}
        changed = {name: array + 1 for name, array in arrays.items()}
        native.write(tmp_path / "bad.kernelearn", with_value(content, place, value), changed)
        with pytest.raises(FormatError, match=r"bad\.kernelearn"):
            load_checkpoint(tmp_path / "bad.kernelearn", model)
        assert all(np.array_equal(a, w.numpy()) for a, w in zip(before, model.weights))
