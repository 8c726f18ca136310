"""`kernelearn explain ledger`, `update`, `history`, `dense`: why a weight changed, and how it is tied."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from kernelearn.cli.explain.answers import (
    CSV,
    FIGURE,
    JSON,
    LAYER,
    PLACE,
    RUN,
    STEP,
    WEIGHT,
    Explained,
    deliver,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from kernelearn.explain.gradient.ledgers import Ledger
    from kernelearn.explain.table import Table
    from kernelearn.explain.update.histories import History
    from kernelearn.explain.update.splits import UpdateSplit
    from kernelearn.recording import Run


def ledger(
    run: RUN,
    layer: LAYER = None,
    step: STEP = None,
    weight: WEIGHT = None,
    top: Annotated[int, typer.Option(min=1, help="Terms to print.")] = 10,
    figure: FIGURE = None,
    json: JSON = None,
    csv: CSV = None,
) -> None:
    """Every term of a weight's gradient at a step: this input times this error, image by image.

    Without --step it is the one that moved the weight most, of those with a ledger. JSON and CSV hold all
    terms.

    **Examples**

    - `kernelearn explain ledger runs/demo`
    - `kernelearn explain ledger runs/demo --layer conv2 --weight 0,1,3,7 --figure ledger.png`
    - `kernelearn explain ledger runs/demo --weight bias,0 --csv terms.csv`
    """
    from kernelearn.cli.sources import layer_and_weight, open_run
    from kernelearn.explain.choices import ledger_step
    from kernelearn.explain.gradient.ledger_text import NOTE, head_lines, top_table
    from kernelearn.explain.gradient.ledgers import ledger as ledger_of
    from kernelearn.explain.gradient.ledgers import weight_and_index

    source = open_run(run)
    path, index = layer_and_weight(source, layer, weight)
    name, place = weight_and_index(index)
    name = name if name == "bias" else source.weight_name(path, name)
    at = ledger_step(source, path, place, name) if step is None else step
    book = ledger_of(source, path, at, index)
    tables = [top_table(book, top)] + ([] if book.labels is None else [_by_class(source, book)])

    def drawn() -> "Figure":
        from kernelearn.view import plot_ledger

        return plot_ledger(book, class_names=source.about.class_names)

    notes = [] if book.mixes_images is False else [NOTE]
    found = Explained(tables, book.to_dict(), drawn, head_lines(book), notes, book.formula, _all_terms(book))
    deliver(found, figure, json, csv)


def _by_class(run: "Run", book: "Ledger") -> "Table":
    from kernelearn.explain.table import Table

    sums = book.by_class()
    rows = [(run.about.class_name(k), int(n), s) for k, s, n in zip(sums.keys, sums.sums, sums.counts)]
    return Table(("class", "terms", "sum"), (*rows, ("all", len(book.terms), book.total)), "Sums by class")


def _all_terms(book: "Ledger") -> "Table":
    from kernelearn.explain.table import Table

    labels = [None] * len(book.terms) if book.labels is None else book.labels.tolist()
    arrays = (book.images, labels, book.positions, book.pixels, book.inputs, book.deltas, book.terms)
    rows = tuple((i, c, tuple(p), tuple(x), *rest) for i, c, p, x, *rest in zip(*arrays))
    return Table(("image", "class", "position", "pixel", "input", "delta", "term"), rows)


def update(
    run: RUN,
    layer: LAYER = None,
    step: STEP = None,
    weight: WEIGHT = None,
    figure: FIGURE = None,
    json: JSON = None,
    csv: CSV = None,
) -> None:
    """What the optimiser made of the gradient: one update as a sum of named parts.

    Without --step it is the one that moved the weight most, of those that were recorded with their gradient.

    **Examples**

    - `kernelearn explain update runs/demo`
    - `kernelearn explain update runs/demo --layer conv2 --step 600 --figure update.png`
    """
    from kernelearn.cli.sources import layer_and_weight, open_run
    from kernelearn.explain.gradient.ledgers import weight_and_index
    from kernelearn.explain.update.run_updates import RunUpdates, update_split

    source = open_run(run)
    path, wanted = layer_and_weight(source, layer, weight)
    name, index = weight_and_index(wanted)
    known = RunUpdates(source, path, name)
    at = step if step is not None else _strongest(source, known, index)
    split = update_split(source, path, at, known.weight)

    def drawn() -> "Figure":
        from kernelearn.view import plot_update_split

        return plot_update_split([known.split(k) for k in known.steps()], index, at)

    tables = [_parts_table(split, index), split.table()]
    deliver(Explained(tables, _parts_content(split, index), drawn), figure, json, csv)


def _strongest(run: Any, known: Any, index: tuple[int, ...]) -> int:
    from kernelearn.errors import ArgumentError
    from kernelearn.explain.choices import step_that_moved_most

    steps = known.steps()
    if not steps:
        raise ArgumentError(
            f"No update of layer {known.layer!r} can be split: gradients and optimiser state are recorded "
            "with a ledger. Record one with: kernelearn train ... --record, or watch(..., every=100)"
        )
    return step_that_moved_most(run, known.layer, index, known.weight, steps)


def _parts_content(split: "UpdateSplit", index: tuple[int, ...]) -> dict[str, Any]:
    return {
        "layer": split.layer,
        "weight": split.weight,
        "index": index,
        "step": split.steps[0],
        "optimizer": split.optimizer,
        "multiplier": split.to_dict()["multiplier"],
        "of_the_number": split.at(index),
        "is_exact": split.is_exact,
        "of_the_weight": {row["part"]: row for row in split.table()},
    }


def _parts_table(split: "UpdateSplit", index: tuple[int, ...]) -> "Table":
    from kernelearn.explain.table import Table

    values = split.at(index)
    size = values["update"] or 1.0
    rows = [(name, f"{value:+.9g}", f"{100 * value / size:z.1f} %") for name, value in values.items()]
    title = (
        f"Update {split.steps[0]} of {split.layer}/{split.weight}{list(index)} by "
        f"{split.optimizer}{split.rate_note}: "
        f"{float(split.before[index]):.9g} -> {float(split.after[index]):.9g}"
    )
    return Table(("part", "value", "share of the update"), tuple(rows), title)


def history(
    run: RUN,
    layer: LAYER = None,
    weight: WEIGHT = None,
    first: Annotated[int | None, typer.Option(min=1, help="First update. [default: 1]")] = None,
    last: Annotated[int | None, typer.Option(min=1, help="Last update. [default: the last]")] = None,
    figure: FIGURE = None,
    json: JSON = None,
    csv: CSV = None,
) -> None:
    """Which epochs, classes and images made a weight what it is.

    The layers that `train --record-full` names, and small ones without being named, are explained in full.
    Images and classes are known for the steps with a ledger: `--record-ledger 1` for all.

    **Examples**

    - `kernelearn explain history runs/demo`
    - `kernelearn explain history runs/demo --layer conv1 --weight 1,1,0,4 --figure history.png`
    """
    from kernelearn.cli.sources import layer_and_weight, open_run
    from kernelearn.explain.update.histories import history as history_of

    source = open_run(run)
    path, index = layer_and_weight(source, layer, weight)
    past = history_of(source, path, index, first, last)
    tables = [past.table()]
    by_class = _classes_of(past, source)
    if by_class is not None:
        tables.append(by_class)

    def drawn() -> "Figure":
        from kernelearn.view import plot_weight_history

        trace = source.trace(path, past.index, past.weight)
        return plot_weight_history(past, trace, source.about.class_names)

    deliver(Explained(tables, past.to_dict(), drawn, notes=[past.note()]), figure, json, csv)


def _classes_of(past: "History", run: "Run") -> "Table | None":
    from kernelearn.errors import ArgumentError
    from kernelearn.explain.table import Table

    try:
        sums = past.by_class()
    except ArgumentError:
        return None
    if not len(sums.keys):
        return None
    rows = [(run.about.class_name(k), float(s), int(n)) for k, s, n in zip(sums.keys, sums.sums, sums.counts)]
    rows.append(("all", past.covered_change, len(past.ledger_steps)))
    return Table(("class", "change", "steps"), tuple(rows), "What each class changed, in steps with a ledger")


def dense(
    place: PLACE,
    layer: LAYER = None,
    step: STEP = None,
    figure: FIGURE = None,
    json: JSON = None,
    csv: CSV = None,
) -> None:
    """A convolution as the dense layer that it is: how many zeros, how many tied weights.

    **Examples**

    - `kernelearn explain dense runs/demo`
    - `kernelearn explain dense runs/demo --layer conv2 --figure matrix.png`
    """
    from kernelearn.cli.sources import open_source, usual_shape
    from kernelearn.explain.kernel.matrices import dense_equivalent
    from kernelearn.explain.kernel.source import first_convolution
    from kernelearn.explain.sight.network import read_by

    source = open_source(place)
    model = source.model(step)
    path = layer or first_convolution(model)
    found = model.get_layer(path)
    made = dense_equivalent(found, read_by(model, path, usual_shape(source, model)))
    stages = list(getattr(made, "stages", [made]))

    def drawn() -> "Figure":
        from kernelearn.view import plot_dense_equivalent

        return plot_dense_equivalent(stages[0])

    content = {
        "layer": path,
        "stages": [{"weight": s.weight, "counts": dict(s.table().rows)} for s in stages],
    }
    deliver(Explained([stage.table() for stage in stages], content, drawn), figure, json, csv)
