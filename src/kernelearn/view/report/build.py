"""The report put together: sections in order, one page, one file, nothing fetched from anywhere."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from string import Template
from typing import Any

from kernelearn import __version__
from kernelearn.errors import ArgumentError, KernelearnError
from kernelearn.storage import PathLike, atomic_write
from kernelearn.view.report import (
    bench,
    ending,
    films,
    filters,
    learning,
    network,
    outcome,
    sight,
    transfer,
    weights,
)
from kernelearn.view.report.markup import Html, escaped, join, paragraph, tag
from kernelearn.view.report.material import Material
from kernelearn.view.report.style import asset, style

_SECTIONS: tuple[tuple[str, str, Callable[[Material], Html]], ...] = (
    ("forward-and-back", "One number, forward and back", bench.section),
    ("kernels", "Kernels over time", films.section),
    ("learning", "Learning", learning.learning),
    ("network", "The network", network.section),
    ("transfer", "Taken over from another network", transfer.section),
    ("weights", "Why weights changed", weights.section),
    ("filters", "What the kernels are", filters.bank_section),
    ("curves", "How far they moved", filters.curves_section),
    ("sight", "What they see", sight.section),
    ("outcome", "Right and wrong", outcome.section),
    ("experiments", "Experiments", ending.experiments),
    ("reproduce", "The same again", ending.reproduce),
)
# NOTE: the policy keeps any browser from fetching anything, whatever the page says.
_PAGE = Template("""<!doctype html>
<html lang="en" class="no-script">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<meta name="generator" content="kernelearn $version">
<title>$title</title>
<style>$style</style>
</head>
<body>
<header><h1>$title</h1>$overview</header>
<nav aria-label="Sections"><ul>$links</ul></nav>
<main>$sections</main>
<footer>Written by kernelearn $version. This file is complete: it loads nothing from any network.</footer>
<script>$script</script>
</body>
</html>
""")


def write_report(
    run: Any,
    path: PathLike,
    *,
    images: Any = None,
    labels: Any = None,
    training: Any = None,
    experiments: Sequence[Any] = (),
    title: str | None = None,
    about: dict[str, Any] | None = None,
) -> Path:
    """Write what a recorded run shows as one HTML file that any browser opens, without a network.

    It holds the curves of loss and metrics, the network's layers and counts, the kernels over time with a
    slider, the ledger, update and history of the weights that moved most, the filter bank, learning curves,
    what kernels see, which classes are confused, and how to get the same again. All text is there without
    JavaScript too. The file is written whole or not at all.

    Args:
        run: `recording.Run`, or the folder of one.
        path: the file, ending in .html.
        images: (n, ...) images as the network takes them, to search for patches; None takes the run's probe
            images.
        labels: (n,) class numbers of `images`, to compare with what the network finds; None leaves that out.
        training: the data that the run was trained on, a Dataset or (x, y), to compute chosen steps once
            more: the record of a step has the errors of a layer's sums, but not those behind them. None shows
            what the record has.
        experiments: `explain.ExperimentResult`s to include.
        title: heading; made from the data if None.
        about: what else is known of the training: "command", "arguments", "versions", "results", "data".
    Returns: the path.
    Raises: ArgumentError for another ending or a run without steps; StorageError if it cannot be written.

    >>> from kernelearn.view import write_report
    >>> write_report("runs/demo", "report.html")  # doctest: +SKIP
    """
    target = Path(path)
    if target.suffix.lower() not in (".html", ".htm"):
        raise ArgumentError(
            f"A report is an HTML file; give a name such as report.html, not {target.name!r}."
        )
    given = {"images": images, "labels": labels, "training": training, "experiments": experiments}
    text = render_report(run, **given, title=title, about=about)
    with atomic_write(target) as file:
        file.write(text.encode("utf-8"))
    return target


def render_report(
    run: Any,
    *,
    images: Any = None,
    labels: Any = None,
    training: Any = None,
    experiments: Sequence[Any] = (),
    title: str | None = None,
    about: dict[str, Any] | None = None,
) -> str:
    """The page that `write_report` writes."""
    from kernelearn.recording import Run

    found = Run(run) if isinstance(run, str | os.PathLike) else run
    if not len(found.steps):
        raise ArgumentError(f"The run {str(found.folder)!r} holds no step yet; there is nothing to report.")
    known = about or {}
    material = Material(found, images, labels, known, experiments, training)
    left_out = {"experiments"} if not experiments else set()
    left_out |= {"outcome"} if labels is None else set()
    left_out |= {"transfer"} if "transfer" not in material.about else set()
    shown = [(name, heading, make) for name, heading, make in _SECTIONS if name not in left_out]
    sections = [
        tag("section", tag("h2", heading), _made(material, make), id=name) for name, heading, make in shown
    ]
    return _PAGE.substitute(
        version=__version__,
        title=escaped(title or _title(material)),
        overview=learning.overview(material),
        links=join(
            tag("li", tag("a", name.capitalize().replace("-", " "), href=f"#{name}", title=heading))
            for name, heading, _ in shown
        ),
        sections=join(sections),
        style=style(),
        script=asset("report.js") + asset("bench.js"),
    )


def _made(material: Material, make: Callable[[Material], Html]) -> Html:
    """A section; one that this run cannot give says why."""
    try:
        return make(material)
    except KernelearnError as error:
        return paragraph(f"This part is missing: {error}", class_="missing")


def _title(material: Material) -> str:
    data = {**material.run.about.metadata, **material.about.get("data", {})}
    name = data.get("name")
    return f"How the kernels learned: {name}" if name else "How the kernels learned"
