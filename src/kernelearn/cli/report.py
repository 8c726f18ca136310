"""`kernelearn report RUN`: everything that a recorded run shows, as one HTML file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from kernelearn.cli.run_folder import Training
    from kernelearn.data import Dataset
    from kernelearn.explain.experiments import ExperimentResult

_MOST_IMAGES = 2000


def report(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="Folder of a run that was recorded.", show_default=False)
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file. [default: RUN/report.html]")
    ] = None,
    experiments: Annotated[
        Path | None,
        typer.Option(help="Folder (or file) of results that kernelearn experiment ... --save wrote as JSON."),
    ] = None,
    title: Annotated[str | None, typer.Option(help="Heading. [default: made from the data]")] = None,
    data: Annotated[
        str | None, typer.Option(help="Images to search for patches. [default: the run's own test part]")
    ] = None,
) -> None:
    """Write one self-contained HTML file: curves, kernels over time, why weights changed, what kernels see.

    It opens in any browser without a network, and can be mailed or put on any server as it is.

    **Examples**

    - `kernelearn report runs/demo`
    - `kernelearn report runs/demo -o report.html --experiments results/ --title "My kernels"`
    """
    from kernelearn.cli import run_folder
    from kernelearn.cli.output import say
    from kernelearn.cli.sources import images_if_known, open_source, training_if_known
    from kernelearn.storage import readable_size
    from kernelearn.view import write_report

    _check_ending(output)
    source = open_source(run)
    written = write_report(
        source.recording,
        output or source.folder / run_folder.REPORT,
        **_examples(images_if_known(source, data)),
        training=training_if_known(source),
        experiments=_results(experiments),
        title=title,
        about=_about(source.training, source.folder),
    )
    say(f"Report: {written} ({readable_size(written.stat().st_size)}; open it in a browser)")


def _examples(dataset: "Dataset | None") -> dict[str, Any]:
    """The first images of a data set with their classes, as arrays; nothing without one."""
    if dataset is None:
        return {}
    images, labels = dataset.subset(range(min(_MOST_IMAGES, len(dataset)))).arrays()
    return {"images": images, "labels": labels if dataset.has_classes else None}


def _about(training: "Training | None", folder: Path) -> dict[str, Any]:
    """What run.json knows of the training, and transfer.json of a fine-tuning."""
    from kernelearn.cli.train.transfer import read_report

    if training is None:
        return {}
    names = ("command", "arguments", "versions", "results", "data")
    moved = read_report(folder)
    about = {name: getattr(training, name) for name in names}
    return about if moved is None else {**about, "transfer": moved}


def _results(place: Path | None) -> "list[ExperimentResult]":
    """The results of experiments in a folder.

    Raises: ArgumentError if there are none, FormatError for a file that is none.
    """
    from kernelearn.errors import ArgumentError
    from kernelearn.explain.experiments import ExperimentResult

    if place is None:
        return []
    paths = sorted(place.glob("*.json")) if place.is_dir() else [place]
    if not paths or not all(path.is_file() for path in paths):
        raise ArgumentError(
            f"There are no results of experiments at {str(place)!r}; write some with: "
            "kernelearn experiment frozen --save results/frozen.json"
        )
    return [ExperimentResult.load(path) for path in paths]


def _check_ending(output: Path | None) -> None:
    """Raises ArgumentError for a name that promises another kind of file."""
    from kernelearn.errors import ArgumentError

    if output is not None and output.suffix.lower() not in ("", ".html", ".htm"):
        raise ArgumentError(f"A report is an HTML file; {str(output)!r} ends otherwise. Name it .html.")
