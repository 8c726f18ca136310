"""Contestants in worker processes: started when first needed, prepared for one comparison, timed, let go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from kernelearn.bench.interleave import Rounds, measure
from kernelearn.bench.processes import Worker, WorkerError
from kernelearn.bench.statistics import Spread, ratio, spread

OURS = "kernelearn"
# Losses of the same network in two frameworks differ by this share at most, or the work is not the same.
SAME_LOSS = 0.1


@dataclass(frozen=True)
class Entry:
    """Who takes part in a comparison.

    Attributes:
        name: for tables, such as "PyTorch channels_last".
        group: rivals whose best counts, such as "PyTorch".
        framework: whose worker does it.
        task: see `runners`.
        least: steps of one burst at least.
    """

    name: str
    group: str
    framework: str
    task: dict[str, Any]
    least: int = 1


@dataclass
class Comparison:
    """The result of one row: seconds a step of every contestant, round by round.

    Attributes:
        label: what was done.
        flops: of one step, or 0 if not counted.
        seconds: name -> one value a round.
        groups: name -> group.
        baseline: group -> name of ours that it is compared with.
        notes: name -> why it has no times, or what should be known about them.
    """

    label: str
    flops: float = 0.0
    seconds: dict[str, list[float]] = field(default_factory=dict)
    groups: dict[str, str] = field(default_factory=dict)
    baseline: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)

    def time(self, name: str) -> Spread:
        """Seconds a step."""
        return spread(self.seconds[name])

    def peers(self) -> list[str]:
        """Groups other than ours that have times."""
        return list(dict.fromkeys(g for n, g in self.groups.items() if n in self.seconds and g != OURS))

    def best(self, group: str) -> str:
        """The fastest of a group."""
        names = [n for n, g in self.groups.items() if g == group and n in self.seconds]
        return min(names, key=lambda name: self.time(name).median)

    def ratio(self, group: str) -> Spread | None:
        """How many times as long the best of a group takes as ours; None if ours has no times."""
        ours = self.baseline.get(group, OURS)
        if ours not in self.seconds:
            return None
        return ratio(self.seconds[self.best(group)], self.seconds[ours])

    def to_dict(self) -> dict[str, Any]:
        """For JSON: every single time, and what follows from them."""
        ratios = {group: self.ratio(group) for group in self.peers()}
        return {
            "label": self.label,
            "flops": self.flops,
            "seconds": self.seconds,
            "groups": self.groups,
            "ratios": {
                group: {"to": self.best(group), **found.to_dict()} for group, found in ratios.items() if found
            },
            "notes": self.notes,
        }


class _Rival:
    """A prepared entry, as `interleave.measure` times it."""

    def __init__(self, worker: Worker, entry: Entry) -> None:
        self.name, self.least = entry.name, entry.least
        self._worker = worker
        self.prepared = worker.ask(do="prepare", id=entry.name, task=entry.task)

    def time(self, count: int) -> float:
        return float(self._worker.ask(do="run", id=self.name, count=count))

    def drop(self) -> None:
        self._worker.ask(do="drop", id=self.name)


class Workers:
    """The workers of a benchmark by framework.

    Args:
        threads: that each may use.
        python: interpreter that has the peers; this one by default.
        start: makes a worker; tests give another.
    """

    def __init__(self, threads: int, python: str | None = None, start: Callable[..., Any] = Worker) -> None:
        self._threads, self._python, self._start = threads, python, start
        self._running: dict[str, Any] = {}
        self.versions: dict[str, str] = {}
        self.missing: dict[str, str] = {}

    def get(self, framework: str) -> Any:
        """The worker of a framework.

        Raises: WorkerError if the framework cannot be loaded.
        """
        if framework in self.missing:
            raise WorkerError(self.missing[framework])
        if framework not in self._running:
            worker = self.fresh(framework)
            try:
                self.versions.update(worker.ask(do="hello")["versions"])
            except WorkerError as error:
                worker.close()
                self.missing[framework] = str(error)
                raise
            self._running[framework] = worker
        return self._running[framework]

    def fresh(self, framework: str) -> Any:
        """A new worker, that the caller closes."""
        return self._start(framework, self._threads, self._python)

    def forget(self, framework: str) -> None:
        """End a worker; the next use starts a new one."""
        worker = self._running.pop(framework, None)
        if worker is not None:
            worker.close()

    def close(self) -> None:
        """End all."""
        for framework in list(self._running):
            self.forget(framework)

    def compare(
        self,
        label: str,
        entries: Sequence[Entry],
        plan: Rounds,
        flops: float = 0.0,
        baseline: dict[str, str] | None = None,
    ) -> Comparison:
        """Prepare all entries, time them in turn, and let them go. Those that cannot are noted."""
        result = Comparison(label, flops, baseline=dict(baseline or {}))
        result.groups = {entry.name: entry.group for entry in entries}
        rivals, firsts = self._prepare(entries, result)
        times = measure(rivals, plan)
        result.seconds = times.seconds
        result.notes.update(times.failed)
        _note_differences(result, firsts)
        self._let_go(entries, rivals)
        return result

    def _prepare(self, entries: Sequence[Entry], result: Comparison) -> tuple[list[_Rival], dict[str, float]]:
        rivals, firsts = [], {}
        for entry in entries:
            try:
                rival = _Rival(self.get(entry.framework), entry)
            except WorkerError as error:
                result.notes[entry.name] = str(error)
                continue
            rivals.append(rival)
            if rival.prepared["note"]:
                result.notes[entry.name] = rival.prepared["note"]
            if rival.prepared["first"] is not None:
                firsts[entry.name] = rival.prepared["first"]
        return rivals, firsts

    def _let_go(self, entries: Sequence[Entry], rivals: list[_Rival]) -> None:
        frameworks = {entry.name: entry.framework for entry in entries}
        for rival in rivals:
            try:
                rival.drop()
            except WorkerError:  # it ended: the next use starts a new one
                self.forget(frameworks[rival.name])


def _note_differences(result: Comparison, firsts: dict[str, float]) -> None:
    """Say where a first loss shows that somebody does other work than ours."""
    if OURS not in firsts:
        return
    ours = firsts[OURS]
    for name, value in firsts.items():
        if not abs(value - ours) <= SAME_LOSS * abs(ours):
            result.notes[name] = f"its first loss is {value:.4g}, ours {ours:.4g}: not the same work"
