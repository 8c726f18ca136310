"""Which test files come first: the longest, so that no process of `make test` ends alone with one of them.

Above all they are those that wait for a browser or for other processes. `LONG` holds beginnings of paths.
"""

import functools

LONG = (
    "view/page/browser/",
    "docs/test_examples.py",
    "engine/cpu/test_operators.py",
    "cli/test_processes.py",
    "cli/test_train.py",
    "engine/cpu/test_convolutions.py",
    "cli/test_explain.py",
    "cli/test_commands.py",
    "layers/test_layers_contract.py",
    "parallel/",
    "view/test_report",
    "training/test_resume.py",
    "explain/test_networks.py",
    "engine/cpu/test_losses.py",
    "view/test_explain_figures.py",
    "training/test_shards.py",
    "engine/cpu/test_doubles.py",
    "kernel_machines/test_optima.py",
    "conversion/",
    "watching/",
    "engine/cpu/",
    "cli/",
)


@functools.cache
def place_of(path: str) -> int:
    """The place of a file below tests/; behind them all for one that is not long."""
    return next((place for place, name in enumerate(LONG) if path.startswith(name)), len(LONG))
