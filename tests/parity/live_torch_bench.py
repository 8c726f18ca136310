"""The section "torch" of the benchmark in a living PyTorch: every mode does the same work.

python -m pytest tests/parity/live_torch_bench.py
"""

import pytest

torch = pytest.importorskip("torch")

from kernelearn.bench.runners.torch_modes import MODES, load  # noqa: E402
from kernelearn.bench.sections.inside_torch import NETWORKS, PREDICTION, TRAINING  # noqa: E402
from kernelearn.torch import networks  # noqa: E402


def test_the_names_are_those_of_the_networks():
    assert list(NETWORKS) == list(networks.NETWORKS)
    for make, size in networks.NETWORKS.values():
        with torch.no_grad():
            assert make().eval()(torch.zeros(1, *size)).shape == (1, 10)


@pytest.mark.parametrize("what", [TRAINING, PREDICTION])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_every_mode_has_the_same_first_result(what, optimizer):
    runner, firsts = load(1), {}
    for name, mode in MODES.items():
        if mode.backend != "inductor" and (what == TRAINING or not mode.is_step):
            torch._dynamo.reset()
            task = {"what": what, "net": "lenet", "batch": 3, "optimizer": optimizer, "mode": name}
            firsts[name] = runner.prepare(task).run(1)
    assert len(firsts) >= 5
    assert max(firsts.values()) - min(firsts.values()) < 1e-4
