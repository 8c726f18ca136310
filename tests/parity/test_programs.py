"""Programs as users write them: the losses of ten steps are those that Keras gave, in golden_programs.json.

In float64; in float32 on the CPU engine they are the same for a few steps, up to rounding. `make parity` runs
them beside the living Keras. Most are for the slow tests.
"""

import json
from pathlib import Path

import numpy as np
import pytest

import kernelearn
from tests.parity.programs import every_program, losses, table
from tests.parity.programs.steps import LOOPS
from tests.sweeps import some

GOLDEN = json.loads(Path(__file__).with_name("golden_programs.json").read_text(encoding="utf-8"))
PROGRAMS = every_program()
PAGE = Path(__file__).resolve().parents[2] / "docs" / "own-code.md"
QUICK = ["autoencoder", "VAE", "supervised contrast", "own batch normalisation", "WaveNet", "GAN", "WGAN-GP"]
EACH = [pytest.param(n, marks=[] if n in QUICK else pytest.mark.slow) for n in (*PROGRAMS, *LOOPS)]


def trained(name: str) -> list[float]:
    return LOOPS[name].ours(kernelearn) if name in LOOPS else losses(PROGRAMS[name], kernelearn)


@pytest.mark.parametrize("name", EACH)
def test_losses_are_those_of_keras(name):
    kernelearn.utils.set_floatx("float64")
    allowed = PROGRAMS[name].tolerance if name in PROGRAMS else 1e-9
    np.testing.assert_allclose(trained(name), GOLDEN[name], rtol=allowed, atol=allowed)


@pytest.mark.parametrize("name", some((*PROGRAMS, *LOOPS), quick=QUICK[:3]))
def test_losses_in_float32_by_compiled_kernels(name):
    np.testing.assert_allclose(trained(name)[:4], GOLDEN[name][:4], rtol=2e-3, atol=1e-4)


def test_every_program_has_its_losses_and_its_row():
    assert set(GOLDEN) == {*PROGRAMS, *LOOPS} and len(GOLDEN) >= 40
    assert table() in PAGE.read_text(encoding="utf-8"), "python -m tests.parity.programs prints the table"
