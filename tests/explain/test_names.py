"""The public names of `kernelearn.explain`: each loads when used, and none is hidden by a module."""

import importlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from kernelearn import explain


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
