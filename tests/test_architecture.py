"""The import rules of docs/architecture.md, held by reading every syntax tree; nothing is imported here.

A part is a package or module directly under kernelearn. `ALLOWED` says what each part may import, wherever in
a file the import stands; only imports for type checkers are free.
"""

import ast
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src"

# What every part may use.
BASE = {
    "errors",
    "config",
    "registry",
    "_optional",
    "_configurable",
    "_serializable",
    "_lazy",
    "_notebook",
    "storage",
    "locks",
    "__version__",
}
# What layers and training are told with: objects that declare and hold no arrays of a network.
DECLARATIONS = {"initializers", "regularizers", "constraints", "losses", "metrics", "optimizers", "schedules"}

ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "config": {"errors"},
    "registry": {"errors", "_serializable"},
    "_serializable": {"errors"},
    "_optional": {"errors"},
    "_configurable": {"errors"},
    "_lazy": set(),
    "_notebook": set(),
    "storage": {"errors"},
    "locks": {"errors", "storage"},
    "engine": BASE,
    "data": BASE | {"formats"},
    "initializers": BASE,
    "schedules": BASE,
    "regularizers": BASE | {"tracing", "engine"},
    "constraints": BASE | {"tracing", "engine"},
    "losses": BASE | {"tracing", "ops", "engine"},
    "metrics": BASE | {"tracing", "engine", "initializers", "losses"},
    "optimizers": BASE | {"tracing", "engine", "schedules"},
    "tracing": BASE | {"engine"},
    "ops": BASE | {"engine", "tracing"},
    "formats": BASE,
    "layers": BASE | {"tracing", "ops", "engine", "initializers", "regularizers", "constraints"},
    "activations": {"layers", "ops"},
    "training": BASE
    | DECLARATIONS
    | {"tracing", "ops", "utils", "layers", "engine", "data", "formats", "parallel"},
    "callbacks": {"training"},
    "saving": BASE | DECLARATIONS | {"layers", "models"},
    "models": BASE | DECLARATIONS | {"tracing", "training", "layers", "engine", "formats"},
    "conversion": BASE
    | DECLARATIONS
    | {"models", "training", "layers", "engine", "data", "formats", "tracing", "ops", "saving"},
    "watching": BASE | DECLARATIONS | {"recording", "conversion", "training", "layers", "engine"},
    "parallel": BASE | {"engine"},
    "torch": BASE | {"engine"},
    "utils": BASE | {"layers"},
    "mixed_precision": BASE,
    "random": {"ops"},
    "recording": BASE
    | DECLARATIONS
    | {"tracing", "models", "training", "layers", "engine", "data", "formats"},
    "explain": BASE
    | DECLARATIONS
    | {"recording", "models", "training", "layers", "engine", "data", "formats", "parallel"},
    "view": BASE | {"explain", "recording", "models", "layers", "engine", "data", "training", "formats"},
    "kernel_machines": BASE,
    "learn": BASE | DECLARATIONS | {"models", "training", "callbacks", "layers", "engine", "data", "utils"},
}
# Parts that may import every other one.
TOP = {"cli", "bench", "__main__"}
# Allowed inside functions only: used when the user hands one over, never needed to load the part.
ALLOWED_LATE = {"kernel_machines": {"models"}}

# The order inside a part: a room may import those before it. What stands beside the rooms may use them all.
INNER_ORDER = {
    "kernel_machines": ("kernels", "solvers", "estimators"),
    "recording": (
        "schedule",
        "factors",
        "stages",
        "interventions",
        "about",
        "files",
        "weights",
        "reading",
        "run",
        "index",
        "capture",
    ),
    "explain": ("runs", "table", "sight", "gradient", "update", "kernel", "experiments"),
}
# The folders of the engine besides `cpu`, each built on those before it and on no later one.
ENGINE_ORDER = ("updates", "reference", "operators")
# Rooms of engine.cpu -> what of engine.cpu they may import, wherever in a file the import stands. Rooms that
# are not named stand above these and may import them all.
ROOMS: dict[str, set[str]] = {
    "machine": {"machine"},
    "language": {"language", "machine.target"},
    "plan": {"language", "machine"},
    "kernels": {"kernels", "language", "plan", "machine.target", "machine.stack"},
    "lowering": {"kernels", "plan", "machine.target"},
    "rewrites": {"rewrites", "kernels"},
}
CPU = "kernelearn.engine.cpu."
# The only module outside of engine.cpu, but within engine, that may import it: it offers the engines by name.
CHOOSES_ENGINE = "kernelearn.engine.backends"

