"""Hypothesis without a time limit per example, machines being busy, and with fixed examples on CI."""

import os

from hypothesis import settings

settings.register_profile("kernelearn", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("kernelearn")
