"""The recipes of CONTRIBUTING are complete: whoever leaves a step out is told which name is missing where.

Layers and operators have their contracts beside them: `tests/layers/test_layers_contract.py`,
`tests/engine/test_operators.py`, `tests/engine/cpu/test_identity.py`.
"""

import importlib
import pkgutil
import re
from pathlib import Path

import numpy as np
import pytest

from kernelearn import Sequential, explain, optimizers, view
from kernelearn.data import ACCEPTED, sources
from kernelearn.engine import backends
from kernelearn.engine.executor import ReferenceExecutable
from kernelearn.engine.program import ProgramBuilder
from kernelearn.engine.updates import UPDATES
from kernelearn.explain.sight.geometry_rules import GEOMETRY_RULES
from kernelearn.formats.model_files import FORMATS
from kernelearn.layers import Conv2D, Dense, Flatten
from tests.layers.contract import call
from tests.layers.examples import EXAMPLES

ROOT = Path(__file__).resolve().parents[1]
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
REPORT = (ROOT / "docs" / "report.md").read_text("utf-8")


def operators_in_inference(example):
    """The operators that a layer adds to a prediction."""
    layer, inputs = example.make(), example.inputs()
    arrays = inputs if isinstance(inputs, list | tuple) else [inputs]
    shapes = [(None, *array.shape[1:]) for array in arrays]
    graph = ProgramBuilder(training=False, dtype="float32")
    call(layer, arrays)
    layer.lower(graph, *(graph.input(f"x_{i}", shape) for i, shape in enumerate(shapes)))
    return {operation.operator for operation in graph.operations}


def test_every_operator_of_a_prediction_says_what_its_outputs_see():
    used = set().union(*map(operators_in_inference, EXAMPLES))
    assert len(used) > 20
    missing = used - set(GEOMETRY_RULES)
    assert not missing, f"enter these in explain/sight/geometry_rules.py: {sorted(missing)}"


def test_every_update_has_a_public_class():
    classes = [getattr(optimizers, name) for name in optimizers.__all__]
    made = {getattr(cls, "kind", None) for cls in classes}
    missing = set(UPDATES) - made
    assert not missing, f"declare a class in optimizers/ for these: {sorted(missing)}"


OFFERED = sorted(name for name in vars(backends.Executable) if not name.startswith("_"))


def test_an_engine_that_offers_what_the_recipe_names_trains(monkeypatch):
    recipe = CONTRIBUTING.partition("## Add an engine")[2].partition("\n## ")[0]
    assert [name for name in OFFERED if f"`{name}`" not in recipe and f"`{name}(" not in recipe] == []

    class Mine:
        def __init__(self, program, variables):
            made = ReferenceExecutable(program, variables)
            for name in OFFERED:
                setattr(self, name, getattr(made, name))

    monkeypatch.setitem(backends.ENGINES, "mine", Mine)
    model = Sequential([Conv2D(2, 3, input_shape=(5, 5, 1)), Flatten(), Dense(2)])
    model.compile("adam", "mse", engine="mine")
    x, y = np.ones((8, 5, 5, 1), np.float32), np.ones((8, 2), np.float32)
    first, *_, last = model.fit(x, y, epochs=5, batch_size=4, verbose=0).history["loss"]
    assert last < first and model.predict(x, verbose=0).shape == (8, 2)


def test_every_source_is_asked_and_told():
    modules = {
        importlib.import_module(f"{sources.__name__}.{found.name}")
        for found in pkgutil.iter_modules(sources.__path__)
    }
    kinds = {module for module in modules if hasattr(module, "matches")}
    missing = {module.__name__ for module in kinds - set(sources.SOURCES)}
    assert not missing, f"enter these in SOURCES of data/sources/__init__.py: {sorted(missing)}"
    page = (ROOT / "docs" / "data.md").read_text("utf-8")
    for source in sources.SOURCES:
        for name, _ in source.ACCEPTED:
            assert f"  {name} " in ACCEPTED
        assert re.search(source.__name__.rpartition(".")[2].partition("_")[0][:5], page, re.IGNORECASE)


@pytest.mark.parametrize("kind", [kind for kind in FORMATS if kind.endings], ids=lambda kind: kind.title)
def test_every_file_format_is_told_and_damaged(kind):
    for place in ("docs/files-of-others.md", "tests/fuzz/test_short.py"):
        text = (ROOT / place).read_text("utf-8")
        assert any(name in text for name in (kind.endings[0], f'"{kind.title}"')), f"{kind.title}: {place}"


# Figures of models, data and experiments have pages of their own.
_ELSEWHERE = {"plot_kernels", "plot_history", "plot_data_grid", "plot_experiment"}


@pytest.mark.parametrize("name", sorted({n for n in dir(view) if n.startswith("plot_")} - _ELSEWHERE))
def test_every_figure_of_an_explanation_has_a_line_on_the_page(name):
    assert f"`{name}(" in REPORT, f"{name} is not in the table of docs/report.md"
    assert callable(getattr(explain, name))


def test_every_command_of_explain_has_a_line_on_the_page():
    from kernelearn.cli.application import app

    (group,) = (g for g in app.registered_groups if g.name == "explain")
    names = [
        command.name or command.callback.__name__ for command in group.typer_instance.registered_commands
    ]
    assert len(names) >= 10
    assert [name for name in names if f"| `{name}` |" not in REPORT] == []


def test_every_file_that_a_recipe_names_is_there():
    rooms = "src|tests|docs|benchmarks|engine|explain|view|data|optimizers|cli|layers|formats"
    named = re.findall(rf"`((?:{rooms})/[\w/.]+)`", CONTRIBUTING)
    assert len(named) > 30
    homes = (ROOT, ROOT / "src" / "kernelearn")
    assert [name for name in named if not any((home / name).exists() for home in homes)] == []
