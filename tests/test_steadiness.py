"""Tests that fail by chance are known by how they are written: what they may not do, wherever they stand.

A recorder of warnings also hears what others left behind, and a machine that has much else to do takes half a
minute for what takes a second elsewhere.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
# Seconds, at least, before a test gives up what it waits for.
PATIENCE = 60


def recorders(function: ast.AST) -> set[str]:
    """Names under which a function has recorders of warnings."""
    found = {a.arg for a in ast.walk(function) if isinstance(a, ast.arg) and a.arg == "recwarn"}
    for node in ast.walk(function):
        if isinstance(node, ast.withitem) and isinstance(node.optional_vars, ast.Name):
            call = ast.unparse(node.context_expr)
            if call.startswith("pytest.warns(") or "catch_warnings(record" in call:
                found.add(node.optional_vars.id)
    return found


def counted(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Where all that a recorder heard is looked at, and not what `texts` of tests/told.py keeps of it."""
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        names = recorders(function)
        if not names:
            continue
        kept = {
            id(node.args[0])
            for node in ast.walk(function)
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "texts"
        }
        for node in ast.walk(function):
            is_read = isinstance(node, ast.Name) and node.id in names and isinstance(node.ctx, ast.Load)
            if is_read and id(node) not in kept:
                yield node.lineno, f"{node.id} of {function.name}: read it through texts of tests/told.py"


def hurried(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Calls that give up what they wait for before a busy machine had time for it."""
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        given = [keyword.value for keyword in call.keywords if keyword.arg == "timeout"]
        name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        if name in ("join", "wait"):
            given += call.args
        least = PATIENCE * 1000 if name.startswith("wait_for") else PATIENCE  # a browser counts milliseconds
        for value in given:
            number = value.value if isinstance(value, ast.Constant) else None
            if isinstance(number, int | float) and number < least:
                yield call.lineno, f"{ast.unparse(call)}: wait for {PATIENCE} seconds or longer"


FILES = sorted(TESTS.rglob("*.py"))


@pytest.mark.parametrize(
    ("rule", "sign"),
    [(counted, r"warns\(|catch_warnings|recwarn"), (hurried, r"(timeout=|join\(|wait\()\d")],
)
def test_no_test_depends_on_what_else_the_machine_does(rule, sign):
    found = []
    for path in FILES:
        text = path.read_text("utf-8")
        if path != Path(__file__) and re.search(sign, text):
            found += [f"{path.relative_to(TESTS)}:{line}: {what}" for line, what in rule(ast.parse(text))]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("rule", "text", "count"),
    [
        (counted, "def t():\n with pytest.warns(UserWarning) as w:\n  f()\n assert len(w) == 1", 1),
        (counted, "def t():\n with pytest.warns(UserWarning) as w:\n  f()\n assert len(texts(w)) == 1", 0),
        (counted, "def t(recwarn):\n assert not recwarn.list", 1),
        (hurried, "process.communicate(timeout=10)", 1),
        (hurried, "page.wait_for_selector('p', timeout=5000)\npage.wait_for_selector('p', timeout=60000)", 1),
        (hurried, "thread.join(5)\n', '.join(words)\nprocess.wait()\nprocess.wait(120)", 1),
    ],
)
def test_the_rules_themselves(rule, text, count):
    assert len(list(rule(ast.parse(text)))) == count
