"""`model.summary(engine=True)`: what the engine does for each layer, below the table of the layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from kernelearn.engine.program import PHASES
from kernelearn.engine.work import (
    ESTIMATE_NOTE,
    ESTIMATED,
    Work,
    by_layer,
    estimate_cells,
    hosts,
    scaled,
    table,
    traffic_text,
)

if TYPE_CHECKING:
    from kernelearn.models.model import Model

COLUMNS = ("Layer", "Phase", "Runs on", "Kernels", "Tasks", "FLOPs", "Bytes", "At best", "Limit", "Of peak")
ALIGNED = "llllrrrrlr"


def engine_lines(model: Model, images: int = 32, input_shape: Any = None) -> list[str]:
    """Per layer and phase: where it runs, by which kernels, into how many tasks split, FLOPs and bytes.

    Shows the training step of a model that was compiled with a loss, else prediction. Kernels need not have
    been compiled for that. On the compiled engine also what each kernel takes at best on this machine: an
    estimate.
    """
    kind = "train" if _has_training(model) else "predict"
    executable: Any = model.step(kind, input_shape).executable  # each engine tells what it can
    rows = getattr(executable, "estimated_work", executable.work)(images)
    step = "training step" if kind == "train" else "prediction"
    elsewhere = sum(not row.is_native for row in rows)
    reference = f", {elsewhere} of {len(rows)} operations on the reference engine" if elsewhere else ""
    title = f"Engine: {executable.engine}, {step} on {images} images{reference}"
    is_estimated = any(row.estimate for row in rows)
    wide = len(COLUMNS) if is_estimated else len(COLUMNS) - len(ESTIMATED)
    cells = [line[:wide] for line in _layer_rows(model, rows, executable.engine)]
    lines = [title, *table(COLUMNS[:wide], cells, ALIGNED[:wide], indent="")]
    if not is_estimated:
        return lines
    least = executable.least_bytes(images)
    moved = executable.moved_bytes(images)
    traffic = [_sentence(traffic_text(rows, moved, least))] if least else []
    return [*lines, "", *traffic, *_estimate_lines(executable, rows)]


def _estimate_lines(executable: Any, rows: Sequence[Work]) -> list[str]:
    """What the estimates add up to, what they are made from, and that they are estimates."""
    seconds, _, share = estimate_cells(rows)
    return [
        f"All kernels together: at best {seconds}, {share} of the peak",
        _sentence(executable.peaks_text()),
        _sentence(ESTIMATE_NOTE),
    ]


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def _has_training(model: Model) -> bool:
    return model.compiled and model.programs.has_loss


def _layer_rows(model: Model, rows: Sequence[Work], engine: str) -> Iterator[list[str]]:
    own, fused = by_layer(rows), hosts(rows)
    known = [layer.name for layer in model.layers]
    others = [name for name in own if name and name not in known]
    for name in (*known, *others, ""):
        elsewhere = f"(rest within {', '.join(fused[name])})" if name in fused else ""
        if name in own:
            yield from _phase_rows(name or "(loss)", own[name], engine)
            if elsewhere:
                yield _without_figures("", engine, elsewhere)
        elif name in known:
            yield _without_figures(name, engine if elsewhere else "", elsewhere or "nothing to compute")


def _without_figures(name: str, place: str, what: str) -> list[str]:
    return [name, "", place, what, *[""] * 6]


def _phase_rows(name: str, rows: Sequence[Work], engine: str) -> Iterator[list[str]]:
    """One row per kernel, equal ones added up; layer and phase are named once."""
    for phase in PHASES:
        label = phase
        for same in _equal([row for row in rows if row.phase == phase]):
            place = engine if same[0].is_native else "reference"
            yield [name, label, place, *_figures(same)]
            name = label = ""


def _equal(rows: Sequence[Work]) -> Iterator[list[Work]]:
    """Rows of the same text together, in the order of the first."""
    for text in dict.fromkeys(row.text for row in rows):
        yield [row for row in rows if row.text == text]


def _figures(rows: Sequence[Work]) -> list[str]:
    counted = [row.flops for row in rows if row.flops is not None]
    tasks = " + ".join(str(row.tasks) for row in rows)
    flops = scaled(sum(counted)) if counted else "-"
    return [rows[0].text, tasks, flops, scaled(sum(row.bytes for row in rows)), *estimate_cells(rows)]
