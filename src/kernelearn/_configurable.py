"""What every declared object (layer, loss, optimiser, ...) shares: arguments that are checked by name and by
kind before the object is made, and a config made of them.
"""

import functools
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral
from typing import Any, ClassVar, Self

from kernelearn.errors import ArgumentError, ArgumentTypeError, unknown_argument

_PACKAGE = __name__.partition(".")[0]
# What a constructor calls the arguments that it hands to its base, or takes for `without_effect` alone.
_PASSED_ON = ("options", "keras_options")


class Checked:
    """An object whose arguments are checked by name and kind before `__init__` is called.

    The arguments are those of its `__init__` and, where that takes **options, of the next base's.

    Attributes:
        without_effect: arguments that code for Keras gives and that have no meaning here -> the values that
            are taken, because they change nothing there either. `__init__` receives them among its **options.
        fixed: arguments of a base that this class does not have: it gives them itself.
    """

    fixed: ClassVar[frozenset[str]] = frozenset()
    without_effect: ClassVar[Mapping[str, tuple[Any, ...]]] = {}

    def __new__(cls, *args: Any, **arguments: Any) -> Self:
        """Refuse arguments that the class does not have, or of the wrong kind, before anything is done."""
        check_arguments(cls, args, arguments)
        made = super().__new__(cls)
        made.note_arguments(args, arguments)
        return made

    def note_arguments(self, args: tuple[Any, ...], arguments: Mapping[str, Any]) -> None:
        """Called with the constructor's arguments before `__init__`."""

    def refuse_rest(self, rest: Mapping[str, Any]) -> None:
        """Refuse what reaches the top of a family and has no meaning there.

        A constructor outside of this package that takes **kwargs may hand anything on: its names could not be
        checked before.
        """
        for name, value in rest.items():
            if name not in self.without_effect:
                raise unknown_argument(type(self).__name__, name, arguments_of(type(self)).kinds)
            _check_without_effect(type(self), name, value)


class Configurable(Checked):
    """An object that is described by its constructor arguments, each kept as an attribute of the same name.

    A subclass whose arguments are not JSON values as they stand overrides `get_config` or `from_config`.

    Attributes:
        outside_config: arguments that are no part of the config.
    """

    outside_config: ClassVar[frozenset[str]] = frozenset()

    def keep(self, arguments: Mapping[str, Any]) -> None:
        """Keep constructor arguments as attributes of the same names: `self.keep(locals())` in `__init__`.

        Numbers become Python's int, float and bool where the signature says so. What a base has kept already,
        such as the name, and what is a property of the class stay as they are.
        """
        kinds = arguments_of(type(self)).kinds
        for name, value in arguments.items():
            is_kept = name in self.__dict__ or isinstance(getattr(type(self), name, None), property)
            if (name in kinds or name in self.fixed) and not is_kept:
                setattr(self, name, self.kept_value(name, value, kinds.get(name, "")))

    def kept_value(self, name: str, value: Any, kind: str) -> Any:
        """What is kept of an argument; `kind` is its annotation in the signature."""
        return plain_value(value, kind)

    def get_config(self) -> dict[str, Any]:
        """The constructor arguments as a JSON-able dict: `from_config` makes an equal object from it.

        Raises: ArgumentError if an argument was not kept as an attribute.
        """
        names = [name for name in arguments_of(type(self)).kinds if self.is_in_config(name)]
        missing = [name for name in names if not hasattr(self, name)]
        if missing and _has_own_config(type(self)):
            # NOTE: a subclass that extends this dict adds what it keeps under other names itself.
            names = [name for name in names if name not in missing]
        elif missing:
            raise ArgumentError(_not_kept(type(self), missing[0]))
        return {name: self.config_value(name) for name in names}

    def is_in_config(self, name: str) -> bool:
        """Whether a constructor argument is part of the config."""
        return name not in self.outside_config

    def config_value(self, name: str) -> Any:
        """What the config holds for a constructor argument."""
        return getattr(self, name)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """The object that `get_config` described."""
        return cls(**config)

    @classmethod
    def check_declaration(cls) -> None:
        """Called when the class is registered: every argument must come back in the config.

        Raises: ArgumentError for an argument that is neither annotated in the class nor named in `__init__`.
        """
        if _has_own_config(cls):
            return
        known = {name for base in cls.__mro__ for name in _mentioned(base)}
        lost = [name for name in arguments_of(cls).kinds if name not in known | cls.outside_config]
        if lost:
            raise ArgumentError(_not_kept(cls, lost[0]))

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.get_config().items())
        return f"{type(self).__name__}({arguments})"


@dataclass(frozen=True)
class Arguments:
    """The constructor arguments of a class.

    Attributes:
        kinds: name -> annotation as text; "" for those of a class outside of this package.
        positional: names of those that may be given without a name, in order.
        is_closed: whether there are no others: False where a foreign `__init__` takes **options.
    """

    kinds: dict[str, str]
    positional: tuple[str, ...]
    is_closed: bool


