"""The examples in docstrings do what they say: those of all modules that no test beside them runs."""

import doctest
import importlib
from pathlib import Path

import pytest

from kernelearn.layers.core import naming

SOURCE = Path(__file__).resolve().parents[2] / "src"
# `torch` needs PyTorch; the others have a test of their own.
ELSEWHERE = ("torch", "ops", "layers", "engine")


def modules():
    """Names of the modules with an example."""
    for path in sorted((SOURCE / "kernelearn").rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        if parts[1] not in ELSEWHERE and ">>> " in path.read_text("utf-8"):
            yield ".".join(parts).removesuffix(".__init__")


@pytest.mark.parametrize("name", list(modules()))
def test_the_examples_of_a_module_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(naming, "_name_counts", {})  # names of layers as in a reader's first session
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.failed == 0
