"""The notebooks under examples/ run from a bare folder, and show what is stored in them, without traces.

Run anew and stored by `python examples/_notebooks.py`; see there.
"""

import importlib.util
import re
from pathlib import Path

import nbformat
import pytest

from tests.sweeps import some

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("notebooks", EXAMPLES / "_notebooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def kinds(book):
    """What each cell shows: text on which stream, or in which formats."""
    return [
        [sorted(output.get("data", [output.get("name", "")])) for output in cell.outputs]
        for cell in book.cells
        if cell.cell_type == "code"
    ]


def test_there_are_three():
    assert [path.stem for path in NOTEBOOKS] == ["learning-a-kernel-function", "tour", "your-own-pictures"]


@pytest.mark.parametrize(
    # The others do what the pages on how kernels learn and on kernel machines do, which are run as well.
    "path",
    some(NOTEBOOKS, quick=lambda path: path.stem == "your-own-pictures"),
    ids=lambda path: path.stem,
)
def test_a_notebook_runs_and_shows_what_is_stored(script, path, tmp_path):
    stored, shown = nbformat.read(path, as_version=4), script.executed(path, tmp_path)
    assert kinds(shown) == kinds(stored)
    assert all(cell.source == again.source for cell, again in zip(stored.cells, shown.cells))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_stored_notebook_is_small_and_tells_nothing_of_a_machine(path):
    text = path.read_text(encoding="utf-8")
    assert path.stat().st_size < 400_000
    assert not re.search(r'"[^"]*(/tmp/|/home/|/root/|/work/|site-packages)', text)
    assert '"execution"' not in text
    book = nbformat.reads(text, as_version=4)
    assert any(cell.outputs for cell in book.cells if cell.cell_type == "code")
    assert not [o for cell in book.cells for o in cell.get("outputs", []) if o.get("name") == "stderr"]


def test_a_cell_that_fails_is_told(script, tmp_path):
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 / 0")])
    nbformat.write(book, tmp_path / "wrong.ipynb")
    with pytest.raises(Exception, match="ZeroDivisionError"):
        script.executed(tmp_path / "wrong.ipynb", tmp_path)
