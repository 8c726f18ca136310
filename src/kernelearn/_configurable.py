"""What every declared object (loss, optimiser, initialiser, ...) shares: a config made of its arguments."""

import inspect
from typing import Any, Self

from kernelearn.errors import ArgumentError


class Configurable:
    """An object that is described by its constructor arguments, each kept as an attribute of the same name.

    A subclass whose arguments are not JSON values as they stand overrides `get_config` or `from_config`.
    """

    def get_config(self) -> dict[str, Any]:
        """The constructor arguments as a JSON-able dict: `from_config` makes an equal object from it.

        Raises: ArgumentError if an argument was not kept as an attribute.
        """
        names = argument_names(type(self))
        missing = [name for name in names if not hasattr(self, name)]
        if missing:
            raise ArgumentError(
                f"{type(self).__name__} does not keep its argument {missing[0]!r}: "
                f"write self.{missing[0]} = {missing[0]} in __init__, or override get_config()."
            )
        return {name: getattr(self, name) for name in names}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """The object that `get_config` described."""
        return cls(**config)

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.get_config().items())
        return f"{type(self).__name__}({arguments})"


def argument_names(cls: type) -> tuple[str, ...]:
    """Names of the constructor arguments of a class, without *args and **kwargs."""
    parameters = list(inspect.signature(cls).parameters.values())
    return tuple(p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD))
