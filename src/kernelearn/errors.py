"""The error types of the package.

Every message says what was expected, what came and what to do. Each type also derives from the builtin
exception that a Keras, NumPy or scikit-learn user would catch.
"""

from collections.abc import Iterable, Mapping, Sequence


class KernelearnError(Exception):
    """Base of all errors that kernelearn raises on purpose."""


class ShapeError(KernelearnError, ValueError):
    """An array or a tensor has a shape that the operation cannot take."""


class ArgumentError(KernelearnError, ValueError):
    """An argument has a value outside what is allowed."""


class ArgumentTypeError(ArgumentError, TypeError):
    """An argument has a type that is not taken, or a name that nothing has."""


class UnknownNameError(KernelearnError, ValueError):
    """A string names nothing that is registered (layer, loss, optimiser, ...)."""


class UnregisteredError(UnknownNameError):
    """A file names a class or function of somebody's own that no module has registered."""


class DataError(KernelearnError, ValueError):
    """A data source is missing, broken, inconsistent or unsafe to unpack."""


class TracingError(KernelearnError, TypeError):
    """Code that is traced asks for the numbers of a value, which are known only when the program runs."""


class NotBuiltError(KernelearnError, RuntimeError):
    """A layer or model is used before its weights exist, or before `compile`."""


class NonFiniteError(KernelearnError, FloatingPointError):
    """NaN or infinity met during training."""


class FormatError(KernelearnError, ValueError):
    """A file is not what it claims to be: truncated, damaged, foreign or from a newer version."""


class StorageError(KernelearnError, OSError):
    """A folder cannot be written, or the disk is too full for what is to be saved."""


class ProcessError(KernelearnError, RuntimeError):
    """Another process that trains with this one gave up what both do together."""


class MissingDependencyError(KernelearnError, ImportError):
    """An optional package is needed and not installed."""


def _spelled_once(known: Iterable[object]) -> set[str]:
    """Names without those that differ in capitals and underscores alone: of Adam and adam only adam."""
    once: dict[str, str] = {}
    for name in map(str, known):
        key = name.lower().replace("_", "")
        once[key] = max(name, once.get(key, name))  # small letters sort behind capitals
    return set(once.values())


def unknown_name(kind: str, name: object, known: Iterable[object]) -> UnknownNameError:
    """The error for a name that is not in a registry, with the nearest known names.

    Names that differ only in case and underscores are listed once.

    >>> print(unknown_name("loss", "mxe", ["mse", "mae", "MAE"]))
    Unknown loss 'mxe'. Did you mean 'mse' or 'mae'? Known: mae, mse.
    """
    names = sorted(_spelled_once(known))
    # NOTE: sorted, capitals come first, so that the last of several spellings is the one in small letters.
    spelled = {name.lower().replace("_", ""): name for name in names}
    hint, listed = _did_you_mean(name, names, spelled), ", ".join(sorted(spelled.values()))
    return UnknownNameError(f"Unknown {kind} {name!r}.{hint} Known: {listed}.")


def unknown_argument(owner: str, name: str, known: Iterable[str]) -> ArgumentTypeError:
    """The error for a keyword argument that a class or function does not have.

    >>> print(unknown_argument("Conv2D", "stride", ["filters", "strides"]))
    Conv2D has no argument 'stride'. Did you mean 'strides'? It takes: filters, strides.
    """
    names = list(known)
    takes = f"It takes: {', '.join(names)}." if names else "It takes no arguments."
    return ArgumentTypeError(f"{owner} has no argument {name!r}.{_did_you_mean(name, names)} {takes}")


def _did_you_mean(name: object, names: Sequence[str], spelled: Mapping[str, str] | None = None) -> str:
    """A hint with the nearest names, each in one spelling; empty if none is near."""
    import difflib

    near = difflib.get_close_matches(str(name), names, n=2)
    # An abbreviation, such as lr.
    near += [n for n in names if "_" in n and str(name) == "".join(part[:1] for part in n.split("_"))]
    chosen = dict.fromkeys((spelled or {}).get(n.lower().replace("_", ""), n) for n in near)
    return f" Did you mean {' or '.join(map(repr, chosen))}?" if chosen else ""
