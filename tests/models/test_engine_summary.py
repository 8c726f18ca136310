"""`model.summary(engine=True)` and `executable.explain()`: what runs where, by which kernel, and how much."""

import numpy as np
import pytest

from kernelearn import Input, Sequential, layers
from kernelearn.engine.cpu.report import peaks
from kernelearn.engine.cpu.report.peaks import Peaks
from kernelearn.engine.work import byte_count, scaled
from kernelearn.models import zoo

# 100 GFLOP/s, and 10 GB/s whatever the size.
LIMITS = Peaks(1e11, ((2**27, 1e10),))


@pytest.fixture(autouse=True)
def _known_peaks(monkeypatch):
    """Nothing is measured here."""
    monkeypatch.setattr(peaks, "peaks", lambda threads: LIMITS)


@pytest.fixture(scope="module")
def lenet():
    model = zoo.lenet((28, 28, 1), 10)
    model.compile("adam", "sparse_categorical_crossentropy", engine="cpu")
    return model


def text_of(model, **more) -> str:
    """What `summary` prints."""
    pages = []
    model.summary(print_fn=pages.append, **more)
    (page,) = pages
    return page


def test_without_engine_the_summary_is_as_before(lenet):
    assert text_of(lenet, engine=True).startswith(
        text_of(lenet) + "\n\nEngine: cpu, training step on 32 images"
    )
    assert "Engine" not in text_of(lenet)


def lines_of(text: str, layer: str) -> list[str]:
    """The lines of a layer in the table of the engine."""
    lines = text[text.index("Engine:") :].splitlines()[2:]
    start = next(i for i, line in enumerate(lines) if line.split(" ")[0] == layer)
    rest = next((i for i, line in enumerate(lines[start + 1 :], start + 1) if not line.startswith(" ")), None)
    return lines[start:rest]


def test_every_layer_is_there_with_its_phases(lenet):
    text = text_of(lenet, engine=True)
    for layer in lenet.layers:
        assert lines_of(text, layer.name)
    first = "\n".join(lines_of(text, "conv1"))
    # Some processors pack the weights first, in a line of its own.
    assert "conv + bias_add + activation" in first
    assert "tile" in first
    assert [p for p in ("forward", "backward", "update") if p in first] == ["forward", "backward", "update"]
    assert "nothing to compute" in lines_of(text, "flatten")[0]
    assert "loss_grad" in "\n".join(lines_of(text, "(loss)"))


def test_a_layer_that_another_kernel_does_says_where():
    x = Input((8, 8, 4))
    model = Sequential([x, layers.Conv2D(4, 3, name="conv"), layers.ReLU(name="rectify"), layers.Flatten()])
    model.compile(engine="cpu")
    assert "within conv" in lines_of(text_of(model, engine=True), "rectify")[0]


def test_a_model_without_loss_shows_prediction(lenet):
    model = zoo.lenet((28, 28, 1), 10)
    text = text_of(model, engine=True)
    assert "prediction on 32 images" in text
    assert "backward" not in text


def test_the_reference_engine_is_named(lenet):
    model = zoo.lenet((28, 28, 1), 10)
    model.compile("sgd", "mse", engine="reference")
    text = text_of(model, engine=True)
    assert "Engine: reference" in text
    assert " cpu " not in text
    explained = model.step("train").executable.explain()
    assert "reference engine: NumPy" in explained
    assert "conv [reference]" in explained


def test_operations_without_a_kernel_are_told_apart():
    model = Sequential(
        [Input((8, 8, 4)), layers.Conv2D(4, 3, name="conv"), layers.Resizing(5, 7, name="resize")]
    )
    model.compile(engine="cpu")
    model.program("predict")
    executable = model.step("predict").executable
    by_name = {row.layers[0]: row for row in executable.work() if row.layers}
    if by_name["resize"].is_native:
        pytest.skip("there is a kernel for it now")
    assert "reference" in lines_of(text_of(model, engine=True), "resize")[0]
    assert "on the reference engine: resize" in executable.explain()
    assert by_name["conv"].is_native


