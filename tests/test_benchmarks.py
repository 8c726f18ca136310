"""The files of `benchmarks/`, which nothing runs by itself: what they import is there."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "benchmarks").glob("*.py"))
# What may be missing here, and a benchmark may ask for.
PACKAGES = {"MKLpy", "cvxpy", "greenlet", "keras", "numpy", "sklearn", "torch"}


def imported(path: Path) -> set[str]:
    """Names of the modules that a file imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.add(str(node.module))
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_benchmarks_import_is_there(path):
    ours = {name for name in imported(path) if name.split(".")[0] == "kernelearn"}
    assert ours
    files = [(ROOT / "src").joinpath(*name.split(".")) for name in sorted(ours)]
    assert not [file for file in files if not (file.is_dir() or file.with_suffix(".py").exists())]
    roots = {name.split(".")[0] for name in imported(path) - ours}
    assert roots <= PACKAGES | sys.stdlib_module_names
