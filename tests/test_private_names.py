"""Nobody outside of `training` and `models` uses a private name of a model: steps have a public face."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "kernelearn"
# Where a model's own classes stand: there, `self._x` is theirs.
OWNERS = (
    "training/trainer.py",
    "training/methods/base.py",
    "training/methods/passes.py",
    "models/model.py",
    "models/sequential.py",
    "layers/core/base.py",
)
CLASSES = {"TrainerBase", "Passes", "Trainer", "Model", "Sequential", "Layer"}


def private_names(text: str) -> set[str]:
    """The private methods and attributes of a model's classes."""
    owners = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.ClassDef) and n.name in CLASSES]
    inside = [node for owner in owners for node in ast.walk(owner)]
    functions = {n.name for n in inside if isinstance(n, ast.FunctionDef)}
    attributes = {n.attr for n in inside if isinstance(n, ast.Attribute) and is_of_self(n)}
    return {name for name in functions | attributes if name.startswith("_") and name[-1] != "_"}


def is_of_self(node: ast.Attribute) -> bool:
    return isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")


def borrowed(text: str, names: set[str]) -> Iterator[tuple[int, str]]:
    """Line and name of every use of one of these names on something that is not `self`.

    A class may use its own private names on another object of its kind.
    """
    if not any(name in text for name in names):
        return
    tree = ast.parse(text)
    own = {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}
    own |= {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute) and is_of_self(n)}
    private = [n for n in ast.walk(tree) if isinstance(n, ast.Attribute) and n.attr in names]
    for node in private:
        if not is_of_self(node) and not _is_super(node.value):
            is_a_model = ast.unparse(node.value).rpartition(".")[2] in ("model", "network", "twin", "trainer")
            if is_a_model or node.attr not in own:
                yield node.lineno, ast.unparse(node)


def _is_super(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func) == "super"


NAMES = set().union(*(private_names((SOURCE / path).read_text("utf-8")) for path in OWNERS))


def test_nobody_borrows_a_private_name_of_a_model():
    found = [
        f"{path.relative_to(SOURCE)}:{line} {what}"
        for path in sorted(SOURCE.rglob("*.py"))
        if path.relative_to(SOURCE).as_posix() not in OWNERS
        for line, what in borrowed(path.read_text("utf-8"), NAMES)
    ]
    assert not found, "use model.step(kind), model.batch(...) or give the name a public one: " + "; ".join(
        found
    )


@pytest.mark.parametrize(
    ("text", "is_found"),
    [
        ("model._in_order(x)", True),
        ("self.model._as_batches(x)", True),
        ("class A:\n    def f(self, model):\n        self._in_order = model._in_order", True),
        ("class A:\n    def _in_order(self, other):\n        return other._in_order(self)", False),
        ("super()._run_on_arrays(x)", False),
        ("model.batch(x)", False),
    ],
)
def test_the_check_of_private_names(text, is_found):
    assert bool(list(borrowed(text, NAMES))) is is_found


# Theirs that every version has: the counter of writes, and operators, which are asked for one by one.
OF_PYTORCH = {"_version"}


def of_pytorch(text: str, own: set[str]) -> Iterator[tuple[int, str]]:
    """Line and text of every use of a private name that is none of ours."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.endswith("__"):
            is_ours = is_of_self(node) or node.attr in own | OF_PYTORCH
            if not is_ours and not ast.unparse(node).startswith("aten."):
                yield node.lineno, ast.unparse(node)


def test_pytorchs_inner_names_stand_in_one_file():
    """A version that lacks one is named when the backend is loaded, and not met in a training."""
    texts = {path: path.read_text("utf-8") for path in (SOURCE / "torch").rglob("*.py")}
    functions = (n for text in texts.values() for n in ast.walk(ast.parse(text)))
    own = {n.name for n in functions if isinstance(n, ast.FunctionDef)}
    found = [
        f"{path.relative_to(SOURCE)}:{line}: {name}"
        for path, text in texts.items()
        if path.name != "inside.py"
        for line, name in of_pytorch(text, own)
    ]
    assert not found
    assert list(of_pytorch("x.storage()._cdata, self._own, x._version", set())) == [(1, "x.storage()._cdata")]
