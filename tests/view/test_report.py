"""The report: its numbers are those of the explanations, they add up as shown, and nothing is fetched."""

import re
from decimal import Decimal
from html.parser import HTMLParser

import numpy as np
import pytest

from kernelearn import explain, layers
from kernelearn.errors import ArgumentError, StorageError
from kernelearn.explain.choices import moved_most
from kernelearn.recording import Run
from kernelearn.view import write_report
from kernelearn.view.report import render_report
from kernelearn.view.report.decimals import brief, closing, column_for
from tests.sweeps import some
from tests.view.small_runs import bars_of, record, recorded_bars


class Page(HTMLParser):
    """What a page holds: tags, tables as rows of text, and what it refers to."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.addresses, self.articles, self.headings = [], [], [], []
        self._tables, self._row, self._cell, self._heading = [], None, None, None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.addresses += [v for k, v in attrs if k in ("src", "href", "srcset", "action", "data")]
        if tag == "article":
            self.articles.append({"layer": dict(attrs)["data-layer"], "tables": []})
        if tag == "table" and self.articles:
            self.articles[-1]["tables"].append([])
        if tag == "tr":
            self._row = []
        if tag in ("td", "th"):
            self._cell = []
        if tag in ("h1", "h2", "h3"):
            self._heading = []

    def handle_endtag(self, tag):
        if tag in ("td", "th") and self._row is not None:
            self._row.append("".join(self._cell).strip())
            self._cell = None
        if tag == "tr" and self.articles and self.articles[-1]["tables"]:
            self.articles[-1]["tables"][-1].append(self._row)
        if tag in ("h1", "h2", "h3"):
            self.headings.append("".join(self._heading))
            self._heading = None

    def handle_data(self, data):
        for place in (self._cell, self._heading):
            if place is not None:
                place.append(data)


def number(text):
    return Decimal(text.replace("\u2212", "-").replace(",", ""))


@pytest.fixture(scope="module")
def text(recorded):
    return render_report(recorded)


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


def test_every_section_is_there_and_none_is_missing(text, page):
    for heading in (
        "One number, forward and back",
        "Learning",
        "Kernels over time",
        "Why weights changed",
        "What the kernels are",
    ):
        assert heading in page.headings
    for heading in (
        "How far they moved",
        "Receptive fields",
        "Feature maps",
        "Why this class?",
        "The same again",
    ):
        assert heading in page.headings
    assert 'class="missing"' not in text and "Experiments" not in page.headings


def test_nothing_is_fetched(text, page):
    assert page.addresses
    assert all(address.startswith(("data:image/png;base64,", "#")) for address in page.addresses)
    names = {tag for tag, _ in page.tags}
    assert not names & {"link", "iframe", "object", "embed", "audio", "video", "base", "form"}
    assert "default-src 'none'" in text and "@import" not in text and "url(" not in text


def test_tags_are_closed_in_order(text):
    class Nesting(HTMLParser):
        stack = []  # noqa: RUF012

        def handle_starttag(self, tag, attrs):
            if tag not in ("meta", "img", "input", "br", "source"):
                self.stack.append(tag)

        def handle_endtag(self, tag):
            assert self.stack.pop() == tag

    checked = Nesting()
    checked.feed(text)
    assert checked.stack == []


def test_a_ledger_adds_up_as_it_is_shown(page, recorded):
    assert list(dict.fromkeys(article["layer"] for article in page.articles)) == ["edges", "parts", "answer"]
    for article in page.articles:
        head, *rows = next(t for t in article["tables"] if t[0][0] == "seen")
        terms = [row for row in rows if len(row) == len(head)]
        ends = {row[0]: row[1] for row in rows if len(row) == 2}
        rest = next((v for k, v in ends.items() if k.startswith(("the other", "rounding"))), "0")
        assert sum(number(row[-1]) for row in terms) + number(rest) == number(ends["sum of all terms"])
        total, gradient = (float(number(ends[k])) for k in ("sum of all terms", "gradient of the engine"))
        assert total == pytest.approx(gradient, rel=1e-4)


def test_the_terms_are_those_of_the_ledger(page, recorded):
    article = page.articles[0]
    (index,) = moved_most(recorded, "edges")
    values = recorded.trace("edges", index)[1]
    step = int(np.abs(np.diff(values.astype(float))).argmax()) + 1
    book = explain.ledger(recorded, "edges", step, index)
    rows = next(t for t in article["tables"] if t[0][0] == "seen")[1:]
    unit = re.search(r"term, × 10(\S+)", str(next(t for t in article["tables"] if t[0][0] == "seen")[0]))
    assert unit is None
    for row, one in zip(rows, book.top(10)):
        assert int(row[2]) == one.image and row[4] == ", ".join(map(str, one.position))
        assert float(number(row[-1])) == pytest.approx(one.term, rel=1e-3)
        assert float(number(row[5])) * float(number(row[6])) == pytest.approx(one.term, rel=1e-4)
    ends = {row[0]: row[1] for row in rows if len(row) == 2}
    assert float(number(ends["sum of all terms"])) == pytest.approx(book.total, rel=1e-5)


def test_an_update_adds_up_as_it_is_shown(page):
    for article in page.articles:
        rows = next(t for t in article["tables"] if t[0][1].startswith("moved the weight by"))[1:]
        *parts, (name, update, *_) = rows
        assert name.startswith("update = ")
        assert sum(number(row[1]) for row in parts) == number(update)


def test_a_history_adds_up_as_it_is_shown(page):
    for article in page.articles:
        rows = next(t for t in article["tables"] if t[0][1].startswith("changed the weight by"))[1:]
        *parts, (name, change, _) = rows
        assert name.startswith("change = ") and {row[0] for row in parts} >= {"gradient"}
        assert sum(number(row[1]) for row in parts) == number(change)


def test_the_last_kernels_stand_in_the_page_without_a_script(text, recorded):
    kernel = recorded.kernels("edges", recorded.last_step)
    film = text[text.index('data-film="edges"') :]
    cells = re.findall(r'<td class="w[pn][ ld]*" style="--t:\d+%">([^<]*)</td>', film)
    shown = [float(number(cell)) for cell in cells[:9]]
    np.testing.assert_allclose(shown, kernel[:, :, 0, 0].ravel(), atol=5.01e-4)


def test_hostile_names_are_text(tmp_path):
    images, classes = bars_of(32)
    evil = '<img src=x onerror="alert(1)">'
    stack = [layers.Conv2D(2, 3, name="a<b&c"), layers.Flatten(), layers.Dense(2, activation="softmax")]
    run = record(tmp_path / "run", stack, images, classes, epochs=1)
    run.manifest["about"]["class_names"] = [evil, "</script><script>alert(2)</script>"]
    found = render_report(run, title=evil, about={"command": [evil], "data": {"name": evil}})
    page = Page(found)
    assert page.headings[0] == evil
    assert all(attrs.get("src", "").startswith("data:") for tag, attrs in page.tags if tag == "img")
    assert sum(tag == "script" for tag, _ in page.tags) == 3
    assert not any("onerror" in attrs for _, attrs in page.tags)


def test_a_title_with_a_dollar_sign(recorded):
    assert "<h1>$style ${x}</h1>" in render_report(recorded, title="$style ${x}")


def test_the_file_is_written_whole_or_not(recorded, tmp_path):
    path = write_report(recorded.folder, tmp_path / "new" / "report.html", title="Mine")
    assert path.read_text("utf-8").endswith("</html>\n")
    with pytest.raises(ArgumentError, match=r"report\.html"):
        write_report(recorded, tmp_path / "report.pdf")
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(StorageError, match="folder"):
        write_report(recorded, tmp_path / "folder.html")
    assert list((tmp_path / "folder.html").iterdir()) == []


def test_reports_of_a_run_are_the_same(recorded, text):
    assert render_report(Run(recorded.folder)) == text


def test_the_network_and_how_its_numbers_are_counted(text, page):
    assert "The network" in page.headings and "edges as a dense layer" in page.headings
    assert "(3*3*1 + 1) * 4 = 40" in text.replace("\u00a0", " ") and "Total params" in text
    # 8 x 8 inputs to 6 x 6 x 4 outputs: nine places of the window each, tied to 36 numbers of the kernel.
    assert f"{64 * 144:,} entries" in text
    assert f"the other {9 * 144:,} are 36 numbers" in text


def test_the_confusion_matrix_counts_every_image(recorded):
    images, classes = bars_of()
    found = render_report(recorded, images=images, labels=classes)
    network = recorded.model().predict(images, verbose=0).argmax(axis=1)
    rows = re.findall(r"<tr>.*?</tr>", found[found.index('class="cm"') :])[1:3]
    cells = [re.findall(r"<td[^>]*>([^<]*)</td>", row) for row in rows]
    shown = [[0 if cell == "\u00b7" else int(cell) for cell in row] for row in cells]
    assert shown == [[int(((classes == i) & (network == j)).sum()) for j in (0, 1)] for i in (0, 1)]
    assert f"{int((classes == network).sum())} right" in found


def test_without_classes_there_is_no_confusion_matrix(page):
    assert "Right and wrong" not in page.headings


def test_the_filters_of_colour_images_are_whole_and_have_biases(tmp_path):
    images = np.random.default_rng(0).random((16, 6, 6, 3)).astype("float32")
    stack = [layers.Conv2D(2, 3, name="rgb"), layers.Flatten(), layers.Dense(2, activation="softmax")]
    run = record(tmp_path / "run", stack, images, np.arange(16) % 2, epochs=1)
    text = render_report(run)
    film = text[text.index('data-film="rgb"') :]
    tiles = re.findall(r'<figure class="tile">.*?</figure>', film)[:2]
    kernel, bias = run.kernels("rgb", run.last_step), run.kernels("rgb", run.last_step, "bias")
    for filter_number, tile in enumerate(tiles):
        assert f"filter {filter_number}" in tile and tile.count("<tbody>") == 3
        shown = [float(number(cell)) for cell in re.findall(r"<td[^>]*>([^<]*)</td>", tile)]
        expected = np.moveaxis(kernel[..., filter_number], -1, 0).ravel()
        np.testing.assert_allclose(shown, expected, atol=5.01e-4)
        (shown_bias,) = re.findall(r'<span class="bias">([^<]*)</span>', tile)
        assert float(number(shown_bias)) == pytest.approx(float(bias[filter_number]), abs=5.01e-4)


def test_a_run_without_ledger_says_so(tmp_path):
    run = recorded_bars(tmp_path / "run", ledger_every=0, gradients_every=0, maps_every=0, probe_images=0)
    found = render_report(run)
    assert "No ledger is recorded in this run" in found and "No images are known" in found
    assert "Kernels over time" in found and 'data-film="edges"' in found


def test_a_run_without_steps_is_refused(tmp_path, recorded):
    class Empty:
        steps = np.zeros(0, np.int64)
        folder = tmp_path

    with pytest.raises(ArgumentError, match="no step yet"):
        render_report(Empty())


def test_thinned_films_say_so(recorded, monkeypatch):
    from kernelearn.view.report import films

    monkeypatch.setattr(films, "_BYTES", 4 * 3 * 60)
    found = render_report(recorded)
    assert re.search(r"[2-5] of the 9 recorded steps are here", found)


def test_curves_of_a_long_run_are_made_from_some_steps(recorded, page, monkeypatch):
    from kernelearn.view.report import material

    monkeypatch.setattr(material, "MOST_STEPS", 4)
    found = render_report(recorded)
    assert "Made from 4 of 9 recorded steps" in found
    ledgers = [article["tables"][0] for article in Page(found).articles]
    assert ledgers == [article["tables"][0] for article in page.articles]


STACKS = {
    "one axis": ((12, 2), [layers.Conv1D(3, 3, name="c")]),
    "three axes": ((5, 5, 5, 1), [layers.Conv3D(2, 3, name="c")]),
    "depthwise": ((8, 8, 2), [layers.DepthwiseConv2D(3, name="c")]),
    "separable": ((8, 8, 2), [layers.SeparableConv2D(3, 3, name="c")]),
    "transposed": ((4, 4, 2), [layers.Conv2DTranspose(3, 3, strides=2, name="c")]),
    "dilated and strided": (
        (9, 9, 1),
        [layers.Conv2D(2, 2, strides=2, dilation_rate=1, padding="same", name="c")],
    ),
    "large kernel": ((12, 12, 1), [layers.Conv2D(2, 9, name="c")]),
    "normalised": ((8, 8, 1), [layers.Conv2D(2, 3, name="c"), layers.BatchNormalization()]),
    "dense alone": ((6,), [layers.Dense(4, activation="relu", name="c")]),
}


@pytest.mark.parametrize("case", some(STACKS, quick=3))
def test_layers_of_every_kind(case, tmp_path):
    shape, stack = STACKS[case]
    images = np.random.default_rng(0).normal(size=(24, *shape)).astype("float32")
    stack = [type(one).from_config(one.get_config()) for one in stack]
    flat = [layers.Flatten()] if len(shape) > 1 else []
    run = record(
        tmp_path / "run",
        [*stack, *flat, layers.Dense(2, name="d")],
        images,
        images.reshape(24, -1)[:, :2],
        loss="mse",
    )
    found = render_report(run)
    page = Page(found)
    assert "c" in [article["layer"] for article in page.articles] or case == "dense alone"
    for article in page.articles:
        rows = next(t for t in article["tables"] if t[0][0] == "seen")[1:]
        ends = {row[0]: row[1] for row in rows if len(row) == 2}
        shown = sum(number(row[-1]) for row in rows if len(row) == 8)
        rest = next((v for k, v in ends.items() if k.startswith(("the other", "rounding"))), "0")
        assert shown + number(rest) == number(ends["sum of all terms"])
    assert ("batch" in found and "BatchNormalization follows" in found) == (case == "normalised")


def test_penalties_and_decay_have_rows(tmp_path):
    images, classes = bars_of(32)
    stack = [
        layers.Conv2D(2, 3, kernel_regularizer="l2", name="c"),
        layers.Flatten(),
        layers.Dense(2, activation="softmax", name="d"),
    ]
    found = render_report(record(tmp_path / "run", stack, images, classes, epochs=1))
    assert "penalty on the weight" in found and ">penalty<" in found


@pytest.mark.parametrize(
    ("values", "digits", "shown"),
    [
        ([1.23456789], 6, "1.23457"),
        ([-0.00001234567], 6, "\u221212.3457"),
        ([12345678.9], 4, "12.35"),
        ([0.0], 6, "0.00000"),
    ],
)
def test_columns_show_so_many_digits(values, digits, shown):
    assert column_for(values, digits).text(values[0]) == shown


def test_what_is_left_closes_the_sum():
    rng = np.random.default_rng(0)
    for _ in range(200):
        terms = rng.normal(size=9) * 10.0 ** rng.integers(-12, 8)
        total = float(terms.sum() + rng.normal())
        column = column_for([*terms, total])
        shown = sum((column.rounded(t) for t in terms), start=closing(column, total, terms))
        assert shown == column.rounded(total)


def test_brief_numbers():
    assert [brief(v) for v in (0.0, 12.0, 1234567.0, 0.012345, -3.2e-7, float("nan"))] == [
        "0",
        "12",
        "1,234,567",
        "0.01235",
        "\u22123.200 \u00d7 10\u207b\u2077",
        "-",
    ]
