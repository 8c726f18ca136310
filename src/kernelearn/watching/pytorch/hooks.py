"""Hooks that leave a module as it is: copied, pickled and saved, it is the module without them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Hook:
    """Calls a function; a copy, or what is unpickled, calls nothing."""

    def __init__(self, function: Callable[..., Any] | None = None) -> None:
        self._function = function

    @property
    def is_watching(self) -> bool:
        """Whether it calls something."""
        return self._function is not None

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return None if self._function is None else self._function(*arguments, **options)

    def __reduce__(self) -> tuple[Any, ...]:
        return Hook, ()

    def __deepcopy__(self, memo: dict[int, Any]) -> Hook:
        return Hook()
