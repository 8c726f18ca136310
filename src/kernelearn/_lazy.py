"""Names of a package that are imported when they are first used (PEP 562): importing it loads nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any


def on_first_use(
    package: str,
    objects: Mapping[str, str],
    modules: Sequence[str] = (),
    names: Sequence[str] | None = None,
    others: Mapping[str, str] | None = None,
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The `__getattr__` and `__dir__` of a package.

    Args:
        package: its name.
        objects: public name -> the module that defines it.
        modules: names of submodules that are public as they are.
        names: all public names in the order in which they are told; None for those of `objects`.
        others: beginning of a name -> the module that has names with this beginning.
    """
    public = [*objects, *modules] if names is None else list(names)

    def getattr_(name: str) -> Any:
        if name in modules:
            return import_module(f"{package}.{name}")
        found = objects.get(name)
        if found is not None:
            value = getattr(import_module(found), name)
            setattr(sys.modules[package], name, value)
            return value
        for beginning, module in (others or {}).items():
            if name.startswith(beginning):
                return getattr(import_module(module), name)
        raise AttributeError(
            f"module {package!r} has no attribute {name!r}; public names: {', '.join(public)}"
        )

    def dir_() -> list[str]:
        return sorted(public)

    return getattr_, dir_
