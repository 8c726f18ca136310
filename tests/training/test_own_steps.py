"""`function`, `minimize`, `value_and_grad`: against numbers computed by hand, in the order of the code."""

import warnings

import numpy as np
import pytest

import kernelearn
from kernelearn import Input, Sequential, layers, ops
from kernelearn.errors import ArgumentError, ShapeError, TracingError
from kernelearn.optimizers import SGD, Adam


def squares(x):
    return ops.sum(ops.square(x))


class Scale(layers.Layer):
    """x times a weight."""

    def __init__(self, start, **options):
        super().__init__(**options)
        self.start = start

    def build(self, shape):
        self.scale = self.add_weight(name="scale", shape=(3,), initializer=lambda s, dtype=None: self.start)

    def call(self, x):
        return x * self.scale


def two_scales():
    """Two layers of one weight each, with the values in float64."""
    a, b = np.array([1.0, 2.0, 3.0]), np.array([2.0, 1.0, 0.5])
    first, second = Scale(a, name="first"), Scale(b, name="second")
    for layer in (first, second):
        layer(np.ones((1, 3), "float32"))
    return first, second, a, b


ONE = np.ones((1, 3), "float32")


def test_code_behind_an_update_sees_the_new_weights():
    first, second, a, b = two_scales()
    fast, slow = SGD(0.1), SGD(0.05)

    @kernelearn.function
    def step(x):
        one = kernelearn.minimize(squares(first(x)), optimizer=fast, variables=first.trainable_weights)
        two = kernelearn.minimize(squares(second(first(x))), optimizer=slow, variables=second)
        return {"one": one, "two": [two, first.scale]}

    got = step(ONE)
    one, a = (a**2).sum(), a - 0.1 * 2 * a
    two, b = ((a * b) ** 2).sum(), b - 0.05 * 2 * a**2 * b
    assert got["one"] == pytest.approx(one) and got["two"][0] == pytest.approx(two, rel=1e-6)
    np.testing.assert_allclose(got["two"][1], a, rtol=1e-6)
    np.testing.assert_allclose(first.scale.numpy(), a, rtol=1e-6)
    np.testing.assert_allclose(second.scale.numpy(), b, rtol=1e-6)
    assert (fast.iterations, slow.iterations) == (1, 1)
    assert len(step.programs(ONE)) == 2


def test_losses_computed_before_an_update_are_of_the_old_weights():
    first, second, a, b = two_scales()
    fast, slow = SGD(0.1), SGD(0.05)

    @kernelearn.function
    def step(x):
        one, two = squares(first(x)), squares(second(first(x)))
        kernelearn.minimize(one, fast, first)
        behind = squares(first(x))
        kernelearn.minimize(two, slow, second)
        return behind

    got = step(ONE)
    old, a = a, a - 0.1 * 2 * a
    np.testing.assert_allclose(first.scale.numpy(), a, rtol=1e-6)
    np.testing.assert_allclose(second.scale.numpy(), b - 0.05 * 2 * old**2 * b, rtol=1e-6)
    assert got == pytest.approx((a**2).sum(), rel=1e-6)


def test_an_update_by_hand_and_one_by_gradients_on_arrays():
    first, _, a, _ = two_scales()
    optimizer = SGD(0.1, momentum=0.5)

    @kernelearn.function
    def step(x):
        loss, grads = kernelearn.value_and_grad(lambda: squares(first(x)), variables=first)()
        optimizer.apply_gradients(zip(grads, first.trainable_variables))
        return loss

    velocity = np.zeros(3)
    for _ in range(2):
        assert step(ONE) == pytest.approx((a**2).sum(), rel=1e-6)
        velocity = 0.5 * velocity - 0.1 * 2 * a
        a = a + velocity
    optimizer.apply_gradients([(np.ones(3), first.scale)])
    np.testing.assert_allclose(first.scale.numpy(), a + 0.5 * velocity - 0.1, rtol=1e-6)
    assert optimizer.iterations == 3


