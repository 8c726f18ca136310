"""Targets: the host's, forced ones, and those that this processor cannot run."""

import pytest

from kernelearn.engine.cpu.machine import target as module
from kernelearn.engine.cpu.machine.target import current_target, find_target
from kernelearn.errors import KernelearnError, UnknownNameError
from tests.engine.cpu.harness import TARGETS


@pytest.fixture
def old_processor(monkeypatch):
    """A processor of the year 2008."""
    monkeypatch.setattr(module, "_host_features", lambda: {"sse4.2": True, "avx2": False, "avx512f": False})
    find_target.cache_clear()
    yield
    find_target.cache_clear()


def test_an_unknown_target_is_refused(monkeypatch):
    monkeypatch.setenv("KERNELEARN_CPU_TARGET", "avx51")
    with pytest.raises(UnknownNameError, match=r"Unknown CPU target 'avx51'.*avx512"):
        current_target()


@pytest.mark.skipif(module._is_arm(), reason="x86 targets")
@pytest.mark.parametrize(("name", "missing"), [("avx512", "avx512f"), ("avx2", "fma")])
def test_a_target_that_the_processor_lacks_is_refused_before_it_runs(
    old_processor, monkeypatch, name, missing
):
    monkeypatch.setenv("KERNELEARN_CPU_TARGET", name)
    with pytest.raises(KernelearnError, match=f"'{name}' needs .*{missing}.*best target is 'baseline'"):
        current_target()


@pytest.mark.skipif(module._is_arm(), reason="x86 targets")
def test_neon_is_refused_elsewhere():
    with pytest.raises(KernelearnError, match="'neon' needs neon"):
        find_target("neon")


def test_an_old_processor_gets_the_baseline(old_processor):
    assert find_target("native").name == ("neon" if module._is_arm() else "baseline")


def test_a_processor_that_llvm_does_not_know_gets_code_for_every_one(monkeypatch):
    monkeypatch.setattr(module, "_host_features", dict)
    found = module._host()
    assert found.cpu in ("x86-64", "generic")
    assert found.name in ("baseline", "neon")


@pytest.mark.parametrize("name", TARGETS)
def test_targets_have_keys_of_their_own(name):
    others = {find_target(n).key for n in TARGETS if n != name}
    assert find_target(name).key not in others


def test_an_empty_setting_is_none(monkeypatch):
    monkeypatch.setenv("KERNELEARN_CPU_TARGET", "")
    assert current_target() == find_target("native")
