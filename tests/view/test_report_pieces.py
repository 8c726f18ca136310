"""The pieces of the report: escaping, pictures, charts."""

import base64
import io
import re

import numpy as np
import pytest

from kernelearn.view.families import ERRORS, FAMILIES, colour_of
from kernelearn.view.report.cells import cell_class
from kernelearn.view.report.decimals import cell_column
from kernelearn.view.report.markup import Html, details, join, table, table_of, tag
from kernelearn.view.report.pictures import (
    flat_picture,
    grey_pixels,
    image_pixels,
    img,
    map_picture,
    png,
    smaller,
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


def test_a_map_has_the_colours_of_its_family_on_light_and_on_dark_pages():
    image = pytest.importorskip("PIL.Image")
    values = np.array([[2.0, -1.0, 0.0, np.nan]])
    found = str(map_picture(values, 2.0, ERRORS, "a map", 40))
    dark, light = (base64.b64decode(text) for text in re.findall(r"base64,([^\"]+)", found))
    assert "prefers-color-scheme: dark" in found and 'alt="a map"' in found
    for is_dark, data in ((False, light), (True, dark)):
        pixels = np.asarray(image.open(io.BytesIO(data)).convert("RGBA")).astype(int)[0]
        for pixel, share in zip(pixels, (1.0, -0.5, 0.0)):
            expected = 255 * np.array(colour_of(ERRORS, share, is_dark))
            assert np.abs(pixel[:3] - expected).max() <= 2 and pixel[3] == 255
        assert pixels[3, 3] == 0


def test_large_pictures_are_shown_in_small_as_means():
    values = RNG.random((100, 70))
    small = smaller(values, 50)
    assert small.shape == (50, 35)
    np.testing.assert_allclose(small[3, 4], values[6:8, 8:10].mean())
    assert smaller(values, 100) is values and smaller(RNG.random((7, 5, 3)), 3).shape == (3, 2, 3)


def test_text_on_cells_is_readable_in_every_hue():
    for family in FAMILIES:
        for is_dark in (False, True):
            for share in np.linspace(-1, 1, 41):
                assert contrast(share, family, is_dark) > 4.5


def contrast(share, family, is_dark):
    """Of the text of a cell, as its classes have it, with the colour behind it."""
    marks = cell_class(float(share), 1.0, family).split()[1:]
    is_white = ("d" not in marks) if is_dark else ("l" in marks)
    light = np.array(colour_of(family, float(share), is_dark))
    linear = np.where(light <= 0.04045, light / 12.92, ((light + 0.055) / 1.055) ** 2.4)
    luminance = float(linear @ np.array([0.2126, 0.7152, 0.0722]))
    return 1.05 / (luminance + 0.05) if is_white else (luminance + 0.05) / 0.05


def test_narrow_cells_have_few_digits():
    assert (
        cell_column([0.0618]).text(-0.0579) == "\u22125.79" and cell_column([0.0618]).unit == "10\u207b\u00b2"
    )
    assert cell_column([0.116]).text(-0.065) == "\u22120.065" and cell_column([12.3], 2).text(5.0) == "5"


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
