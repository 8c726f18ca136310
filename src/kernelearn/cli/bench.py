"""`kernelearn bench`: training, inference and memory side by side with others, and against the machine."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from kernelearn.errors import ArgumentError

_ALL = ("training", "inference", "layers", "memory", "recorder", "curves")


def bench(
    networks: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NET]...", help="The same as --nets.", show_default=False),
    ] = None,
    against: Annotated[
        str, typer.Option(help="Peers, with commas; those not installed are left out. none for none.")
    ] = "torch,keras,onnxruntime,jax",
    nets: Annotated[
        str | None,
        typer.Option(help="Networks, with commas. [default: lenet,vgg_small,resnet20,resnet18]"),
    ] = None,
    training: Annotated[bool, typer.Option("--training", help="Training steps, and fit.")] = False,
    inference: Annotated[bool, typer.Option("--inference", help="Predictions, batch 1 and 256.")] = False,
    layers: Annotated[
        bool,
        typer.Option("--layers", help="Single convolutions; with NET where the time of its step goes."),
    ] = False,
    memory: Annotated[bool, typer.Option("--memory", help="Peak memory of a training process.")] = False,
    recorder: Annotated[bool, typer.Option("--recorder", help="What recording costs.")] = False,
    curves: Annotated[bool, typer.Option("--curves", help="Cost over batch, images, channels.")] = False,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Of everybody. [default: 2, or all CPUs]")
    ] = None,
    batch: Annotated[
        str | None, typer.Option(help="Batch sizes, such as 32,64. [default: each network's]")
    ] = None,
    dtype: Annotated[str, typer.Option(help="float32 or bfloat16 (mixed precision).")] = "float32",
    optimizer: Annotated[str, typer.Option(help="sgd (momentum 0.9) or adam.")] = "sgd",
    engine: Annotated[str, typer.Option(help="Ours: cpu (compiled) or reference.")] = "cpu",
    rounds: Annotated[int | None, typer.Option(min=1, help="[default: 9; 3 with --quick]")] = None,
    no_compile: Annotated[
        bool, typer.Option("--no-compile", help="Without torch.compile, which takes minutes to prepare.")
    ] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Short and rough; without torch.compile.")] = False,
    python: Annotated[
        str | None, typer.Option(help="Interpreter that has the peers and kernelearn. [default: this one]")
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Save all times here.")] = None,
    figure: Annotated[Path | None, typer.Option(help="Save a picture here (.png, .svg, .pdf).")] = None,
    markdown: Annotated[
        Path | None, typer.Option(help="Save the tables here, between the file's marks if it has them.")
    ] = None,
) -> None:
    """Measure this library on your machine: side by side with others, round by round in turn.

    A ratio of 2 means that the peer takes twice as long. Without --training, --inference, --layers, --memory,
    --recorder and --curves all of them are measured, which takes about an hour with all peers.

    **Examples**

    - `kernelearn bench --quick --training --nets lenet --against torch`
    - `kernelearn bench --layers resnet20`
    - `kernelearn bench --json bench.json --figure bench.png --markdown bench.md`
    """
    from kernelearn.bench.interleave import Rounds
    from kernelearn.bench.suite import Settings, run
    from kernelearn.cli.output import say

    chosen = dict(
        training=training, inference=inference, layers=layers, memory=memory, recorder=recorder, curves=curves
    )
    names = [name for name in _ALL if chosen[name]] or list(_ALL)
    if layers and networks:
        names[names.index("layers")] = "profile"
    settings = Settings(
        against=_words(against),
        nets=tuple(networks or _words(nets) or Settings.nets),
        batches=_batches(batch),
        threads=threads or _default_threads(),
        dtype=dtype,
        optimizer=optimizer,
        engine=engine,
        plan=Rounds(rounds or 3, 0.15) if quick else Rounds(rounds or Rounds.rounds),
        compile=not (no_compile or quick),
        quick=quick,
        python=python,
    )
    for path in (json_file, figure, markdown):
        _check_folder(path)
    shown: set[str] = set()

    def after_section(report: Any) -> None:
        _show(report, shown)
        _save(report, json_file, markdown)

    report = run(settings, names, lambda text: say(text, to_stderr=True), after_section)
    if figure is not None:
        _draw(report, figure)


def _words(text: str | None) -> tuple[str, ...]:
    """ "a,b" as ("a", "b"); "none" and nothing as ()."""
    words = tuple(word for word in (text or "").replace(",", " ").split() if word)
    return () if words == ("none",) else words


def _batches(text: str | None) -> tuple[int, ...]:
    from kernelearn.cli.output import counts

    return () if text is None else counts(text, "--batch")


def _default_threads() -> int:
    from kernelearn.engine.cpu.threads import available_cpus

    return min(2, available_cpus())


def _check_folder(path: Path | None) -> None:
    """Raises ArgumentError now and not after an hour."""
    if path is not None and not path.absolute().parent.is_dir():
        raise ArgumentError(f"The folder of {str(path)!r} does not exist.")


def _show(report: Any, shown: set[str]) -> None:
    """Print the tables that were not printed yet."""
    from kernelearn.bench.report import headline, plain_text, rich_table, tables
    from kernelearn.cli.output import say, say_rich

    if not shown:
        say("\n".join(headline(report)))
    for table in tables(report):
        if table.title in shown:
            continue
        shown.add(table.title)
        say()
        if sys.stdout.isatty():
            say_rich(rich_table(table))
        else:
            say(plain_text(table))


def _save(report: Any, json_file: Path | None, markdown: Path | None) -> None:
    """Everything so far."""
    import json

    from kernelearn.bench.report import write_markdown
    from kernelearn.cli.output import plain
    from kernelearn.storage import atomic_write

    if json_file is not None:
        with atomic_write(json_file) as file:
            file.write(json.dumps(plain(report.to_dict()), indent=2, allow_nan=False).encode())
    if markdown is not None:
        write_markdown(report, markdown)


def _draw(report: Any, path: Path) -> None:
    from kernelearn.bench.figure import plot_report
    from kernelearn.cli.output import say
    from kernelearn.view import save_figure

    drawing = plot_report(report)
    if drawing is None:
        say("No picture: nothing was compared.", to_stderr=True)
    else:
        save_figure(drawing, path)
        say(f"Picture: {path}", to_stderr=True)
