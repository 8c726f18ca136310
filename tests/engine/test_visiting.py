"""Outputs where they were computed, and those that are announced while others are still to come."""

import numpy as np
import pytest

from kernelearn.engine.backends import prepare
from kernelearn.engine.cpu.announcing import cut_behind
from kernelearn.engine.cpu.gathering import Stretch
from kernelearn.engine.cpu.machine import threads
from kernelearn.models import zoo
from kernelearn.training.steps.step import Clock

RNG = np.random.default_rng(0)
X, Y = RNG.random((9, 12, 12, 1)).astype("float32"), RNG.integers(0, 3, 9)


@pytest.fixture(autouse=True)
def _usual_threads():
    yield
    threads.set_num_threads(None)


def gradients_of(engine):
    """An executable of lenet that gives loss and gradients of all weights, its inputs, and their labels."""
    model = zoo.lenet((12, 12, 1), 3)
    model.compile("sgd", "sparse_categorical_crossentropy", engine=engine)
    step = model.step("train").without_updates()
    weights = [buffer.name for buffer in step.program.weights()]
    labels = {name: step.program.gradients[name] for name in weights if name in step.program.gradients}
    program = step.program.keeping(**labels)
    inputs = {**model.batch(X, Y).arrays, **Clock.of(model.optimizer, 0).arrays()}
    wanted = {buffer.name for buffer in program.inputs()}
    found = prepare(program, step.variables, engine)
    return found, {name: array for name, array in inputs.items() if name in wanted}, list(labels)


@pytest.mark.parametrize("engine", ["cpu", "reference"])
@pytest.mark.parametrize("count", [1, 5])
def test_what_is_announced_is_there_and_stays(engine, count):
    executable, inputs, labels = gradients_of(engine)
    threads.set_num_threads(count)
    expected = executable.run(inputs)
    late_first = labels[::-1]
    executable.announce([late_first[:2], late_first[2:3], late_first[3:]])
    seen, used = [], []

    def reached(number, found):
        seen.append((number, {label: found[label].copy() for label in late_first}))

    executable.visit(inputs, lambda found: used.append({n: a.copy() for n, a in found.items()}), reached)
    again = executable.run(inputs)
    assert [number for number, _ in seen] == [0, 1, 2]
    for number, names in enumerate((late_first[:2], late_first[:3], late_first)):
        for label in names:
            np.testing.assert_array_equal(seen[number][1][label], expected[label])
    for found in (*used, again):
        assert all(array.tobytes() == expected[label].tobytes() for label, array in found.items())


def test_outputs_are_not_copied():
    executable, inputs, labels = gradients_of("cpu")
    kept = []
    for _ in range(2):
        executable.visit(inputs, lambda found: kept.append(found[labels[0]]))
    assert np.shares_memory(*kept)


def test_stretches_are_cut_behind_the_last_writers():
    executable, _, labels = gradients_of("cpu")
    names = [executable.program.outputs[label] for label in labels]
    whole = [group for part in executable.stretches for group in part.groups]
    parts, ends = cut_behind(executable.stretches, executable.plan, [names[-2:], names[:2], names[-1:]])
    assert [group for part in parts for group in part.groups] == whole
    assert all(isinstance(part, Stretch) and part.groups for part in parts)
    assert ends[0] < ends[1] == ends[2]
    written = set().union(*(group.writes for part in parts[: ends[0] + 1] for group in part.groups))
    assert {executable.plan.root(name) for name in names[-2:]} <= written
