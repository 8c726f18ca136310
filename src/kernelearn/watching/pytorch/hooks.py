"""Hooks that leave a module as it is: copied, pickled and saved, it is the module without them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Hook:
    """Calls a function; a copy, what is unpickled, and compiled code call nothing."""

    def __init__(self, function: Callable[..., Any] | None = None) -> None:
        from torch.compiler import is_compiling

        self._function, self._is_compiling = function, is_compiling

    def __call__(self, *arguments: Any) -> Any:
        if self._function is None or self._is_compiling():
            return None
        return self._function(*arguments)

    def __reduce__(self) -> tuple[Any, ...]:
        return Hook, ()

    def __deepcopy__(self, memo: dict[int, Any]) -> Hook:
        return Hook()
