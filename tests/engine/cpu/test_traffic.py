"""The least bytes of a program, by hand, and beside what the kernels of a network move."""

import pytest

import kernelearn
from kernelearn import Input, Sequential, layers
from kernelearn.engine.cpu.report.traffic import least_bytes
from kernelearn.models import zoo

IMAGES = 4


def least(*stack, kind="predict"):
    model = Sequential([Input((8, 8, 2)), *stack])
    model.compile("sgd", "mse", engine="cpu")
    return least_bytes(model.program(kind), IMAGES) / 4


IN, KERNEL, OUT = IMAGES * 8 * 8 * 2, 9 * 2 * 3, IMAGES * 6 * 6 * 3


@pytest.mark.parametrize(
    ("behind", "numbers"),
    [
        ([], IN + KERNEL + OUT),
        ([layers.BatchNormalization(), layers.ReLU()], IN + KERNEL + OUT),
        ([layers.MaxPooling2D(2)], IN + KERNEL + OUT // 4),
        ([layers.ReLU(), layers.MaxPooling2D(2)], IN + KERNEL + OUT // 4),
        ([layers.Conv2D(1, 6, use_bias=False)], IN + KERNEL + OUT + OUT + 36 * 3 + IMAGES),
    ],
)
def test_products_count_and_what_can_be_done_on_the_way_does_not(behind, numbers):
    assert least(layers.Conv2D(3, 3, use_bias=False), *behind) == numbers


def test_a_step_adds_both_gradients_and_the_update():
    """One layer: its output, x and the error for the gradient, and the weight read and written."""
    step = least(layers.Conv2D(3, 3, use_bias=False), kind="train")
    gradient, update = OUT + IN, 2 * KERNEL
    assert step == pytest.approx(IN + KERNEL + OUT + gradient + update, abs=8)


def test_without_products_nothing_is_counted():
    assert least(layers.ReLU()) == 0


def test_the_kernels_of_a_network_move_more_and_both_are_shown():
    model = zoo.resnet20((32, 32, 3), 10)
    model.compile("sgd", "sparse_categorical_crossentropy", engine="cpu")
    executable = model.step("train").executable
    used, moved = sum(row.bytes for row in executable.work(32)), executable.moved_bytes(32)
    assert 0.8 * used > moved > executable.least_bytes(32) > moved / 2
    assert f"({moved / executable.least_bytes(32):.2f} times)" in executable.explain(32)


def test_a_group_goes_through_memory_once_and_what_it_has_for_itself_does_not():
    x = layers.Input((16, 16, 16))
    y = layers.Conv2D(16, 3, padding="same", use_bias=False)(layers.ReLU()(layers.BatchNormalization()(x)))
    model = kernelearn.Model(x, layers.GlobalAveragePooling2D()(y))
    model.compile("sgd", "mse", engine="cpu")
    executable = model.step("train").executable
    at_once, every = executable.moved_bytes(64), sum(row.bytes for row in executable.work(64))
    whole = 4 * 16 * 16 * 16 * 64
    assert every - at_once > 4 * whole