# Files of a folder of the engine, at most.
MOST_FILES = 22

REQUIRED_PACKAGES = {"numpy", "llvmlite", "rich", "typer"}
# Parts that are built on another library's classes: they load it, and they themselves load on first use.
BUILT_ON = {"kernel_machines": {"sklearn", "scipy"}, "learn": {"sklearn"}, "torch": {"torch"}}
# Where a syntax tree holds statements.
_STATEMENTS = ("body", "orelse", "handlers", "finalbody", "cases")


@dataclass(frozen=True)
class Import:
    """One imported module, as a dotted name, and whether loading the file already imports it."""

    target: str
    line: int
    is_at_load: bool


def imports_of(text: str, modules: frozenset[str] = frozenset()) -> Iterator[Import]:
    """Every import of a file, but those under `if TYPE_CHECKING`.

    Args:
        text: the source.
        modules: the package's module names, so that `from a import b` counts as a.b where that is a module.
    """
    return _imports_below(ast.parse(text), modules, is_at_load=True)


def _imports_below(node: ast.AST, modules: frozenset[str], is_at_load: bool) -> Iterator[Import]:
    """Imports are statements, so expressions are not looked into: they are most of a tree."""
    for below in (found for field in _STATEMENTS for found in getattr(node, field, ())):
        if not _is_type_checking(below):
            yield from (Import(target, below.lineno, is_at_load) for target in _targets(below, modules))
            yield from _imports_below(below, modules, is_at_load and not _is_function(below))


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def _is_function(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)


def _targets(node: ast.AST, modules: frozenset[str]) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, f"line {node.lineno}: imports are absolute in this package"
        names = [f"{node.module}.{alias.name}" for alias in node.names]
        return [n if n in modules or node.module == "kernelearn" else str(node.module) for n in names]
    return []


def part_of(module: str) -> str:
    """The part of a module: "kernelearn.layers.core.base" is of "layers"; the package itself of ""."""
    return [*module.split("."), ""][1]


def _module_name(path: Path) -> str:
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {_module_name(path): path for path in sorted(SOURCE.rglob("*.py"))}
MODULES = frozenset(FILES)


@cache
def imports_in(name: str) -> tuple[Import, ...]:
    """The imports of a module of the package."""
    return tuple(imports_of(FILES[name].read_text("utf-8"), MODULES))


def broken_direction(part: str, found: Import) -> bool:
    """Whether a part may not import this module of the package."""
    target = part_of(found.target)
    if not found.target.startswith("kernelearn.") or part in TOP | {""} or target == part:
        return False
    late = set() if found.is_at_load else ALLOWED_LATE.get(part, set())
    return target not in ALLOWED[part] | late


def leaves_room(module: str, target: str) -> bool:
    """Whether a module of the CPU engine imports what its room may not."""
    if not (module.startswith(CPU) and target.startswith(CPU)):
        return False
    room, wanted = module.removeprefix(CPU).split(".")[0], target.removeprefix(CPU)
    allowed = ROOMS.get(room)
    return allowed is not None and not any(f"{wanted}.".startswith(f"{name}.") for name in allowed)


def is_optional_at_load(part: str, found: Import) -> bool:
    """Whether an import would make an optional package necessary."""
    package = found.target.split(".")[0]
    known = {"kernelearn"} | REQUIRED_PACKAGES | BUILT_ON.get(part, set()) | set(sys.stdlib_module_names)
    return found.is_at_load and package not in known


def cycles(graph: dict[str, set[str]]) -> list[set[str]]:
    """Groups of modules that reach each other."""
    reach = {name: _reachable(graph, name) for name in graph}
    groups = [{b for b in reach[a] if a in reach[b]} for a in graph if a in reach[a]]
    return [group for i, group in enumerate(groups) if group not in groups[:i]]


