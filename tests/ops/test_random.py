"""Random numbers: the same on both engines and for any division of the work, distributed as promised."""

import numpy as np
import pytest
from scipy import stats

from kernelearn import Input, Model, Sequential, layers, ops, random
from kernelearn.engine.backends import prepare
from kernelearn.engine.cpu.machine import threads
from kernelearn.engine.program import ProgramBuilder
from kernelearn.errors import ArgumentError, ShapeError
from kernelearn.tracing import Traced, tracing, unwrapped

N = 4000
# Distribution -> (a draw of N numbers, its distribution function).
CONTINUOUS = {
    "uniform": (lambda s: random.uniform((N,), -1, 3, seed=s), stats.uniform(-1, 4)),
    "normal": (lambda s: random.normal((N,), 1.0, 2.0, seed=s), stats.norm(1, 2)),
    "truncated_normal": (lambda s: random.truncated_normal((N,), seed=s), stats.truncnorm(-2, 2)),
    "gamma": (lambda s: random.gamma((N,), 2.5, seed=s), stats.gamma(2.5)),
    "gamma below 1": (lambda s: random.gamma((N,), 0.4, seed=s), stats.gamma(0.4)),
    "beta": (lambda s: random.beta((N,), 2.0, 0.5, seed=s), stats.beta(2, 0.5)),
}
DISCRETE = {
    "randint": (lambda s: random.randint((N,), -2, 3, seed=s), range(-2, 3), np.full(5, 0.2)),
    "bernoulli": (lambda s: random.bernoulli((N,), 0.3, seed=s), (0, 1), (0.7, 0.3)),
    "binomial": (
        lambda s: random.binomial((N,), 4, 0.3, seed=s),
        range(5),
        stats.binom(4, 0.3).pmf(range(5)),
    ),
    "categorical": (
        lambda s: random.categorical(np.log([[0.1, 0.6, 0.3]]), N, seed=s),
        range(3),
        (0.1, 0.6, 0.3),
    ),
    "first of a permutation": (
        lambda s: np.array([random.permutation(3, seed=s + i)[0] for i in range(0, 6000, 7)]),
        range(3),
        np.full(3, 1 / 3),
    ),
}


@pytest.mark.parametrize("name", CONTINUOUS)
def test_distributions(name):
    draw, distribution = CONTINUOUS[name]
    first = draw(3)
    np.testing.assert_array_equal(first, draw(3))
    assert first.dtype == np.float32
    assert stats.kstest(first, distribution.cdf).pvalue > 1e-3


@pytest.mark.parametrize("name", DISCRETE)
def test_counts(name):
    draw, numbers, chances = DISCRETE[name]
    found = np.ravel(draw(5))
    counts = [int((found == n).sum()) for n in numbers]
    assert sum(counts) == found.size
    assert stats.chisquare(counts, np.array(chances) / np.sum(chances) * found.size).pvalue > 1e-3


def _program(batch):
    """Draws for images, of a fixed shape, and by a fixed seed."""
    graph = ProgramBuilder()
    graph.batch = batch
    with tracing(graph):
        x = Traced(graph, graph.input("x", (None, 3)))
        n = ops.shape(x)[0]
        own = random.SeedGenerator(5)
        made = {
            "uniform": random.uniform((n, 37), 1.0, 2.0),
            "normal": random.normal((n, 5), seed=own),
            "again": random.normal((n, 5), seed=own),
            "bernoulli": random.bernoulli((n, 7), 0.4),
            "truncated": random.truncated_normal((n, 3)),
            "fixed": random.normal((4, 33)),
            "seeded": random.normal((2, 3), seed=8),
            "dropout": random.dropout(x, 0.5),
            "class": random.categorical(x, 4),
            "gamma": random.gamma((4,), 2.0),
            "order": random.shuffle(np.arange(9)),
        }
    graph.outputs = {name: value.buffer.name for name, value in made.items()}
    return graph


