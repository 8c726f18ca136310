"""`kernelearn bench`: training, inference and memory side by side with others, and against the machine."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kernelearn.cli.bench import options
from kernelearn.errors import ArgumentError

if TYPE_CHECKING:
    from kernelearn.bench.interleave import Rounds
    from kernelearn.bench.report import Report

# Option -> the step whose calls it asks for, beside --layers.
PROFILED = {"training": "train", "inference": "predict"}


def bench(
    networks: options.NETWORKS = None,
    against: options.AGAINST = "torch,keras,onnxruntime,jax",
    nets: options.NETS = None,
    training: options.TRAINING = False,
    inference: options.INFERENCE = False,
    layers: options.LAYERS = False,
    memory: options.MEMORY = False,
    recorder: options.RECORDER = False,
    input_: options.INPUT = False,
    curves: options.CURVES = False,
    own_code: options.OWN_CODE = False,
    transfer: options.TRANSFER = False,
    distributed: options.DISTRIBUTED = False,
    torch: options.TORCH = False,
    threads: options.THREADS = None,
    batch: options.BATCH = None,
    dtype: options.DTYPE = "float32",
    optimizer: options.OPTIMIZER = "sgd",
    engine: options.ENGINE = "cpu",
    rounds: options.ROUNDS = None,
    no_compile: options.NO_COMPILE = False,
    quick: options.QUICK = False,
    python: options.PYTHON = None,
    json_file: options.JSON_FILE = None,
    figure: options.FIGURE = None,
    markdown: options.MARKDOWN = None,
) -> None:
    """Measure this library on your machine: side by side with others, round by round in turn.

    A ratio of 2 means that the peer takes twice as long. Without --training, --inference, --layers, --memory,
    --recorder, --input, --curves, --own-code, --transfer, --distributed and --torch all are measured: about
    an hour with all peers.

    **Examples**

    - `kernelearn bench --quick --training --nets lenet --against torch`
    - `kernelearn bench --layers resnet20`
    - `kernelearn bench --layers --inference resnet20 --batch 1`
    - `kernelearn bench --torch lenet resnet50 --quick`
    - `kernelearn bench --quick --training --inference --nets all --against torch,onnxruntime`
    - `kernelearn bench --json bench.json --figure bench.png --markdown bench.md`
    \f
    Long by its options: typer reads one parameter for each. What follows \f is not in the help.
    """
    from kernelearn.bench.suite import Settings, run
    from kernelearn.cli.output import say

    wanted = {
        "training": training,
        "inference": inference,
        "layers": layers,
        "memory": memory,
        "recorder": recorder,
        "input": input_,
        "curves": curves,
        "own-code": own_code,
        "transfer": transfer,
        "distributed": distributed,
        "torch": torch,
    }
    given = tuple(networks or _words(nets))
    is_torch_alone = [name for name, is_wanted in wanted.items() if is_wanted] == ["torch"]
    settings = Settings(
        against=_words(against),
        nets=(not is_torch_alone and given) or Settings.nets,
        torch_nets=torch_networks(given) if torch else (),
        batches=_batches(batch),
        threads=threads or _default_threads(),
        dtype=dtype,
        optimizer=optimizer,
        engine=engine,
        plan=_plan(rounds, quick),
        compile=not (no_compile or quick),
        quick=quick,
        python=python,
        profiled=_profiled(wanted),
    )
    kept = Kept(json_file, markdown, figure)
    kept.check_folders()
    shown: set[str] = set()

    def after_section(report: "Report") -> None:
        _show(report, shown)
        kept.save(report)

    report = run(settings, _sections(wanted, networks), lambda text: say(text, to_stderr=True), after_section)
    kept.draw(report)


@dataclass(frozen=True)
class Kept:
    """The files that keep what was measured; None for those not asked for."""

    json: Path | None
    markdown: Path | None
    figure: Path | None

    def check_folders(self) -> None:
        """Raises ArgumentError now and not after an hour."""
        for path in (self.json, self.figure, self.markdown):
            if path is not None and not path.absolute().parent.is_dir():
                raise ArgumentError(f"The folder of {str(path)!r} does not exist.")

    def save(self, report: "Report") -> None:
        """Write everything so far."""
        import json

        from kernelearn.bench.report import write_markdown
        from kernelearn.cli.output import plain
        from kernelearn.storage import atomic_write

        if self.json is not None:
            with atomic_write(self.json) as file:
                file.write(json.dumps(plain(report.to_dict()), indent=2, allow_nan=False).encode())
        if self.markdown is not None:
            write_markdown(report, self.markdown)

    def draw(self, report: "Report") -> None:
        """Write the picture, if something was compared."""
        from kernelearn.bench.figure import plot_report
        from kernelearn.cli.output import say
        from kernelearn.view import save_figure

        if self.figure is None:
            return
        drawing = plot_report(report)
        if drawing is None:
            say("No picture: nothing was compared.", to_stderr=True)
        else:
            save_figure(drawing, self.figure)
            say(f"Picture: {self.figure}", to_stderr=True)


def torch_networks(given: tuple[str, ...]) -> tuple[str, ...]:
    """Networks for --torch; "all" and none are all.

    Raises: UnknownNameError for one that it does not have.
    """
    from kernelearn.bench.sections.inside_torch import networks_of

    return networks_of(tuple(name for name in given if name != "all"))


def _sections(wanted: dict[str, bool], networks: list[str] | None) -> list[str]:
    """The sections that were asked for, or all.

    `--layers NET` asks for the calls of the network's steps; --training and --inference then say of which.
    """
    names = [name for name, is_wanted in wanted.items() if is_wanted] or list(wanted)
    if wanted["layers"] and networks:
        names = ["profile" if name == "layers" else name for name in names if name not in PROFILED]
    return names


def _profiled(wanted: dict[str, bool]) -> tuple[str, ...]:
    return tuple(what for name, what in PROFILED.items() if wanted[name]) or ("train",)


def _plan(rounds: int | None, quick: bool) -> "Rounds":
    from kernelearn.bench.interleave import Rounds

    return Rounds(rounds or 3, 0.15) if quick else Rounds(rounds or Rounds.rounds)


def _words(text: str | None) -> tuple[str, ...]:
    """ "a,b" as ("a", "b"); "none" and nothing as ()."""
    words = tuple(word for word in (text or "").replace(",", " ").split() if word)
    return () if words == ("none",) else words


def _batches(text: str | None) -> tuple[int, ...]:
    from kernelearn.cli.output import counts

    return () if text is None else counts(text, "--batch")


def _default_threads() -> int:
    from kernelearn.engine.cpu.machine.threads import available_cpus

    return min(2, available_cpus())


def _show(report: "Report", shown: set[str]) -> None:
    """Print the tables that were not printed yet."""
    from kernelearn.bench.report import headline, tables
    from kernelearn.cli.output import say, say_prose, say_table

    if not shown:
        for line in headline(report):
            say_prose(line)
    for table in tables(report):
        if table.title in shown:
            continue
        shown.add(table.title)
        say()
        say_table(table.columns, table.rows, table.title)
        for note in table.notes:
            say_prose(note)
