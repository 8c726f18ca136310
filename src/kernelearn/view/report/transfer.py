"""Fine-tuning in the report: what was taken over, what is new, and how far each layer moved."""

from __future__ import annotations

from kernelearn.explain.kernel.movement import Movement
from kernelearn.view.report.markup import Html, join, paragraph, table_of
from kernelearn.view.report.material import Material


def section(m: Material) -> Html:
    """The sentence and the table of `explain.movement`."""
    found = Movement.from_dict(m.about["transfer"], "transfer.json")
    origin = m.about["transfer"].get("origin")
    words = f"It began as {origin}. " if origin else ""
    note = "Distances are Euclidean, over all weights of a layer; relative to their length before."
    return join(
        [paragraph(f"{words}{found.in_words()}"), table_of(found.table()), paragraph(note, class_="note")]
    )
