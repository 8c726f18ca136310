"""Classes and functions of the user's own that files may name: the table behind `kernelearn.saving`.

A file holds names and values. What a name means is looked up here; nothing is imported or run because a file
says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from kernelearn.errors import ArgumentError, unknown_name

T = TypeVar("T")

_objects: dict[str, Any] = {}
_names: dict[Any, str] = {}
_scope: ContextVar[Mapping[str, Any] | None] = ContextVar("scope", default=None)
# Whether configs may hold classes themselves: for pickles and copies, never for files.
_by_reference: ContextVar[bool] = ContextVar("by_reference", default=False)


def register(package: str = "Custom", name: str | None = None) -> Callable[[T], T]:
    """Make a class or a function known to files, under "package>name".

    Args:
        package: a word of yours, so that names of several libraries do not meet.
        name: that of the class or function if None.
    Raises: ArgumentError for something else than a class or function, or a name that another one has.

    >>> from kernelearn import layers, saving
    >>> @saving.register(package="mine")
    ... class Twice(layers.Layer):
    ...     def call(self, x):
    ...         return 2 * x
    >>> saving.get_registered_name(Twice)
    'mine>Twice'
    """
    if callable(package):
        raise ArgumentError("Write @register() with parentheses, or with the name of a package.")

    def enter(thing: T) -> T:
        if not callable(thing):
            raise ArgumentError(f"register takes a class or a function, got {thing!r}.")
        full = f"{package}>{name or getattr(thing, '__name__', '')}"
        known = _objects.get(full)
        if known is not None and not _is_same(known, thing):
            raise ArgumentError(f"{known!r} is registered as {full!r} already; give another name or package.")
        if isinstance(thing, type) and hasattr(thing, "check_declaration"):
            thing.check_declaration()
        _objects[full], _names[thing] = thing, full
        return thing

    return enter


def _is_same(known: Any, thing: Any) -> bool:
    """Whether a definition is run again, as in a notebook."""
    return (known.__module__, known.__qualname__) == (thing.__module__, thing.__qualname__)


def registered_name(thing: Any) -> str | None:
    """The name of a class or function in files; None if it has none."""
    for name, known in (_scope.get() or {}).items():
        if known is thing:
            return name
    try:
        return _names.get(thing)
    except TypeError:  # not hashable
        return None


def registered_object(name: str, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """What a name in a file means: of `custom_objects`, of the scope, registered; None if nothing.

    A class is also found under its name without the package.
    """
    for table in (custom_objects or {}, _scope.get() or {}, _objects):
        if name in table:
            return table[name]
        short = [thing for full, thing in table.items() if full.rpartition(">")[2] == name.rpartition(">")[2]]
        if table is not _objects and len(short) == 1:
            return short[0]
    return None


def need_object(name: str) -> Any:
    """What a name in a file means.

    Raises: UnknownNameError.
    """
    found = registered_object(name)
    if found is None:
        raise unknown_name("registered class or function", name, [*_objects, *(_scope.get() or {})])
    return found


def custom_objects() -> dict[str, Any]:
    """Everything that is registered, by name."""
    return {**_objects, **(_scope.get() or {})}


@contextmanager
def custom_object_scope(objects: Mapping[str, Any] | None = None, **more: Any) -> Iterator[None]:
    """Names that mean these classes and functions inside, as if they were registered.

    >>> from kernelearn import saving
    >>> with saving.custom_object_scope({"gate": dict}):
    ...     saving.get_registered_object("gate")
    <class 'dict'>
    """
    token = _scope.set({**(_scope.get() or {}), **(objects or {}), **more})
    try:
        yield
    finally:
        _scope.reset(token)


@contextmanager
def by_reference() -> Iterator[None]:
    """Configs made inside hold classes that no name stands for: for pickles and copies, never for files."""
    token = _by_reference.set(True)
    try:
        yield
    finally:
        _by_reference.reset(token)


def holds_references() -> bool:
    """Whether configs may hold classes themselves."""
    return _by_reference.get()


FUNCTION = "function"  # the class_name of a function in a config


def function_config(function: Callable[..., Any], what: str) -> dict[str, Any]:
    """A registered function as a config.

    Raises: ArgumentError for one that is not registered.
    """
    name: Any = registered_name(function)
    if name is None and holds_references():
        name = function
    if name is None:
        shown = getattr(function, "__name__", repr(function))
        raise ArgumentError(
            f"{what} is the function {shown}, which cannot be saved: it is not registered. Write "
            "@kernelearn.saving.register() above it (before a file with it is read, too)."
        )
    return {"class_name": FUNCTION, "config": {"name": name}}


def is_function_config(config: Any) -> bool:
    """Whether a config is one of `function_config`."""
    return isinstance(config, Mapping) and config.get("class_name") == FUNCTION


def function_of(config: Mapping[str, Any]) -> Callable[..., Any]:
    """The function that a config of `function_config` means.

    Raises: UnknownNameError if it is not registered here.
    """
    name = config["config"]["name"]
    found: Callable[..., Any] = name if callable(name) else need_object(str(name))
    return found
