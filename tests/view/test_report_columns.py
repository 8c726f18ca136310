"""The main figure of the report: its numbers are those of the library and add up as shown, for every kind
of network, and what is not recorded is said.
"""

import base64
import json
import re
from decimal import Decimal

import numpy as np
import pytest

from kernelearn import Input, Model, explain
from kernelearn import layers as L
from kernelearn.explain.passes.recorded_columns import RecordedColumns
from kernelearn.view.report import render_report
from kernelearn.view.report.columns.bench_data import panel_of
from kernelearn.view.report.columns.chosen import Chosen
from tests.sweeps import some
from tests.view.small_runs import bars_of, record, record_model, recorded_bars


def number(text):
    return Decimal(text.replace("\u2212", "-").replace(",", ""))


def residual(given):
    first = L.ReLU()(L.BatchNormalization()(L.Conv2D(4, 3, padding="same", name="c")(given)))
    second = L.BatchNormalization()(L.Conv2D(4, 3, padding="same", name="b")(first))
    return L.GlobalAveragePooling2D()(L.ReLU()(L.Add()([first, second])))


# Shape of the images, what stands before the last dense layer, and the columns behind W.
KINDS = {
    "pooled": ((8, 8, 1), [L.Conv2D(3, 3, activation="relu", name="c"), L.MaxPooling2D(2)], "zap"),
    "colours, normalised": (
        (8, 8, 3),
        [L.Conv2D(3, 3, name="c"), L.BatchNormalization(), L.ReLU(), L.AveragePooling2D(2), L.Dropout(0.3)],
        "znapd",
    ),
    "pooled first": ((8, 8, 2), [L.Conv2D(3, 3, name="c"), L.MaxPooling2D(2), L.ReLU()], "zpa"),
    "nothing behind": ((8, 8, 2), [L.Conv2D(3, 3, strides=2, padding="same", name="c")], "z"),
    "one axis": ((20, 2), [L.Conv1D(3, 3, dilation_rate=2, activation="tanh", name="c")], "za"),
    "three axes": ((5, 5, 5, 1), [L.Conv3D(2, 2, activation="relu", name="c")], "za"),
    "depthwise": ((6, 6, 3), [L.DepthwiseConv2D(3, depth_multiplier=2, name="c")], "z"),
    "separable": ((6, 6, 3), [L.SeparableConv2D(4, 3, name="c")], "z"),
    "groups": ((6, 6, 4), [L.Conv2D(4, 3, groups=2, name="c"), L.PReLU()], "za"),
    "transposed": ((4, 4, 2), [L.Conv2DTranspose(3, 3, strides=2, padding="same", name="c")], "z"),
    "large kernel": ((12, 12, 1), [L.Conv2D(2, 9, name="c"), L.GlobalMaxPooling2D(), L.ReLU()], "zpa"),
    "many channels": ((5, 5, 20), [L.Conv2D(10, 3, activation="relu", name="c")], "za"),
    "channels first": (
        (2, 6, 6),
        [L.Conv2D(3, 3, data_format="channels_first", name="c"), L.ReLU()],
        "za",
    ),
    "dense": ((30,), [L.Dense(20, activation="relu", name="c")], "za"),
    "residual": ((6, 6, 3), residual, "zna"),
}


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """case -> (run, images, classes), trained when it is first asked for."""
    known = {}

    def of(case):
        if case not in known:
            shape, stack, _ = KINDS[case]
            images = np.random.default_rng(0).normal(size=(20, *shape)).astype("float32")
            classes = np.arange(20) % 2
            given = Input(shape)
            end = given
            if callable(stack):
                end = stack(given)
            else:
                for layer in stack:
                    end = type(layer).from_config(layer.get_config())(end)
            end = L.Flatten()(end) if len(end.shape) > 2 else end
            model = Model(given, L.Dense(2, activation="softmax", name="d")(end))
            folder = tmp_path_factory.mktemp("columns") / "run"
            known[case] = record_model(folder, model, images, classes, epochs=1), images, classes
        return known[case]

    return of


def panel(run, images, classes, layer="c", room=400_000):
    return panel_of(run, RecordedColumns(run, images, classes), layer, run.about.kernel_name(layer), room)


@pytest.mark.parametrize("case", KINDS)
def test_the_columns_of_every_kind_of_network(case, opened):
    run, images, classes = opened(case)
    found = panel(run, images, classes)
    assert "".join(column["key"] for column in found.columns) == KINDS[case][2]
    assert not any(found.missing) and found.residual < 1e-6
    assert found.images[0] and all(len(set(numbers)) == len(numbers) for numbers in found.images)
    for step in range(len(found.steps)):
        for image in range(len(found.images[step])):
            for filter in range(len(found.filters)):
                check(Chosen(found, step, image, filter), run)


