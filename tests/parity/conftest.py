"""What holds in every comparison with a living PyTorch: no rule of ours failed and was passed over."""

import sys

import pytest


@pytest.fixture(autouse=True)
def no_rule_failed():
    """A rule that turns graphs may decline; one that raises is a mistake, which costs users speed alone."""
    yield
    telling = sys.modules.get("kernelearn.torch.telling")
    if telling is not None:
        from kernelearn.torch.graphs.sequences import UNTURNED

        assert not [message for message in telling.SAID if message.startswith(UNTURNED)]