def arguments_of(cls: type) -> Arguments:
    """The constructor arguments of a class: of its `__init__` and, through **options, of those above it."""
    return _arguments_of(cls)


@functools.lru_cache(maxsize=1024)
def _arguments_of(cls: Any) -> Arguments:
    kinds: dict[str, str] = {}
    positional: tuple[str, ...] | None = None
    is_closed = True
    for base in cls.__mro__[:-1]:
        if "__init__" not in base.__dict__:
            continue
        is_ours = base.__module__.partition(".")[0] == _PACKAGE
        parameters = list(inspect.signature(base.__dict__["__init__"]).parameters.values())[1:]
        fixed = getattr(cls, "fixed", ()) if base is not cls else ()
        named = [
            p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) and p.name not in fixed
        ]
        for p in named:
            kinds.setdefault(p.name, _text(p.annotation) if is_ours else "")
        if positional is None:
            positional = tuple(p.name for p in named if p.kind is not p.KEYWORD_ONLY)
        rest = [p.name for p in parameters if p.kind is p.VAR_KEYWORD]
        if not rest:
            break
        is_closed = is_closed and is_ours and rest[0] in _PASSED_ON
    return Arguments(kinds, positional or (), is_closed)


def _text(annotation: Any) -> str:
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def check_arguments(cls: type[Checked], args: tuple[Any, ...], given: Mapping[str, Any]) -> None:
    """Raise ArgumentTypeError for a name that the class does not have, or a value of the wrong kind."""
    known = arguments_of(cls)
    for name, value in given.items():
        if name in cls.without_effect and name not in known.kinds:
            _check_without_effect(cls, name, value)
        elif name not in known.kinds and known.is_closed:
            raise unknown_argument(cls.__name__, name, known.kinds)
    for name, value in (*zip(known.positional, args), *given.items()):
        check_kind(cls.__name__, name, value, known.kinds.get(name, ""))


def _check_without_effect(cls: type[Checked], name: str, value: Any) -> None:
    allowed = cls.without_effect[name]
    if allowed and not any(value is one or value == one for one in allowed):
        raise ArgumentError(
            f"{cls.__name__}: {name}={value!r} is not supported; leave it out, or give {allowed[0]!r}."
        )


def check_kind(owner: str, name: str, value: Any, kind: str) -> None:
    """Raise ArgumentTypeError unless a value is an int or a number, where the annotation `kind` asks for one.

    >>> check_kind("Dense", "units", 3.0, "int")
    Traceback (most recent call last):
    kernelearn.errors.ArgumentTypeError: Dense: units must be an integer, got 3.0.
    """
    plain = kind.removesuffix(" | None")
    if plain not in _KINDS or (value is None and plain != kind):
        return
    is_right, words = _KINDS[plain]
    if not is_right(value):
        raise ArgumentTypeError(f"{owner}: {name} must be {words}, got {value!r}.")


def is_whole(value: Any) -> bool:
    """Whether a value is an int, of Python or NumPy, and no bool."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Whether a value is one real number, of Python or NumPy, and neither a bool nor NaN."""
    has_value = (
        hasattr(value, "__float__") and not isinstance(value, bool) and getattr(value, "shape", ()) == ()
    )
    return has_value and float(value) == float(value)


_KINDS = {"int": (is_whole, "an integer"), "float": (is_number, "a number")}


_PLAIN: dict[str, type] = {"int": int, "float": float, "bool": bool}


def plain_value(value: Any, kind: str) -> Any:
    """A number as Python's own type where the annotation `kind` names one; anything else as it is."""
    plain = _PLAIN.get(kind.removesuffix(" | None"))
    return value if value is None or plain is None else plain(value)


def _has_own_config(cls: type) -> bool:
    """Whether a class outside of this package, or a base of it, says itself what its config is."""
    owner = next(base for base in cls.__mro__ if "get_config" in base.__dict__)
    return owner.__module__.partition(".")[0] != _PACKAGE


def describes_itself(cls: type) -> bool:
    """Whether a class outside of this package leaves its config to what its base derives."""
    return cls.__module__.partition(".")[0] != _PACKAGE and not _has_own_config(cls)


def _mentioned(base: type) -> set[str]:
    """The names that a class annotates or defines, and those that its `__init__` keeps as attributes."""
    code = getattr(base.__dict__.get("__init__"), "__code__", None)
    used = code.co_names if code else ()
    kept = code.co_varnames if code and "keep" in used else ()
    return {*base.__dict__, *inspect.get_annotations(base), *used, *kept}


def _not_kept(cls: type, name: str) -> str:
    return (
        f"{cls.__name__} does not keep its argument {name!r}: write self.{name} = {name} in __init__, or "
        "override get_config()."
    )
