"""What objects show of themselves in a notebook."""

import html.parser

import numpy as np
import pytest

from kernelearn import Sequential, explain
from kernelearn.data import load
from kernelearn.layers import Conv2D, Dense, Flatten
from kernelearn.recording import Recorder, Run


class Cells(html.parser.HTMLParser):
    """The texts of a page's cells, row by row."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.tags: list[str] = []
        self.is_cell = False
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.is_cell = tag in ("td", "th")
        if tag == "tr":
            self.rows.append([])
        if self.is_cell:
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        self.is_cell = False

    def handle_data(self, data):
        if self.is_cell:
            self.rows[-1][-1] += data


def test_data_shows_its_parts():
    head, *rows = Cells(load("digits", validation=100)._repr_html_()).rows
    assert head == ["part", "examples", "fingerprint"]
    assert [row[:2] for row in rows] == [["train", "1,338"], ["validation", "100"], ["test", "359"]]


def test_a_layer_shows_its_weights():
    layer = Conv2D(12, 3, name="edges")
    assert "not built yet" in layer._repr_html_()
    layer.build((None, 9, 9, 2))
    assert Cells(layer._repr_html_()).rows[1:] == [
        ["kernel", "3 x 3 x 2 x 12", "216", "yes"],
        ["bias", "12", "12", "yes"],
    ]


@pytest.mark.parametrize(("epochs", "shown"), [(2, ["1", "2"]), (20, ["1", "2", "...", "19", "20"])])
def test_a_history_shows_its_epochs(epochs, shown):
    model = Sequential([Flatten(input_shape=(2, 2, 1)), Dense(1)])
    model.compile("sgd", "mse", metrics=["mae"])
    history = model.fit(np.zeros((4, 2, 2, 1)), np.zeros((4, 1)), epochs=epochs, verbose=0)
    head, *rows = Cells(history._repr_html_()).rows
    assert head == ["epoch", "loss", "mae"]
    numbers = [row[0] for row in rows]
    assert [n for n in numbers if n in shown] == shown
    assert len(rows) == min(epochs, 13)


def test_names_are_text_and_never_markup():
    layer = Dense(1, name="<script>alert(1)<script>")
    layer.build((None, 2))
    assert "script" not in Cells(layer._repr_html_()).tags


def test_a_run_shows_what_it_holds(tmp_path):
    model = Sequential([Conv2D(2, 3, input_shape=(6, 6, 1), name="edges"), Flatten(), Dense(3, name="head")])
    model.compile("sgd", "mse")
    x = np.random.default_rng(0).normal(size=(8, 6, 6, 1)).astype("float32")
    model.fit(x, np.ones((8, 3)), batch_size=4, verbose=0, callbacks=[Recorder(tmp_path)])
    html = Run(tmp_path)._repr_html_()
    assert "2 updates, finished" in html and "Layers: edges, head" in html and "Full history: edges" in html
    assert ["kernels", "3"] in Cells(html).rows and ["ledger", "2"] in Cells(html).rows


def test_what_kernels_see_is_a_table_for_each_layer_or_image():
    model = Sequential([Conv2D(2, 3, input_shape=(6, 6, 1), name="edges"), Flatten(), Dense(3)])
    x = np.zeros((2, 6, 6, 1), "float32")
    maps = explain.feature_maps(model, x)
    assert Cells(maps._repr_html_()).rows[1:] == [["edges", "4 x 4 x 2", "0", "0", "0", "0"]]
    assert maps == {"edges": maps["edges"]}
    found = explain.saliency(model, x, target=1)
    rows = Cells(found._repr_html_()).rows
    assert [row[:3] for row in rows[1:]] == [["0", "-", "1"], ["1", "-", "1"]]
    assert "gradient" in found._repr_html_()
    rows = Cells(explain.grad_cam(model, x, target=2)._repr_html_()).rows
    assert rows[1:] == [["0", "-", "2", "0", "0 x 0", "0"], ["1", "-", "2", "0", "0 x 0", "0"]]
