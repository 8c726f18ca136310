"""Recorded runs beside each other: what was set differently, how far they came, the same kernels in each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kernelearn.errors import ArgumentError
from kernelearn.explain.choices import kernel_layers
from kernelearn.explain.table import Table

Trace = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class RunComparison:
    """Two or more runs.

    Attributes:
        names: of the runs; runs: they themselves.
        settings: setting -> its value in each run, for what differs.
        results: number -> its last value in each run, None where a run does not have it.
        curves: number that all have -> (steps, values) of each.
        kernels: layer that all have with a kernel of one shape -> its last kernel in each.
    """

    names: tuple[str, ...]
    runs: tuple[Any, ...]
    settings: Mapping[str, tuple[Any, ...]]
    results: Mapping[str, tuple[float | None, ...]]
    curves: Mapping[str, tuple[Trace, ...]]
    kernels: Mapping[str, tuple[np.ndarray, ...]]

    def settings_table(self) -> Table:
        """What was set differently."""
        rows = tuple((name, *map(_shown, values)) for name, values in self.settings.items())
        return Table(("setting", *self.names), rows, "What differs")

    def results_table(self) -> Table:
        """Where the runs ended."""
        rows = tuple((name, *values) for name, values in self.results.items())
        return Table(("last value", *self.names), rows, "Where they ended")

    def kernels_table(self) -> Table:
        """How alike the kernels are: cosine with those of the first run, of the whole kernel."""
        rows = []
        for layer, kernels in self.kernels.items():
            first = kernels[0].ravel().astype(np.float64)
            rows.append((layer, kernels[0].shape, *(_cosine(first, other) for other in kernels[1:])))
        columns = ("layer", "kernel", *(f"cosine of {name}" for name in self.names[1:]))
        return Table(columns, tuple(rows), f"The last kernels, beside those of {self.names[0]}")

    def tables(self) -> list[Table]:
        """All that has rows."""
        found = [self.settings_table(), self.results_table(), self.kernels_table()]
        return [table for table in found if len(table)]

    def to_dict(self) -> dict[str, Any]:
        """Everything but the kernels, as JSON values."""
        return {
            "runs": list(self.names),
            "settings": {name: [_shown(v) for v in values] for name, values in self.settings.items()},
            "results": {name: list(values) for name, values in self.results.items()},
            "curves": {
                name: [{"steps": s.tolist(), "values": v.tolist()} for s, v in traces]
                for name, traces in self.curves.items()
            },
            "kernels": self.kernels_table().to_dict(),
        }

    def __str__(self) -> str:
        return "\n".join(map(str, self.tables()))

    def _repr_html_(self) -> str:
        return "".join(table._repr_html_() for table in self.tables())


def compare_runs(
    runs: Sequence[Any],
    names: Sequence[str] | None = None,
    settings: Sequence[Mapping[str, Any]] | None = None,
    results: Sequence[Mapping[str, float]] | None = None,
) -> RunComparison:
    """Two or more recorded runs beside each other.

    Args:
        runs: `recording.Run`s.
        names: of the runs; their folders' names by default.
        settings: what else was set in each, such as the options of a command.
        results: what else was measured of each, such as the accuracy on test images.
    Raises: ArgumentError for fewer than two runs, or lists of other lengths.
    """
    if len(runs) < 2:
        raise ArgumentError("A comparison needs at least two runs.")
    for what, given in (("names", names), ("settings", settings), ("results", results)):
        if given is not None and len(given) != len(runs):
            raise ArgumentError(
                f"{what} must have one entry for each of the {len(runs)} runs; got {len(given)}."
            )
    called = tuple(names) if names is not None else _names(runs)
    told = [_settings(run) | dict(more) for run, more in zip(runs, settings or [{}] * len(runs))]
    ends = [_ends(run) | dict(more) for run, more in zip(runs, results or [{}] * len(runs))]
    return RunComparison(
        called,
        tuple(runs),
        _differing(told),
        {
            name: tuple(one.get(name) for one in ends)
            for name in dict.fromkeys(n for one in ends for n in one)
        },
        {name: tuple(run.scalars(name) for run in runs) for name in _common_numbers(runs)},
        _common_kernels(runs),
    )


def _names(runs: Sequence[Any]) -> tuple[str, ...]:
    """The folders' names, with as much before them as tells them apart."""
    folders = [run.folder.parent if run.folder.name == "record" else run.folder for run in runs]
    for parts in range(1, 6):
        names = ["/".join(folder.parts[-parts:]) for folder in folders]
        if len(set(names)) == len(names):
            return tuple(names)
    return tuple(f"{folder.name} ({number})" for number, folder in enumerate(folders, start=1))


def _settings(run: Any) -> dict[str, Any]:
    """What the record says of how a run was made."""
    config = (run.optimizer.get("config") or {}).get("config") or {}
    begun = [event for event in run.events if event["kind"] == "begun"]
    found = {
        "optimizer": (run.optimizer.get("config") or {}).get("class_name") or run.optimizer.get("kind"),
        **{f"optimizer {name}": value for name, value in config.items() if name != "name"},
        "data": run.about.metadata.get("name"),
        "precision": run.about.policy,
        "engine": run.about.engine,
        "epochs": begun[-1].get("epochs") if begun else None,
        "seed": begun[-1].get("seed") if begun else None,
    }
    shapes = {f"weights of {path}": tuple(shape) for path, shape in run.about.weights.items()}
    return {**found, **shapes}


def _ends(run: Any) -> dict[str, float]:
    found = {}
    for name in run.scalar_names:
        if name in ("epoch", "batch", "iteration"):
            continue
        values = run.scalars(name)[1]
        if len(values):
            found[name] = float(values[-1])
    return {"updates": float(run.last_step), **found}


def _differing(told: Sequence[Mapping[str, Any]]) -> dict[str, tuple[Any, ...]]:
    names = dict.fromkeys(name for one in told for name in one)
    values = {name: tuple(one.get(name) for one in told) for name in names}
    return {name: row for name, row in values.items() if any(v != row[0] for v in row[1:])}


def _common_numbers(runs: Sequence[Any]) -> list[str]:
    others = [set(run.scalar_names) for run in runs[1:]]
    counts = ("epoch", "batch", "iteration")
    return [n for n in runs[0].scalar_names if n not in counts and all(n in other for other in others)]


def _common_kernels(runs: Sequence[Any]) -> dict[str, tuple[np.ndarray, ...]]:
    """The last kernel of each layer that all runs record in one shape."""
    found = {}
    known = [kernel_layers(run) for run in runs]
    for layer in known[0]:
        if not all(layer in one for one in known):
            continue
        last = [_last(run, layer, one[layer]) for run, one in zip(runs, known)]
        kernels = tuple(kernel for kernel in last if kernel is not None)
        if len(kernels) == len(runs) and len({kernel.shape for kernel in kernels}) == 1:
            found[layer] = kernels
    return found


def _last(run: Any, layer: str, weight: str) -> np.ndarray | None:
    steps = run.weight_steps(layer, weight)
    return None if not len(steps) else np.asarray(run.kernels(layer, int(steps[-1]), weight))


def _cosine(first: np.ndarray, other: np.ndarray) -> float:
    second = other.ravel().astype(np.float64)
    size = math.sqrt(float(first @ first) * float(second @ second))
    return float(first @ second) / size if size else 0.0


def _shown(value: Any) -> Any:
    return value if isinstance(value, str | int | float | None | tuple) else str(value)
