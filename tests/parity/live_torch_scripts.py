"""Ten trainings of users in a living PyTorch, watched (the same bits, exact ledgers) and on our engine.

    python -m pytest tests/parity/live_torch_scripts.py -m "not slow"

The table of all: `python -m tests.parity.torch_scripts`.
"""

import importlib.util

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from kernelearn.recording import Run  # noqa: E402
from kernelearn.torch.measuring import VARIABLE  # noqa: E402
from tests.parity.torch_scripts import NAMES, modes  # noqa: E402

QUICK = ("unet", "siamese", "own_function")


def scripts():
    """Their names; all but a few are slow."""
    found = []
    lacks = not any(importlib.util.find_spec(name) for name in ("lightning", "pytorch_lightning"))
    skip = pytest.mark.skipif(lacks, reason="lightning is not installed")
    for name in NAMES:
        needed = [skip] if name == "lightning_module" else []
        slow = [] if name in QUICK else [pytest.mark.slow]
        found.append(pytest.param(name, marks=needed + slow))
    return found


@pytest.mark.filterwarnings("ignore:.*autocast.*")
@pytest.mark.parametrize("name", scripts())
def test_watched_trainings_compute_the_same(name, tmp_path):
    steps = 12 if name in QUICK else 50
    plain = modes.eager().losses(name, steps)
    mode = modes.watched(tmp_path / "run")
    losses = mode.losses(name, steps)
    mode.stop()
    assert np.array_equal(losses, plain)
    found = modes.residuals(Run(tmp_path / "run"))
    assert found
    assert max(found.values()) < (4e-3 if name == "cifar_amp" else 1e-6), found


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", scripts())
def test_trainings_on_our_engine_compute_the_same_within_rounding(name, monkeypatch):
    """As far from eager's losses as eager is from its own, with weights that differ in their last bit."""
    monkeypatch.setenv(VARIABLE, "0")
    steps = 12 if name in QUICK else 50
    plain = modes.eager().losses(name, steps)
    usual = modes.usual_distance(name, steps, plain)
    apart = modes.apart(plain, modes.compiled().losses(name, steps))
    assert (apart <= 10 * usual + 1e-6).all(), (apart, usual)
