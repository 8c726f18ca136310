"""Several parts of which the reader sees one: a select for the script, a `<details>` without it."""

from __future__ import annotations

from collections.abc import Sequence

from kernelearn.view.report.markup import Html, details, join, tag


def choice(label: str, parts: Sequence[tuple[str, Html]]) -> Html:
    """The parts under their names, the first one shown; a single part stands alone.

    Args:
        label: what is chosen.
        parts: (name, content).
    """
    if len(parts) < 2:
        return join(content for _, content in parts)
    options = [tag("option", name) for name, _ in parts]
    chooser = tag("label", f"{label}: ", tag("select", *options), class_="chooser needs-script")
    (_, first), *others = [(name, tag("div", content, class_="part")) for name, content in parts]
    rest = details(f"{len(others)} more", *(one for _, one in others), class_="others")
    return tag("div", chooser, first, rest, class_="choice")
