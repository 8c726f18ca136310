"""The whole benchmark: options in, sections run one after the other, a report out."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kernelearn.bench import machine
from kernelearn.bench.interleave import Rounds
from kernelearn.bench.nets import NETS, Net, expanded, find_net
from kernelearn.bench.nets.blueprint import Blueprint, blueprint_of, save_weights
from kernelearn.bench.rivals import Comparison, Workers
from kernelearn.errors import unknown_name

# What --against takes -> frameworks in the runners' names.
PEERS: dict[str, tuple[str, ...]] = {
    "torch": ("torch",),
    "keras": ("keras-torch", "keras-jax", "keras-tensorflow"),
    "jax": ("jax",),
    "onnxruntime": ("onnxruntime",),
}
DTYPES = ("float32", "bfloat16")
OPTIMIZERS = ("sgd", "adam")
# Ceiling -> bursts of some milliseconds: long beside waking a thread, short beside what others do meanwhile.
CEILING_BURSTS = {"fma": 100, "read": 25, "copy": 25}
FMA_TASKS = 1024
RATES = {"fma": "flops", "read": "read", "copy": "copy"}


@dataclass(frozen=True)
class Settings:
    """What to measure and how.

    Attributes:
        against: peers, names of `PEERS`.
        nets: names of networks; "all" stands for the zoo's and one of each kind.
        torch_nets: of the section "torch", which has networks of its own; none: all of them.
        batches: instead of each network's own.
        threads: for everybody.
        dtype: "float32" or "bfloat16" (mixed precision).
        optimizer: "sgd" (with momentum 0.9) or "adam".
        engine: of ours.
        plan: rounds and lengths.
        compile: whether torch.compile takes part, which takes minutes to prepare.
        python: interpreter that has the peers.
        profiled: whose calls the section "profile" shows: of "train", "predict" or both.
    """

    against: tuple[str, ...] = tuple(PEERS)
    nets: tuple[str, ...] = tuple(NETS)
    torch_nets: tuple[str, ...] = ()
    batches: tuple[int, ...] = ()
    threads: int = 2
    dtype: str = "float32"
    optimizer: str = "sgd"
    engine: str = "cpu"
    plan: Rounds = field(default_factory=Rounds)
    compile: bool = True
    quick: bool = False
    python: str | None = None
    profiled: tuple[str, ...] = ("train",)

    def __post_init__(self) -> None:
        """Raises UnknownNameError for a name that does not exist; "all" becomes the names of all networks."""
        object.__setattr__(self, "nets", expanded(self.nets))
        for name in self.nets:
            find_net(name)
        for value, kind, known in (
            *((peer, "peer", PEERS) for peer in self.against),
            (self.dtype, "dtype", DTYPES),
            (self.optimizer, "optimizer", OPTIMIZERS),
        ):
            if value not in known:
                raise unknown_name(kind, value, known)

    def batches_of(self, net: Net) -> tuple[int, ...]:
        """Batch sizes to measure a network on."""
        chosen = self.batches or net.batches
        return chosen[:1] if self.quick else chosen

    def predicted_of(self, net: Net) -> tuple[int, ...]:
        """Batch sizes to measure a network's predictions on."""
        return self.batches or net.predicted

    def frameworks(self) -> tuple[str, ...]:
        """The peers' frameworks."""
        return tuple(framework for peer in self.against for framework in PEERS[peer])


@dataclass
class Ceilings:
    """Measured limits: operations and bytes a second."""

    flops: float = 0.0
    read: float = 0.0
    copy: float = 0.0


@dataclass
class Report:
    """Everything measured, for tables, pictures and JSON.

    Attributes:
        sections: name -> what the section gives back: a list of Comparison, or of dicts.
    """

    machine: dict[str, Any] = field(default_factory=dict)
    settings: Settings = field(default_factory=Settings)
    ceilings: Ceilings = field(default_factory=Ceilings)
    versions: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    sections: dict[str, list[Any]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "machine": self.machine,
            "threads": self.settings.threads,
            "dtype": self.settings.dtype,
            "optimizer": self.settings.optimizer,
            "engine": self.settings.engine,
            "versions": self.versions,
            "missing": self.missing,
            "warnings": self.warnings,
            "ceilings": vars(self.ceilings),
            "sections": {
                name: [row.to_dict() if isinstance(row, Comparison) else row for row in rows]
                for name, rows in self.sections.items()
            },
        }


