"""Fixtures of the tests of the CPU engine's machinery."""

from pathlib import Path

import pytest

from kernelearn.engine.cpu.machine import compiler, threads

# Every test compiles for the widest vectors. Narrower ones are left to the slow tests, but for the examples
# of every operator, and of these two where numbers are of another type: compiling is most of what they do.
NARROWER, ALWAYS = ("avx2", "baseline"), "test_examples"
OTHER_TYPES, STILL = ("test_doubles.py", "test_bfloat16.py"), ("conv", "dense")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Mark the tests of narrower targets as slow."""
    for item in items:
        given = getattr(item, "callspec", None) and item.callspec.params
        if not given or given.get("target") not in NARROWER or item.path.parent != Path(__file__).parent:
            continue
        is_of_other_type = item.path.name in OTHER_TYPES and given.get("operator") not in STILL
        if item.originalname != ALWAYS or is_of_other_type:
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def cache_folder(tmp_path, monkeypatch):
    """An empty folder as the compile cache, and a process that has compiled nothing yet."""
    monkeypatch.setenv("KERNELEARN_CACHE_DIR", str(tmp_path))
    compiler.forget()
    return tmp_path / "cpu"


@pytest.fixture
def default_threads(monkeypatch):
    """No number of threads set, neither by a call nor by the environment; as before afterwards."""
    monkeypatch.delenv("KERNELEARN_NUM_THREADS", raising=False)
    threads.set_num_threads(None)
    yield
    threads.set_num_threads(None)
