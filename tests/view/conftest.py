"""One recorded run for all tests of figures and reports."""

import pytest

from tests.view.small_runs import recorded_bars


@pytest.fixture(scope="session")
def recorded(tmp_path_factory):
    """A finished run of eight updates, everything recorded at every step."""
    return recorded_bars(tmp_path_factory.mktemp("recorded") / "run")
