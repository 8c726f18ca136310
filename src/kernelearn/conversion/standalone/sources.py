"""The text of functions together with everything that they use, taken from the modules that define them.

The reference function of an operator is what a prediction means; an exported predictor holds exactly these
texts, without type annotations, and none that it does not need. Names are resolved by reading the syntax
trees: nothing is guessed from running code.
"""

from __future__ import annotations

import ast
import builtins
import importlib.util
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from kernelearn.errors import ArgumentError

# What stands in the place of the package's errors: each is also one of Python's own.
_ERRORS = {
    "ShapeError": "class ShapeError(ValueError):\n    pass",
    "ArgumentError": "class ArgumentError(ValueError):\n    pass",
    "unknown_name": (
        "def unknown_name(kind, name, known):\n"
        "    return ValueError(f\"Unknown {kind} {name!r}. Known: {', '.join(known)}.\")"
    ),
}
_ERRORS_MODULE = "kernelearn.errors"
_HOUSE = "kernelearn"
Defining = ast.FunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign


@dataclass(frozen=True)
class Source:
    """A module as text and tree: what it defines, and what its names stand for.

    Attributes:
        definitions: name -> statement at the top of the file.
        imported: name -> (module, name in it or None for the module itself).
    """

    module: str
    lines: list[bytes]
    definitions: dict[str, Defining]
    imported: dict[str, tuple[str, str | None]]


