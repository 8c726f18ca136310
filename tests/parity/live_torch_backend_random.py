"""Random modules on the engine inside PyTorch: forward, gradients and moving averages, against float64.

    python -m pytest tests/parity/live_torch_backend_random.py -m "not slow"

How many: KERNELEARN_BACKEND_CASES, 300 for the whole sweep with the slow ones; a few are quick.
"""

import copy
import os

import pytest

torch = pytest.importorskip("torch")

from tests.parity.torch_backend_check import compared, wrong  # noqa: E402
from tests.parity.torch_backend_modules import backend_module  # noqa: E402

CASES = int(os.environ.get("KERNELEARN_BACKEND_CASES", "300"))
QUICK = 12
# A rounding may turn which pixel wins a pooling, or the side of a kink: then other images decide.
TRIES = 3
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def seeds():
    return [pytest.param(s, marks=[] if s < QUICK else [pytest.mark.slow]) for s in range(CASES)]


@pytest.mark.parametrize("seed", seeds())
def test_random_modules(seed):
    net = backend_module(seed)
    for training in (True, False):
        module = copy.deepcopy(net).train(training)
        seen = []
        for attempt in range(TRIES):
            torch.manual_seed(1000 * attempt + seed)
            x = torch.randn(2 + seed % 4, *net.example()[1:])
            ours, eager, share = compared(module, [x], seed)
            seen = wrong(ours, eager)
            if not seen:
                break
        assert not seen, (training, seen, share)
        # NOTE: a momentum of None breaks the graph of Dynamo, so that there may be none.
        assert share.taken > 0 or share.refused or not share.graphs, share