def test_nothing_is_updated_where_the_loss_is_not_finite():
    first, _, a, _ = two_scales()
    optimizer = Adam(0.1)

    @kernelearn.function
    def step(x):
        return kernelearn.minimize(squares(first(x)), optimizer, first)

    assert np.isnan(step(np.full((1, 3), np.nan)))
    np.testing.assert_array_equal(first.scale.numpy(), a)
    assert optimizer.iterations == 0


def test_gradients_by_arguments_and_weights():
    first, _, a, _ = two_scales()
    x, y = np.array([[1.0, 2.0, 3.0]]), np.array([[0.5, 0.5, 2.0]])
    value, (by_x, by_y) = kernelearn.value_and_grad(lambda x, y: ops.sum(x * x * y), argnums=(0, 1))(x, y)
    assert value == pytest.approx(20.5)
    np.testing.assert_allclose(by_x, 2 * x * y)
    np.testing.assert_allclose(by_y, x * x)
    (value, aux), grads = kernelearn.value_and_grad(lambda x: (squares(first(x)), x + 1), 0, first, True)(x)
    np.testing.assert_allclose(aux, x + 1)
    np.testing.assert_allclose(grads[0], 2 * x * a**2, rtol=1e-6)
    np.testing.assert_allclose(grads[1][0], (2 * x * x * a)[0], rtol=1e-6)
    both = kernelearn.grad(lambda p: ops.sum(p["a"] * p["b"][0]))({"a": x, "b": [y]})
    np.testing.assert_allclose(both["a"], y)
    np.testing.assert_allclose(both["b"][0], x)
    assert kernelearn.grad(lambda x, y: squares(x))(3.0, 1.0) == 6.0
    np.testing.assert_array_equal(kernelearn.grad(lambda x, y: squares(x), 1)(x, y), np.zeros((1, 3)))


def test_a_gradient_of_a_gradient_and_what_stops_it():
    def cubes(x):
        return ops.sum(x * x * x)

    x = np.array([1.0, 2.0])
    norm = kernelearn.grad(lambda x: squares(kernelearn.grad(cubes)(x)))
    np.testing.assert_allclose(norm(x), 36 * x**3, rtol=1e-6)
    stopped = kernelearn.grad(lambda x: ops.sum(ops.stop_gradient(x) * x))
    np.testing.assert_array_equal(stopped(x), x)


def test_a_trace_for_each_signature_and_a_warning_for_numbers():
    traces = []

    @kernelearn.function
    def f(x, factor):
        traces.append(x.shape)
        return ops.sum(x * factor)

    x = np.ones((2, 3))
    assert (f(x, 2), f(x, 2), f(x, 3), f(np.ones((4, 3)), 2)) == (12.0, 12.0, 18.0, 24.0)
    assert traces == [(2, 3), (2, 3), (4, 3)]
    with pytest.warns(UserWarning, match="Python number only"):
        for factor in range(4, 9):
            f(x, factor)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for factor in range(9, 20):
            f(x, factor)
            assert f(x, np.float32(factor)) == 6.0 * factor


def test_a_changed_layer_or_optimizer_is_traced_again():
    net = Sequential([Input((3,)), layers.Dropout(0.5), layers.Dense(1, kernel_initializer="ones")])
    optimizer = SGD(0.0)

    @kernelearn.function
    def step(x):
        return kernelearn.minimize(ops.mean(net(x, training=True)), optimizer, net)

    step(ONE)
    net.layers[0].rate = 0.0
    assert step(ONE) == 3.0
    optimizer.momentum = 0.5
    optimizer.learning_rate = 0.5
    step(ONE)
    np.testing.assert_allclose(net.get_weights()[0], np.full((3, 1), 0.5))


def test_random_numbers_follow_from_the_seed_and_the_call():
    drop = layers.Dropout(0.5)
    x = np.ones((4, 50))

    def run():
        kernelearn.set_random_seed(5)
        f = kernelearn.function(lambda x: drop(x, training=True))
        return f(x), f(x)

    (a, b), (c, d) = run(), run()
    assert (a == c).all() and (b == d).all() and (a != b).any()


