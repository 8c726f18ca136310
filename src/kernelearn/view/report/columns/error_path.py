"""Where the error of the chosen unit comes from, sum by sum up to the loss, as text in the report."""

from __future__ import annotations

from kernelearn.errors import KernelearnError
from kernelearn.explain.passes.backward import delta_in
from kernelearn.explain.passes.backward_text import place_words, reason
from kernelearn.explain.passes.recorded_columns import RecordedColumns
from kernelearn.view.report.columns.bench_panel import Panel
from kernelearn.view.report.decimals import MINUS, brief
from kernelearn.view.report.markup import Html, details, paragraph, table, table_of
from kernelearn.view.report.material import Material

_PARTS = 8


def path_part(m: Material, source: RecordedColumns, p: Panel) -> Html:
    """The path of the first choice; nothing where the step could not be computed once more."""
    first = p.first
    step = p.steps[first["step"]]
    replay, _ = source.replay(step)
    if replay is None or p.missing[first["step"]]:
        return Html("")
    number = p.images[first["step"]][first["image"]]
    row = int((m.run.batch(step).images == number).argmax())
    try:
        path = delta_in(replay, p.layer, p.filters[first["filter"]], first["position"], row)
    except KernelearnError as error:
        return paragraph(str(error), class_="missing")
    rows = [
        (place_words(hop), brief(hop.value, 4), brief(hop.error, 4), reason(hop).replace("-", MINUS))
        for hop in path.hops
    ]
    columns = ("number", "value", "error", "comes from")
    found = [table(columns, rows, "From the unit up to the loss", (False, True, True, False))]
    if path.above is not None:
        found.append(table_of(path.above.table(_PARTS)))
    words = (
        f"Image {number}, step {step:,}: each line goes on at the number with the largest part of the sum "
        f"before it. The sums differ from the engine's by at most {brief(path.residual, 2)} of their "
        "absolute parts."
    )
    return details("Where this error comes from, up to the loss", *found, paragraph(words, class_="note"))
