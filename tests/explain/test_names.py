"""The public names of `kernelearn.explain`: each loads when used, and none is hidden by a module."""

import importlib
import subprocess
import sys
from types import ModuleType

import pytest

from kernelearn import explain


@pytest.mark.parametrize("name", dir(explain))
def test_every_name_loads_and_is_no_module(name):
    assert not isinstance(getattr(explain, name), ModuleType)


def test_a_function_is_not_hidden_by_the_module_that_defines_it():
    module = importlib.import_module("kernelearn.explain.ledger")
    assert explain.ledger is module.ledger
    code = "import kernelearn.explain.ledger; from kernelearn import explain; print(callable(explain.ledger))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"


def test_importing_the_package_loads_nothing_of_it():
    code = "import sys; from kernelearn import explain; print([m for m in sys.modules if 'explain.' in m])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_unknown_name_is_told():
    with pytest.raises(AttributeError, match="public names: ledger"):
        _ = explain.ledgers