def _reachable(graph: dict[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    waiting = list(graph[start])
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting.extend(graph.get(name, ()))
    return seen


def test_every_part_has_a_rule():
    parts = {part_of(name) for name in FILES} - TOP - {""}
    assert parts <= set(ALLOWED), f"say in ALLOWED what these may import: {sorted(parts - set(ALLOWED))}"


@pytest.mark.parametrize("part", sorted(ALLOWED))
def test_imports_point_one_way(part):
    broken = [
        f"{FILES[name].relative_to(SOURCE)}:{found.line} imports {found.target}"
        for name in FILES
        if part_of(name) == part
        for found in imports_in(name)
        if broken_direction(part, found)
    ]
    assert not broken, f"{part} may import {sorted(ALLOWED[part])}, but " + "; ".join(broken)


def breaks_inner_order(name: str, found: Import) -> bool:
    """Whether a module imports from a later room of its own part, or from what stands beside the rooms."""
    rooms = INNER_ORDER.get(part_of(name), ())
    own, other = room_of(name), room_of(found.target)
    if own not in rooms or part_of(found.target) != part_of(name):
        return False
    return other not in rooms[: rooms.index(own) + 1]


def room_of(module: str) -> str:
    """The room of a module: "kernelearn.kernel_machines.solvers.silp" is in "solvers"."""
    return [*module.split("."), "", ""][2]


@pytest.mark.parametrize("part", sorted(INNER_ORDER))
def test_rooms_of_a_part_import_one_way(part):
    broken = [
        f"{FILES[name].relative_to(SOURCE)}:{found.line} imports {found.target}"
        for name in FILES
        if part_of(name) == part
        for found in imports_in(name)
        if breaks_inner_order(name, found)
    ]
    assert not broken, f"the order is {' < '.join(INNER_ORDER[part])}, but " + "; ".join(broken)


def test_the_check_of_rooms():
    early, late = "kernelearn.kernel_machines.kernels.grams", "kernelearn.kernel_machines.solvers.silp"
    assert breaks_inner_order(early, Import(late, 1, True))
    assert not breaks_inner_order(late, Import(early, 1, True))
    assert breaks_inner_order(late, Import("kernelearn.kernel_machines", 1, True))


def test_rooms_of_the_cpu_engine_are_built_on_each_other():
    broken = [
        f"{FILES[name].relative_to(SOURCE)}:{found.line} imports {found.target}"
        for name in FILES
        for found in imports_in(name)
        if leaves_room(name, found.target)
    ]
    assert not broken, f"rooms of engine.cpu may import {ROOMS}, but " + "; ".join(broken)


def leaves_engine_order(module: str, target: str) -> bool:
    """Whether a formula imports from a later folder: the step of an optimiser an operator, say."""
    own, other = room_of(module), room_of(target)
    if {part_of(module), part_of(target)} != {"engine"} or own not in ENGINE_ORDER:
        return False
    return other in ENGINE_ORDER[ENGINE_ORDER.index(own) + 1 :]


def test_the_formulas_of_the_engine_import_one_way():
    broken = [
        f"{FILES[name].relative_to(SOURCE)}:{found.line} imports {found.target}"
        for name in FILES
        for found in imports_in(name)
        if leaves_engine_order(name, found.target)
    ]
    assert not broken, f"the order is {' < '.join(ENGINE_ORDER)}, but " + "; ".join(broken)


def test_the_check_of_the_engines_order():
    early, late = "kernelearn.engine.updates.adam", "kernelearn.engine.reference.optimizers"
    assert leaves_engine_order(early, late)
    assert not leaves_engine_order(late, early)
    assert not leaves_engine_order(early, "kernelearn.engine.arrays")


def instructions_as_text(text: str) -> list[int]:
    """The lines in which an instruction is written out and its type forgotten: `k.op("...")`."""
    calls = (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call))
    return [call.lineno for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr == "op"]


def test_kernels_are_written_in_values_that_know_their_type():
    kernels = SOURCE / "kernelearn" / "engine" / "cpu" / "kernels"
    found = {
        str(path.relative_to(kernels)): instructions_as_text(path.read_text())
        for path in kernels.rglob("*.py")
    }
    assert {name: lines for name, lines in found.items() if lines} == {}


def test_the_check_of_instructions():
    assert instructions_as_text('x = k.load("x")\ny = k.op(f"fadd float {x}, {x}")\n') == [2]
    assert instructions_as_text('x = k.load("x")\ny = x + x\n') == []


def test_the_rest_of_the_engine_knows_no_cpu_engine():
    broken = [
        f"{FILES[name].relative_to(SOURCE)}:{found.line} imports {found.target}"
        for name in FILES
        for found in imports_in(name)
        if name.startswith("kernelearn.engine.") and not name.startswith(CPU) and name != CHOOSES_ENGINE
        if f"{found.target}.".startswith(CPU)
    ]
    assert not broken, "; ".join(broken)


def test_no_modules_of_the_engine_import_each_other_late():
    """Imports inside functions count, too."""
    inside = {name for name in MODULES if name.startswith("kernelearn.engine.")}
    graph = {
        name: {i.target for i in imports_in(name) if i.target in inside and i.target != name}
        for name in inside
    }
    assert cycles(graph) == []


def test_folders_of_the_engine_are_seen_at_a_glance():
    counts = Counter(path.parent for name, path in FILES.items() if name.startswith("kernelearn.engine."))
    full = [f"{f.relative_to(SOURCE)} ({n} files)" for f, n in counts.items() if n > MOST_FILES]
    assert not full, f"give them rooms: {full}"


def test_the_rules_themselves_have_no_cycle():
    assert cycles(ALLOWED) == []


def test_optional_packages_are_imported_on_first_use():
    broken = [
        f"{FILES[name].relative_to(SOURCE)}:{found.line} imports {found.target}"
        for name in FILES
        for found in imports_in(name)
        if is_optional_at_load(part_of(name), found)
    ]
    assert not broken, "call kernelearn._optional.require() inside the function: " + "; ".join(broken)


def test_no_modules_import_each_other():
    graph = {
        name: {
            i.target for i in imports_in(name) if i.is_at_load and i.target in MODULES and i.target != name
        }
        for name in FILES
    }
    assert cycles(graph) == []


def test_loading_the_package_imports_nothing():
    at_load = {found.target for found in imports_in("kernelearn") if found.is_at_load}
    assert at_load == {"collections.abc", "importlib.util", "kernelearn._lazy", "typing"}


@pytest.mark.parametrize(
    ("part", "text", "is_broken"),
    [
        ("engine", "from kernelearn.layers import Dense", True),
        ("engine", "def f():\n    from kernelearn import layers", True),
        ("engine", "from kernelearn.errors import ShapeError", False),
        ("training", "import kernelearn.models.sequential", True),
        ("models", "from kernelearn.training.trainer import Trainer", False),
        ("kernel_machines", "from kernelearn import models", True),
        ("kernel_machines", "def f():\n    from kernelearn import models", False),
        ("data", "if TYPE_CHECKING:\n    from kernelearn.models import Model", False),
        ("cli", "from kernelearn import kernel_machines", False),
    ],
)
def test_the_check_of_directions(part, text, is_broken):
    assert any(broken_direction(part, found) for found in imports_of(text)) is is_broken


@pytest.mark.parametrize(
    ("module", "target", "is_broken"),
    [
        ("language.loops", "language.kernel", False),
        ("language.loops", "machine.target", False),
        ("language.loops", "machine.threads", True),
        ("language.kernel", "plan", True),
        ("kernels.pooling.pooling", "lowering", True),
        ("machine.parallel", "language.kernel", True),
        ("executable", "lowering", False),
    ],
)
def test_the_check_of_rooms_of_the_cpu_engine(module, target, is_broken):
    assert leaves_room(CPU + module, CPU + target) is is_broken


def test_the_checks_of_cycles_and_optional_packages():
    assert cycles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [{"a", "b", "c"}]
    assert cycles({"a": {"b"}, "b": {"c"}, "c": set()}) == []
    found = list(imports_of("import torch\nimport numpy\ndef f():\n    import keras"))
    assert [is_optional_at_load("data", i) for i in found] == [True, False, False]


def test_a_room_can_be_seen_at_a_glance():
    """No folder holds more modules than somebody takes in who lists it."""
    crowded = {
        str(folder.relative_to(SOURCE)): count
        for folder in (SOURCE, *(path for path in SOURCE.rglob("*") if path.is_dir()))
        if (count := len(list(folder.glob("*.py")))) > 22
    }
    assert not crowded
