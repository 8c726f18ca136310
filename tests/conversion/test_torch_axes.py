"""The account of axes: every change of shape, checked on arrays that say where each number is."""

import itertools

import numpy as np
import pytest

from kernelearn.conversion.torch.placed import IMAGES, Placed, channels_first, channels_last, segments
from kernelearn.conversion.torch.shapes import reshaped_by

N = 2


def placed(shape, order):
    """Numbers counted in the order of the origin, standing in another one."""
    whole = np.arange(N * int(np.prod(shape[1:]))).reshape(N, *shape[1:])
    return Placed(whole.transpose(order), shape, order)


def origin(x):
    """The numbers as the origin has them."""
    tensor = x.tensor
    if x.places is not None:
        back = np.empty_like(x.places)
        back[x.places] = np.arange(len(x.places))
        tensor = tensor[:, back]
    return tensor.transpose([x.order.index(axis) for axis in range(x.rank)])


def in_order(x):
    return Placed(origin(x).transpose(x.order), x.shape, x.order)


def ordered(x, order):
    return Placed(origin(x).transpose(order), x.shape, tuple(order))


def changed(x, shape):
    return reshaped_by(x, tuple(shape), in_order, ordered, lambda t, sizes: t.reshape(N, *sizes))


def random_case(random):
    """A shape, an order of it, and two other shapes of as many numbers."""
    factors = random.choice([1, 2, 2, 3], random.randint(1, 6)).tolist()

    def shape():
        ends = [0, *sorted(random.randint(0, len(factors) + 1, random.randint(0, 5)).tolist()), len(factors)]
        return (IMAGES, *(int(np.prod(factors[a:b], dtype=int)) for a, b in itertools.pairwise(ends)))

    before = shape()
    return before, (0, *(1 + random.permutation(len(before) - 1)).tolist()), shape(), shape()


@pytest.mark.parametrize("seed", range(20))
def test_every_change_of_shape(seed):
    random = np.random.RandomState(seed)
    for _ in range(50):
        before, order, *others = random_case(random)
        x = placed(before, order)
        for shape in others:
            x = changed(x, shape)
            sizes = (N, *shape[1:])
            assert x.shape == shape and x.tensor.shape == tuple(sizes[axis] for axis in x.order)
            assert np.array_equal(origin(x), np.arange(int(np.prod(sizes))).reshape(sizes))


def test_flattening_moves_nothing():
    x = placed((IMAGES, 3, 4, 5), channels_last(4))
    y = changed(x, (IMAGES, 60))
    assert y.order == (0, 1) and np.array_equal(y.tensor, x.tensor.reshape(N, 60))
    assert np.array_equal(changed(y, (IMAGES, 3, 4, 5)).tensor, x.tensor)


def test_orders_are_inverse():
    for rank in (3, 4, 5):
        assert [channels_first(rank)[a] for a in channels_last(rank)] == list(range(rank))


@pytest.mark.parametrize(
    "before, after",
    [((IMAGES, 4, 3), (IMAGES * 4, 3)), ((4, IMAGES, 3), (4 * IMAGES, 3)), ((IMAGES, 6), (6, IMAGES))],
)
def test_images_are_not_mixed(before, after):
    order = (before.index(IMAGES), *(i for i, s in enumerate(before) if s != IMAGES))
    sizes = [N if before[axis] == IMAGES else before[axis] for axis in order]
    stay = lambda x, order=None: x  # noqa: E731
    assert reshaped_by(Placed(np.zeros(sizes), before, order), after, stay, stay, lambda t, s: t) is None


def test_segments_of_ones():
    assert [(s.before, s.after) for s in segments((2, 1, 3, 1), (2, 3))] == [
        ((0,), (0,)),
        ((1, 2), (1,)),
        ((3,), ()),
    ]
