"""Names to objects and back: how a string such as "adam" or a saved config becomes an object.

Each family (layers, losses, ...) owns one `Registry`. A config is `{"class_name": ..., "config": {...}}`,
plain JSON, and only registered classes can be built from it: loading a file never runs foreign code.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from kernelearn.errors import ArgumentError, unknown_name

T = TypeVar("T", bound=type)


class Registry:
    """The known classes of one family.

    Args:
        kind: what the family is called in error messages, for example "loss".
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._classes: dict[str, type] = {}
        self._aliases: dict[str, tuple[type, dict]] = {}

    def register(self, *aliases: str) -> Callable[[T], T]:
        """Class decorator: make a class known under its own name and under `aliases`."""

        def add(cls: T) -> T:
            self._classes[cls.__name__] = cls
            for alias in aliases:
                self._aliases[alias] = (cls, {})
            return cls

        return add

    def alias(self, name: str, cls: type, **config: Any) -> None:
        """Make `name` mean `cls(**config)`."""
        self._aliases[name] = (cls, config)

    def names(self) -> list[str]:
        """Every name that `get` accepts, sorted."""
        return sorted({*self._classes, *self._aliases})

    def get(self, identifier: Any, allow_callable: bool = False) -> Any:
        """The object that `identifier` stands for.

        Args:
            identifier: None (gives None), a name, a config dict, a registered class, or an object of
                one (given back as it is).
            allow_callable: also give back any other callable.
        Raises: UnknownNameError for an unknown name, ArgumentError for any other type.
        """
        if identifier is None or type(identifier) in self._classes.values():
            return identifier
        if isinstance(identifier, str):
            return self._from_name(identifier)
        if isinstance(identifier, dict) and "class_name" in identifier:
            return self._from_config(identifier)
        if isinstance(identifier, type) and identifier in self._classes.values():
            return identifier()
        if allow_callable and callable(identifier):
            return identifier
        raise ArgumentError(
            f"Expected a {self.kind} as a name, a config dict or an object, "
            f"got {identifier!r} of type {type(identifier).__name__}."
        )

    def serialize(self, obj: Any) -> dict | None:
        """The JSON config from which `get` builds an equal object; None for None."""
        if obj is None:
            return None
        if type(obj) not in self._classes.values():
            raise ArgumentError(
                f"A {self.kind} of type {type(obj).__name__} cannot be saved: it is not registered. "
                f"Register its class, or use one of: {', '.join(self.names())}."
            )
        return {"class_name": type(obj).__name__, "config": obj.get_config()}

    def _from_name(self, name: str) -> Any:
        if name in self._classes:
            return self._classes[name]()
        if name in self._aliases:
            cls, config = self._aliases[name]
            return cls(**config)
        raise unknown_name(self.kind, name, self.names())

    def _from_config(self, config: dict) -> Any:
        name = config["class_name"]
        if name not in self._classes:
            raise unknown_name(self.kind, name, self._classes)
        cls = self._classes[name]
        arguments = config.get("config", {})
        return cls.from_config(arguments) if hasattr(cls, "from_config") else cls(**arguments)