def test_arithmetic_is_counted(lenet):
    """The convolution's share by hand: 2 operations per product, its bias and ReLU one each.

    The pooling after it does not read the last row and column of its 11 x 11 outputs.
    """
    rows = [r for r in lenet.step("train").executable.work(images=5) if r.phase == "forward"]
    (conv,) = [r for r in rows if r.layers == ("conv2", "pool2")]
    outputs = 5 * 10 * 10 * 64
    assert outputs * 2 * 9 * 32 <= conv.flops <= outputs * (2 * 9 * 32 + 4)
    assert conv.tasks == 5


def test_bytes_are_those_of_the_buffers(lenet):
    rows = lenet.step("train").executable.work(images=7)
    (pool,) = [r for r in rows if r.operators == ("max_pool_grad",) and r.layers == ("pool1",)]
    x, y = 7 * 26 * 26 * 32, 7 * 13 * 13 * 32
    assert pool.bytes == 4 * (x + 2 * y)  # with where the maximum was
    buffers = lenet.program("train").buffers
    assert byte_count([buffers["conv1/kernel"]], 7) == 4 * 9 * 32


def test_explain_names_target_threads_and_totals(lenet):
    from kernelearn import get_num_threads

    text = lenet.step("train").executable.explain(images=3)
    assert f"{get_num_threads()} thread" in text.splitlines()[0]
    assert "figures for 3 images" in text.splitlines()[0]
    for phase in ("forward: ", "backward: ", "update: "):
        assert phase in text
    assert "adam_update" in text
    assert str(lenet.program("train")) == lenet.program("train").explain()


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 "), (999, "999 "), (1000, "1 k"), (1234567, "1.23 M"), (999.6e6, "1 G"), (2.5e9, "2.5 G")],
)
def test_numbers_are_short(number, text):
    assert scaled(number) == text


def test_explaining_compiles_nothing(monkeypatch):
    from kernelearn.engine.cpu.machine import codegen

    monkeypatch.setattr(codegen, "compile_object", lambda *a: pytest.fail("compiled"))
    model = zoo.lenet((12, 12, 1), 3)
    model.compile("sgd", "mse", engine="cpu")
    assert "conv" in text_of(model, engine=True)
    assert np.isfinite(sum(row.flops or 0 for row in model.step("train").executable.work()))


def test_estimates_are_there_and_are_called_so(lenet):
    for text in (text_of(lenet, engine=True), lenet.step("train").executable.explain()):
        assert "100 GFLOP/s, 10 GB/s within caches" in text
        assert "estimates by the roofline model" in text
        assert "`kernelearn bench --layers NET` measures" in text
    head = text_of(lenet, engine=True).split("Engine:")[1].splitlines()[1]
    assert head.split()[-5:] == ["At", "best", "Limit", "Of", "peak"]


def test_an_estimate_by_hand(lenet):
    """The gradient of a max pooling is limited by memory, 10 GB/s of it."""
    rows = lenet.step("train").executable.estimated_work()
    (pool,) = [r for r in rows if r.operators == ("max_pool_grad",) and r.layers == ("pool1",)]
    assert pool.estimate.seconds == pytest.approx(pool.bytes / 1e10)
    (first,) = [line for line in lines_of(text_of(lenet, engine=True), "pool1") if "max_pool_grad" in line]
    assert first.split()[-5:-2] == [f"{1e6 * pool.estimate.seconds:.3g}", "us", "memory"]
    assert first.endswith(f"{100 * pool.flops / pool.estimate.seconds / 1e11:.0f} %")


def test_the_sum_of_a_step_is_told(lenet):
    rows = lenet.step("train").executable.estimated_work()
    milliseconds = 1e3 * sum(row.estimate.seconds for row in rows)
    share = sum(row.flops for row in rows) / (milliseconds * 1e-3 * 1e11)
    line = f"All kernels together: at best {milliseconds:.3g} ms, {100 * share:.0f} % of the peak"
    assert line in text_of(lenet, engine=True)


def test_the_reference_engine_makes_no_estimates():
    model = zoo.lenet((28, 28, 1), 10)
    model.compile("sgd", "mse", engine="reference")
    for text in (text_of(model, engine=True), model.step("train").executable.explain()):
        assert "stimate" not in text and "peak" not in text.lower()
