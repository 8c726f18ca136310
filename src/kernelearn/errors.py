"""The error types of the package.

Every message says what was expected, what came and what to do. Each type also derives from the builtin
exception that a Keras, NumPy or scikit-learn user would catch.
"""


class KernelearnError(Exception):
    """Base of all errors that kernelearn raises on purpose."""


class ShapeError(KernelearnError, ValueError):
    """An array or a tensor has a shape that the operation cannot take."""


class ArgumentError(KernelearnError, ValueError):
    """An argument has a value outside what is allowed."""


class UnknownNameError(KernelearnError, ValueError):
    """A string names nothing that is registered (layer, loss, optimiser, ...)."""


class DataError(KernelearnError, ValueError):
    """A data source is missing, broken, inconsistent or unsafe to unpack."""


class NotBuiltError(KernelearnError, RuntimeError):
    """A layer or model is used before its weights exist, or before `compile`."""


class NonFiniteError(KernelearnError, FloatingPointError):
    """NaN or infinity met during training."""


class FormatError(KernelearnError, ValueError):
    """A file is not what it claims to be: truncated, damaged, foreign or from a newer version."""


class StorageError(KernelearnError, OSError):
    """A folder cannot be written, or the disk is too full for what is to be saved."""


class MissingDependencyError(KernelearnError, ImportError):
    """An optional package is needed and not installed."""


def unknown_name(kind: str, name: object, known) -> UnknownNameError:
    """The error for a name that is not in a registry, with the nearest known names.

    >>> print(unknown_name("loss", "mxe", ["mse", "mae"]))
    Unknown loss 'mxe'. Did you mean 'mse'? Known: mae, mse.
    """
    import difflib

    names = sorted(str(k) for k in known)
    near = difflib.get_close_matches(str(name), names, n=2)
    hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    return UnknownNameError(f"Unknown {kind} {name!r}.{hint} Known: {', '.join(names)}.")
