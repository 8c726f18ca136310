"""The page and the examples run as they stand."""

import re
import runpy
import sys
from pathlib import Path

import pytest

datasets = pytest.importorskip("sklearn.datasets")
load_breast_cancer = datasets.load_breast_cancer

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "kernel-machines.md"
EXAMPLES = sorted((ROOT / "examples").glob("kernel_machines*.py"))


def test_the_page_runs_from_top_to_bottom():
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(blocks) >= 7
    names: dict = {}
    for number, block in enumerate(blocks):
        exec(compile(block, f"{PAGE.name} block {number}", "exec"), names)


@pytest.fixture
def few_points(monkeypatch):
    """Every third row of the data set that an example loads: with all, it takes five times as long."""

    def loaded(**options):
        x, y = load_breast_cancer(**options)
        return x[::3], y[::3]

    monkeypatch.setattr(datasets, "load_breast_cancer", loaded)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_examples_run(path, few_points, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [path.name])
    runpy.run_path(str(path), run_name="__main__")
    assert capsys.readouterr().out.strip()


@pytest.mark.slow
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_examples_run_on_all_data(path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [path.name])
    runpy.run_path(str(path), run_name="__main__")
    assert capsys.readouterr().out.strip()
