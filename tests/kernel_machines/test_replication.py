"""The published figures of Lanckriet et al. 2004 that are known to be reproducible, on ten splits."""

import importlib.util
from pathlib import Path

import pytest

from tests.sweeps import some

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location(
        "replicate_kernels", ROOT / "benchmarks" / "replicate_kernels.py"
    )
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules["replicate_kernels"] = module
    spec.loader.exec_module(module)
    if not module.DATA.is_dir():
        pytest.skip(f"needs the UCI sets in {module.DATA.relative_to(ROOT.parent)}, beside the project")
    return module


@pytest.mark.parametrize("name", some(["heart", "ionosphere", "breast"], quick=1))
def test_learnt_kernel_matches_the_paper(script, name):
    found = script.mean_table(name, "soft1", 10, signed=False)
    published = script.PUBLISHED[name, "soft1"]
    assert abs(found[3] - published.learnt) <= 1.5
    assert found[8] == pytest.approx(published.learnt_cost, rel=0.03)
    assert found[10:] == pytest.approx(published.weights, abs=0.06)
