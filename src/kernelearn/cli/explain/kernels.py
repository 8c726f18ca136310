"""`kernelearn explain filters` and `curves`: what kernels are, and how they became that."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kernelearn.cli.explain.answers import CSV, FIGURE, JSON, LAYER, PLACE, RUN, STEP, Explained, deliver

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from kernelearn.explain.kernel.curves import LearningCurves
    from kernelearn.recording import Run


def filters(
    place: PLACE,
    layer: LAYER = None,
    step: STEP = None,
    details: Annotated[
        bool, typer.Option("--details", help="Add norm, frequency, orientation, symmetry, rank.")
    ] = False,
    figure: FIGURE = None,
    json: JSON = None,
    csv: CSV = None,
) -> None:
    """Which classical filter each kernel resembles, what chance gives, which kernels are dead or copies.

    **Examples**

    - `kernelearn explain filters runs/demo`
    - `kernelearn explain filters runs/demo --layer conv2 --step 100 --figure filters.png`
    """
    from kernelearn.cli.sources import open_source
    from kernelearn.explain.kernel.filter_banks import filter_bank
    from kernelearn.explain.kernel.health import kernel_health

    source = open_source(place)
    given = source.model(step) if source.run is None else source.run
    bank = filter_bank(given, layer, step)
    health = kernel_health(given, bank.kernels.layer, step)

    def drawn() -> "Figure":
        from kernelearn.view import plot_filter_bank

        return plot_filter_bank(bank, health)

    content = {"layer": bank.kernels.layer, "bank": bank.to_dict(), "health": health.to_dict()}
    notes = [
        "p_best: share of random kernels of this size that resemble some filter as much; trust small ones.",
        str(health).rpartition("\n")[2],
    ]
    tables = [bank.table(details), health.table()]
    deliver(Explained(tables, content, drawn, notes=notes), figure, json, csv)


def curves(
    run: RUN,
    layer: Annotated[str | None, typer.Option(help="Name of the layer. [default: all, compared]")] = None,
    figure: FIGURE = None,
    json: JSON = None,
    csv: CSV = None,
) -> None:
    """How kernels moved: distance from their start, speed, changes of sign, when they settled.

    Without --layer the layers are compared; with it there is one row per filter.

    **Examples**

    - `kernelearn explain curves runs/demo --figure layers.png`
    - `kernelearn explain curves runs/demo --layer conv1 --csv conv1.csv`
    """
    from kernelearn.cli.sources import open_run
    from kernelearn.explain.kernel.curves import compare_layers, learning_curves

    source = open_run(run)
    if layer is None:
        table: Any = compare_layers(source)
        names = table["layer"]
        drawn = _layers_drawn(source, names)
        content = {"layers": table.to_dict()}
    else:
        found = learning_curves(source, layer)
        table = found.table()
        drawn = _curves_drawn(found)
        content = found.to_dict()
    deliver(Explained([table], content, drawn), figure, json, csv)


def _layers_drawn(run: "Run", names: list[str]) -> "Callable[[], Figure]":
    def drawn() -> "Figure":
        from kernelearn.explain.kernel.curves import learning_curves
        from kernelearn.view import plot_layers_compared

        return plot_layers_compared([learning_curves(run, name) for name in names])

    return drawn


def _curves_drawn(found: "LearningCurves") -> "Callable[[], Figure]":
    def drawn() -> "Figure":
        from kernelearn.view import plot_learning_curves

        return plot_learning_curves(found)

    return drawn