@cache
def source_of(module: str) -> Source:
    """The source of a module of this package."""
    spec = importlib.util.find_spec(module)
    assert spec is not None and spec.origin is not None  # it has been imported, from a file
    text = Path(spec.origin).read_bytes()
    definitions: dict[str, Defining] = {}
    imported: dict[str, tuple[str, str | None]] = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.Import):
            imported.update((a.asname or a.name.partition(".")[0], (a.name, None)) for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            imported.update((a.asname or a.name, _imported(str(node.module), a.name)) for a in node.names)
        elif isinstance(node, Defining):
            definitions.update((name, node) for name in _defined(node))
    return Source(module, text.splitlines(keepends=True), definitions, imported)


def _imported(module: str, name: str) -> tuple[str, str | None]:
    inner = f"{module}.{name}"
    is_ours = module.startswith(_HOUSE) and _is_package(module)
    is_module = is_ours and importlib.util.find_spec(inner) is not None
    return (inner, None) if is_module else (module, name)


@cache
def _is_package(module: str) -> bool:
    spec = importlib.util.find_spec(module)
    return spec is not None and spec.submodule_search_locations is not None


def _defined(node: Defining) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return [target.id for target in targets if isinstance(target, ast.Name)]


@dataclass
class Collected:
    """Functions and what they need, in an order in which a file can hold them.

    Attributes:
        texts: what each definition becomes, needed ones first.
        imports: lines that import NumPy and parts of Python.
    """

    texts: list[str] = field(default_factory=list)
    imports: set[str] = field(default_factory=set)
    reserved: set[str] = field(default_factory=set)
    _names: dict[tuple[str, str], str] = field(default_factory=dict)

    @property
    def names(self) -> set[str]:
        """What is defined by now."""
        return set(self._names.values())

    def add(self, function: Any) -> str:
        """The name under which a function can be called in the file.

        Raises: ArgumentError for one that has no name at the top of a module.
        """
        module, name = getattr(function, "__module__", None), getattr(function, "__name__", "")
        if module == "numpy" or type(function).__name__ == "ufunc":
            self.imports.add("import numpy as np")
            return f"np.{name}"
        if (
            not isinstance(module, str)
            or not module.startswith(_HOUSE)
            or name not in source_of(module).definitions
        ):
            raise ArgumentError(f"The function {function!r} has no text that could be exported.")
        return self._name_of(module, name)

    def _name_of(self, module: str, name: str) -> str:
        """The name of a definition in the file; its text is added when it is first asked for."""
        key = (module, name)
        if key in self._names:
            return self._names[key]
        self._names[key] = chosen = self._free(name)
        if module == _ERRORS_MODULE:
            self.texts.append(_ERRORS.get(name, f"class {name}(Exception):\n    pass").replace(name, chosen))
            return chosen
        source = source_of(module)
        self.texts.append(self._text(source, source.definitions[name], name, chosen))
        return chosen

    def _free(self, name: str) -> str:
        taken = {*self._names.values(), *self.reserved}
        number, chosen = 2, name
        while chosen in taken or hasattr(builtins, chosen):
            chosen, number = f"{name}_{number}", number + 1
        return chosen

    def _text(self, source: Source, node: Defining, name: str, chosen: str) -> str:
        """A definition with other names where they have to be, and without annotations."""
        patches = [*self._renames(source, node), *_annotations(source.lines, node)]
        if name != chosen:
            patches.append(_name_patch(source.lines, node, name, chosen))
        decorators: list[ast.expr] = getattr(node, "decorator_list", [])
        start = (min([node.lineno, *(part.lineno for part in decorators)]), 0)
        text = _patched(source.lines, start, _end(node), patches)
        return _without_tests(text)

    def _renames(self, source: Source, node: ast.AST) -> Iterator[tuple[Any, Any, str]]:
        """(start, end, text) for every name of the module that is called otherwise in the file."""
        local = set(_bound(node))
        parents = {id(child): parent for parent in ast.walk(node) for child in ast.iter_child_nodes(parent)}
        annotated = {id(part) for note in _notes(node) for part in ast.walk(note)}
        for part in ast.walk(node):
            if not isinstance(part, ast.Name) or id(part) in annotated or part.id in local:
                continue
            parent = parents.get(id(part))
            whole = parent if isinstance(parent, ast.Attribute) else part
            found = self._resolved(source, part.id, parent)
            if found is not None and found[1] != part.id:
                yield _start(whole if found[0] else part), _end(whole if found[0] else part), found[1]

    def _resolved(self, source: Source, name: str, parent: Any) -> tuple[bool, str] | None:
        """(whether an attribute of a module is meant, the name in the file); None where nothing changes."""
        if name in source.definitions:
            return False, self._name_of(source.module, name)
        if name not in source.imported:
            return None
        module, inner = source.imported[name]
        if not module.startswith(_HOUSE):
            self.imports.add(_import_line(module, inner, name))
            return None
        if inner is None:
            assert isinstance(parent, ast.Attribute)
            return True, self._name_of(*_origin(module, parent.attr))
        return False, self._name_of(*_origin(module, inner))


def _origin(module: str, name: str) -> tuple[str, str]:
    """Where a name is defined that a module has, or has imported."""
    if module == _ERRORS_MODULE:
        return module, name
    source = source_of(module)
    if name in source.definitions:
        return module, name
    further, inner = source.imported[name]
    return _origin(further, inner or name)


def _import_line(module: str, inner: str | None, name: str) -> str:
    if inner is None:
        return f"import {module}" + (f" as {name}" if name != module.partition(".")[0] else "")
    return f"from {module} import {inner}" + (f" as {name}" if name != inner else "")


def _bound(node: ast.AST) -> Iterator[str]:
    """Names that are bound somewhere inside of a function; none for a definition that is none."""
    if not isinstance(node, ast.FunctionDef | ast.ClassDef):
        return
    for part in ast.walk(node):
        if isinstance(part, ast.arg):
            yield part.arg
        elif isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
            yield part.id
        elif isinstance(part, ast.FunctionDef) and part is not node:
            yield part.name


def _notes(node: ast.AST) -> Iterator[ast.expr]:
    """The annotations inside of a definition."""
    for part in ast.walk(node):
        found = [getattr(part, "annotation", None), getattr(part, "returns", None)]
        yield from (note for note in found if note is not None)


def _annotations(lines: list[bytes], node: ast.AST) -> Iterator[tuple[Any, Any, str]]:
    """Patches that take annotations away; the fields of a class, which are nothing without, get another."""
    fields = {id(part) for owner in ast.walk(node) if isinstance(owner, ast.ClassDef) for part in owner.body}
    for part in ast.walk(node):
        if isinstance(part, ast.arg) and part.annotation is not None:
            start = (part.lineno, part.col_offset + len(part.arg.encode()))
            yield start, _end(part.annotation), ""
        elif isinstance(part, ast.AnnAssign) and id(part) in fields:
            yield _start(part.annotation), _end(part.annotation), "object"
        elif isinstance(part, ast.AnnAssign):
            yield _end(part.target), _end(part.annotation), ""
        elif isinstance(part, ast.FunctionDef) and part.returns is not None:
            line, column = _start(part.returns)
            arrow = lines[line - 1][:column].rindex(b"->")
            yield (line, len(lines[line - 1][:arrow].rstrip())), _end(part.returns), ""


def _name_patch(lines: list[bytes], node: Defining, name: str, chosen: str) -> tuple[Any, Any, str]:
    """The patch that gives a definition another name."""
    if isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        target = next(t for t in targets if isinstance(t, ast.Name) and t.id == name)
        return _start(target), _end(target), chosen
    column = lines[node.lineno - 1].index(name.encode(), node.col_offset)
    return (node.lineno, column), (node.lineno, column + len(name.encode())), chosen


def _start(node: Any) -> tuple[int, int]:
    return node.lineno, node.col_offset


def _end(node: Any) -> tuple[int, int]:
    return node.end_lineno, node.end_col_offset


def _patched(lines: list[bytes], start: tuple[int, int], end: tuple[int, int], patches: list[Any]) -> str:
    """The text from start to end with its patches, which do not overlap; places are (line, byte)."""
    before = [0]
    for line in lines:
        before.append(before[-1] + len(line))

    def offset(place: tuple[int, int]) -> int:
        return before[place[0] - 1] + place[1]

    text = b"".join(lines)
    parts, at = [], offset(start)
    for first, last, new in sorted(set(patches)):
        parts += [text[at : offset(first)], new.encode()]
        at = offset(last)
    parts.append(text[at : offset(end)])
    return b"".join(parts).decode()


def _without_tests(text: str) -> str:
    """A docstring without the line that says which test of this package looks at it."""
    return re.sub(r"\n +Checked: [^\n]*", "", text)
