"""Numbers in sentences that no block of their page prints are those of the tables of experiments.md."""

import re

import pytest

from tests.docs.test_examples import ROOT

DOCS = ROOT / "docs"


def table(section):
    """condition -> (test %, its difference to the baseline) of the first table of a section."""
    text = (DOCS / "experiments.md").read_text(encoding="utf-8")
    part = text[text.index(f"## {section}:") :]
    part = part[part.index("| condition") :]
    rows = [line.split("|")[1:5] for line in part[: part.index("\n\n")].splitlines()[2:]]
    return {row[0].strip(): (row[1].split()[0], row[3].split()[0]) for row in rows}


def sentences(page):
    return re.sub(r"[\s>]+", " ", (DOCS / page).read_text(encoding="utf-8"))


@pytest.fixture
def said():
    return sentences("what-is-learned.md")


def test_fixed_filters(said):
    frozen = table("Frozen")
    assert f"({frozen['fixed bank first'][0]} % against {frozen['train all'][0]})" in said
    only = frozen["fixed bank, freeze kernels"]
    assert f"{only[1].lstrip('-')} points are lost ({only[0]} %)" in said
    assert f"with random kernels {frozen['freeze kernels'][1].lstrip('-')}" in said
    assert frozen["fixed bank first"][1] == "+0.5"  # "half a point better"


def test_activations(said):
    found = table("Activation")
    for words in (
        f"without any activation {found['none'][0]} % in place of {found['relu'][0]} % with ReLU",
        f"with tanh {found['tanh'][0]} %",
        f"{found['sigmoid'][0]} % ([activations]",
    ):
        assert words in said


def test_pooling(said):
    found = table("Pooling")
    assert f"cost {found['average'][1].lstrip('-')} points" in said
    assert f"no pooling at all gains {found['none'][1].lstrip('+')} with four times" in said


def test_augmentation():
    found = table("Augmentation")
    assert found["none"][1] == "baseline" and set(found) > {"moved", "turned", "all three"}
