"""A timing collects garbage first, as `kernelearn bench` does."""

import pytest


@pytest.fixture(autouse=True)
def _collections_are_short(earlier_objects_left_out):
    yield
