"""One address -> one answer: the table of the page's data, for server, export and widget alike.

`docs/page-api.md` describes every address.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kernelearn.errors import (
    ArgumentError,
    FormatError,
    KernelearnError,
    ShapeError,
    UnknownNameError,
    unknown_name,
)
from kernelearn.view.page.addresses import (
    controlling,
    filters,
    findings,
    gradients,
    lessons,
    overview,
    passes,
    weights,
)
from kernelearn.view.page.asking import Ask, NotRecorded, Refused
from kernelearn.view.page.blocks import Answer, Blocks, blocks_answer, json_answer
from kernelearn.view.page.library import Library, PageRun

Found = dict[str, Any] | Blocks


@dataclass(frozen=True)
class Route:
    """What answers an address, and which parameters it takes."""

    make: Callable[..., Found]
    parameters: frozenset[str] = frozenset()
    is_binary: bool = False


def _json(make: Callable[..., Found], parameters: str = "") -> Route:
    return Route(make, frozenset(parameters.split()))


def _binary(make: Callable[..., Found], parameters: str = "") -> Route:
    return Route(make, frozenset(parameters.split()), True)


# Address below runs/{run}/ -> what answers.
OF_RUN: dict[str, Route] = {
    "": _json(overview.manifest),
    "events": _json(overview.events, "since"),
    "scalars": _binary(overview.scalars, "names"),
    "weights": _binary(weights.weights, "layer step"),
    "film": _binary(weights.film, "layer weight count steps filter channel"),
    "trace": _binary(weights.trace, "layer weight index"),
    "distances": _binary(overview.distances, "layer weight"),
    "batch": _binary(passes.batch, "layer step rows only filter channel"),
    "probe": _binary(passes.probe, "layer step rows only filter channel picture"),
    "network": _binary(passes.network, "step row probe picture"),
    "path": _json(passes.path, "layer step row filter at most"),
    "ledger": _json(gradients.ledger_of, "layer weight step index"),
    "update": _json(gradients.update, "layer weight step index"),
    "updates": _binary(gradients.updates, "layer weight step"),
    "history": _json(gradients.history_of, "layer weight index"),
    "dense": _json(filters.dense, "layer weight step filter channel"),
    "families": _json(filters.families, "layer weight step"),
    "hints": _json(findings.hints),
    "control": _json(controlling.state),
}
# Address -> what answers of the whole page.
OF_PAGE: dict[str, Route] = {
    "": _json(overview.about),
    "runs": _json(overview.about),
    "compare": _json(findings.compare, "runs"),
    "lessons": _json(lessons.lessons),
}
# Error -> status and kind; the first that fits.
_ERRORS: tuple[tuple[type[Exception], int, str], ...] = (
    (UnknownNameError, 404, "unknown"),
    (FormatError, 422, "damaged"),
    (ShapeError, 400, "shape"),
    (ArgumentError, 400, "wrong"),
    (KernelearnError, 409, "not now"),
    (OSError, 409, "not now"),
)


def answer(library: Library, path: str, params: Mapping[str, str] | None = None) -> Answer:
    """The answer to an address.

    Args:
        path: below /api/v1/, such as "runs/demo/weights".
        params: as text.
    Returns: always an `Answer`; errors are JSON with a status.
    """
    try:
        return _found(library, path.strip("/"), Ask(dict(params or {})))
    except NotRecorded as error:
        return json_answer({"missing": error.about})
    except Exception as error:
        return error_answer(error)


def _found(library: Library, path: str, ask: Ask) -> Answer:
    first, _, rest = path.partition("/")
    if first == "runs" and rest:
        key, _, name = rest.partition("/")
        route, place = _route(OF_RUN, name), library.of(key)
        ask.check(route.parameters)
        with place.lock:
            return _written(route, _made(route, place, ask))
    if first == "lessons" and rest:
        ask.check(())
        return json_answer(lessons.lesson(library, rest, ask))
    route = _route(OF_PAGE, path)
    ask.check(route.parameters)
    return _written(route, route.make(library, ask))


def _made(route: Route, place: PageRun, ask: Ask) -> Found:
    """An answer; what is not recorded in a binary one is said in its header."""
    if not route.is_binary:
        return route.make(place, ask)
    try:
        return route.make(place, ask)
    except NotRecorded as error:
        return Blocks(missing={"*": error.about})


def _route(table: Mapping[str, Route], name: str) -> Route:
    if name not in table:
        raise unknown_name("address", name, table)
    return table[name]


def _written(route: Route, found: Found) -> Answer:
    return blocks_answer(found) if isinstance(found, Blocks) else json_answer(found)


def error_answer(error: Exception) -> Answer:
    """An error as JSON with words; what nobody foresaw gives no details away."""
    if isinstance(error, Refused):
        return _error(error.kind, str(error), error.status)
    for kind, status, name in _ERRORS:
        if isinstance(error, kind):
            return _error(name, str(error), status)
    words = (
        f"The server met an error that it did not expect ({type(error).__name__}). Its terminal says more."
    )
    return _error("unexpected", words, 500)


def _error(kind: str, message: str, status: int) -> Answer:
    return json_answer({"error": {"kind": kind, "message": message}}, status)
