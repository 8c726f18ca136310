"""The summary counts every weight once, says how counts come about, and fits the width that is asked for."""

import re
import sys

import pytest

from kernelearn import Input, Model, Sequential, layers
from kernelearn.models import zoo
from kernelearn.models.summary import parameter_formula, summary_html, summary_rows, summary_text, totals

CASES = [
    (layers.Conv2D(12, 3), (None, 25, 25, 1), "(3*3*1 + 1) * 12"),
    (layers.Conv2D(8, (3, 5), use_bias=False), (None, 9, 9, 4), "3*5*4 * 8"),
    (layers.Conv2D(8, 3, groups=2), (None, 9, 9, 4), "(3*3*2 + 1) * 8"),
    (layers.Conv1D(6, 5), (None, 40, 2), "(5*2 + 1) * 6"),
    (layers.Conv2DTranspose(6, 3), (None, 5, 5, 4), "(3*3*4 + 1) * 6"),
    (layers.DepthwiseConv2D(3, depth_multiplier=2), (None, 5, 5, 4), "(3*3 + 1) * 8"),
    (layers.SeparableConv2D(6, 3), (None, 5, 5, 4), "3*3*4*1 + 1*1*4*6 + 6"),
    (layers.Dense(10), (None, 128), "(128 + 1) * 10"),
    (layers.BatchNormalization(), (None, 5, 5, 32), "4 * 32"),
    (layers.LayerNormalization(), (None, 12), "2 * 12"),
    (layers.Flatten(), (None, 5, 5, 32), ""),
]


@pytest.mark.parametrize(("layer", "shape", "formula"), CASES)
def test_formula_is_readable_and_true(layer, shape, formula):
    layer.compute_output_shape(shape)
    assert parameter_formula(layer) == formula
    # A formula is arithmetic: what it says must be what there is.
    assert (eval(formula) if formula else 0) == layer.count_params()


@pytest.mark.parametrize("name", zoo.MODELS)
def test_rows_add_up_to_the_total(name):
    model = zoo.get(name)((32, 32, 3), 10)
    assert sum(row.count for row in summary_rows(model)) == model.count_params() == totals(model).total


def test_text_has_keras_s_columns_and_counts():
    text = summary_text(zoo.lenet((28, 28, 1), 10))
    assert re.search(r"Layer \(type\) +Output Shape +Param #", text)
    assert re.search(r"conv1 \(Conv2D\) +\(None, 26, 26, 32\) +320 +\(3\*3\*1 \+ 1\) \* 32", text)
    assert "Total params: 225,034 (900.1 kB)" in text
    assert "Non-trainable params: 0" in text


def test_frozen_and_statistics_are_told_apart():
    model = Sequential(
        [Input((8, 8, 1)), layers.Conv2D(2, 3), layers.BatchNormalization(), layers.Conv2D(3, 1)]
    )
    model.layers[0].trainable = False
    counts = totals(model)
    assert (counts.frozen, counts.statistics, counts.trainable) == (20, 4, 4 + 9)
    assert counts.total == 20 + 8 + 9
    assert [row.is_frozen for row in summary_rows(model)] == [True, False, False]
    assert "20 frozen, 4 moving statistics" in summary_text(model)


def test_shared_layer_is_counted_once():
    shared = layers.Dense(4, name="shared")
    left, right = Input((3,), name="left"), Input((3,), name="right")
    model = Model([left, right], layers.Add(name="sum")([shared(left), shared(right)]))
    assert totals(model).total == (3 + 1) * 4
    assert [row.count for row in summary_rows(model)].count(16) == 1
    assert "left, right" in summary_text(model)


def test_weights_inside_a_nested_model_are_counted_once():
    inner = Sequential([Input((3,)), layers.Dense(4)], name="inner")
    x = Input((3,))
    model = Model(x, layers.Add()([inner(x), inner(x)]))
    assert totals(model).total == 16
    assert next(row for row in summary_rows(model) if row.name == "inner").formula == "1 layer"


def test_graph_names_what_each_layer_reads():
    rows = {row.name: row for row in summary_rows(zoo.resnet20((32, 32, 3), 10))}
    assert rows["stage1_block1_add"].sources == ("stem_relu", "stage1_block1_conv2_bn")
    assert "Connected to" not in summary_text(zoo.lenet((28, 28, 1), 10))


@pytest.mark.parametrize("width", [60, 98, 150])
def test_lines_keep_the_width(width):
    table = summary_text(zoo.resnet20((32, 32, 3), 10), line_length=width).split("\n")[:-3]
    assert max(map(len, table)) == width


def test_print_fn_gets_the_text(capsys):
    model, printed = zoo.lenet((28, 28, 1), 10), []
    model.summary(print_fn=printed.append)
    assert printed == [summary_text(model)]
    assert capsys.readouterr().out == ""
    model.summary()
    assert capsys.readouterr().out == summary_text(model) + "\n"


def test_terminal_gets_a_table(monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    zoo.lenet((28, 28, 1), 10).summary(line_length=100)
    out = capsys.readouterr().out
    assert "conv1 (Conv2D)" in out
    assert "┃" in out


def test_html_escapes_names():
    model = Sequential([Input((3,)), layers.Dense(2, name="<b>")])
    html = summary_html(model)
    assert "&lt;b&gt; (Dense)" in html
    assert "(3 + 1) * 2" in html
    assert model._repr_html_() == html


def test_unbuilt_model_says_so():
    text = summary_text(Sequential([layers.Dense(2)]))
    assert "?" in text
    assert "Total params: 0" in text
