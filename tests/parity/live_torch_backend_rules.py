"""Every operator that the engine inside PyTorch takes, forward and backward, against PyTorch in float64.

    python -m pytest tests/parity/live_torch_backend_rules.py

How many are left to PyTorch is said, too: none, but for the views among them.
"""

import pytest

torch = pytest.importorskip("torch")

from tests.parity.torch_backend_cases import ACTIVATIONS, FAMILIES, Family  # noqa: E402
from tests.parity.torch_backend_check import Share, compared, on_engine, wrong  # noqa: E402

MAY_STAY = {
    "a view of an input",
    "a result that is a view of another",
    "it has nothing to do with the images",
}
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.mark.parametrize("name", FAMILIES)
def test_rules(name):
    torch.manual_seed(0)
    module = Family(name)
    ours, eager, share = compared(module, module.inputs())
    assert not wrong(ours, eager)
    assert not share.refused
    assert set(share.left.values()) <= MAY_STAY, share.left
    assert share.taken >= len(module.cases)


def test_slopes_at_kinks_are_pytorchs():
    module = Family("activations")
    grid = torch.arange(-7, 7.25, 0.25).repeat(4, 1)
    ours, eager, share = compared(module, [grid] * len(module.cases))
    assert not wrong(ours, eager)
    assert share.taken >= len(module.cases)


def test_what_is_no_number_stays_none():
    """And infinities become what they become in PyTorch, where that is a number."""
    x = torch.tensor([[float("nan"), float("inf"), float("-inf"), 0.5], [1.0, -1.0, float("nan"), 0.0]])
    module, share = Family("activations"), Share()
    found = on_engine(module, share)(*[x] * len(ACTIVATIONS))
    assert share.taken >= len(ACTIVATIONS)
    for number, (y, exact) in enumerate(zip(found, module(*[x] * len(ACTIVATIONS)))):
        is_told = ~(exact.isnan() & x.isinf())  # PyTorch's gelu of infinity is none
        torch.testing.assert_close(
            y[is_told], exact[is_told], equal_nan=True, msg=lambda m, n=number: f"case {n}: {m}"
        )
