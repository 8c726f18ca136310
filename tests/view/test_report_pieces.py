"""The pieces of the report: escaping, pictures, charts."""

import base64
import io
import re

import numpy as np
import pytest

from kernelearn.view.report.markup import Html, details, join, table, table_of, tag
from kernelearn.view.report.pictures import (
    flat_picture,
    grey_pixels,
    image_pixels,
    img,
    png,
    positive_pixels,
    signed_pixels,
)
from kernelearn.view.report.svg import Line, bar_chart, line_chart

RNG = np.random.default_rng(0)


def test_text_is_escaped_once_and_html_never():
    inner = tag("b", "1 < 2 & 3")
    assert str(inner) == "<b>1 &lt; 2 &amp; 3</b>"
    assert str(tag("p", inner, "<i>")) == "<p><b>1 &lt; 2 &amp; 3</b>&lt;i&gt;</p>"
    assert str(tag("a", "x", href='"><script>', class_=None)) == '<a href="&quot;&gt;&lt;script&gt;">x</a>'
    assert str(join(["<", Html("<br>")], ", ")) == "&lt;, <br>"
    assert "<td>&lt;td&gt;</td>" in str(table(("a",), [("<td>",)], "<c>"))
    assert (
        str(details("<s>", "t", is_open=True)) == '<details open=""><summary>&lt;s&gt;</summary>t</details>'
    )


def test_a_table_of_an_explanation_has_its_cells():
    from kernelearn.explain import Table

    found = str(table_of(Table(("name", "long_number"), (("a<b", 0.123456),), "Title")))
    assert "long number" in found and "a&lt;b" in found and 'class="n">0.1235' in found and "Title" in found


@pytest.mark.parametrize("shape", [(3, 5), (4, 4, 3), (2, 7, 4), (1, 1)])
def test_pictures_are_png_files_with_these_pixels(shape):
    image = pytest.importorskip("PIL.Image")
    pixels = RNG.integers(0, 256, shape).astype(np.uint8)
    read = np.asarray(image.open(io.BytesIO(png(pixels))))
    np.testing.assert_array_equal(read.reshape(shape), pixels)


def test_an_image_keeps_its_form_and_says_what_it_is():
    found = str(img(np.zeros((4, 8), np.uint8), 'a "b"', 80))
    assert 'width="80" height="40"' in found and "a &quot;b&quot;" in found
    data = base64.b64decode(re.search(r"base64,([^\"]+)", found)[1])
    assert data.startswith(b"\x89PNG")


def test_signed_pixels_let_zero_through_and_tell_the_signs():
    red, blue, none = signed_pixels(np.array([[2.0, -1.0, 0.0]]), 2.0)[0]
    assert red[3] == 255 and red[0] > red[2]
    assert blue[3] == 127 and blue[2] > blue[0]
    assert none[3] == 0
    assert signed_pixels(np.zeros((2, 2)), 0.0)[..., 3].max() == 0


def test_positive_pixels_grow_brighter():
    bright = positive_pixels(np.linspace(0, 1, 50)[None], 1.0).astype(int).sum(axis=-1)[0]
    assert (np.diff(bright) >= -6).all() and bright[-1] - bright[0] > 300


@pytest.mark.parametrize(
    ("shape", "shown"),
    [
        ((6,), (1, 6)),
        ((6, 2), (1, 6)),
        ((4, 5, 1), (4, 5)),
        ((4, 5, 3), (4, 5, 3)),
        ((2, 4, 5, 1), (8, 5)),
        ((4, 5, 7), (4, 5)),
    ],
)
def test_images_of_any_form_become_pictures(shape, shown):
    found = image_pixels(RNG.normal(size=shape))
    assert found.shape == shown and found.dtype == np.uint8
    assert image_pixels(np.full((2, 2, 1), 0.2))[0, 0] == grey_pixels(np.array([[0.2]]))[0, 0] == 51


def test_flat_pictures():
    assert flat_picture(np.zeros(3)).shape == (1, 3)
    assert flat_picture(np.zeros((2, 3, 4))).shape == (6, 4)


def points_of(chart):
    return [
        np.array([list(map(float, p.split(","))) for p in found.split()])
        for found in re.findall(r'points="([^"]+)"', str(chart))
    ]


def test_a_chart_keeps_the_peaks_of_many_points():
    y = np.zeros(20_000)
    y[7777], y[12345] = 5.0, -3.0
    (points,) = points_of(line_chart([Line("spikes", np.arange(20_000), y)], "Spikes"))
    assert len(points) < 1000
    heights = points[:, 1]
    assert heights.min() < np.median(heights) - 50 and heights.max() > np.median(heights) + 50
    assert (np.diff(points[:, 0]) >= 0).all()


def test_a_logarithmic_chart_leaves_out_what_has_no_logarithm():
    x, y = np.arange(4), np.array([1.0, 0.0, np.nan, 100.0])
    (points,) = points_of(line_chart([Line("", x, y)], "Loss", is_log=True))
    assert len(points) == 2 and points[0, 1] > points[1, 1]


@pytest.mark.parametrize("y", [[], [np.nan], [1.0], [0.0, 0.0], [-5.0, -5.0], [1e-30, 2e-30], [1e30, -1e30]])
def test_charts_of_odd_numbers(y):
    found = str(line_chart([Line("a<b", range(len(y)), y)], "Odd & even"))
    assert "nan" not in found and "inf" not in found
    assert ("a&lt;b" in found and "Odd &amp; even" in found) or "Nothing was recorded" in found


def test_bars_are_as_long_as_their_numbers():
    found = str(bar_chart(["up", "down"], [2.0, -1.0], "Both"))
    assert 'bar pos" style="width:50.0%"' in found and 'bar neg" style="width:25.0%"' in found
    assert "\u22121" in found
    assert "width:0.0%" in str(bar_chart(["none"], [0.0], "Zero"))
