"""Draws `house.svg` of the architecture page from the imports of the code: `python docs/_house.py`.

A box is a room; it stands above everything that it imports. A line is drawn where a room imports another and
no room between the two tells of it already. A test compares the file with what this script makes.
"""

import ast
import html
from collections.abc import Iterable
from pathlib import Path

HERE = Path(__file__).resolve().parent
PACKAGE = HERE.parent / "src" / "kernelearn"
PICTURE = HERE / "house.svg"

_BOX_HEIGHT, _ROW, _WIDTH, _GAP = 30, 64, 960, 30
_LETTER = 7.2
_STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #1d2126; text-anchor: middle; dominant-baseline: central; }
  .title { font-size: 15px; font-weight: 600; text-anchor: start; }
  rect { fill: #f5f6f8; stroke: #8b95a1; rx: 4px; }
  path { fill: none; stroke: #8b95a1; stroke-width: 1.1; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6e8eb; } rect { fill: #1e2227; stroke: #6b7480; } path { stroke: #6b7480; }
  }"""

Graph = dict[str, set[str]]


def imports(folder: Path, package: str) -> Graph:
    """Room -> rooms that its files import, for the files and folders right below a package's folder."""
    graph: Graph = {}
    for path in sorted(folder.rglob("*.py")):
        room = path.relative_to(folder).parts[0].removesuffix(".py")
        if not room.startswith("__"):
            names = (
                name.removeprefix(package + ".") for name in _imported(path) if name.startswith(package + ".")
            )
            graph.setdefault(room, set()).update(name.partition(".")[0] for name in names)
    return {
        room: {other for other in found if other in graph and other != room} for room, found in graph.items()
    }


def _imported(path: Path) -> Iterable[str]:
    """Dotted names of what a file imports, wherever in it; imports for type checkers are left out."""
    yield from _imported_below(ast.parse(path.read_text("utf-8")))


def _imported_below(node: ast.AST) -> Iterable[str]:
    """Imports are statements, so expressions are not looked into: they are most of a tree."""
    fields = ("body", "orelse", "handlers", "finalbody", "cases")
    for below in (found for field in fields for found in getattr(node, field, ())):
        if isinstance(below, ast.If) and "TYPE_CHECKING" in ast.unparse(below.test):
            continue
        if isinstance(below, ast.ImportFrom):
            yield from (f"{below.module}.{alias.name}" for alias in below.names)
        elif isinstance(below, ast.Import):
            yield from (alias.name for alias in below.names)
        yield from _imported_below(below)


def without(graph: Graph, rooms: Iterable[str]) -> Graph:
    """The graph without some rooms."""
    gone = set(rooms)
    return {room: found - gone for room, found in graph.items() if room not in gone}


def levels(graph: Graph) -> dict[str, int]:
    """Room -> its floor: one above the highest room that it imports. Rooms of a circle share a floor."""
    known: dict[str, int] = {}

    def level(room: str, below: tuple[str, ...]) -> int:
        if room in known:
            return known[room]
        found = max(
            (level(other, (*below, room)) + 1 for other in graph[room] if other not in below), default=0
        )
        if not below:
            known[room] = found
        return found

    for room in sorted(graph):
        level(room, ())
    return known


def essential(graph: Graph) -> list[tuple[str, str]]:
    """The imports that no chain of other imports implies."""

    def reaches(start: str, goal: str) -> bool:
        seen, todo = set(), [other for other in graph[start] if other != goal]
        while todo:
            room = todo.pop()
            if room == goal:
                return True
            if room not in seen:
                seen.add(room)
                todo += graph[room]
        return False

    return [(a, b) for a in sorted(graph) for b in sorted(graph[a]) if not reaches(a, b)]


def panel(graph: Graph, title: str, top: int) -> tuple[str, int]:
    """(SVG, height) of one graph, floors from the highest to the lowest."""
    floor = levels(graph)
    rows = [sorted(r for r in graph if floor[r] == f) for f in range(max(floor.values()), -1, -1)]
    parts = [f'<text class="title" x="8" y="{top + 14}">{html.escape(title)}</text>']
    places: dict[str, tuple[float, float, float]] = {}
    for number, row in enumerate(rows):
        widths = [len(room) * _LETTER + 18 for room in row]
        left = (_WIDTH - sum(widths) - _GAP * (len(row) - 1)) / 2
        for room, width in zip(row, widths):
            places[room] = (left, top + 36 + number * _ROW, width)
            left += width + _GAP
    for upper, lower in essential(graph):
        (x, y, w), (u, v, q) = places[upper], places[lower]
        start, end = (x + w / 2, y + _BOX_HEIGHT), (u + q / 2, v)
        bend = (end[1] - start[1]) / 2
        points = (start, (start[0], start[1] + bend), (end[0], end[1] - bend), end)
        first, *others = (f"{across:.1f},{down:.1f}" for across, down in points)
        parts.append(f'<path d="M{first}C{" ".join(others)}"/>')
    for room, (x, y, width) in places.items():
        parts.append(f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{_BOX_HEIGHT}"/>')
        parts.append(f'<text x="{x + width / 2:.1f}" y="{y + _BOX_HEIGHT / 2}">{html.escape(room)}</text>')
    return "\n".join(parts), 36 + len(rows) * _ROW


def drawing() -> str:
    """The whole picture as SVG: the package, and its engine for CPUs."""
    house = imports(PACKAGE, "kernelearn")
    basics = [room for room in house if not house[room] - {"errors"}]
    engine = imports(PACKAGE / "engine" / "cpu", "kernelearn.engine.cpu")
    body, height = [], 8
    for graph, title in (
        (without(house, basics), f"kernelearn (below all of it: {', '.join(sorted(basics))})"),
        (engine, "kernelearn/engine/cpu"),
    ):
        text, used = panel(graph, title, height)
        body.append(text)
        height += used
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img">'
    return "\n".join([head, f"<style>{_STYLE}\n</style>", *body, "</svg>", ""])


if __name__ == "__main__":
    PICTURE.write_text(drawing(), "utf-8")
