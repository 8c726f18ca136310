"""Streams: regrouping, one-pass sources, resuming, and PyTorch's channel order."""

import numpy as np
import pytest

from kernelearn.data import StreamDataset, as_dataset, load
from kernelearn.errors import ArgumentError, DataError, ShapeError


def numbers(sizes):
    """A function that starts a pass over batches of the given sizes, holding 0, 1, 2, ..."""

    def start():
        first = 0
        for size in sizes:
            yield np.arange(first, first + size, dtype=np.float32)[:, None], np.arange(first, first + size)
            first += size

    return start


def sizes_and_values(batches):
    got = list(batches)
    return [len(x) for x, _, _ in got], [int(v) for x, _, _ in got for v in x[:, 0]]


class Tensor(np.ndarray):
    """Looks like a torch tensor: its class says it comes from that package."""

    def detach(self):
        return self

    def cpu(self):
        return self

    def numpy(self):
        return self.view(np.ndarray)


Tensor.__module__ = "torch"


def tensor(*shape):
    return np.zeros(shape, np.float32).view(Tensor)


def test_batches_come_as_they_are_or_regrouped():
    stream = as_dataset(numbers([3, 4, 3]))
    assert isinstance(stream, StreamDataset)
    assert sizes_and_values(stream.batches()) == ([3, 4, 3], list(range(10)))
    assert sizes_and_values(stream.batches(4)) == ([4, 4, 2], list(range(10)))
    assert sizes_and_values(stream.batches(20)) == ([10], list(range(10)))
    assert sizes_and_values(stream.batches(4, drop_remainder=True)) == ([4, 4], list(range(8)))
    assert sizes_and_values(stream.batches(4, start=2)) == ([2], [8, 9])
    assert stream.size is None
    with pytest.raises(TypeError, match="length"):
        len(stream)


def test_one_pass_source_is_peeked_without_loss_and_ends_with_a_message():
    stream = as_dataset(numbers([3, 3])())
    assert stream.x_shape == (1,)
    assert sizes_and_values(stream.batches(2)) == ([2, 2, 2], list(range(6)))
    with pytest.raises(DataError, match="generator that has ended"):
        stream.batches(2)


def test_endless_generator_goes_on_over_epochs():
    stream = as_dataset(numbers([3] * 100)())
    seen = []
    for _ in range(3):
        batches = stream.batches(2)
        seen += [next(batches)[0][:, 0].tolist() for _ in range(2)]
        batches.close()
    assert [value for batch in seen for value in batch] == list(range(12))


def test_single_examples_are_collected():
    def examples():
        for index in range(70):
            yield np.full((2, 2, 1), index, np.uint8), index % 3

    got = list(as_dataset(examples).batches())
    assert [len(x) for x, _, _ in got] == [32, 32, 6]
    assert got[1][0][0, 0, 0, 0] == np.float32(32) / np.float32(255)
    assert got[0][1][:4].tolist() == [0, 1, 2, 0]


def test_weights_and_several_inputs_stream():
    def batches():
        yield [np.zeros((2, 1)), np.ones((2, 3))], np.arange(2), np.array([0.5, 1.0])
        yield [np.zeros((2, 1)), np.ones((2, 3))], np.arange(2), np.array([0.5, 1.0])

    (x, y, weight), *rest = as_dataset(batches).batches(3)
    assert (x[1].shape, y.tolist(), weight.tolist(), len(rest)) == ((3, 3), [0, 1, 0], [0.5, 1.0, 0.5], 1)


def test_nested_lists_are_one_array():
    (x, y, _), *_ = as_dataset(lambda: iter([([[1.0, 2.0], [3.0, 4.0]], [0, 1])])).batches()
    assert (x.tolist(), y.tolist()) == ([[1.0, 2.0], [3.0, 4.0]], [0, 1])


@pytest.mark.parametrize("shape", [(4, 3, 32, 32), (4, 1, 28, 28), (4, 3, 3, 3)])
def test_channels_first_tensors_are_refused_or_converted(shape):
    loader = [(tensor(*shape), np.zeros(4, int))]
    with pytest.raises(ShapeError, match="channels_first=True"):
        list(StreamDataset(loader).batches())
    (x, _, _), *_ = StreamDataset(loader, channels_first=True).batches()
    assert x.shape == (shape[0], shape[2], shape[3], shape[1])


def test_channels_last_tensors_are_taken():
    (x, _, _), *_ = StreamDataset([(tensor(4, 32, 32, 3), np.zeros(4, int))]).batches()
    assert x.shape == (4, 32, 32, 3)


def test_conversion_moves_the_right_axis():
    x = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)
    data = as_dataset(x, channels_first=True)
    assert np.array_equal(data.arrays()[0], x.transpose(0, 2, 3, 1))


REFUSED = {
    "nan": (
        lambda: iter([(np.zeros((2, 1)), [0, 1]), (np.full((2, 1), np.nan), [0, 1])]),
        "batch 1 of the stream",
    ),
    "rows": (lambda: iter([(np.zeros((2, 1)), [0, 1, 2])]), "one row per example"),
    "empty": (lambda: iter([]), "gave no batch"),
    "not an iterator": (lambda: 3, "returned int"),
    "dict": (lambda: iter([{"image": 1}]), "is a dict with the keys"),
    "four parts": (lambda: iter([(1, 2, 3, 4)]), "got 4 parts"),
    "label": (lambda: iter([(np.zeros((2, 1)), [0, 2])]), r"must lie in 0\.\.1"),
    "sometimes targets": (lambda: iter([(np.zeros((2, 1)), [0, 1]), np.zeros((2, 1))]), "some have none"),
    "shapes": (lambda: iter([np.zeros((2, 4, 1)), np.zeros((2, 4, 3))]), "differ in shape"),
}


@pytest.mark.parametrize(("source", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_refused(source, message):
    stream = StreamDataset(source, class_names=["a", "b"])
    with pytest.raises((DataError, ShapeError), match=message):
        list(stream.batches(4))


def test_load_takes_streams_but_cannot_divide_them():
    data = load(numbers([4, 4]), test=numbers([2]))
    assert sizes_and_values(data.train.batches(8)) == ([8], list(range(8)))
    assert sizes_and_values(data.test.batches(8)) == ([2], [0, 1])
    assert load(numbers([4])).test is None
    with pytest.raises(DataError, match="cannot be divided"):
        load(numbers([4]), validation=0.5)
    with pytest.raises(ArgumentError, match="resize cannot be applied to a stream"):
        load(numbers([4]), resize=8)
    with pytest.raises(DataError, match="cannot be described"):
        data.describe()


def test_class_names_of_a_torchvision_like_loader():
    class Labelled:
        classes = ("cat", "dog")

        def __len__(self):
            return 6

    class DataLoader:
        dataset = Labelled()
        sampler = range(6)

        def __len__(self):
            return 3

        def __iter__(self):
            return numbers([2])()

    data = load(DataLoader())
    assert (data.class_names, data.classes, len(data.train)) == (["cat", "dog"], 2, 6)
    assert (data.train.steps(None), data.train.steps(4)) == (3, 2)
    DataLoader.drop_last, DataLoader.batch_size = True, 1
    assert len(as_dataset(DataLoader())) == 3
