"""A kernel is what its code object says: no two share an identity, and names of buffers are no part of it."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest

from kernelearn import Model
from kernelearn.engine.cpu.lowering import RULES, lower
from kernelearn.engine.cpu.machine.target import current_target
from kernelearn.engine.cpu.plan import Call, Fallback, identity, kernel_text
from kernelearn.engine.cpu.rewrites import optimise
from kernelearn.engine.operators import OPERATORS
from kernelearn.engine.program import Operation, Program
from kernelearn.errors import KernelearnError
from kernelearn.models import zoo
from tests.layers.contract import one_layer_model
from tests.layers.examples import EXAMPLES

SIZES = {"lenet": (28, 28, 1), "vgg_small": (32, 32, 3), "resnet20": (32, 32, 3), "resnet18": (224, 224, 3)}


def networks(names: Iterable[str]) -> Iterator[Model]:
    """Networks of the zoo at full size, and one of every layer example."""
    for name in names:
        model = zoo.MODELS[name](SIZES[name], 10)
        model.compile("sgd", "sparse_categorical_crossentropy")
        yield model
    for example in EXAMPLES:
        model = one_layer_model(example)
        model.compile("adam", "mean_squared_error")
        yield model


# What layers leave to the reference engine: draws that reject numbers, and orders.
LEFT = {"draw", "draw_gamma", "argsort"}


def calls_of(program: Program) -> Iterator[Call]:
    """Everything that may run, the alternatives for few images too."""
    plan = lower(optimise(program), current_target())
    for step in (*plan.prologue, *plan.steps):
        if isinstance(step, Fallback):
            assert step.operation.operator in LEFT, f"no kernel for {step.operation}"
            continue
        yield step
        if step.alternative is not None:
            yield step.alternative


@pytest.mark.parametrize("names", [("lenet",), pytest.param(tuple(SIZES), marks=pytest.mark.slow)], ids=len)
def test_one_identity_is_one_text(names):
    """Over training and prediction of all layers and of networks; nothing is compiled."""
    assert set(names) <= set(zoo.MODELS) == set(SIZES)
    texts: dict[str, set[str]] = defaultdict(set)
    for model in networks(names):
        for kind in ("train", "predict"):
            for call in calls_of(model.program(kind)):
                texts[call.key].add(kernel_text(call, "kernel", current_target()))
    shared = [key for key, found in texts.items() if len(found) > 1]
    assert len(texts) > 500 and not shared, f"the cache cannot tell these kernels apart: {shared[:3]}"


def test_every_operator_has_a_rule():
    missing = set(OPERATORS) - set(RULES)
    assert not missing, f"name the rules of these in lowering.RULES: {sorted(missing)}"


def renamed(program: Program, prefix: str) -> Program:
    """The same program with other names for its values."""

    def name(old: str) -> str:
        return prefix + old if program.buffers[old].role == "value" else old

    def other(op: Operation) -> Operation:
        return replace(op, inputs=tuple(map(name, op.inputs)), outputs=tuple(map(name, op.outputs)))

    buffers = {name(old): replace(b, name=name(old)) for old, b in program.buffers.items()}
    outputs = {label: name(old) for label, old in program.outputs.items()}
    return replace(
        program, buffers=buffers, outputs=outputs, operations=tuple(map(other, program.operations))
    )


@pytest.mark.parametrize("kind", ["train", "predict"])
def test_names_of_buffers_are_no_part_of_it(kind):
    model = zoo.resnet20((32, 32, 3), 10)
    model.compile("adam", "sparse_categorical_crossentropy")
    program = model.program(kind)
    keys = [call.key for call in calls_of(program)]
    assert keys == [call.key for call in calls_of(renamed(program, "other/"))]


@dataclass(frozen=True)
class Inner:
    size: int


@dataclass(frozen=True)
class Outer:
    inner: Inner
    value: float
    attrs: dict


def test_identity_holds_every_field():
    base = Outer(Inner(3), 1.0, {"a": (1, 2)})
    others = [
        replace(base, inner=Inner(4)),
        replace(base, value=1),
        replace(base, value=np.float32(1)),
        replace(base, value=-1.0),
        replace(base, attrs={"a": (1, 3)}),
        replace(base, attrs={"b": (1, 2)}),
        replace(base, attrs={}),
    ]
    assert identity(base) == identity(Outer(Inner(3), 1.0, {"a": [1, 2]}))
    assert len({identity(value) for value in (base, *others)}) == 1 + len(others)


def test_identity_ignores_the_order_of_attributes():
    assert identity({"a": 1, "b": 2}) == identity({"b": 2, "a": 1})


@pytest.mark.parametrize("value", [lambda x: x, object(), np.zeros(3)])
def test_what_has_no_identity_is_refused(value):
    with pytest.raises(KernelearnError, match="no identity"):
        identity(Outer(Inner(1), 0.0, {"a": value}))
