"""Gradients of gradients of every operator, against central differences of its gradient, in float64.

What has none is written down in docs/own-steps.md, and nothing else is.
"""

import re
from pathlib import Path

import numpy as np
import pytest

from kernelearn.engine.executor import ReferenceExecutable
from kernelearn.engine.gradients import gradients_of
from kernelearn.engine.operators import OPERATORS
from kernelearn.engine.program import ProgramBuilder
from kernelearn.errors import KernelearnError
from tests.engine import cases

STEP = 1e-5
# One case of each operator and kind of it; convolutions of one geometry.
EXAMPLES = list(
    {(c.operator, c.attrs.get("kind"), c.smooth[0]): c for c in reversed(cases.ALL) if c.smooth}.values()
)
PAGE = Path(__file__).parents[2] / "docs" / "own-steps.md"


class NoSecond(Exception):
    """The gradient of a gradient does not exist."""


def differentiated(case):
    """A program that gives s * dL/dx, L = sum(r * output), as `g` and its own gradient as `h`."""
    builder = ProgramBuilder(dtype="float64")
    arrays = enumerate(map(np.asarray, case.inputs))
    inputs = [builder.input(f"x{i}", array.shape, array.dtype.name) for i, array in arrays]
    made = builder.add(case.operator, *inputs, **case.attrs)
    output, wanted = made[0] if isinstance(made, tuple) else made, f"x{case.smooth[0]}"
    try:
        gradient = _gradient(builder, output, wanted, "r")
        if gradient is None:
            return None
        second = _gradient(builder, gradient, wanted, "s")
    except KernelearnError as error:
        raise NoSecond(str(error)) from error
    builder.outputs = {"g": gradient.name, **({"h": second.name} if second else {})}
    return ReferenceExecutable(builder.build(), {})


def _gradient(builder, value, wanted, factor):
    """The gradient of sum(factor * value) by an input; None if it does not depend on it."""
    weights = builder.input(factor, value.shape, "float64")
    product = builder.add("multiply", value, weights)
    axes = tuple(range(len(value.shape)))
    total = builder.add("sum_to", product, axes=axes, shape=()) if axes else product
    return gradients_of(builder, total, [wanted]).get(wanted)


@pytest.mark.parametrize("case", EXAMPLES, ids=str)
def test_a_gradient_of_a_gradient(case):
    try:
        run = differentiated(case)
    except NoSecond:
        assert case.operator in _without()
        return
    if run is None or "h" not in run.program.outputs:  # linear: the gradient does not depend on the input
        return
    rng, at = np.random.default_rng(0), case.smooth[0]
    feed = {f"x{i}": np.asarray(a) for i, a in enumerate(case.inputs)}
    sizes = {b.name: b.shape for b in run.program.inputs()}
    factors = {name: rng.normal(size=sizes[name]) for name in ("r", "s") if name in sizes}
    way = rng.normal(size=feed[f"x{at}"].shape)

    def gradient(step):
        moved = {**feed, f"x{at}": feed[f"x{at}"] + step * way, **factors}
        return run.run({b.name: moved[b.name] for b in run.program.inputs()})

    numeric = ((gradient(STEP)["g"] - gradient(-STEP)["g"]) / (2 * STEP) * factors["s"]).sum()
    exact = (gradient(0.0)["h"] * way).sum()
    assert exact == pytest.approx(numeric, rel=2e-4, abs=1e-5)


def _without():
    """The operators that the page names."""
    found = re.search(r"No second derivative: (.*?)\.\n", PAGE.read_text(), re.S)
    return set(re.findall(r"`(\w+)`", found.group(1)))


def test_the_page_names_what_has_no_second_derivative():
    missing = set()
    for case in EXAMPLES:
        try:
            differentiated(case)
        except NoSecond:
            missing.add(case.operator)
    assert missing == _without()
    assert missing < set(OPERATORS)
