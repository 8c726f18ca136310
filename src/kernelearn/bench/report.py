"""A report as tables: for a terminal, as plain text, and as Markdown for the documentation."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kernelearn.bench.rivals import OURS, Comparison
from kernelearn.bench.sections import inside_torch
from kernelearn.bench.statistics import Spread
from kernelearn.bench.suite import Ceilings, Report
from kernelearn.errors import ArgumentError
from kernelearn.storage import atomic_write

# Where a Markdown file keeps the tables: what stands between is replaced.
BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
# Calls of a profile that are listed.
MOST_CALLS = 25


@dataclass
class Table:
    """Cells as text; the first column is left aligned, the others right."""

    title: str
    columns: list[str]
    rows: list[list[str]]
    notes: list[str] = field(default_factory=list)


def tables(report: Report) -> list[Table]:
    """All tables of a report, in the order of its sections."""
    found: list[Table] = []
    for name, rows in report.sections.items():
        if rows:
            found += _MAKERS[name](rows, report.ceilings)
    return found


def headline(report: Report) -> list[str]:
    """What was measured on, in a few lines."""
    facts, limits, settings = report.machine, report.ceilings, report.settings
    versions = ", ".join(f"{name} {version}" for name, version in sorted(report.versions.items()))
    lines = [
        f"{facts['processor']}, {facts['cores']} cores, {facts['vectors']}, {facts['system']}",
        f"{facts['date']}, Python {facts['python']}, {versions}",
        f"{settings.threads} threads each, {settings.dtype}, {settings.optimizer}, engine {settings.engine}; "
        f"{settings.plan.rounds} rounds in turn",
        f"load average before {_load(facts.get('load_before'))}, after {_load(facts.get('load_after'))}",
        f"measured ceilings: {limits.flops / 1e9:.0f} GFLOP/s of multiply-adds, {limits.read / 1e9:.1f} GB/s "
        f"read, {limits.copy / 1e9:.1f} GB/s copied (read and written)",
    ]
    lines += [f"not compared: {name} ({why})" for name, why in sorted(report.missing.items())]
    return lines + [f"warning: {text}" for text in report.warnings]


def _load(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2f}"


# --- one maker of tables for each section


def _comparisons(title: str) -> Callable[[list[Comparison], Ceilings], list[Table]]:
    def make(rows: list[Comparison], limits: Ceilings) -> list[Table]:
        return [_ratios(title, rows, limits), _times(title, rows)]

    return make


def _ratios(title: str, rows: list[Comparison], limits: Ceilings) -> Table:
    """Ours, its rate, and for each group of peers the best of it."""
    groups = list(dict.fromkeys(group for row in rows for group in row.peers()))
    columns = ["", "kernelearn ms", "GFLOP/s", "% of peak"]
    for group in groups:
        columns += [f"{group}, best ms", "ratio [quartiles]"]
    lines = []
    for row in rows:
        cells = [row.label, *_own_cells(row, limits)]
        for group in groups:
            cells += _peer_cells(row, group)
        lines.append(cells)
    return Table(f"{title}: how many times as long the peers take", columns, lines, _notes(rows))


def _own_cells(row: Comparison, limits: Ceilings) -> list[str]:
    if OURS not in row.seconds:
        return ["-", "-", "-"]
    rate = row.flops / row.time(OURS).median
    return [_ms(row.time(OURS).median), f"{rate / 1e9:.1f}", _share(rate, limits.flops)]


def _peer_cells(row: Comparison, group: str) -> list[str]:
    found = row.ratio(group) if group in row.peers() else None
    if found is None:
        return ["-", "-"]
    best = row.best(group)
    mode = best.removeprefix(group).strip(", ")
    return [_ms(row.time(best).median) + (f" ({mode})" if mode else ""), _ratio(found)]


def _times(title: str, rows: list[Comparison]) -> Table:
    """The time of every contestant."""
    names = list(dict.fromkeys(name for row in rows for name in row.groups))
    names = [name for name in names if any(name in row.seconds for row in rows)]
    lines = [[row.label, *[_spread_ms(row, name) for name in names]] for row in rows]
    return Table(f"{title}: ms a step, median [quartiles]", ["", *names], lines)


def _spread_ms(row: Comparison, name: str) -> str:
    if name not in row.seconds:
        return "-"
    found = row.time(name)
    return f"{_ms(found.median)} [{_ms(found.low)}, {_ms(found.high)}]"


def _notes(rows: Iterable[Comparison]) -> list[str]:
    """Every remark once, with the rows that it is about."""
    about: dict[str, list[str]] = {}
    for row in rows:
        for name, text in row.notes.items():
            about.setdefault(f"{name}: {text}", []).append(row.label)
    return [f"{text} ({'; '.join(labels)})" for text, labels in about.items()]


def _profile(rows: list[dict[str, Any]], limits: Ceilings) -> list[Table]:
    return [_profile_of(row, limits) for row in rows]


def _profile_of(row: dict[str, Any], limits: Ceilings) -> Table:
    """The longest calls of a step; the rest in one line."""
    calls = sorted(row["calls"], key=lambda call: -call["seconds"])
    lines = []
    for call in calls[:MOST_CALLS]:
        rate = call["flops"] / call["seconds"] if call["seconds"] else 0.0
        name = f"{call['layer'] or '-'}: {call['what']}"
        share = f"{100 * call['seconds'] / row['seconds']:.1f}"
        rates = [f"{rate / 1e9:.1f}", _share(rate, limits.flops)] if rate else ["-", "-"]
        lines.append([name, f"{1e3 * call['seconds']:.3f}", share, *rates, *_moved(call), call["note"][:60]])
    rest = sum(call["seconds"] for call in calls[MOST_CALLS:])
    if rest:
        share = f"{100 * rest / row['seconds']:.1f}"
        lines.append([f"{len(calls) - MOST_CALLS} others", f"{1e3 * rest:.3f}", share, *"----", ""])
    used, best = (sum(call[name] for call in calls) for name in ("bytes", "best"))
    every = {"seconds": row["seconds"], "bytes": used, "best": best}
    lines.append(["all calls one by one", _ms(row["seconds"]), "100.0", "-", "-", *_moved(every), ""])
    moved, least = row["moved_bytes"], row["least_bytes"]
    notes = (
        [
            f"{used / 1e6:.1f} MB used, {moved / 1e6:.1f} MB of them from and to memory in a whole step, "
            f"{least / 1e6:.1f} MB at least: {moved / least:.2f} times"
        ]
        if least
        else []
    )
    step = "Prediction" if row["what"] == "predict" else "Training step"
    title = f"{step} of {row['net']}, batch {row['batch']}: its calls, longest first"
    columns = ["", "ms", "% of step", "GFLOP/s", "% of peak", "GB/s", "% of roofline", "kernel"]
    return Table(title, columns, lines, notes)


def _moved(call: dict[str, Any]) -> list[str]:
    """Bytes a second, and the least time by the roofline as a share of the measured one."""
    if not call["seconds"] or not call["bytes"]:
        return ["-", "-"]
    share = f"{100 * call['best'] / call['seconds']:.0f}" if call["best"] else "-"
    return [f"{call['bytes'] / call['seconds'] / 1e9:.1f}", share]


def _memory(rows: list[dict[str, Any]], limits: Ceilings) -> list[Table]:
    lines, notes = [], []
    ours = {row["net"]: row["peak"] for row in rows if row["framework"] == OURS and row.get("peak")}
    for row in rows:
        label = f"{row['net']}, batch {row['batch']}"
        if not row.get("peak"):
            notes.append(f"{row['framework']}: {row.get('why', 'the system does not say')} ({label})")
            continue
        share = f"{row['peak'] / ours[row['net']]:.2f}" if row["net"] in ours else "-"
        lines.append([label, row["framework"], _mib(row["loaded"]), _mib(row["peak"]), share])
    columns = ["", "framework", "MiB when loaded", "MiB at most", "times ours"]
    return [Table("Memory of a process that trains", columns, lines, notes)]


def _recorder(rows: list[dict[str, Any]], limits: Ceilings) -> list[Table]:
    lines = [
        [
            f"{row['net']}, batch {row['batch']}",
            _ms(row["step"]),
            f"{1e6 * row['recorder']:.0f}",
            f"{100 * row['share']:.2f}",
            f"{row['bytes'] / 1e3:.1f}",
        ]
        for row in rows
    ]
    columns = ["", "ms a step", "recorder us", "% of the step", "kB a step"]
    return [Table("What a Recorder adds at its usual settings", columns, lines)]


def _input(rows: list[dict[str, Any]], limits: Ceilings) -> list[Table]:
    lines = [
        [
            f"{row['net']}, batch {row['batch']}",
            " x ".join(map(str, row["side"])),
            f"{row['bytes'] / 1e3:.1f}",
            *(f"{row[name]:,.0f}" for name in ("decode", "step", "together")),
            f"{100 * row['together'] / row['step']:.0f}",
        ]
        for row in rows
    ]
    columns = ["", "files", "kB each", "decoded /s", "trained /s, from memory", "from files", "% of memory's"]
    note = "images a second; decoding and training share the same processors"
    return [Table("Training from JPEG files, with augmentation", columns, lines, [note])]


def _curves(rows: list[dict[str, Any]], limits: Ceilings) -> list[Table]:
    found = []
    for row in rows:
        line = row["line"]
        lines = [
            [
                str(size),
                _ms(seconds),
                f"{1e6 * seconds / size:.2f}",
                _ms(line["start"] + line["slope"] * size),
            ]
            for size, seconds in zip(row["sizes"], row["seconds"])
        ]
        note = f"line: {_ms(line['start'])} ms + {1e6 * line['slope']:.3g} us each; R2 = {line['fit']:.4f}"
        title = f"Cost of {row['what']} over {row['unit']}"
        found.append(Table(title, [row["unit"], "ms", "us each", "line, ms"], lines, [note]))
    return found


def _own_code(rows: list[dict[str, Any]], limits: Ceilings) -> list[Table]:
    pairs = [row for row in rows if "own" in row]
    lines = [[r["what"], _ms(r["built_in"]), _ms(r["own"]), f"{r['ratio']:.2f}"] for r in pairs]
    notes = [f"{row['what']}: {_ms(row['trace'])} ms" for row in rows if "trace" in row]
    columns = ["", "built-in, ms a step", "own, ms a step", "own / built-in"]
    return [Table("Code of one's own, beside the same built in", columns, lines, notes)]


def _transfer(rows: list[dict[str, Any]], limits: Ceilings) -> list[Table]:
    lines = [
        [
            f"{row['net']}, batch {row['batch']}",
            row["what"],
            str(row["backward"]),
            _ms(row["step"]),
            f"{100 * row['share']:.0f}",
        ]
        for row in rows
    ]
    columns = ["", "", "backward operations", "ms a step", "% of none frozen"]
    return [Table("Training steps with frozen layers", columns, lines)]


def _distributed(rows: list[dict[str, Any]], limits: Ceilings) -> list[Table]:
    """Steps in several processes, exchanges beside what the fitted model says, and what follows for more."""
    steps = [row for row in rows if "net" in row]
    cost = rows[-1]
    sent = [[f"{r['bytes']:,}", _ms(r["exchange"]), _ms(r["predicted"])] for r in rows if "exchange" in r]
    note = f"fitted: {1e6 * cost['latency']:.1f} us a message, {1e9 * cost['per_byte']:.3f} ns a byte"
    sizes = list(steps[0]["efficiency"]) if steps else []
    shares = [
        [row["net"], *(f"{100 * share:.0f} %" for share in row["efficiency"].values())] for row in steps
    ]
    title = "Predicted efficiency, of so many processes with a batch each, by the model alone"
    return [
        _two_processes(steps),
        _some_processes(steps),
        Table("Exchange of two processes", ["bytes", "measured ms", "model ms"], sent, [note]),
        Table(title, ["", *map(str, sizes)], shares),
    ]


def _two_processes(steps: list[dict[str, Any]]) -> Table:
    """Beside one, with one thread and with two."""
    lines = [
        [
            f"{row['net']}, batch {row['batch']}",
            *(_ms(row[kind]) for kind in ("alone", "threads", "shards", "processes", "predicted", "halves")),
            f"{row['alone'] / row['apart']:.2f}",
            *(
                f"{row[kind] / row[own]:.2f}"
                for own in ("processes", "halves")
                for kind in ("alone", "threads")
            ),
        ]
        for row in steps
    ]
    times = ("1 x 1", "1 x 2", "1 x 1 in shards", "2 x 1 in shards", "model", "2 x 1 in halves")
    columns = ["", *(f"{name} ms" for name in times), "limit"]
    columns += [f"2 x 1 in {own} / {kind}" for own in ("shards", "halves") for kind in ("1 x 1", "1 x 2")]
    notes = [
        "in shards: the usual twelve, for the same bits with any number of processes; in halves: shards=2",
        "/ 1 x 1: how many times as fast as one process with one thread; / 1 x 2: as one with two",
        "limit: beside 1 x 1, two processes that train on half a batch each at once, and exchange nothing",
        "model: half of 1 x 1 in shards, slower by what two at once are, and the exchange",
    ]
    return Table("Processes x threads: a step of the same batch", columns, lines, notes)


def _some_processes(steps: list[dict[str, Any]]) -> Table:
    """Of this machine, measured and by the model."""
    points = [
        [
            row["net"],
            str(processes),
            _ms(seconds),
            _ms(predicted),
            f"{row['shards'] / seconds:.2f}",
            f"{row['shards'] / predicted:.2f}",
        ]
        for row in steps
        for processes, seconds, predicted in row["points"]
    ]
    columns = ["", "processes", "measured ms", "model ms", "times as fast", "by the model"]
    note = "more processes than cores take turns on them: the model knows nothing of that"
    return Table("Processes of this machine on one batch, in shards", columns, points, [note])


def _torch(rows: list[Comparison], limits: Ceilings) -> list[Table]:
    """The best of PyTorch, and how many times as fast each way of ours is."""
    found = [inside_torch.ratios(row) for row in rows]
    modes = list(dict.fromkeys(mode for ratios in found for mode in ratios))
    lines = []
    for row, ratios in zip(rows, found):
        is_known = inside_torch.PYTORCH in row.peers()
        best = row.best(inside_torch.PYTORCH) if is_known else ""
        cells = [row.label, f"{_ms(row.time(best).median)} ({best})" if is_known else "-"]
        lines.append([*cells, *(_ratio(ratios[mode]) if mode in ratios else "-" for mode in modes)])
    title = "The engine inside PyTorch: how many times as long the best of PyTorch takes"
    first = Table(title, ["", "PyTorch, best ms", *modes], lines, _notes(rows))
    return [first, _times("The engine inside PyTorch", rows)]


_MAKERS: dict[str, Callable[[list[Any], Ceilings], list[Table]]] = {
    "training": _comparisons("Training"),
    "inference": _comparisons("Inference"),
    "layers": _comparisons("Convolutions"),
    "profile": _profile,
    "memory": _memory,
    "recorder": _recorder,
    "input": _input,
    "curves": _curves,
    "own-code": _own_code,
    "transfer": _transfer,
    "distributed": _distributed,
    "torch": _torch,
}


def _ms(seconds: float) -> str:
    """Milliseconds with three digits that count."""
    value = 1e3 * seconds
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _mib(size: float | None) -> str:
    return "-" if size is None else f"{size / 2**20:.0f}"


def _share(rate: float, peak: float) -> str:
    return f"{100 * rate / peak:.0f}" if peak else "-"


def _ratio(found: Spread) -> str:
    return f"{found.median:.2f} [{found.low:.2f}, {found.high:.2f}]"


# --- three ways to write a table


def markdown(report: Report) -> str:
    """The whole report for the documentation."""
    text = ["\n".join(f"- {line}" for line in headline(report))]
    for table in tables(report):
        text.append(f"### {table.title}")
        rows = [table.columns, ["---", *["---:"] * (len(table.columns) - 1)], *table.rows]
        text.append("\n".join(f"| {' | '.join(cell.replace('|', ' ') for cell in row)} |" for row in rows))
        if table.notes:
            text.append("\n".join(f"- {note}" for note in table.notes))
    return "\n\n".join(text)


def write_markdown(report: Report, path: Path) -> None:
    """Put the report between the marks of a file that has them; else write a file of its own.

    Raises: ArgumentError for a file that is there and has no marks: it is not overwritten.
    """
    before, after = "# Benchmark\n\n", "\n"
    if path.exists():
        old = path.read_text("utf-8")
        if BEGIN not in old or END not in old.partition(BEGIN)[2]:
            raise ArgumentError(
                f"{path} has no place for the tables: put the lines {BEGIN} and {END} into it, "
                "or name a new file."
            )
        before, _, rest = old.partition(BEGIN)
        after = rest.partition(END)[2]
    content = f"{before}{BEGIN}\n\n{markdown(report)}\n\n{END}{after}"
    with atomic_write(path) as file:
        file.write(content.encode())