@dataclass
class Bench:
    """What sections work with.

    Attributes:
        folder: for weights; deleted at the end.
        say: tells people what is going on.
    """

    settings: Settings
    workers: Any
    folder: Path
    say: Callable[[str], None]

    def task(self, net: Net, batch: int, what: str, mode: str = "") -> dict[str, Any]:
        """The task of a network: the same weights and images for everybody."""
        path = self.folder / f"{net.name}.npz"
        blueprint = self.folder_blueprint(net)
        return {
            "what": what,
            "mode": mode,
            "net": net.name,
            "batch": batch,
            "weights": str(path),
            "blueprint": blueprint.to_dict(),
            "optimizer": self.settings.optimizer,
            "dtype": self.settings.dtype,
            "engine": self.settings.engine,
        }

    def folder_blueprint(self, net: Net) -> Blueprint:
        """The network's blueprint; its weights are written when first needed."""
        model = net.build()
        path = self.folder / f"{net.name}.npz"
        if not path.exists():
            save_weights(model, path)
        return blueprint_of(model)


Section = Callable[[Bench], list[Any]]


def sections() -> dict[str, Section]:
    """The sections by name, in order."""
    from kernelearn.bench.sections import (
        conv_layers,
        curves,
        distributed,
        inference,
        inside_torch,
        memory,
        own_code,
        reading,
        recorder,
        training,
        transfer,
    )

    return {
        "training": training.run,
        "inference": inference.run,
        "layers": conv_layers.run,
        "profile": conv_layers.run_profile,
        "memory": memory.run,
        "recorder": recorder.run,
        "input": reading.run,
        "curves": curves.run,
        "own-code": own_code.run,
        "transfer": transfer.run,
        "distributed": distributed.run,
        "torch": inside_torch.run,
    }


def run(
    settings: Settings,
    names: Sequence[str],
    say: Callable[[str], None] = lambda text: None,
    after_section: Callable[[Report], None] = lambda report: None,
) -> Report:
    """Measure the sections of these names.

    Args:
        say: gets a line about each thing that starts.
        after_section: gets the report so far, to save it: a long benchmark may be stopped.
    """
    report = Report(machine.describe_machine(), settings)
    load = machine.load_average()
    warning = machine.load_warning(load)
    report.machine["load_before"] = load
    report.warnings += [warning] if warning else []
    if warning:
        say(f"Warning: {warning}")
    with _bench(settings, say) as bench:
        report.ceilings = measure_ceilings(bench)
        for name in names:
            report.sections[name] = _section(bench, name, report)
            report.versions, report.missing = bench.workers.versions, bench.workers.missing
            report.ceilings = measure_ceilings(bench, report.ceilings)
            report.machine["load_after"] = machine.load_average()
            after_section(report)
    return report


def _section(bench: Bench, name: str, report: Report) -> list[Any]:
    """What a section gives; one that fails is told, and costs the others of a long benchmark nothing."""
    try:
        return sections()[name](bench)
    except Exception as error:
        report.warnings.append(f"section {name} failed: {type(error).__name__}: {error}")
        bench.say(f"Warning: {report.warnings[-1]}")
        return []


@contextmanager
def _bench(settings: Settings, say: Callable[[str], None]) -> Iterator[Bench]:
    workers = Workers(settings.threads, settings.python)
    with tempfile.TemporaryDirectory() as folder:
        try:
            yield Bench(settings, workers, Path(folder), say)
        finally:
            workers.close()


def _beyond_caches() -> int:
    """MiB of an array that no cache holds a large part of; at most 1 GiB."""
    return min(max(128, 4 * machine.largest_cache() // 2**20), 1024)


def measure_ceilings(bench: Bench, before: Ceilings | None = None) -> Ceilings:
    """The fastest of many short bursts of each ceiling, and of `before`: other programs can only lower it."""
    from kernelearn.bench.rivals import OURS
    from kernelearn.engine.cpu.report import ceilings

    bench.say("ceilings of the machine: multiply-adds, reading, copying")
    worker = bench.workers.get(OURS)
    task = {"tasks": FMA_TASKS * bench.settings.threads, "megabytes": _beyond_caches()}
    found = {}
    for name, bursts in CEILING_BURSTS.items():
        worker.ask(do="prepare", id=name, task={**task, "what": name})
        turns = max(bursts // 8, 2) if bench.settings.quick else bursts
        seconds = min(worker.ask(do="run", id=name, count=1) for _ in range(turns))
        worker.ask(do="drop", id=name)
        found[name] = max(ceilings.work_of(name, task) / seconds, getattr(before, RATES[name], 0.0))
    return Ceilings(**{RATES[name]: rate for name, rate in found.items()})