def _run(graph, engine, step=2, count=1):
    threads.set_num_threads(count)
    inputs = {"x": np.ones((40, 3)), "seed": np.int64(7), "step": np.int64(step)}
    return prepare(graph.build(), graph.variables, engine).run(inputs)


def test_in_programs():
    one, three, reference = (
        _run(_program(None), e, count=c) for e, c in (("cpu", 1), ("cpu", 3), ("reference", 1))
    )
    fixed, later = _run(_program(40), "cpu"), _run(_program(None), "cpu", step=3)
    for name, numbers in one.items():
        np.testing.assert_array_equal(numbers, three[name], err_msg=name)
        np.testing.assert_array_equal(numbers, fixed[name], err_msg=name)
        np.testing.assert_allclose(numbers, reference[name], rtol=2e-5, atol=2e-6, err_msg=name)
        assert name == "seeded" or (numbers != later[name]).any(), name
    assert (one["normal"] != one["again"]).all()
    np.testing.assert_allclose(one["seeded"], random.normal((2, 3), seed=8), rtol=1e-5)
    assert one["uniform"].shape == (40, 37)
    assert len(np.unique(one["uniform"])) > 1400


def test_seeds_of_arrays():
    own = random.SeedGenerator(3)
    first, second = random.normal((5,), seed=own), random.normal((5,), seed=own)
    assert (first != second).all()
    np.testing.assert_array_equal(first, random.normal((5,), seed=random.SeedGenerator(3)))
    assert (random.normal((5,)) != random.normal((5,))).all()
    again = random.SeedGenerator.from_config(own.get_config())
    assert (again.seed, again.drawn) == (3, 0)


class Sampled(layers.Layer):
    """The noise of a variational autoencoder, as Keras's example writes it."""

    def __init__(self, **options):
        super().__init__(**options)
        self.seed_generator = random.SeedGenerator(1337)

    def lower(self, graph, x):
        with tracing(graph):
            return unwrapped(self.noisy(Traced(graph, x)))

    def noisy(self, x):
        noise = random.normal(shape=(ops.shape(x)[0], ops.shape(x)[1]), seed=self.seed_generator)
        return ops.add(x, noise)


def test_in_a_layer_training_repeats_itself():
    histories = []
    for _ in range(2):
        model = Sequential([Input((3,)), Sampled(), layers.Dense(1, kernel_initializer="ones")])
        model.compile("sgd", "mse")
        histories.append(
            model.fit(np.ones((8, 3)), np.ones((8, 1)), epochs=2, seed=3, verbose=0).history["loss"]
        )
    assert histories[0] == histories[1]
    assert histories[0][0] != histories[0][1]


def test_nodes_of_a_model():
    x = Input((6,))
    model = Model(x, [random.shuffle(x, axis=1), random.dropout(x, 0.5), random.categorical(x, 2)])
    rows = np.arange(12.0).reshape(2, 6)
    shuffled, dropped, classes = model.predict(rows, verbose=0)
    np.testing.assert_array_equal(np.sort(shuffled, 1), rows)
    assert set(np.unique(dropped / np.maximum(rows, 1))) <= {0.0, 2.0}
    assert classes.shape == (2, 2)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: random.normal((None, 3)), ShapeError, "number of images"),
        (lambda: random.normal((2,), dtype="int32"), ArgumentError, "are floats"),
        (lambda: random.normal((2,), seed="a"), ArgumentError, "whole number, a SeedGenerator or None"),
        (lambda: random.randint((2,), 3, 3), ArgumentError, "minval, maxval"),
        (lambda: random.bernoulli((2,), 1.5), ArgumentError, r"in \[0, 1\]"),
        (lambda: random.dropout([1.0], 2), ArgumentError, r"in \[0, 1\]"),
        (lambda: random.categorical([1.0], 2), ShapeError, "logits"),
    ],
)
def test_messages(call, error, message):
    with pytest.raises(error, match=message):
        call()
