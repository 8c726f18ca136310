"""Errors of the library in the words of the command line: `resize=(16, 16)` is `--resize 16` there."""

import re

# Argument of the library -> option of the command line.
_OPTIONS = {
    "resize": "--resize",
    "channels": "--channels",
    "input_shape": "--input-shape",
    "validation": "--val",
    "test": "--test",
    "epochs": "--epochs",
    "batch_size": "--batch-size",
    "learning_rate": "--lr",
    "class_weight": "--class-weight",
    "patience": "--patience",
    "overwrite": "--overwrite",
    "by_position": "--by-position",
    "layer": "--layer",
    "step": "--step",
    "filters": "--filters",
    "kernels_every": "--record-kernels",
    "ledger_every": "--record-ledger",
    "gradients_every": "--record-gradients",
    "full_layers": "--record-full",
    "max_bytes": "--record-budget",
    "run_dir": "--run",
}
_ARGUMENT = re.compile(
    r"\b(?P<name>" + "|".join(_OPTIONS) + r")=(?P<value>\([^()]*\)|'[^']*'|\"[^\"]*\"|[\w.+-]*[\w+])"
)


def in_options(message: str) -> str:
    """A message with the arguments that it proposes as options.

    >>> in_options("Give resize=(16, 24) or channels=1; set overwrite=True.")
    'Give --resize 16x24 or --channels 1; set --overwrite.'
    """
    return _ARGUMENT.sub(_as_option, message)


def _as_option(found: re.Match[str]) -> str:
    option, value = _OPTIONS[found["name"]], found["value"]
    if value == "True":
        return option
    if value in ("False", "None"):
        return f"{option} none"
    return f"{option} {_as_word(value)}"


def _as_word(value: str) -> str:
    """ "(16, 16)" -> "16", "(16, 24)" -> "16x24", "'a'" -> "a"."""
    if value.startswith("("):
        parts = [part.strip() for part in value[1:-1].split(",") if part.strip()]
        return parts[0] if len(set(parts)) == 1 else "x".join(parts)
    return value.strip("'\"")
