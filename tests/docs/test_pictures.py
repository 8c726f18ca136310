"""The pictures of the pages: drawn from the training that the page runs, light and dark, small, in words.

Numbers of a picture are compared within a unit of their last digit: another processor rounds differently.
"""

import re
import sys

import numpy as np
import pytest

from kernelearn import config
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
    """Its numbers; a colour counts as three."""
    found = []
    for token in TOKEN.findall(text):
        if token.startswith("#"):
            found += [int(token[i : i + 2], 16) / 100 for i in (1, 3, 5)]
        else:
            found.append(float(token.replace("−", "-")))
    return np.array(found)


def test_the_pictures_are_what_the_training_gives(drawn):
    assert sorted(drawn) == sorted(path.stem for path in PICTURES.glob("*.svg")), "python docs/_pictures.py"
    for name, text in drawn.items():
        stored = (PICTURES / f"{name}.svg").read_text(encoding="utf-8")
        assert TOKEN.sub("", text) == TOKEN.sub("", stored), f"{name}: make it anew, python docs/_pictures.py"
        np.testing.assert_allclose(values(text), values(stored), atol=0.11, err_msg=name)


def test_a_picture_of_another_training_would_show(drawn):
    one, other = values(drawn["neuron-light"]), values(drawn["neuron-light"].replace("0.3845", "0.5345"))
    assert abs(one - other).max() > 0.11


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