def check(one, run):
    """The window sums to z where all slices are here; terms sum to what the ledger says of the image."""
    p = one.panel
    z, step = one.value("v", "z"), p.steps[one.step]
    if p.is_dense or len(one.slices) == p.total.channels:
        parts = [one.window(s) * one.weights()[s] for s in range(len(one.slices))]
        size = float(np.abs(parts).sum()) + abs(one.bias) + 1e-30
        assert abs(np.sum(parts) + one.bias - z) < 1e-5 * size
    a = next((c for c in p.columns if c["key"] == "a"), None)
    if a is not None and a["kind"] == "relu" and p.columns[1]["key"] == "a":
        assert one.value("v", "a") == pytest.approx(max(z, 0), abs=1e-6)
        assert (one.map("o", "z") == (one.map("v", "z") > 0)).all()
        np.testing.assert_allclose(one.map("e", "z"), one.map("e", "a") * one.map("o", "z"), rtol=1e-5)
    if p.is_dense:
        return
    weight = index_of(one, run)
    book = explain.ledger(run, p.layer, step, (p.weight, *weight))
    sums = book.by_image()
    own = float(sums.sums[list(sums.keys).index(p.images[one.step][one.image])])
    assert one.terms(one.channel).sum() == pytest.approx(own, rel=1e-4, abs=1e-7)
    assert one.weights("G")[one.channel].ravel()[one.tap] == pytest.approx(book.gradient, rel=1e-4, abs=1e-8)


def index_of(one, run):
    """The chosen tap, slice and filter as an index of the weight of the layer."""
    p = one.panel
    shape = run.shape_of(p.layer, p.weight)
    tap = np.unravel_index(one.tap, p.taps)
    groups = run.ledger(p.layer, p.steps[one.step], p.weight).attrs.get("groups", 1)
    channels = one.slices[one.channel]
    slice_number = channels % p.total.channels if groups > 1 else channels
    place = (*tap, slice_number, p.filters[one.filter])
    kernel_shape = run.ledger(p.layer, p.steps[one.step], p.weight).kernel_shape
    if p.kind == "conv_transpose":
        place = (*tap, p.filters[one.filter], slice_number)
    return tuple(int(i) for i in np.unravel_index(np.ravel_multi_index(place, kernel_shape), shape))


@pytest.mark.parametrize("case", some(KINDS, quick=4))
def test_the_page_of_every_kind_adds_up(case, opened):
    run, images, classes = opened(case)
    text = render_report(run, training=(images, classes))
    tables = re.findall(r'<table class="sum">.*?</table>', text)
    assert tables
    for table in tables:
        assert_adds_up(table)
    assert "is not shown" not in text


def assert_adds_up(table):
    rows = re.findall(r"<tr[^>]*>.*?</tr>", table)[1:]
    cells = [re.findall(r"<t[hd][^>]*>([^<]*)</t[hd]>", row) for row in rows]
    end = next(i for i, row in enumerate(cells) if row[0] == "z, their sum")
    assert sum(number(row[-1]) for row in cells[:end]) == number(cells[end][-1])


STACK = (
    lambda: L.Conv2D(2, 3, activation="relu", name="c"),
    lambda: L.MaxPooling2D(2),
    lambda: L.Flatten(),
    lambda: L.Dense(2, activation="softmax", name="d"),
)


def test_a_network_that_augments_is_followed_without_the_training_data(tmp_path):
    images, classes = bars_of(32)
    stack = [L.RandomTranslation(0.2, 0.2), *(make() for make in STACK)]
    run = record(tmp_path / "run", stack, images, classes, epochs=1)
    known = panel(run, images, classes)
    alone = panel_of(run, RecordedColumns(run), "c", "kernel", 400_000)
    assert not any(known.missing) and not any(alone.missing)
    for name in ("ez", "ea", "ep", "vp"):
        assert np.isfinite(alone.arrays[name]).all()
        np.testing.assert_allclose(alone.arrays[name], known.arrays[name], rtol=1e-4, atol=1e-6)


def test_without_all_that_a_step_depended_on_the_record_tells_what_it_has(tmp_path):
    # Weights of classes are not in the record: the errors of a step computed once more are others.
    images, classes = bars_of(32)
    stack = [make() for make in STACK]
    run = record(tmp_path / "run", stack, images, classes, epochs=1, class_weight={0: 1.0, 1: 5.0})
    alone = panel_of(run, RecordedColumns(run), "c", "kernel", 400_000)
    assert all("weights of images or of classes" in missing for missing in alone.missing)
    for step, shown in enumerate(alone.images):
        numbers = run.batch(alone.steps[step]).images.tolist()
        recorded = run.ledger("c", alone.steps[step]).delta[[numbers.index(n) for n in shown]]
        found = np.moveaxis(alone.arrays["ez"][step], 1, -1)
        np.testing.assert_allclose(found, recorded[..., alone.filters], rtol=1e-4, atol=1e-7)
    assert np.isnan(alone.arrays["ea"]).all() and np.isfinite(alone.arrays["vp"]).all()
    text = render_report(run)
    assert "could not be computed once more" in text and "not recorded" in text


