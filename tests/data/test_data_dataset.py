"""`as_dataset` and `Dataset`: types at the edge, checks of what comes in, several inputs."""

import numpy as np
import pytest

from kernelearn import config
from kernelearn.data import Dataset, as_dataset
from kernelearn.errors import ArgumentError, DataError, ShapeError


@pytest.fixture
def float64():
    config.set_floatx("float64")
    yield
    config.set_floatx("float32")


def first(data, size=4):
    return next(data.batches(size))


def test_uint8_is_scaled_at_the_edge_and_kept_as_uint8():
    x = np.arange(256, dtype=np.uint8).reshape(4, 8, 8, 1)
    data = as_dataset(x, [0, 1, 2, 3])
    batch, y, weight = first(data)
    assert (batch.dtype, y.dtype, weight) == (np.float32, np.int64, None)
    assert np.array_equal(batch, x.astype(np.float32) / np.float32(255))
    assert data.dtype == np.uint8
    assert np.array_equal(data.raw(), x)


def test_floats_pass_unchanged():
    x = np.random.default_rng(0).normal(size=(4, 2, 2, 1)).astype(np.float32) * 300
    assert np.array_equal(first(as_dataset(x))[0], x)
    assert first(as_dataset(x.astype(np.float64)))[0].dtype == np.float32


def test_batches_follow_the_float_type_of_the_process(float64):
    x, y, w = first(as_dataset(np.full((4, 2), 7, np.uint8), np.ones(4), np.ones(4)))
    assert x.dtype == y.dtype == w.dtype == np.float64
    assert x[0, 0] == 7 / 255


def test_a_batch_cannot_write_into_the_users_array():
    x = np.zeros((4, 2), np.float32)
    batch = first(as_dataset(x))[0]
    with pytest.raises(ValueError, match="read-only"):
        batch[0, 0] = 1
    assert x[0, 0] == 0


def test_targets_come_back_as_given():
    x = np.zeros((3, 2))
    assert first(as_dataset(x, np.array([0.5, 1, 2])))[1].dtype == np.float32
    one_hot = np.eye(3)
    assert np.array_equal(first(as_dataset(x, one_hot))[1], one_hot)
    assert first(as_dataset(x, [True, False, True]))[1].tolist() == [1, 0, 1]
    assert first(as_dataset(x))[1] is None


def test_strings_become_sorted_classes():
    data = as_dataset(np.zeros((3, 2)), ["dog", "cat", "dog"])
    assert data.class_names == ["cat", "dog"]
    assert data.labels.tolist() == [1, 0, 1]
    assert data.has_classes


def test_several_inputs_and_outputs_keep_their_structure():
    x = {"a": np.arange(6.0).reshape(3, 2), "b": np.zeros((3, 4, 4, 1), np.uint8)}
    data = as_dataset(x, [np.arange(3), np.ones((3, 2))])
    assert data.x_shape == {"a": (2,), "b": (4, 4, 1)}
    batch, y, _ = next(data.batches(2, start=1))
    assert batch["a"].tolist() == [[4.0, 5.0]]
    assert (batch["b"].shape, y[0].tolist(), y[1].shape) == ((1, 4, 4, 1), [2], (1, 2))
    assert len(data.subset([0, 2])) == 2


def test_example_and_len():
    data = as_dataset(np.arange(6, dtype=np.float32).reshape(3, 2), [4, 5, 6])
    x, y = data.example(-1)
    assert (x.tolist(), int(y), len(data), data.size) == ([4.0, 5.0], 6, 3, 3)
    with pytest.raises(ArgumentError, match="index"):
        data.example(3)


def test_fingerprint_sees_values_order_and_labels():
    x, y = np.random.default_rng(0).normal(size=(20, 3)), np.arange(20)
    data = as_dataset(x, y)
    assert data.fingerprint == as_dataset(x.copy(), y.copy()).fingerprint
    assert data.fingerprint != as_dataset(x + 1, y).fingerprint
    assert data.fingerprint != as_dataset(x, y[::-1].copy()).fingerprint
    assert data.fingerprint != data.subset(np.arange(20)[::-1]).fingerprint


def test_dataset_passes_through_and_takes_no_second_targets():
    data = as_dataset(np.zeros((2, 2)), [0, 1])
    assert isinstance(data, Dataset)
    assert as_dataset(data) is data
    with pytest.raises(ArgumentError, match="brings its own targets"):
        as_dataset(data, [0, 1])


NAN = np.array([[0.0, 1.0], [np.nan, 2.0]])
REFUSED = {
    "nan": ((NAN,), DataError, "row 1 has nan"),
    "infinity": ((np.array([[np.inf], [0]]),), DataError, "row 0 has inf"),
    "overflow": ((np.array([[1e300]]),), DataError, "finite float32"),
    "nan targets": ((np.zeros((2, 1)), [0.0, np.nan]), DataError, "y must hold finite"),
    "nan weights": ((np.zeros((2, 1)), [0, 1], [1.0, np.nan]), DataError, "sample_weight must hold finite"),
    "empty": ((np.zeros((0, 3)),), DataError, r"x is empty: its shape is \(0, 3\)"),
    "scalar": ((np.float32(3),), ShapeError, "first axis"),
    "rows": ((np.zeros((3, 2)), [0, 1]), ShapeError, "x has 3 rows, y has shape"),
    "weight rows": ((np.zeros((3, 2)), None, [1, 2]), ShapeError, "sample_weight must have one row"),
    "weight rows of an output": ((np.zeros((2, 2)), None, [None, np.ones(3)]), ShapeError, "one row"),
    "ragged": (([[1, 2], [3]],), DataError, "rectangular"),
    "objects": ((np.array([{}, {}]),), DataError, "Python objects"),
    "strings": ((np.array([["a"], ["b"]]),), DataError, "Strings are accepted as labels only"),
    "input rows": (([np.zeros((2, 1)), np.zeros((3, 1))], [0, 1, 0]), ShapeError, "input 1 of x"),
    "complex": ((np.zeros((2, 2), complex),), DataError, "complex128"),
    "number": ((3,), DataError, "got int"),
}


@pytest.mark.parametrize(("arguments", "error", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        as_dataset(*arguments)


@pytest.mark.parametrize("labels", [[0, 3], [-1, 0]])
def test_labels_out_of_range_are_refused(labels):
    with pytest.raises(DataError, match=r"must lie in 0\.\.2 \(3 classes\), but row"):
        as_dataset(np.zeros((2, 1)), labels, classes=3)


@pytest.mark.parametrize(
    "arguments",
    [{"batch_size": 0}, {"batch_size": 2.0}, {"batch_size": 1, "start": -1}, {"batch_size": 1, "seed": -1}],
)
def test_bad_arguments_are_refused_before_the_first_batch(arguments):
    with pytest.raises(ArgumentError):
        as_dataset(np.zeros((2, 1))).batches(**{"batch_size": 1, **arguments})


def test_nan_is_found_in_a_later_chunk(monkeypatch):
    monkeypatch.setattr("kernelearn.data.arrays._CHUNK_VALUES", 8)
    x = np.zeros((50, 4))
    x[41, 2] = np.nan
    with pytest.raises(DataError, match="row 41 has nan"):
        as_dataset(x)