def test_images_that_a_step_makes_itself():
    """No input tells their number; behind an update they are a program of their own."""
    net = Sequential([Input((3,)), layers.Dense(2, kernel_initializer="ones")])
    optimizer = SGD(0.0)

    @kernelearn.function
    def step(noise):
        first = kernelearn.minimize(squares(net(noise[0])), optimizer, net)
        return first, squares(net(noise[1]))

    noise = np.random.default_rng(0).normal(size=(2, 5, 3))
    sums = noise.sum(-1)
    np.testing.assert_allclose(step(noise), 2 * (sums**2).sum(-1), rtol=1e-5)
    assert len(step.programs(noise)) == 2


def test_products_are_as_precise_as_the_policy_says():
    net = Sequential([Input((3,)), layers.Dense(2)])
    f = kernelearn.function(lambda x: net(x))
    x = np.random.default_rng(0).normal(size=(4, 3))
    exact = f(x)
    kernelearn.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        rounded = f(x)
    finally:
        kernelearn.mixed_precision.set_global_policy("float32")
    assert 0 < np.abs(rounded - exact).max() < 0.05
    np.testing.assert_array_equal(f(x), exact)


def test_gradients_in_a_loop_are_compiled_once():
    traces = []

    def f(x):
        traces.append(x.shape)
        return squares(x)

    first, _, a, _ = two_scales()
    optimizer = SGD(0.1)
    for _ in range(3):
        assert kernelearn.grad(f)(np.ones(2)).tolist() == [2.0, 2.0]
        loss, grads = kernelearn.value_and_grad(lambda x: squares(first(x)), variables=first)(ONE)
        optimizer.apply_gradients(zip(grads, first.trainable_variables))
        assert loss == pytest.approx((a**2).sum(), rel=1e-6)
        a = a - 0.1 * 2 * a
    assert len(traces) == 1
    with pytest.warns(UserWarning, match="made anew each time"):
        for _ in range(10):
            kernelearn.grad(lambda x: squares(x))(np.ones(2))


@pytest.mark.parametrize(
    ("loss", "variables", "error", "says"),
    [
        (lambda layer, x: layer(x), None, ShapeError, "must be one number"),
        (lambda layer, x: squares(x), None, ArgumentError, "depends on none of the weights"),
        (lambda layer, x: 1.0, None, TracingError, "does not depend on what is traced"),
        (lambda layer, x: squares(layer(x)), "first", ArgumentError, "a model, a layer or a list of weights"),
    ],
)
def test_what_minimize_does_not_take(loss, variables, error, says):
    first = two_scales()[0]
    step = kernelearn.function(lambda x: kernelearn.minimize(loss(first, x), SGD(0.1), variables))
    with pytest.raises(error, match=says):
        step(ONE)


def test_minimize_belongs_into_a_step():
    with pytest.raises(TracingError, match=r"@kernelearn\.function"):
        kernelearn.minimize(1.0, SGD(0.1))
    with pytest.raises(ArgumentError, match="optimizer as an object"):
        kernelearn.function(lambda x: kernelearn.minimize(squares(x), "sgd"))(ONE)


class Trainer:
    """A function as a method."""

    def __init__(self):
        self.factor = 3.0

    @kernelearn.function
    def run(self, x):
        return ops.sum(x) * self.factor


def test_a_method_is_a_function_too():
    assert Trainer().run(ONE) == 9.0


def test_the_sum_of_two_losses_may_be_given_back_behind_both_updates():
    """The first loss is looked at before its update, though only the second program reads it."""
    first, second, a, b = two_scales()

    @kernelearn.function(engine="reference")
    def step(x):
        one = ops.sum(first(x))
        kernelearn.minimize(one, optimizer=SGD(0.1), variables=first.trainable_weights)
        two = ops.sum(first(x) * second(x))
        kernelearn.minimize(two, optimizer=SGD(0.1), variables=second.trainable_weights)
        return one + two

    x = np.ones((1, 3), "float32")
    np.testing.assert_allclose(step(x), np.sum(a) + np.sum((a - 0.1) * b), rtol=1e-6)
    np.testing.assert_allclose(second.scale.value, b - 0.1 * (a - 0.1), rtol=1e-6)
