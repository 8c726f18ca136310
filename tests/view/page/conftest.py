"""One recorded run, and a library with it, for all tests of the page."""

import pytest

from kernelearn.view.page.answers import answer
from kernelearn.view.page.blocks import BLOCKS_TYPE, read_blocks
from kernelearn.view.page.library import Library

from .runs import recorded


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """(Run, images, classes) of six updates."""
    return recorded(tmp_path_factory.mktemp("page") / "small")


@pytest.fixture
def library(small):
    return Library([small[0].folder])


@pytest.fixture
def ask(library):
    """A function (name below the run, parameters) -> what the page gets."""

    def asked(name, key="small", **params):
        return got(library, f"runs/{key}/{name}".rstrip("/"), **params)

    return asked


def got(library, path, **params):
    """JSON of an answer, or (header, arrays)."""
    import json

    found = answer(library, path, {name: str(value) for name, value in params.items()})
    if found.kind == BLOCKS_TYPE:
        return read_blocks(found.body)
    content = json.loads(found.body)
    assert found.status == 200 or "error" in content
    return content
