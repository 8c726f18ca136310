"""The pictures of the pages: drawn from the training that the page runs, light and dark, small, in words.

Numbers of a picture are compared within a unit of their last digit: another processor rounds differently.
"""

import re
import sys

import numpy as np
import pytest

from kernelearn import config
from tests.docs.pages import blocks_of
from tests.docs.test_examples import PAGES, ROOT

DOCS = ROOT / "docs"
PICTURES = DOCS / "pictures"
# A colour, or a number.
TOKEN = re.compile(r"#[0-9a-f]{6}\b|(?<![\w#])[-−]?\d+(?:\.\d+)?(?:e-?\d+)?")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """name -> text of every picture, from a fresh training."""
    sys.path.insert(0, str(DOCS))
    before = config.floatx()
    try:
        import _pictures

        story = _pictures.Story(str(tmp_path_factory.mktemp("story")))
        found = [
            (f"{draw.__name__}-{theme.name}", draw(story, theme)) for draw, theme in _pictures.drawings()
        ]
    finally:
        config.set_floatx(before)
        sys.path.remove(str(DOCS))
    return {name: drawing.svg() for name, drawing in found}


def values(text):
    """(numbers, how far each may be off): a unit of its last digit; a colour is three whole numbers."""
    found = []
    for token in TOKEN.findall(text):
        if token.startswith("#"):
            found += [(int(token[i : i + 2], 16), 2) for i in (1, 3, 5)]
        else:
            decimals = len(token.partition(".")[2])
            bound = 1.5 * 10**-decimals if decimals else 0.02
            found.append((float(token.replace("−", "-")), bound))
    return np.array(found).T


def assert_same(text, stored):
    """Texts with the same words and, but for their last digits, the same numbers."""
    assert TOKEN.sub("", text) == TOKEN.sub("", stored)
    (one, _), (other, bound) = values(text), values(stored)
    assert (np.abs(one - other) <= bound).all(), np.stack([one, other])[:, np.abs(one - other) > bound]


def test_the_pictures_are_what_the_training_gives(drawn):
    make = "make them anew: python docs/_pictures.py"
    assert sorted(drawn) == sorted(path.stem for path in PICTURES.glob("*.svg")), make
    for name, text in drawn.items():
        assert_same(text, (PICTURES / f"{name}.svg").read_text(encoding="utf-8"))


@pytest.mark.parametrize("change", [("0.3845", "0.3848"), ("36 numbers", "35 numbers"), ("input", "output")])
def test_another_picture_would_show(drawn, change):
    with pytest.raises(AssertionError):
        assert_same(drawn["neuron-light"].replace(*change), drawn["neuron-light"])


def test_each_is_small_light_and_dark_and_named_on_a_page():
    pages = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    for path in PICTURES.iterdir():
        assert path.stat().st_size < 150_000, path.name
        assert f"pictures/{path.name}" in pages, path.name
    light = {path.name for path in PICTURES.glob("*-light.svg")}
    assert {name.replace("-light", "-dark") for name in light} == {
        p.name for p in PICTURES.glob("*-dark.svg")
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_picture_is_said_in_words_and_comes_in_both_lights(page):
    text = page.read_text(encoding="utf-8")
    shown = re.findall(r"!\[([^]]*)\]\((\S*pictures/[\w-]+\.svg)#gh-(\w+)-mode-only\)", text)
    shown += [(alt, name, "light") for name, alt in re.findall(r'<img src="(\S+\.svg)" alt="([^"]*)"', text)]
    assert all(len(alt) > 20 for alt, _, _ in shown)
    assert all(f"-{light}.svg" in name for _, name, light in shown)
    lights = [name for _, name, light in shown if light == "light"]
    assert all(name.replace("-light", "-dark") in text for name in lights)


def test_the_three_pages_follow_one_training():
    first, *others = (
        blocks_of((DOCS / f"{name}.md").read_text(encoding="utf-8"))[0].text.splitlines()
        for name in ("how-kernels-learn", "how-the-error-comes-back", "what-is-learned")
    )
    for other in others:
        assert [line for line in first if "tested" not in line] == other
