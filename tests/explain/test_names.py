"""The public names of `kernelearn.explain`: each loads when used, and none is hidden by a module."""

import importlib
import inspect
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from kernelearn import explain
from kernelearn.errors import ArgumentError, FormatError


@pytest.mark.parametrize("name", dir(explain))
def test_every_name_loads_and_is_no_module(name):
    assert not isinstance(getattr(explain, name), ModuleType)


def test_no_public_name_is_that_of_a_folder_or_module():
    """Importing a submodule makes it an attribute of the package: it must not take a function's place."""
    folder = Path(explain.__file__).parent
    assert not {path.stem for path in folder.iterdir()} & set(dir(explain))
    module = importlib.import_module("kernelearn.explain.gradient.ledgers")
    assert explain.ledger is module.ledger


def test_importing_the_package_loads_nothing_of_it():
    code = "import sys; from kernelearn import explain; print([m for m in sys.modules if 'explain.' in m])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_unknown_name_is_told():
    with pytest.raises(AttributeError, match="public names: ledger"):
        _ = explain.ledgers


def of_runs():
    """Explanations whose first argument may be a recorded run, with what else each needs."""
    found = []
    for name in dir(explain):
        function = getattr(explain, name)
        if inspect.isfunction(function):
            first, *others = inspect.signature(function).parameters.values()
            if first.name in ("run", "source"):
                needed = [p.name for p in others if p.default is p.empty and p.kind is not p.VAR_POSITIONAL]
                found.append((function, {name: "conv1" if name == "layer" else 1 for name in needed}))
    return found


@pytest.mark.parametrize(("function", "others"), of_runs(), ids=lambda x: getattr(x, "__name__", ""))
def test_the_path_of_a_run_is_opened(function, others, tmp_path):
    with pytest.raises(ArgumentError, match="no folder"):
        function(str(tmp_path / "none"), **others)
    with pytest.raises(FormatError):
        function(tmp_path, **others)


def test_what_is_no_run_is_told():
    assert len(of_runs()) > 15
    with pytest.raises(ArgumentError, match="image takes a recorded run or the path of its folder, got int"):
        explain.image(3)