def test_a_step_too_large_to_keep_is_told_from_its_record(recorded, monkeypatch):
    from kernelearn.explain.passes import recorded_columns

    monkeypatch.setattr(recorded_columns, "MOST_NUMBERS", 100)
    found = panel(recorded, *bars_of(), "edges")
    assert "numbers between its layers" in found.missing[0] and np.isfinite(found.arrays["ez"]).all()


def test_the_record_is_enough_where_nothing_is_augmented(recorded):
    found = panel_of(recorded, RecordedColumns(recorded), "edges", "kernel", 400_000)
    assert not any(found.missing)


def test_probe_images_are_shown_forward_where_there_is_no_ledger(tmp_path):
    run = recorded_bars(tmp_path / "run", ledger_every=0, gradients_every=0, probe_images=4)
    found = panel_of(run, RecordedColumns(run), "edges", "kernel", 400_000)
    assert not found.is_trained and np.isnan(found.arrays["ez"]).all() and np.isnan(found.arrays["G"]).all()
    unit = explain.unit(run, "edges", found.filters[0], tuple(found.first["position"]), step=found.steps[-1])
    one = Chosen(found, len(found.steps) - 1, 0, 0)
    assert one.value("v", "z") == pytest.approx(unit.z, rel=1e-5)
    assert "The lower row is not recorded: no ledger of edges/kernel" in render_report(run)


def test_what_is_embedded_is_bounded_and_said(recorded):
    images, classes = bars_of()
    for room in (2_000, 20_000, 200_000):
        found = panel(recorded, images, classes, "parts", room)
        taken = sum(array.nbytes for array in found.arrays.values())
        assert taken < 1.5 * room or len(found.steps) == 1
    text = render_report(recorded, training=(images, classes))
    assert re.search(r"In this file: \d+ of 8 steps with a ledger, \d of 16 images of each batch", text)
    assert len(text) < 2_000_000


def test_large_maps_are_cut_out_around_the_position(tmp_path):
    images = np.random.default_rng(0).random((4, 90, 90, 1)).astype("float32")
    stack = [
        L.Conv2D(2, 3, activation="relu", padding="same", name="c"),
        L.MaxPooling2D(2),
        L.GlobalAveragePooling2D(),
        L.Dense(2, activation="softmax", name="d"),
    ]
    run = record(tmp_path / "run", stack, images, np.arange(4) % 2, epochs=1)
    found = panel(run, images, np.arange(4) % 2, room=60_000)
    assert found.origin is not None and found.arrays["vz"].shape[3:] == (48, 48)
    one = Chosen.first(found)
    products = sum(float((one.window(s) * one.weights()[s]).sum()) for s in range(len(one.slices)))
    assert products + one.bias == pytest.approx(one.value("v", "z"), rel=1e-4, abs=1e-6)
    start, at = found.origin["z"], found.first["position"]
    assert all(0 <= p - s < 48 for p, s in zip(at, start))
    assert found.columns[2]["start"] == [s // 2 for s in start]


def test_the_script_gets_what_the_panel_holds(recorded):
    images, classes = bars_of()
    text = render_report(recorded, training=(images, classes))
    data = json.loads(re.search(r'id="bench-data">(.*?)</script>', text, re.DOTALL)[1])
    assert [one["layer"] for one in data["panels"]] == ["edges", "parts", "answer"]
    first = data["panels"][0]
    array = first["arrays"]["W"]
    values = np.frombuffer(base64.b64decode(array["data"]), "<f4").reshape(array["shape"])
    step = first["steps"][first["first"]["step"]]
    kernel = recorded.kernels("edges", step - 1)
    shown = values[first["first"]["step"]]
    np.testing.assert_array_equal(shown[:, 0], kernel[..., 0, :].reshape(9, -1).T[first["filters"]])
    assert np.frombuffer(base64.b64decode(data["palettes"]["w"][0]), "u1").size == 257 * 3


def test_the_error_is_followed_up_to_the_loss(recorded):
    text = render_report(recorded, training=bars_of())
    assert text.count("Where this error comes from, up to the loss") == 3
    assert "(p \u2212 y)" in text or "(p - y)" in text
