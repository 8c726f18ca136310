"""The result of an experiment as a table: plain text, Markdown, CSV (a line for each condition and seed)."""

import csv
import io
from math import isnan
from typing import Any

from kernelearn.explain.experiments.spread import Summary

_HEADINGS = (
    "condition",
    "test %",
    "95 % interval",
    "minus baseline",
    "train %",
    "trained",
    "weights",
    "seconds",
)


def headings(result: Any) -> list[str]:
    """Column headings: those of every experiment, then its own measures."""
    return [*_HEADINGS, *(name.replace("_", " ") for name in result.measures())]


def cells(result: Any) -> list[list[str]]:
    """The table's body, a list of texts for each row."""
    return [_row_cells(result, row) for row in result.rows]


def _row_cells(result: Any, row: Any) -> list[str]:
    accuracy = row.summary()
    fixed = [
        row.name + (" (diverged)" if any(row.diverged) else ""),
        _with_spread(accuracy),
        _interval(accuracy),
        "baseline" if row.name == result.baseline else _difference(result, row),
        f"{100 * row.summary('train_accuracy').mean:.1f}",
        f"{row.trained:,}",
        f"{row.parameters:,}",
        f"{row.typical_seconds:.2f}",
    ]
    return fixed + [_measure(row, name) for name in result.measures()]


def _with_spread(summary: Summary) -> str:
    mean = f"{100 * summary.mean:.1f}"
    return mean if isnan(summary.std) else f"{mean} ± {100 * summary.std:.1f}"


def _interval(summary: Summary) -> str:
    return "-" if isnan(summary.low) else f"{100 * summary.low:.1f} to {100 * summary.high:.1f}"


def _difference(result: Any, row: Any) -> str:
    difference = result.compare(row.name).difference
    mean = f"{100 * difference.mean:+.1f}"
    if isnan(difference.low):
        return mean
    return f"{mean} ({100 * difference.low:+.1f} to {100 * difference.high:+.1f})"


def _measure(row: Any, name: str) -> str:
    if name not in row.measures:
        return "-"
    mean = row.summary(name).mean
    return f"{100 * mean:.1f} %" if name.endswith("accuracy") else f"{mean:,.4g}"


def as_text(result: Any) -> str:
    """The question, the table in aligned columns, how it was made, and the answer."""
    lines = [headings(result), *cells(result)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    table = [_aligned(line, widths) for line in lines]
    table.insert(1, "-" * len(table[0]))
    return "\n".join([result.question, "", *table, "", *remarks(result)])


def _aligned(line: list[str], widths: list[int]) -> str:
    first, *others = (
        text.ljust(width) if i == 0 else text.rjust(width)
        for i, (text, width) in enumerate(zip(line, widths))
    )
    return "  ".join([first, *others])


def remarks(result: Any) -> list[str]:
    """What stands below the table."""
    data, budget = result.data, result.budget
    seeds = f"{len(result.seeds)} seed{'' if len(result.seeds) == 1 else 's'}"
    shape = " x ".join(map(str, data["input_shape"]))
    return [
        "test %, train %: share of the test images, and of the training images in the last epoch, that are "
        "recognised; trained: weights that training may change; seconds: median over the seeds.",
        f"{data['name']} ({shape}), {data['images']:,} images to train on, {data['test_images']:,} to test "
        f"on; {seeds}, mean ± standard deviation. Every condition: {budget['updates']:,} updates "
        f"({budget['epochs']} epochs, batches of {budget['batch_size']}); differences are paired by seed. "
        f"Always the most frequent class: {100 * sum(result.chance) / len(result.chance):.1f} %.",
        *result.notes,
        f"Answer: {result.answer}",
    ]


def as_markdown(result: Any) -> str:
    """The same as a Markdown table."""
    lines = [headings(result), ["---", *["---:"] * (len(headings(result)) - 1)], *cells(result)]
    table = [f"| {' | '.join(line)} |" for line in lines]
    return "\n".join([f"**{result.question}**", "", *table, "", *_paragraphs(remarks(result))])


def _paragraphs(lines: list[str]) -> list[str]:
    return [part for line in lines for part in (line, "")][:-1]


def as_csv(result: Any) -> str:
    """One line for each condition and seed, every number in full."""
    measures = result.measures()
    columns = ["experiment", "condition", "seed", "accuracy", "loss", "train_accuracy", "seconds", "trained"]
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([*columns, "parameters", "diverged", *measures])
    for row in result.rows:
        for i, seed in enumerate(result.seeds):
            values = [row.accuracy[i], row.loss[i], row.train_accuracy[i], row.seconds[i]]
            extra = [row.measures[name][i] if name in row.measures else "" for name in measures]
            counts = [row.trained, row.parameters, int(row.diverged[i])]
            writer.writerow([result.experiment, row.name, seed, *values, *counts, *extra])
    return file.getvalue()
