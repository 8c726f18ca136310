"""Watched trainings as they go wrong: errors between steps, cells run again, modules changed midway, forks.

Run by `make test-peers`.
"""

import gc
import warnings

import pytest

torch = pytest.importorskip("torch")

from kernelearn.errors import ArgumentError  # noqa: E402
from kernelearn.recording import Run  # noqa: E402
from kernelearn.watching import watch  # noqa: E402
from tests.parity.live_watch import data, fit, folder, made, residuals  # noqa: E402, F401


def sgd(module):
    return torch.optim.SGD(module.parameters(), 0.05, momentum=0.9)


def failing(module, optimizer, shape, steps=2):
    """A training that ends with an error in its loop."""
    fit(module, optimizer, shape, steps)
    raise KeyboardInterrupt


def begun_and_failed(folder, module, shape, **options):  # noqa: F811
    """A cell of a notebook, whose error is kept: nothing of it is freed."""
    with pytest.raises(KeyboardInterrupt) as kept:
        optimizer = sgd(module)
        watch(module, optimizer, folder, every=1, hold_model=False, **options)
        failing(module, optimizer, shape)
    return kept


@pytest.mark.parametrize("is_same_module", [True, False])
@pytest.mark.parametrize("is_same_folder", [True, False])
def test_a_training_that_failed_gives_way(folder, is_same_module, is_same_folder):  # noqa: F811
    module, shape = made("residual")
    kept = begun_and_failed(folder, module, shape)
    if not is_same_module:
        module, shape = made("residual", seed=1)
    place = folder if is_same_folder else folder.with_name("next")
    optimizer = sgd(module)
    if is_same_folder:
        with pytest.raises(ArgumentError, match="overwrite=True"):
            watch(module, optimizer, place, every=1, hold_model=False)
        assert Run(folder).status == "recording", "a refusal ends nothing"
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with watch(module, optimizer, place, every=1, hold_model=False, overwrite=True):
            fit(module, optimizer, shape, 3)
    is_in_the_way = is_same_module or is_same_folder
    assert any("was not stopped" in str(w.message) for w in said) is is_in_the_way
    assert Run(place).status == "finished" and Run(place).last_step == 3
    if not is_same_folder:
        assert Run(folder).last_step == 2
        assert Run(folder).status == ("interrupted" if is_same_module else "recording")
    assert kept is not None


def test_a_cell_that_is_run_again(folder):  # noqa: F811
    """Again and again, all that it makes included, with the names of the last time still there."""
    for number in range(3):
        module, shape = made("residual", seed=number)
        optimizer = sgd(module)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            watcher = watch(module, optimizer, folder, every=1, hold_model=False, overwrite=True)
        with pytest.raises(KeyboardInterrupt):
            failing(module, optimizer, shape, number + 1)
        assert Run(folder).last_step == number + 1
    watcher.stop()
    assert Run(folder).status == "finished" and Run(folder).last_step == 3


def test_a_watcher_that_nobody_has_any_more_closes_its_run(folder):  # noqa: F811
    module, shape = made("residual")
    optimizer = sgd(module)
    watch(module, optimizer, folder, every=1, hold_model=False)
    fit(module, optimizer, shape, 2)
    del module, optimizer
    gc.collect()
    assert Run(folder).status == "interrupted" and Run(folder).last_step == 2
