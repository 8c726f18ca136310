"""Names to objects and back: how a string such as "adam" or a saved config becomes an object.

Each family (layers, losses, ...) owns one `Registry`. A config is `{"class_name": ..., "config": {...}}`,
plain JSON, and only registered classes can be built from it: loading a file never runs foreign code.
"""

import json
from collections.abc import Callable
from typing import Any, TypeVar, overload

from kernelearn._serializable import holds_references, registered_name, registered_object
from kernelearn.errors import (
    ArgumentError,
    KernelearnError,
    UnregisteredError,
    unknown_name,
)

T = TypeVar("T", bound=type)


class Registry:
    """The known classes of one family.

    Args:
        kind: what the family is called in error messages, for example "loss".
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._classes: dict[str, type] = {}
        self._aliases: dict[str, tuple[type, dict[str, Any]]] = {}

    @overload
    def register(self, cls: T, /, *aliases: str) -> T: ...

    @overload
    def register(self, /, *aliases: str) -> Callable[[T], T]: ...

    def register(self, /, *names: Any) -> Any:
        """Make a class known under its own name and under aliases: in files, and as a string.

        As a decorator `@LOSSES.register()`, `@LOSSES.register("mine")`, or called as
        `LOSSES.register(MyLoss)`, `LOSSES.register(MyLoss, "mine")`.

        Raises: ArgumentError if an argument of the class would be missing in its config, or if the package
            has a class of this name itself.
        """
        if names and isinstance(names[0], type):
            return self._add(names[0], names[1:])
        return lambda cls: self._add(cls, names)

    def _add(self, cls: T, aliases: tuple[str, ...]) -> T:
        if not all(isinstance(alias, str) for alias in aliases):
            raise ArgumentError(f"The other names of a {self.kind} must be strings, got {aliases!r}.")
        self._check_free(cls)
        check = getattr(cls, "check_declaration", None)
        if check:
            check()
        self._classes[cls.__name__] = cls
        for alias in aliases:
            self._aliases[alias] = (cls, {})
        return cls

    def _check_free(self, cls: type) -> None:
        """Raise ArgumentError for the name of a class of this package: files with it mean that one."""
        known = self._classes.get(cls.__name__)
        ours = __name__.partition(".")[0]
        if known and known.__module__.startswith(f"{ours}.") and cls.__module__ != known.__module__:
            raise ArgumentError(
                f"There is a {self.kind} called {cls.__name__} in {ours} itself, and files mean that one. "
                "Give your class another name."
            )

    def classes(self) -> list[type]:
        """The classes of the family."""
        return list(self._classes.values())

    def alias(self, name: str, cls: type, **config: Any) -> None:
        """Make `name` mean `cls(**config)`."""
        self._aliases[name] = (cls, config)

    def names(self) -> list[str]:
        """Every name that `get` accepts, sorted."""
        return sorted({*self._classes, *self._aliases})

    def get(self, identifier: Any, allow_callable: bool = False) -> Any:
        """The object that `identifier` stands for.

        Args:
            identifier: None (gives None), a name in any case, a config dict, a registered class, or an object
                of one (given back as it is).
            allow_callable: also give back any other callable.
        Raises: UnknownNameError for an unknown name, ArgumentError for any other type.
        """
        if identifier is None or type(identifier) in self._classes.values():
            return identifier
        if registered_name(type(identifier)) is not None:
            return identifier
        if isinstance(identifier, str):
            cls, config = self._find(identifier)
            return cls(**config)
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

    def serialize(self, obj: Any) -> dict[str, Any] | None:
        """The JSON config from which `get` builds an equal object; None for None."""
        if obj is None:
            return None
        written = {"class_name": self.name_in_files(obj), "config": obj.get_config()}
        build = obj.get_build_config() if hasattr(obj, "get_build_config") else None
        return written if build is None else {**written, "build_config": build}

    def name_in_files(self, obj: Any) -> Any:
        """The name of an object's class in files.

        Raises: ArgumentError if it has none, because it is not registered.
        """
        if type(obj) in self._classes.values():
            return type(obj).__name__
        name = registered_name(type(obj))
        if name is None and not holds_references():
            raise ArgumentError(self._not_registered(obj))
        return type(obj) if name is None else name

    def why_no_name(self, obj: Any) -> str | None:
        """Why a file has no name for the class of an object; None if it has."""
        try:
            self.name_in_files(obj)
        except ArgumentError as error:
            return str(error)
        return None

    def why_not_saved(self, obj: Any) -> str | None:
        """Why a file cannot hold this object, with the remedy; None if it can, or for None.

        What will be saved later is asked this before work is done.
        """
        try:
            json.dumps(self.serialize(obj))
        except KernelearnError as error:
            return str(error)
        except (TypeError, ValueError) as error:
            return f"The config of {type(obj).__name__} is no JSON value: {error}. Override get_config()."
        return None

    def _not_registered(self, obj: Any) -> str:
        word = self.kind.rpartition(" ")[2].upper()
        family = f"{word}ES" if word.endswith("S") else f"{word}S"
        return (
            f"A {self.kind} of type {type(obj).__name__} cannot be saved: it is not registered. Write "
            f"@kernelearn.saving.register() or @{family}.register() above its class (before a file with it "
            "is read, too)."
        )

    def _find(self, name: str) -> tuple[type, dict[str, Any]]:
        """The class of a name, in any case, and the arguments that the name stands for."""
        known = {**self._aliases, **{key: (cls, {}) for key, cls in self._classes.items()}}
        if name in known:
            return known[name]
        own = registered_object(name)
        if own is not None:
            return own, {}
        same = [key for key in known if key.lower() == name.lower()]
        if not same and ">" in name:
            package, _, own = name.partition(">")
            raise UnregisteredError(
                f"The class {name!r} is not registered, and nothing is run because a file names it. Import "
                f"the module that defines it under @kernelearn.saving.register(package={package!r}), or load "
                f"with custom_objects={{{own!r}: {own}}}."
            )
        if not same:
            raise unknown_name(self.kind, name, known)
        return known[same[0]]

    def _from_config(self, config: dict[str, Any]) -> Any:
        name = config["class_name"]
        cls, preset = (name, {}) if isinstance(name, type) else self._find(str(name))
        arguments = {**preset, **(config.get("config") or {})}
        made = cls.from_config(arguments) if hasattr(cls, "from_config") else cls(**arguments)
        if config.get("build_config") is not None:
            made.build_from_config(config["build_config"])
        return made
